"""Evaluation of generated reports: text metrics by the published recipes, regions, abnormalities, and their intervals.

>>> scores = evaluate(["Heart is large.", "No effusion."], ["Heart is normal.", "No effusion."], metrics=["ROUGE-1"])
>>> round(scores.text.metrics["ROUGE-1"].mean, 3)
0.833
"""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reg2rg.evaluate.reward import make_reward_fn
    from reg2rg.evaluate.scores import Scores
    from reg2rg.evaluate.text import register_metric

_HOMES = {
    "Scores": "reg2rg.evaluate.scores",
    "make_reward_fn": "reg2rg.evaluate.reward",
    "register_metric": "reg2rg.evaluate.text",
}

__all__ = ["Scores", "evaluate", "make_reward_fn", "register_metric"]


def evaluate(
    references: Sequence[str],
    predictions: Sequence[str],
    metrics: Sequence[str] | None = None,
    *,
    recipe: str = "published",
    labeler: str = "none",
    seed: int = 0,
) -> "Scores":
    """Scores generated reports against references.

    Args:
        references: one text per study, none of them empty; with or without region headings.
        predictions: as many, in the same order; an empty one counts as missed.
        metrics: names of text metrics (`reg2rg.evaluate.text.metric_names`); the published nine if None.
        recipe: how they are computed, a name in `reg2rg.evaluate.text.RECIPES`.
        labeler: ``rules``, ``radbert:DIR``, or ``none`` for no clinical scores.
        seed: of the bootstrap.

    Raises:
        InputError: if the numbers of texts differ, there are none, a reference is empty, or a name is unknown.
    """
    from reg2rg.errors import InputError
    from reg2rg.evaluate.evaluation import EvaluationSettings, evaluate_table
    from reg2rg.evaluate.tables import ReportTable
    from reg2rg.evaluate.text import TEXT_METRICS

    if len(references) != len(predictions):
        raise InputError(f"expected as many predictions as references, got {len(predictions)} and {len(references)}")
    if not references:
        raise InputError("expected at least one reference and prediction, got none")
    empty = next((place for place, text in enumerate(references) if not text.strip()), None)
    if empty is not None:
        raise InputError(f"reference {empty} is empty: give its text or leave the pair out")
    table = ReportTable("texts", tuple(map(str, range(len(references)))), tuple(references), tuple(predictions))
    settings = EvaluationSettings(
        recipe, TEXT_METRICS if metrics is None else tuple(metrics), labeler=labeler, seed=seed
    )
    return evaluate_table(table, settings)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'reg2rg.evaluate' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
