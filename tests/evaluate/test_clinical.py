"""Precision, recall and F1 of the 18 abnormalities, on counts worked out by hand and on the published figures."""

from pathlib import Path

import numpy as np
import pytest

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.evaluate.clinical import (
    Labeler,
    Rates,
    classification_report,
    clinical_scores,
    clinical_statistics,
    label_table,
)
from reg2rg.evaluate.labeler import RuleLabeler
from reg2rg.evaluate.labels import read_inferred_labels

NODULE, EFFUSION = ABNORMALITY_NAMES.index("Lung nodule"), ABNORMALITY_NAMES.index("Pleural effusion")


def labels(studies: int, asserted: dict[int, list[int]]) -> np.ndarray:
    """Labels of so many studies; per abnormality those studies that have it."""
    table = np.zeros((studies, 18), bool)
    for abnormality, rows in asserted.items():
        table[rows, abnormality] = True
    return table


def test_averages_by_hand() -> None:
    reference = labels(4, {NODULE: [0, 1, 2], EFFUSION: [3]})
    predicted = labels(4, {NODULE: [0, 3], EFFUSION: [3], 0: [1]})
    scores = clinical_scores(reference, predicted, "rules/1")
    assert scores.labeler == "rules/1"
    assert scores.per_abnormality["Lung nodule"] == Rates(1 / 2, 1 / 3, 2 / 5, 3)
    assert scores.per_abnormality["Pleural effusion"] == Rates(1.0, 1.0, 1.0, 1)
    medical_material = scores.per_abnormality["Medical material"]
    assert (medical_material.precision, medical_material.support) == (0.0, 0)
    assert np.isnan([medical_material.recall, medical_material.f1]).all()
    assert scores.micro == Rates(2 / 4, 2 / 4, 2 / 4, 4)
    assert scores.macro == Rates(0.75, (1 / 3 + 1) / 2, 0.7, 4)
    assert scores.weighted.f1 == pytest.approx((3 * 0.4 + 1) / 4)
    assert (scores.weighted.precision, scores.weighted.recall) == (0.625, 0.5)
    assert len(scores.unsupported) == 16
    assert "Lung nodule" not in scores.unsupported


def test_rates_of_nothing_do_not_exist_but_are_zero_in_the_published_tables() -> None:
    empty = labels(3, {})
    scores = clinical_scores(empty, empty, "rules/1")
    for rates in (scores.micro, scores.macro, scores.weighted, *scores.per_abnormality.values()):
        assert np.isnan([rates.precision, rates.recall, rates.f1]).all()
    assert "nan" not in classification_report(empty, empty)
    assert "Weighted Average,0.0,0.0,0.0,0" in label_table(empty, empty)


def test_nothing_predicted_has_no_precision_and_counts_as_missed() -> None:
    scores = clinical_scores(labels(3, {NODULE: [0, 1]}), labels(3, {}), "rules/1")
    nodule = scores.per_abnormality["Lung nodule"]
    assert np.isnan(nodule.precision)
    assert (nodule.recall, nodule.f1, scores.macro.precision) == (0, 0, 0)


def test_statistics_are_the_labels_of_both_sides() -> None:
    labeler = RuleLabeler()
    assert isinstance(labeler, Labeler)
    reference, predicted = clinical_statistics(["Nodule in the lung.", "Clear."], ["", "Pleural effusion."], labeler)
    np.testing.assert_array_equal(reference, labels(2, {NODULE: [0]}))
    np.testing.assert_array_equal(predicted, labels(2, {EFFUSION: [1]}))


def test_published_tables_follow_exactly(shared: Path) -> None:
    folder = shared / "reports/ctrg"
    inferred = read_inferred_labels(folder / "label_inferred.csv")
    pair = inferred.reference_labels, inferred.predicted_labels
    assert label_table(*pair) == (folder / "metrics_manual.csv").read_text(encoding="utf-8")
    assert classification_report(*pair) == (folder / "test_classification_report.txt").read_text(encoding="utf-8")
    scores = clinical_scores(*pair, "radbert")
    assert scores.micro.f1 == pytest.approx(2 * 94 / (173 + 509), abs=0)
    assert scores.unsupported == ("Hiatal hernia", "Atelectasis")
