"""Embeddings of a prompt: rows of the text table, with image and region tokens in their places."""

from collections.abc import Sequence
from itertools import accumulate

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from reg2rg.model.config import TokenLayout


def splice(
    token_ids: Int[Tensor, "batch token"],
    text: Float[Tensor, "batch token embedding"],
    brackets: Float[Tensor, "4 embedding"],
    images: Float[Tensor, "batch latent embedding"],
    regions: Float[Tensor, "region slot_token embedding"],
    region_counts: Sequence[int],
    layout: TokenLayout,
) -> Float[Tensor, "batch token embedding"]:
    """Puts image and region tokens in place of their ids; rows are gathered, not multiplied out of a one-hot matrix.

    Args:
        token_ids: the prompts' ids, by `layout`.
        text: embeddings of `text_ids(token_ids)`.
        brackets: image open, image close, region open, region close.
        images: each study's image latents.
        regions: latents and mask token of the present regions of all studies, packed one study after another.
        region_counts: how many of them belong to each study.
        layout: which id means what.

    Returns:
        the embeddings, in the text's dtype.

    Raises:
        ValueError: if an id is out of range, or names a region slot that its study does not fill.
    """
    rows = torch.cat([brackets, rearrange(images, "b l e -> (b l) e"), rearrange(regions, "r t e -> (r t) e")])
    index = _row_index(token_ids, region_counts, layout)
    visual = functional.embedding(index.clamp(min=0), rows.to(text.dtype))
    return torch.where((index < 0)[..., None], text, visual)


def text_ids(token_ids: Int[Tensor, "batch token"], layout: TokenLayout) -> Int[Tensor, "batch token"]:
    """The ids with 0 wherever an id is not text, so that the text table can be asked for all of them."""
    return torch.where(token_ids < layout.text, token_ids, 0)


def _row_index(
    token_ids: Int[Tensor, "batch token"], region_counts: Sequence[int], layout: TokenLayout
) -> Int[Tensor, "batch token"]:
    """Row of each id in the table brackets, images, regions; -1 for text."""
    batch = len(token_ids)
    if max(region_counts) > layout.regions:
        raise ValueError(f"a study has {max(region_counts)} regions; the model has slots for {layout.regions}")
    stops = token_ids.new_tensor([layout.region(count).start for count in region_counts])[:, None]
    wrong = (token_ids < 0) | (token_ids >= stops)
    if wrong.any():
        study, token = (int(i) for i in wrong.nonzero()[0])
        raise ValueError(
            f"token {token} of study {study} has id {int(token_ids[study, token])}; "
            f"expected 0 to {int(stops[study]) - 1}, as the study has {region_counts[study]} regions"
        )
    studies = torch.arange(batch, device=token_ids.device)[:, None]
    first_regions = token_ids.new_tensor([0, *accumulate(region_counts)][:batch])[:, None]
    # An image's and a region's ids count from the start of its own study: move them to where the study's rows lie.
    image_shift = studies * layout.latents
    region_shift = (batch - 1) * layout.latents + first_regions * layout.tokens_per_region
    row = token_ids - layout.image_open
    row = torch.where(token_ids >= layout.image.start, row + image_shift, row)
    row = torch.where(token_ids >= layout.image.stop, token_ids - layout.image_open + region_shift, row)
    return torch.where(row < 0, -1, row)
