"""Seeded sampling whose outcome for a study depends on nothing but its own scores and seed."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from reg2rg.model.config import Sampling


class TokenSampler:
    """Turns the likeliest token into a drawn one.

    The highest of score + Gumbel noise is a draw from the softmax (Maddison et al., "A* Sampling", NIPS 2014).

    Each row has a random generator of its own, so that a study is written the same alone, in any batch, and in a run
    that goes on after a stop.

    Args:
        sampling: what is done to the scores first.
    """

    def __init__(self, sampling: Sampling) -> None:
        import transformers as hf  # which takes seconds to import

        self._warpers: list[hf.LogitsProcessor] = [hf.TemperatureLogitsWarper(sampling.temperature)]
        if sampling.top_k is not None:
            self._warpers.append(hf.TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1:
            self._warpers.append(hf.TopPLogitsWarper(sampling.top_p))

    def __call__(
        self, scores: Float[Tensor, "row vocabulary"], generators: Sequence[torch.Generator]
    ) -> Float[Tensor, "row vocabulary"]:
        """The scores with noise; the tokens that the warpers leave out stay at minus infinity."""
        warped = scores.float()
        for warp in self._warpers:
            warped = warp(_NO_IDS, warped)
        noise = torch.empty(scores.shape)
        for row, generator in zip(noise.unbind(), generators, strict=True):
            row.uniform_(generator=generator)
        for _ in range(2):
            noise.clamp_(min=1e-20).log_().neg_()
        return warped + noise.to(warped.device)


_NO_IDS = torch.empty(0, 0, dtype=torch.long)  # what was written before, which none of the warpers reads
