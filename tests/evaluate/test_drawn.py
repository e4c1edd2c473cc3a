"""Reports of phantoms against what was drawn, on sets small enough to count by hand."""

import numpy as np
import pytest

from reg2rg.evaluate.drawn import DrawnReport, score_drawn
from reg2rg.phantom.finding import Finding
from reg2rg.phantom.report import write_report

EFFUSION = Finding("Pleural effusion", "pleura", "left", size_mm=70, amount="large")
SMALL_NODULE = Finding("Lung nodule", "lung", "left", "upper lobe", size_mm=5, detail="solid")
LARGE_NODULE = Finding("Lung nodule", "lung", "right", "lower lobe", size_mm=14, detail="solid")


def report(drawn: tuple[Finding, ...], **texts: str) -> DrawnReport:
    return DrawnReport(drawn, texts)


def test_counts_by_hand() -> None:
    scores = score_drawn(
        [
            report((EFFUSION,), pleura="There is a large pleural effusion on the left."),
            report((EFFUSION,), pleura="There is a small pleural effusion on the right."),
            report((), pleura="There is a small pleural effusion on the left."),
            report((EFFUSION,), pleura="No pleural effusion is seen."),
        ]
    )
    assert scores["studies"] == 4
    effusion = scores["per_abnormality"]["Pleural effusion"]
    assert (effusion["precision"], effusion["recall"], effusion["support"]) == (0.6667, 0.6667, 3)
    assert scores["micro"]["f1"] == effusion["f1"] == 0.6667
    assert scores["groups"]["large"]["f1"] == 0.6667
    assert scores["groups"]["calcifications"]["f1"] is None
    # Always stating it would score 2 * .75 / 1.75.
    assert scores["gain_over_always"]["Pleural effusion"]["value"] == pytest.approx(2 / 3 - 6 / 7, abs=1e-4)
    assert (scores["side"]["right"], scores["side"]["stated"]) == (0.5, 2)
    assert (scores["size"]["right"], scores["size"]["stated"]) == (0.5, 2)
    assert scores["distinct_texts"]["pleura"] == {"distinct": 1.0, "texts": 3}


def test_small_nodules_count_neither_way() -> None:
    says = "There is a nodule in the right lung."
    scores = score_drawn(
        [
            report((LARGE_NODULE,), lung=says),
            report((LARGE_NODULE,), lung="No nodule is seen."),
            report((SMALL_NODULE,), lung=says),
            report((SMALL_NODULE,), lung="No nodule is seen."),
            report((), lung=says),
        ]
    )
    nodules = scores["groups"]["large nodules"]
    assert (nodules["precision"], nodules["recall"], nodules["support"]) == (0.5, 0.5, 2)
    assert scores["per_abnormality"]["Lung nodule"]["support"] == 4


def test_the_truth_itself_scores_one() -> None:
    rng = np.random.default_rng(0)
    drawn = [(EFFUSION,), (LARGE_NODULE,), (EFFUSION, SMALL_NODULE), ()]
    scores = score_drawn([DrawnReport(findings, write_report(findings, rng)) for findings in drawn])
    assert scores["micro"]["f1"] == scores["macro"]["f1"] == 1.0
    assert scores["side"]["right"] == scores["size"]["right"] == 1.0


def test_gains_over_a_control() -> None:
    ours = [report((EFFUSION,), pleura="There is a large pleural effusion on the left.")] * 6 + [
        report((), pleura="No pleural effusion is seen.")
    ] * 6
    blind = [DrawnReport(one.drawn, {"pleura": "There is a large pleural effusion on the left."}) for one in ours]
    scores = score_drawn(ours, blind)
    gain = scores["gain_over_control"]["Pleural effusion"]
    assert gain["value"] == scores["gain_over_always"]["Pleural effusion"]["value"] == pytest.approx(1 / 3, abs=1e-4)
    assert gain["ci95"][0] > 0 and gain["p"] < 0.05
    assert scores["control"]["micro"]["f1"] == pytest.approx(2 / 3, abs=1e-4)
