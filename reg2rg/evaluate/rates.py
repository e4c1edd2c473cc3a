"""Precision, recall and F1 from counts: of abnormalities in texts, of regions that are named.

All functions take sums over studies with any leading axes, so that a thousand resamples are one call.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Num, Shaped

from reg2rg.evaluate.ngrams import ratio
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
    """Rates from how often each class is in both, in the prediction, in the reference; 0 for 0/0.

    Args:
        hits: how often a class is in both.
        predicted: how often it is in the prediction.
        referenced: how often it is in the reference.
        supported: the classes of the macro average; those that `referenced` has if None. For resamples: what all
            studies together have, as a resample may lack a class, and its average be one of fewer and easier classes.

    >>> rates = class_rates(np.array([1, 0]), np.array([2, 1]), np.array([1, 0]))
    >>> rates.micro.round(3).tolist(), rates.macro.round(3).tolist()
    ([0.333, 1.0, 0.5], [0.5, 1.0, 0.667])
    """
    per_class = _rates(hits, predicted, referenced)
    in_macro = np.broadcast_to(referenced > 0 if supported is None else supported, referenced.shape)
    weights = referenced.astype(np.float64)
    return ClassRates(
        per_class=per_class,
        micro=_rates(*(counts.sum(axis=-1, keepdims=True) for counts in (hits, predicted, referenced)))[..., 0, :],
        macro=_mean(per_class, in_macro.astype(np.float64)),
        weighted=_mean(per_class, weights),
    )


def _rates(
    hits: Num[np.ndarray, "*shape"], predicted: Num[np.ndarray, "*shape"], referenced: Num[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape 3"]:
    hits = np.asarray(hits, np.float64)
    predicted, referenced = np.asarray(predicted, np.float64), np.asarray(referenced, np.float64)
    return np.stack([ratio(hits, predicted), ratio(hits, referenced), ratio(2 * hits, predicted + referenced)], axis=-1)


def _mean(
    per_class: Float[np.ndarray, "*draws label 3"], weights: Float[np.ndarray, "*draws label"]
) -> Float[np.ndarray, "*draws 3"]:
    total = weights.sum(axis=-1, keepdims=True)
    return ratio((per_class * weights[..., None]).sum(axis=-2), np.broadcast_to(total, (*total.shape[:-1], 3)))


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
