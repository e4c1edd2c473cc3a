"""Whole numbers as a model believes in them: the median, where the likeliest of many is a matter of luck."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


class WholeNumbers:
    """Chooses among the tokens that are whole numbers.

    A size in mm is one of dozens of words, none of them likely: of a nodule that is surely 12 to 16 mm large, 6 mm may
    still be the likeliest single word. The median has the least expected error (in absolute terms), and its class of
    size is right more often.

    Args:
        ids: the tokens that are whole numbers, from the smallest to the largest (`vocabulary.whole_numbers`).
    """

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids = torch.tensor(ids, dtype=torch.long)

    def __call__(self, scores: Float[Tensor, "row vocabulary"], chosen: Int[Tensor, " row"]) -> Int[Tensor, " row"]:
        """The chosen tokens, where they are numbers the median of all numbers by their probabilities."""
        ids = self._ids.to(chosen.device)
        is_number = torch.isin(chosen, ids)
        if not is_number.any():
            return chosen
        below = scores[:, ids].float().softmax(dim=-1).cumsum(dim=-1)
        # A hair below a half, so that a number of exactly half the probability is reached in spite of rounding.
        medians = ids[(below < 0.5 - 1e-6).sum(dim=-1).clamp(max=len(ids) - 1)]
        return torch.where(is_number, medians, chosen)
