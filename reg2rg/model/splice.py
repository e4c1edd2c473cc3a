"""Embeddings of a prompt: rows of the text table, with image and region tokens in their places."""

from collections.abc import Sequence
from itertools import accumulate

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from reg2rg.tokens import SpecialTokens


def splice(
    special_rows: Int[Tensor, "batch token"],
    text: Float[Tensor, "batch token embedding"],
    brackets: Float[Tensor, "4 embedding"],
    images: Float[Tensor, "batch latent embedding"],
    regions: Float[Tensor, "region tokens_per_region embedding"],
    region_counts: Sequence[int],
    tokens: SpecialTokens,
) -> Float[Tensor, "batch token embedding"]:
    """Puts image and region tokens in their places; rows are gathered, not multiplied out of a one-hot matrix.

    Args:
        special_rows: each id's place among the special tokens, that is, the id less the size of the text vocabulary;
            negative for text.
        text: embeddings of the text ids; anything elsewhere.
        brackets: image open, image close, region open, region close.
        images: each study's image latents.
        regions: latents and mask token of the present regions of all studies, packed one study after another.
        region_counts: how many of them belong to each study.
        tokens: the special tokens.

    Returns:
        the embeddings, in the text's dtype.

    Raises:
        ValueError: if a row is that of a region slot which its study does not fill.
    """
    index = _packed_rows(special_rows, region_counts, tokens)
    packed = torch.cat([brackets, rearrange(images, "b t e -> (b t) e"), rearrange(regions, "r t e -> (r t) e")])
    visual = functional.embedding(index.clamp(min=0), packed.to(text.dtype))
    return torch.where((special_rows < 0)[..., None], text, visual)


def _packed_rows(
    special_rows: Int[Tensor, "batch token"], region_counts: Sequence[int], tokens: SpecialTokens
) -> Int[Tensor, "batch token"]:
    """Where each special token lies once the images, then the regions, of all studies follow each other.

    The special tokens count from the start of their own study's image and regions; the studies before it push them on.
    """
    first_region = tokens.image_rows.stop
    ends = [first_region + count * tokens.tokens_per_region for count in region_counts]
    beyond = special_rows >= special_rows.new_tensor(ends)[:, None]
    if max(region_counts) > tokens.max_regions or beyond.any():
        raise ValueError(
            f"the prompts name a region slot that their study does not fill, or a study has more than "
            f"{tokens.max_regions} regions; the studies have {list(region_counts)}"
        )
    batch = len(region_counts)
    studies_before = torch.arange(batch, device=special_rows.device)[:, None]
    regions_before = special_rows.new_tensor([0, *accumulate(region_counts[:-1])])[:, None]
    image_shift = studies_before * tokens.num_latents
    region_shift = (batch - 1) * tokens.num_latents + regions_before * tokens.tokens_per_region
    shift = torch.where(special_rows >= first_region, region_shift, image_shift)
    return special_rows + torch.where(special_rows >= tokens.image_rows.start, shift, 0)
