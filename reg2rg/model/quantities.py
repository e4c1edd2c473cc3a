"""How much of something: the median of what a model believes, where the likeliest word is a matter of wording."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reg2rg.vocabulary import Scale


class Quantities:
    """Chooses among words that say how much: whole numbers, and degrees from mild to severe.

    A size in mm is one of dozens of words, none of them likely: of a nodule that is surely 12 to 16 mm large, 6 mm may
    still be the likeliest single word. And *moderate* has hardly a synonym, while *mild* and *severe* share their
    probability with *slight* and *marked*, so that the likeliest word is *moderate* too often. The median of all that
    is believed has the least expected error (in absolute terms), whatever words there are for it.

    Args:
        scales: `vocabulary.scales` of the model's tokenizer.
    """

    def __init__(self, scales: Sequence[Scale]) -> None:
        self._scales = [
            (
                torch.tensor([id for step in scale for id in step], dtype=torch.long),
                torch.tensor([number for number, step in enumerate(scale) for _ in step], dtype=torch.long),
            )
            for scale in scales
        ]

    def __call__(
        self, scores: Float[Tensor, "row vocabulary"], drawn: Float[Tensor, "row vocabulary"]
    ) -> Int[Tensor, " row"]:
        """The token of each row.

        Args:
            scores: of the next token.
            drawn: the same, or with noise: where its highest is of a scale, the step is the median by `scores`, and the
                word the highest of that step; else the highest it is.
        """
        chosen = drawn.argmax(dim=-1)
        for ids, steps in self._scales:
            ids, steps = ids.to(chosen.device), steps.to(chosen.device)
            is_quantity = torch.isin(chosen, ids)
            if not is_quantity.any():
                continue
            believed = scores[:, ids].float().softmax(dim=-1)
            # A hair below a half, so that a step which reaches exactly that is taken in spite of rounding.
            below = believed.cumsum(dim=-1) < 0.5 - 1e-6
            median = steps[below.sum(dim=-1).clamp(max=len(ids) - 1)]
            is_other = steps != median[:, None]
            words = drawn[:, ids].masked_fill(is_other, -torch.inf)
            # Of a step that was not to be drawn from (top_p), the likeliest word.
            words = words.where(
                words.isfinite().any(dim=-1, keepdim=True), scores[:, ids].masked_fill(is_other, -torch.inf)
            )
            chosen = torch.where(is_quantity, ids[words.argmax(dim=-1)], chosen)
        return chosen
