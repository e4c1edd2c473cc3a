"""Intervals and tests by resampling whole studies, from sums that are computed once per study.

Studies are drawn, not regions or sentences: what comes from one patient stays together. A 95 % interval lies between
the 2.5th and the 97.5th percentile of 1000 resamples (Efron and Tibshirani 1993). Where all resamples agree, as with a
single study, they say nothing of how sure a figure is, and there is no interval. Two models are compared by paired
randomization: if it did not matter which of them wrote a report, exchanging theirs at random would change the
difference as much as it is large. p = (k + 1) / (draws + 1), where k draws reach the difference observed; draws in
which one of the two figures does not exist are not counted.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from reg2rg.evaluate.statistics import StudySums, score_sums

DRAWS = 1000
_ROUNDING = 1e-12

Interval = tuple[float, float]


@dataclass(frozen=True)
class Difference:
    """A figure of one model less that of another, on the same studies.

    Attributes:
        value: the difference; NaN where one of the figures does not exist.
        ci95: its bootstrap interval; None where there is no difference, or all resamples agree.
        p: of the paired randomization test; NaN where there is no difference.
    """

    value: float
    ci95: Interval | None
    p: float


class Bootstrap:
    """Resamples of a set of studies: the same for every figure, and the same for the same seed."""

    def __init__(self, num_studies: int, seed: int = 0, draws: int = DRAWS) -> None:
        generator = np.random.default_rng(seed)
        picks = generator.integers(num_studies, size=(draws, num_studies))
        flat = (picks + np.arange(draws)[:, None] * num_studies).ravel()
        counts = np.bincount(flat, minlength=draws * num_studies).reshape(draws, num_studies)
        self.weights: Float[np.ndarray, "draw study"] = counts.astype(np.float64)
        self._exchanges: Bool[np.ndarray, "draw study"] = generator.random((draws, num_studies)) < 0.5

    def intervals(self, sums: StudySums) -> dict[str, Interval | None]:
        """The 95 % interval of each figure; None where no resample has one, or all agree."""
        figures = sums.finish(self.weights @ sums.per_study)
        return dict(zip(sums.names, (_interval(column) for column in figures.T), strict=True))

    def compare(self, ours: StudySums, theirs: StudySums) -> dict[str, Difference]:
        """Each figure of ours less theirs."""
        values = np.array(score_sums(ours)) - np.array(score_sums(theirs))
        resampled = ours.finish(self.weights @ ours.per_study) - theirs.finish(self.weights @ theirs.per_study)
        exchanged = self._exchanges.astype(np.float64) @ (theirs.per_study - ours.per_study)
        first = ours.finish(ours.per_study.sum(axis=0) + exchanged)
        second = ours.finish(theirs.per_study.sum(axis=0) - exchanged)
        differences = np.abs(first - second)
        reached = (differences >= np.abs(values) - _ROUNDING).sum(axis=0)
        p = np.where(np.isnan(values), np.nan, (reached + 1) / ((~np.isnan(differences)).sum(axis=0) + 1))
        return {
            name: Difference(
                value=float(values[place]),
                ci95=None if np.isnan(values[place]) else _interval(resampled[:, place]),
                p=float(p[place]),
            )
            for place, name in enumerate(ours.names)
        }


def _interval(values: Float[np.ndarray, " draw"]) -> Interval | None:
    existing = values[~np.isnan(values)]
    if not existing.size:
        return None
    low, high = np.percentile(existing, [2.5, 97.5])
    return (float(low), float(high)) if high - low > _ROUNDING else None
