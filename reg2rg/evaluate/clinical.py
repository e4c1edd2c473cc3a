"""Clinical efficacy: do reference and prediction assert the same of the 18 abnormalities?

A labeler reads each text; precision, recall and F1 follow from what both texts assert, per abnormality and averaged in
three ways. The macro average, which weighs each abnormality alike, is much lower than the micro average for reports
that leave out what is rare, and papers do not always say which of them they give. Figures of two labelers cannot be
compared, so every result names its labeler.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.evaluate.rates import class_rates

Labels = Bool[np.ndarray, "study abnormality"]


@runtime_checkable
class Labeler(Protocol):
    """Something that reads from a report which of the 18 abnormalities it asserts.

    Attributes:
        name: what results name it by, version included.
    """

    name: str

    def label(self, texts: Sequence[str]) -> Labels:
        """One row per text, in the order of ABNORMALITY_NAMES."""


@dataclass(frozen=True)
class Rates:
    """Precision, recall and F1.

    Attributes:
        precision: share of the predicted that is in the reference; NaN where nothing is predicted.
        recall: share of the reference that is predicted; NaN where the reference has nothing.
        f1: 2 hits / (predicted + referenced), the harmonic mean of both; NaN where the reference has nothing.
        support: how often the reference asserts it.
    """

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class ClinicalScores:
    """Clinical efficacy of a set of reports.

    Attributes:
        labeler: whose labels these are.
        micro: all abnormalities of all studies pooled.
        macro: the mean over the abnormalities that the references hold.
        weighted: the mean over the abnormalities, weighted by support.
        per_abnormality: by name, in the order of ABNORMALITY_NAMES.
    """

    labeler: str
    micro: Rates
    macro: Rates
    weighted: Rates
    per_abnormality: dict[str, Rates]

    @property
    def unsupported(self) -> tuple[str, ...]:
        """The abnormalities that no reference asserts, which the macro average leaves out."""
        return tuple(name for name, rates in self.per_abnormality.items() if not rates.support)


def clinical_statistics(
    references: Sequence[str], predictions: Sequence[str], labeler: Labeler
) -> tuple[Labels, Labels]:
    """The labels of references and predictions, a row per study."""
    return labeler.label(references), labeler.label(predictions)


def clinical_scores(reference_labels: Labels, predicted_labels: Labels, labeler: str) -> ClinicalScores:
    """Precision, recall and F1, per abnormality and averaged.

    Args:
        reference_labels: what the references assert.
        predicted_labels: what the predictions assert, in the same order of studies.
        labeler: the name of the labeler that both come from.

    >>> reference = np.zeros((4, 18), bool)
    >>> prediction = reference.copy()
    >>> reference[:, 9] = [True, True, True, False]
    >>> prediction[:, 9] = [True, False, False, True]
    >>> scores = clinical_scores(reference, prediction, "rules/1")
    >>> scores.per_abnormality["Lung nodule"]
    Rates(precision=0.5, recall=0.3333333333333333, f1=0.4, support=3)
    >>> scores.macro.f1, len(scores.unsupported)
    (0.4, 17)
    """
    hits, predicted, referenced = (
        labels.sum(axis=0, keepdims=True)
        for labels in (reference_labels & predicted_labels, predicted_labels, reference_labels)
    )
    values = class_rates(hits, predicted, referenced)
    total = int(referenced.sum())
    return ClinicalScores(
        labeler,
        micro=_rates(values.micro[0], total),
        macro=_rates(values.macro[0], total),
        weighted=_rates(values.weighted[0], total),
        per_abnormality={
            name: _rates(values.per_class[0, i], int(referenced[0, i])) for i, name in enumerate(ABNORMALITY_NAMES)
        },
    )


def _rates(values: np.ndarray, support: int) -> Rates:
    precision, recall, f1 = values.tolist()
    return Rates(precision, recall, f1, support)


def _zero_filled(rates: Rates) -> Rates:
    return _rates(np.nan_to_num([rates.precision, rates.recall, rates.f1], nan=0.0), rates.support)


def classification_report(reference_labels: Labels, predicted_labels: Labels) -> str:
    """The table that scikit-learn prints and the authors publish as ``test_classification_report.txt``.

    In it a rate that does not exist is 0. Its macro average runs over all 18 abnormalities, those without support
    included, so that it is lower than ClinicalScores.macro. Its last row is the mean over studies.
    """
    scores = clinical_scores(reference_labels, predicted_labels, "")
    rows = {name: _zero_filled(rates) for name, rates in scores.per_abnormality.items()}
    total = scores.micro.support
    hits = (reference_labels & predicted_labels).sum(axis=1, keepdims=True)
    per_study = class_rates(
        hits, predicted_labels.sum(axis=1, keepdims=True), reference_labels.sum(axis=1, keepdims=True)
    )
    every = np.array([(rates.precision, rates.recall, rates.f1) for rates in rows.values()])
    averages = {
        "micro avg": _zero_filled(scores.micro),
        "macro avg": _rates(every.mean(axis=0), total),
        "weighted avg": _zero_filled(scores.weighted),
        "samples avg": _rates(np.nan_to_num(per_study.micro, nan=0.0).mean(axis=0), total),
    }
    width = max(len(name) for name in (*rows, *averages))
    lines = [f"{'':{width}}  {'precision':>9} {'recall':>9} {'f1-score':>9} {'support':>9}"]
    for group in (rows, averages):
        lines.append("")
        for name, rates in group.items():
            values = " ".join(f"{value:9.2f}" for value in (rates.precision, rates.recall, rates.f1))
            lines.append(f"{name:>{width}}  {values} {rates.support:9}")
    return "\n".join(lines) + "\n"


def label_table(reference_labels: Labels, predicted_labels: Labels) -> str:
    """The table that the authors publish as ``metrics_manual.csv``: all digits, per abnormality and weighted.

    As there, a rate that does not exist is 0, and F1 is computed from precision and recall: from counts it may differ
    in the last of 17 digits.
    """
    scores = clinical_scores(reference_labels, predicted_labels, "")
    total = scores.micro.support
    weighted = np.zeros(3)
    lines = ["Label,Precision,Recall,F1 Score,Support"]
    for name, rates in ((name, _zero_filled(rates)) for name, rates in scores.per_abnormality.items()):
        both = rates.precision + rates.recall
        f1 = 2 * rates.precision * rates.recall / both if both else 0.0
        lines.append(f"{name},{rates.precision},{rates.recall},{f1},{rates.support}")
        weighted += np.array([rates.precision, rates.recall, f1]) * rates.support
    precision, recall, f1 = (weighted / total if total else weighted).tolist()
    return "\n".join([*lines, f"Weighted Average,{precision},{recall},{f1},{total}"]) + "\n"
