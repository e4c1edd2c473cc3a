"""Text metrics as rewards, for reinforcement learning on reports."""

from collections.abc import Callable, Sequence
from typing import Any

from reg2rg.errors import InputError
from reg2rg.evaluate.text import score_texts
from reg2rg.prompt import strip_region_text

Completion = str | Sequence[dict[str, Any]]


def make_reward_fn(
    metric: str = "ROUGE-L", reference_column: str = "reference", recipe: str = "published"
) -> Callable[..., list[float]]:
    """A reward function as TRL's trainers call it: one float per completion.

    The trainer hands over the completions, as texts or as conversations whose last message counts, and the columns of
    the dataset by name. Region headings are taken off both sides.

    Args:
        metric: a text metric that scores a pair by itself.
        reference_column: the column with the references.
        recipe: how the metric is computed.

    Raises:
        InputError: for CIDEr, which depends on the other texts of the batch; from the function, if the column is
            missing.

    >>> reward = make_reward_fn("ROUGE-L")
    >>> reward(completions=["No effusion.", ""], reference=["No effusion.", "Clear."])
    [1.0, 0.0]
    """
    if metric == "CIDEr":
        raise InputError("CIDEr cannot be a reward: it depends on all references of a set; take ROUGE-L or METEOR")

    def reward(completions: Sequence[Completion], **columns: Any) -> list[float]:
        references = columns.get(reference_column)
        if references is None:
            raise InputError(f"reward {metric}: the dataset has no column {reference_column!r} with the references")
        if not completions:
            return []
        texts = [strip_region_text(_text_of(completion)) for completion in completions]
        scores = score_texts([strip_region_text(text) for text in references], texts, recipe, [metric])
        return [float(score) for score in scores.per_report[metric]]

    reward.__name__ = f"reward_{metric}"
    return reward


def _text_of(completion: Completion) -> str:
    return completion if isinstance(completion, str) else str(completion[-1]["content"])
