"""Scores as tables: a file in the authors' layout, and files with what that layout has no place for.

``scores.csv``: one row of text scores as the authors write them: ``mean±std`` and overall figures, four decimals.
``scores_regions.csv`` has the same columns after ``region``, a row per region. All digits, and empty cells for figures
that do not exist, are in ``scores_per_study.csv`` (a row per study), ``scores_abnormalities.csv`` and
``scores_recognition.csv`` (a row per average and per abnormality or region).
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from reg2rg.evaluate.bootstrap import Interval
from reg2rg.evaluate.scores import ClinicalFigures, Rating, RecognitionFigures, Scores, TextFigures
from reg2rg.results.figures import exists


def write_tables(folder: Path, scores: Scores) -> None:
    """Writes all tables that there is something for."""
    _write(folder / "scores.csv", [scores_row(scores.text)])
    if scores.regions:
        rows = [{"region": name, **scores_row(region.text)} for name, region in scores.regions.items()]
        _write(folder / "scores_regions.csv", rows)
    _write(folder / "scores_per_study.csv", study_rows(scores))
    if scores.clinical:
        _write(folder / "scores_abnormalities.csv", abnormality_rows(scores.clinical))
    if scores.recognition:
        _write(folder / "scores_recognition.csv", recognition_rows(scores.recognition))


def scores_row(text: TextFigures) -> dict[str, str]:
    """The cells of one row in the authors' layout.

    >>> from reg2rg.evaluate.scores import OverallFigure, TextFigure
    >>> scores_row(TextFigures({"BLEU-1": TextFigure(0.49628, 0.17183, None, 361)}, {}))
    {'BLEU-1': '0.4963±0.1718'}
    """
    means = {name: f"{figure.mean:.4f}±{figure.std:.4f}" for name, figure in text.metrics.items()}
    return means | {name: f"{figure.value:.4f}" for name, figure in text.overall.items()}


def study_rows(scores: Scores) -> list[dict[str, str]]:
    """The text scores of each study, empty where its reference has no text, and how many abnormalities it has.

    With labels there are three columns more: abnormalities in both texts, in the prediction, in the reference.
    """
    counts: dict[str, list[int]] = {}
    if scores.labels:
        references, predictions = scores.labels.references, scores.labels.predictions
        columns = {"hits": references & predictions, "predicted": predictions, "referenced": references}
        counts = {name: labels.sum(axis=1).tolist() for name, labels in columns.items()}
    return [
        {
            "AccNum": key,
            **{name: _cell(float(values[row])) for name, values in scores.per_report.items()},
            **{name: str(values[row]) for name, values in counts.items()},
        }
        for row, key in enumerate(scores.keys)
    ]


def abnormality_rows(clinical: ClinicalFigures) -> list[dict[str, str]]:
    """Averages, then each abnormality."""
    averages = {"micro average": clinical.micro, "macro average": clinical.macro, "weighted average": clinical.weighted}
    return _rating_rows("abnormality", {**averages, **clinical.per_abnormality})


def recognition_rows(recognition: RecognitionFigures) -> list[dict[str, str]]:
    """Averages, then each name; the mean over reports is of recall, which of one report is its accuracy."""
    averages = {"micro average": recognition.micro, "macro average": recognition.macro}
    rows = _rating_rows("region", {**averages, **recognition.per_region})
    of_reports = {"recall": _cell(recognition.accuracy), **_limits("recall", recognition.accuracy_ci95)}
    return [{**dict.fromkeys(rows[0], ""), "region": "mean over reports", **of_reports}, *rows]


def _rating_rows(first: str, ratings: Mapping[str, Rating]) -> list[dict[str, str]]:
    return [
        {
            first: name,
            "precision": _cell(rating.precision),
            **_limits("precision", rating.precision_ci95),
            "recall": _cell(rating.recall),
            **_limits("recall", rating.recall_ci95),
            "f1": _cell(rating.f1),
            **_limits("f1", rating.f1_ci95),
            "support": str(rating.support),
        }
        for name, rating in ratings.items()
    ]


def _limits(name: str, limits: Interval | None) -> dict[str, str]:
    low, high = limits or (None, None)
    return {f"{name}_ci95_low": _cell(low), f"{name}_ci95_high": _cell(high)}


def _cell(value: float | None) -> str:
    return repr(value) if exists(value) else ""


def _write(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
