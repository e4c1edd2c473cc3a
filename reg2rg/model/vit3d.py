"""3D vision transformer: a crop of voxels in, one token per patch out.

The same class reads texture crops (the paper's image encoder, from RadFM) and region masks (its mask encoder), at
different sizes. Blocks are pre-norm, and no norm follows the last one.
"""

from itertools import pairwise

import torch
from einops import rearrange, reduce, repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from reg2rg.model.config import ViTConfig
from reg2rg.model.isolation import isolation

POSITION_STD = 0.3
"""Spread of fresh position tables. At the customary 0.02 a model learned *what* it saw but not *where*."""


class ViT3D(nn.Module):
    """Patches with positions, through `depth` transformer blocks."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        self.patches = ConvolutionalPatches(config) if config.stem_channels else PatchEmbedding(config)
        self.positions = AxisPositions(config)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))

    def forward(self, crops: Float[Tensor, "crop x y z"]) -> Float[Tensor, "crop patch width"]:
        """Tokens of the patches, x slowest, then y, then z.

        Raises:
            einops.EinopsError: if patches do not fill the crops.
        """
        x, y, z = crops.shape[1:]
        patches = self.patches(crops)
        # In the patches' own type: under autocast the sum would be float32, and so would all that follows.
        positions = self.positions(*self.config.patches_xyz((x, y, z))).to(patches.dtype)
        tokens = self.dropout(patches + positions)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


class PatchEmbedding(nn.Module):
    """Each patch as one vector: norm, linear, norm. The voxels run x slowest, then y, z, and the channel fastest.

    The published weights read three channels, all of them the same CT. Copies change neither mean nor variance of a
    patch, so its one channel is normed, and the norm's scale and shift and the sum over channels move into the linear
    layer. It is the same function at a third of the work.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.patch_size_xyz = config.patch_size_xyz
        self.channels = config.channels
        px, py, pz = config.patch_size_xyz
        self.norm_voxels = nn.LayerNorm(px * py * pz * config.channels)
        self.project = nn.Linear(px * py * pz * config.channels, config.width)
        self.norm_tokens = nn.LayerNorm(config.width)

    def forward(self, crops: Float[Tensor, "crop x y z"]) -> Float[Tensor, "crop patch width"]:
        """One vector per patch of the crops' one channel, x slowest, then y, then z."""
        px, py, pz = self.patch_size_xyz
        voxels = rearrange(crops, "crop (x px) (y py) (z pz) -> crop (x y z) (px py pz)", px=px, py=py, pz=pz)
        normed = functional.layer_norm(voxels, voxels.shape[-1:], eps=self.norm_voxels.eps)
        scaled = self.project.weight * self.norm_voxels.weight
        weight = reduce(scaled, "width (voxel channel) -> width voxel", "sum", channel=self.channels)
        bias = self.project.bias + self.project.weight @ self.norm_voxels.bias
        return self.norm_tokens(functional.linear(normed, weight, bias))


class ConvolutionalPatches(nn.Module):
    """Each patch as one vector, by strided convolutions and a last one as large as what is left of a patch; norm.

    Not the published way: small models trained from scratch find small lesions with it (Xiao et al., "Early
    Convolutions Help Transformers See Better", NeurIPS 2021), which a linear layer per patch does not in their time.
    Windows of their own for lung, soft tissue and calcium give each its contrast, as on a radiologist's screens.
    Nodules among vessels are told by `isolation`, which convolutions of this size do not find by themselves in that
    time.
    """

    lows: Tensor
    highs: Tensor

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        lows, highs = zip(*config.stem_windows, strict=True) if config.stem_windows else ((), ())
        for name, limits in (("lows", lows), ("highs", highs)):
            self.register_buffer(name, torch.tensor(limits).view(-1, 1, 1, 1), persistent=False)
        seen = config.channels + len(config.stem_windows) + len(config.stem_spheres)
        layers: list[nn.Module] = []
        for channels, wider in pairwise((seen, *config.stem_channels)):
            layers += [nn.Conv3d(channels, wider, 3, stride=2, padding=1), nn.GELU()]
        left = tuple(size // 2 ** len(config.stem_channels) for size in config.patch_size_xyz)
        self.stem = nn.Sequential(*layers)
        self.project = nn.Conv3d(config.stem_channels[-1], config.width, left, stride=left)
        self.norm_tokens = nn.LayerNorm(config.width)
        self.spheres, self.sphere_window = config.stem_spheres, config.stem_sphere_window
        if self.spheres:
            # A nodule is one voxel of these channels: a mean would lose it, a patch's highest values do not.
            self.highest = nn.MaxPool3d(tuple(size // 2 for size in config.patch_size_xyz))
            self.project_spheres = nn.Conv3d(len(self.spheres), config.width, 2, stride=2, bias=False)

    def forward(self, crops: Float[Tensor, "crop x y z"]) -> Float[Tensor, "crop patch width"]:
        """One vector per patch, x slowest, then y, then z."""
        seen = self._seen(crops)
        grid = self.project(self.stem(seen))
        if self.spheres:
            grid = grid + self.project_spheres(self.highest(seen[:, -len(self.spheres) :]))
        return self.norm_tokens(rearrange(grid, "crop width x y z -> crop (x y z) width"))

    def _seen(self, crops: Float[Tensor, "crop x y z"]) -> Float[Tensor, "crop channel x y z"]:
        """The crops, their windows, and how alone each voxel stands, one after another into one memory."""
        windows = len(self.lows)
        seen = crops.new_empty(len(crops), 1 + windows + len(self.spheres), *crops.shape[1:])
        seen[:, 0] = crops
        if windows:
            scale = 2 / (self.highs - self.lows)
            windowed = torch.addcmul(-1 - self.lows * scale, crops[:, None], scale)
            seen[:, 1 : 1 + windows] = windowed.clamp_(-1, 1)
        if self.spheres:
            isolation(crops, self.spheres, self.sphere_window, out=seen[:, 1 + windows :])
        return seen


class AxisPositions(nn.Module):
    """A learned vector per patch: a third of it from the patch's x, a third from its y, a third from its z.

    Tables may have more rows than a crop has patches. Then the rows are spread over the table, the last of each
    stride: 8 patches on 16 rows take rows 1, 3, ..., 15.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.x, self.y, self.z = (
            nn.Parameter(torch.empty(rows, config.width // 3)) for rows in config.position_rows_xyz
        )
        for table in (self.x, self.y, self.z):
            nn.init.normal_(table, std=POSITION_STD)

    def forward(self, x: int, y: int, z: int) -> Float[Tensor, "patch width"]:
        """Vectors of x * y * z patches, x slowest, then y, then z."""
        return torch.cat(
            [
                repeat(_spread(self.x, x), "x third -> (x y z) third", y=y, z=z),
                repeat(_spread(self.y, y), "y third -> (x y z) third", x=x, z=z),
                repeat(_spread(self.z, z), "z third -> (x y z) third", x=x, y=y),
            ],
            dim=-1,
        )


def _spread(table: Float[Tensor, "row third"], count: int) -> Float[Tensor, "count third"]:
    stride = len(table) // count
    return table[stride - 1 :: stride]


class Block(nn.Module):
    """Self-attention, then an MLP, each added to what it read."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(config)
        self.mlp = MLP(config)

    def forward(self, tokens: Float[Tensor, "crop patch width"]) -> Float[Tensor, "crop patch width"]:
        """Same shape out."""
        tokens = tokens + self.attention(tokens)
        return tokens + self.mlp(tokens)


class SelfAttention(nn.Module):
    """Multi-head attention of the patches of one crop to each other, after a norm."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        inner = config.heads * config.head_dim
        self.heads = config.heads
        self.norm = nn.LayerNorm(config.width)
        self.query_key_value = nn.Linear(config.width, 3 * inner, bias=False)
        self.out = nn.Linear(inner, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Float[Tensor, "crop patch width"]) -> Float[Tensor, "crop patch width"]:
        """What attention adds to the tokens."""
        projected = self.query_key_value(self.norm(tokens))
        query, key, value = rearrange(
            projected, "crop patch (part head dim) -> part crop head patch dim", part=3, head=self.heads
        )
        dropout = self.dropout.p if self.training else 0.0
        attended = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        return self.dropout(self.out(rearrange(attended, "crop head patch dim -> crop patch (head dim)")))


class MLP(nn.Module):
    """Norm, linear, exact GELU, linear."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.up = nn.Linear(config.width, config.mlp_width)
        self.down = nn.Linear(config.mlp_width, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Float[Tensor, "crop patch width"]) -> Float[Tensor, "crop patch width"]:
        """What the MLP adds to the tokens."""
        hidden = self.dropout(functional.gelu(self.up(self.norm(tokens))))
        return self.dropout(self.down(hidden))
