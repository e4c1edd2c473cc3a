"""Precision, recall and F1 from counts: of abnormalities in texts, of regions that are named.

Rates are computed from sums over studies with any leading axes, so that a thousand resamples are one call. A rate that
does not exist is NaN, never 0: precision where nothing is predicted, recall and F1 where the reference has nothing. In
macro and weighted averages such a precision counts as 0, as in scikit-learn and the published tables.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Num, Shaped
from scipy.special import betaincinv

from reg2rg.evaluate.bootstrap import Interval
from reg2rg.evaluate.statistics import StudySums

MEASURES = ("precision", "recall", "f1")


@dataclass(frozen=True)
class ClassRates:
    """Rates per class, and their averages; the last axis of each array is precision, recall, F1.

    Attributes:
        per_class: of each class.
        micro: from the counts of all classes added.
        macro: means over the classes that the reference has at all.
        weighted: means over classes, weighted by how often the reference has them.
    """

    per_class: Float[np.ndarray, "*draws label 3"]
    micro: Float[np.ndarray, "*draws 3"]
    macro: Float[np.ndarray, "*draws 3"]
    weighted: Float[np.ndarray, "*draws 3"]


def class_rates(
    hits: Num[np.ndarray, "*draws label"],
    predicted: Num[np.ndarray, "*draws label"],
    referenced: Num[np.ndarray, "*draws label"],
    supported: Bool[np.ndarray, " label"] | None = None,
) -> ClassRates:
    """Rates from how often each class is in both, in the prediction, in the reference.

    Args:
        hits: how often a class is in both.
        predicted: how often it is in the prediction.
        referenced: how often it is in the reference.
        supported: the classes of the macro average; those that `referenced` has if None. For resamples: what all
            studies together have, as a resample may lack a class, and its average be one of fewer and easier classes.

    >>> rates = class_rates(np.array([1, 0]), np.array([2, 1]), np.array([1, 0]))
    >>> rates.micro.round(3).tolist(), rates.macro.round(3).tolist(), rates.per_class[1].tolist()
    ([0.333, 1.0, 0.5], [0.5, 1.0, 0.667], [0.0, nan, nan])
    """
    per_class = _rates(hits, predicted, referenced)
    counted = np.nan_to_num(per_class, nan=0.0)
    in_macro = np.broadcast_to(referenced > 0 if supported is None else supported, referenced.shape)
    weights = referenced.astype(np.float64)
    return ClassRates(
        per_class=per_class,
        micro=_rates(*(counts.sum(axis=-1, keepdims=True) for counts in (hits, predicted, referenced)))[..., 0, :],
        macro=_mean(counted, in_macro.astype(np.float64)),
        weighted=_mean(counted, weights),
    )


def _rates(
    hits: Num[np.ndarray, "*shape"], predicted: Num[np.ndarray, "*shape"], referenced: Num[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape 3"]:
    hits = np.asarray(hits, np.float64)
    predicted, referenced = np.asarray(predicted, np.float64), np.asarray(referenced, np.float64)
    f1 = np.where(referenced > 0, _quotient(2 * hits, predicted + referenced), np.nan)
    return np.stack([_quotient(hits, predicted), _quotient(hits, referenced), f1], axis=-1)


def _mean(
    per_class: Float[np.ndarray, "*draws label 3"], weights: Float[np.ndarray, "*draws label"]
) -> Float[np.ndarray, "*draws 3"]:
    total = weights.sum(axis=-1, keepdims=True)
    return _quotient((per_class * weights[..., None]).sum(axis=-2), np.broadcast_to(total, (*total.shape[:-1], 3)))


def _quotient(
    numerator: Float[np.ndarray, "*shape"], denominator: Float[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape"]:
    """NaN where the denominator is 0."""
    return numerator / np.where(denominator == 0, np.nan, denominator)


AVERAGES = ("micro", "macro", "weighted")


def rate_sums(
    labels: tuple[str, ...],
    hits: Shaped[np.ndarray, "study label"],
    predicted: Shaped[np.ndarray, "study label"],
    referenced: Shaped[np.ndarray, "study label"],
) -> StudySums:
    """Figures ``micro precision`` ... and those of each label, from what each study has: booleans or counts.

    The macro average of every resample is over the classes that the references of all studies have.
    """
    names = tuple(f"{group} {measure}" for group in (*AVERAGES, *labels) for measure in MEASURES)
    counts = np.concatenate([hits, predicted, referenced], axis=1).astype(np.float64)
    return StudySums(names, counts, partial(_finish, np.asarray(referenced).sum(axis=0) > 0))


def _finish(
    supported: Bool[np.ndarray, " label"], sums: Float[np.ndarray, "draw sum"]
) -> Float[np.ndarray, "draw name"]:
    hits, predicted, referenced = np.split(sums, 3, axis=1)
    rates = class_rates(hits, predicted, referenced, supported)
    averages = np.stack([rates.micro, rates.macro, rates.weighted], axis=1)
    return np.concatenate([averages, rates.per_class], axis=1).reshape(len(sums), -1)


def exact_intervals(sums: StudySums) -> dict[str, Interval | None]:
    """Exact 95 % intervals of the rates of single labels, by the name of the figure; None for a rate of nothing.

    A resample of studies knows no other outcome than those seen: a label that is never found would score 0 for certain.
    Clopper and Pearson (Biometrika 1934) ask instead which shares could have given the count. Precision and recall are
    shares of studies; F1 = 2J / (1 + J) rises with the share J of studies with the label in both texts among those with
    it in either.

    Args:
        sums: as `rate_sums` gives them. A label that any study has more than once is left out: its counts are no
            counts of studies.

    >>> sums = rate_sums(("a",), *(np.array([[hit], [1]]) for hit in (0, 0, 1)))
    >>> [tuple(round(limit, 3) for limit in exact_intervals(sums)[f"a {rate}"]) for rate in ("precision", "recall")]
    [(0.025, 1.0), (0.013, 0.987)]
    """
    per_study = np.stack(np.split(sums.per_study, 3, axis=1))
    hits, predicted, referenced = per_study.sum(axis=1)
    either = np.where(referenced > 0, predicted + referenced - hits, 0)
    low, high = _clopper_pearson(hits, np.stack([predicted, referenced, either]))
    for limits in (low, high):
        limits[2] = 2 * limits[2] / (1 + limits[2])
    names = np.reshape(sums.names, (-1, len(MEASURES)))[len(AVERAGES) :]
    at_most_once = (per_study <= 1).all(axis=(0, 1))
    return {
        str(names[label, rate]): None
        if np.isnan(low[rate, label])
        else (float(low[rate, label]), float(high[rate, label]))
        for label in np.flatnonzero(at_most_once)
        for rate in range(len(MEASURES))
    }


def _clopper_pearson(
    hits: Float[np.ndarray, " label"], trials: Float[np.ndarray, "rate label"]
) -> Float[np.ndarray, "2 rate label"]:
    """Lower and upper limits, NaN for no trials; they are quantiles of beta distributions (Brown et al. 2001)."""
    low = np.where(hits > 0, betaincinv(hits, trials - hits + 1, 0.025), 0.0)
    high = np.where(hits < trials, betaincinv(hits + 1, trials - hits, 0.975), 1.0)
    return np.where(trials > 0, np.stack([low, high]), np.nan)
