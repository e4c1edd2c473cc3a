"""What a metric gives: a figure per report, and sums over studies from which figures of any resample follow.

Every figure of an evaluation is a function of sums over studies: a mean is one of scores and counts, corpus BLEU of
n-gram counts, an F1 of hits. So the sums are computed once per study, and a resample or an exchange of studies costs a
matrix product, not a new evaluation.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class StudySums:
    """Figures that follow from sums over studies.

    Attributes:
        names: of the figures.
        per_study: what each study adds.
        finish: sums, a row per draw, to figures, a row per draw and a column per name.
    """

    names: tuple[str, ...]
    per_study: Float[np.ndarray, "study sum"]
    finish: Callable[[Float[np.ndarray, "draw sum"]], Float[np.ndarray, "draw name"]]


@dataclass(frozen=True)
class MetricScores:
    """What one family of text metrics says of a set of pairs.

    Attributes:
        per_report: by metric, the score of each report.
        overall: by ``Overall_`` name, one figure for the whole set.
        overall_sums: how the overall figures follow from sums; None where they are the means of `per_report`.
    """

    per_report: dict[str, Float[np.ndarray, " report"]]
    overall: dict[str, float]
    overall_sums: StudySums | None = None


def score_sums(sums: StudySums) -> list[float]:
    """The figures of all studies together.

    >>> score_sums(mean_sums(("ROUGE-1",), np.array([[0.2], [0.4]])))
    [0.30000000000000004]
    """
    return [float(value) for value in sums.finish(sums.per_study.sum(axis=0, keepdims=True))[0]]


def mean_sums(names: tuple[str, ...], values: Float[np.ndarray, "study name"]) -> StudySums:
    """Means over studies; a study whose value is NaN has no part in them."""
    has_part = ~np.isnan(values)
    columns = np.concatenate([np.where(has_part, values, 0.0), has_part.astype(np.float64)], axis=1)
    return StudySums(names, columns, _means)


def _means(sums: Float[np.ndarray, "draw sum"]) -> Float[np.ndarray, "draw name"]:
    totals, counts = np.split(sums, 2, axis=1)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)
