"""Scores of texts against references, by a recipe.

A recipe names how each metric is computed, down to the tokenizer; figures of different recipes do not compare. Further
metrics register by name and are imported when they are asked for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

import numpy as np
from jaxtyping import Float

from reg2rg.errors import InputError
from reg2rg.evaluate.pairs import Pairs
from reg2rg.evaluate.statistics import MetricScores, StudySums, mean_sums

Metric = Callable[[Pairs], MetricScores]

TEXT_METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-1", "ROUGE-2", "ROUGE-L", "CIDEr")
"""In the order of the authors' tables."""

_PUBLISHED = {
    **dict.fromkeys(("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4"), "reg2rg.evaluate.bleu:bleu"),
    "METEOR": "reg2rg.evaluate.meteor:meteor",
    **dict.fromkeys(("ROUGE-1", "ROUGE-2", "ROUGE-L"), "reg2rg.evaluate.rouge:rouge"),
    "CIDEr": "reg2rg.evaluate.cider:cider",
}

RECIPES: dict[str, dict[str, str]] = {
    "published": _PUBLISHED,
    "stemmed": {
        **_PUBLISHED,
        **dict.fromkeys(("ROUGE-1", "ROUGE-2", "ROUGE-L"), "reg2rg.evaluate.rouge:stemmed_rouge"),
    },
}
"""By name: for each text metric the function, as ``module:function``. ``stemmed`` differs from ``published``, which
gives the figures of the paper, in ROUGE: on stems, with plain means."""

_FURTHER = dict.fromkeys(("BERTScore", "GREEN", "RadGraph", "RaTEScore"), "reg2rg.evaluate.radeval:{}")


def register_metric(name: str, home: str) -> None:
    """Adds a metric that every recipe knows.

    Args:
        name: under which `evaluate` and ``--metrics`` ask for it.
        home: ``module:function``; the function takes `Pairs` and gives `MetricScores` that have this name.
    """
    _FURTHER[name] = home


def metric_names() -> tuple[str, ...]:
    """All metrics that can be asked for."""
    return (*TEXT_METRICS, *_FURTHER)


@dataclass(frozen=True)
class TextScores:
    """Scores of a set of pairs.

    Attributes:
        per_report: by metric, the score of each pair.
        overall: by ``Overall_`` name, one figure for the set.
        sums: how means and overall figures follow from sums over the pairs; an overall figure that is only another
            estimate of a mean has none.
    """

    per_report: dict[str, Float[np.ndarray, " pair"]]
    overall: dict[str, float]
    sums: tuple[StudySums, ...]


def score_texts(
    references: Sequence[str],
    predictions: Sequence[str],
    recipe: str = "published",
    metrics: Sequence[str] = TEXT_METRICS,
) -> TextScores:
    """Scores each prediction against its reference; an empty prediction scores 0.

    Args:
        references: one text per pair, at least one pair.
        predictions: as many.
        recipe: a name in `RECIPES`.
        metrics: which to compute, of `metric_names`.

    Raises:
        InputError: if there is no such recipe or metric, or no metric at all.

    >>> scores = score_texts(["No effusion."], ["No large effusion."], metrics=["ROUGE-L"])
    >>> scores.per_report["ROUGE-L"].tolist()
    [0.8]
    """
    if not metrics:
        raise InputError(f"expected at least one metric, got none; choose from {', '.join(metric_names())}")
    homes = dict.fromkeys(find_home(name, recipe) for name in metrics)
    pairs = Pairs(references, predictions)
    found = [_load(home)(pairs) for home in homes]
    per_report = {name: scores.per_report[name] for name in metrics for scores in found if name in scores.per_report}
    overall = {f"Overall_{name}" for name in metrics}
    means = mean_sums(tuple(per_report), np.stack(list(per_report.values()), axis=1))
    return TextScores(
        per_report=per_report,
        overall={name: value for scores in found for name, value in scores.overall.items() if name in overall},
        sums=(means, *(scores.overall_sums for scores in found if scores.overall_sums)),
    )


def find_home(name: str, recipe: str) -> str:
    """Where a metric is computed.

    Raises:
        InputError: if there is no such recipe or metric.

    >>> find_home("CIDEr", "published")
    'reg2rg.evaluate.cider:cider'
    """
    if recipe not in RECIPES:
        raise InputError(f"unknown recipe {recipe!r}: expected one of {', '.join(RECIPES)}")
    home = RECIPES[recipe].get(name) or _FURTHER.get(name)
    if home is None:
        raise InputError(f"unknown metric {name!r}: expected some of {', '.join(metric_names())}")
    return home.format(name)


def _load(home: str) -> Metric:
    module, _, name = home.partition(":")
    metric: Metric = getattr(import_module(module), name)
    return metric
