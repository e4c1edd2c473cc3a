"""Perceiver resampler (Alayrac et al. 2022, Flamingo): many patch tokens to a few latents."""

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from reg2rg.model.config import PerceiverConfig


class Perceiver(nn.Module):
    """Learned latents that read a crop's patches, `depth` times.

    No embedding of time or media is added: a patch already says where it is.
    """

    def __init__(self, config: PerceiverConfig, width: int) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.empty(config.latents, width))
        nn.init.normal_(self.latents)
        self.layers = nn.ModuleList(PerceiverLayer(config, width) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)

    def forward(
        self, patches: Float[Tensor, "crop patch width"], looks: list[Tensor] | None = None
    ) -> Float[Tensor, "crop latent width"]:
        """What the latents have read of each crop.

        Args:
            patches: tokens of each crop.
            looks: takes, layer by layer, how much each head of each latent looks at each patch, as "crop (head
                latent) patch"; what is missing to a sum of 1 is looked at in the latents.
        """
        latents = repeat(self.latents, "latent width -> crop latent width", crop=len(patches))
        for layer in self.layers:
            latents = layer(latents, patches, looks)
        return self.norm(latents)


class PerceiverLayer(nn.Module):
    """Cross-attention, then an MLP, each added to the latents."""

    def __init__(self, config: PerceiverConfig, width: int) -> None:
        super().__init__()
        self.attention = CrossAttention(config, width)
        self.mlp = LatentMLP(config, width)

    def forward(
        self,
        latents: Float[Tensor, "crop latent width"],
        patches: Float[Tensor, "crop patch width"],
        looks: list[Tensor] | None = None,
    ) -> Float[Tensor, "crop latent width"]:
        """The latents after one more look at the patches."""
        latents = latents + self.attention(latents, patches, looks)
        return latents + self.mlp(latents)


class CrossAttention(nn.Module):
    """Latents ask; patches and the latents themselves, each after a norm of its own, answer."""

    def __init__(self, config: PerceiverConfig, width: int) -> None:
        super().__init__()
        inner = config.heads * config.head_dim
        self.heads = config.heads
        self.norm_patches = nn.LayerNorm(width)
        self.norm_latents = nn.LayerNorm(width)
        self.query = nn.Linear(width, inner, bias=False)
        self.key_value = nn.Linear(width, 2 * inner, bias=False)
        self.out = nn.Linear(inner, width, bias=False)

    def forward(
        self,
        latents: Float[Tensor, "crop latent width"],
        patches: Float[Tensor, "crop patch width"],
        looks: list[Tensor] | None = None,
    ) -> Float[Tensor, "crop latent width"]:
        """What attention adds to the latents."""
        asking = self.norm_latents(latents)
        answering = torch.cat([self.norm_patches(patches), asking], dim=1)
        query = rearrange(self.query(asking), "crop latent (head dim) -> crop head latent dim", head=self.heads)
        key, value = rearrange(
            self.key_value(answering), "crop token (part head dim) -> part crop head token dim", part=2, head=self.heads
        )
        if looks is None:
            attended = functional.scaled_dot_product_attention(query, key, value)
        else:
            weights = torch.softmax(query @ key.mT * query.shape[-1] ** -0.5, dim=-1)
            looks.append(
                rearrange(weights[..., : patches.shape[1]], "crop head latent patch -> crop (head latent) patch")
            )
            attended = weights.to(value.dtype) @ value
        return self.out(rearrange(attended, "crop head latent dim -> crop latent (head dim)"))


class LatentMLP(nn.Module):
    """Norm, linear, exact GELU, linear; no biases."""

    def __init__(self, config: PerceiverConfig, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, config.mlp_width, bias=False)
        self.down = nn.Linear(config.mlp_width, width, bias=False)

    def forward(self, latents: Float[Tensor, "crop latent width"]) -> Float[Tensor, "crop latent width"]:
        """What the MLP adds to the latents."""
        return self.down(functional.gelu(self.up(self.norm(latents))))
