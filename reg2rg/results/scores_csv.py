"""``scores.csv``: text scores in the authors' layout, one row of ``mean±std`` and overall figures, four decimals.

``scores_regions.csv`` has the same columns after ``region``, a row per region.
"""

import csv
from pathlib import Path

from reg2rg.evaluate.scores import Scores, TextFigures


def write_scores_csv(path: Path, scores: Scores) -> None:
    """Writes the row of whole reports."""
    _write(path, [scores_row(scores.text)])


def write_regions_csv(path: Path, scores: Scores) -> None:
    """Writes a row per region."""
    columns = list(scores_row(scores.text))
    rows = [{"region": name, **scores_row(region.text)} for name, region in scores.regions.items()]
    _write(path, rows, ["region", *columns])


def scores_row(text: TextFigures) -> dict[str, str]:
    """The cells of one row.

    >>> from reg2rg.evaluate.scores import OverallFigure, TextFigure
    >>> scores_row(TextFigures({"BLEU-1": TextFigure(0.49628, 0.17183, None, 361)}, {}))
    {'BLEU-1': '0.4963±0.1718'}
    """
    means = {name: f"{figure.mean:.4f}±{figure.std:.4f}" for name, figure in text.metrics.items()}
    return means | {name: f"{figure.value:.4f}" for name, figure in text.overall.items()}


def _write(path: Path, rows: list[dict[str, str]], columns: list[str] | None = None) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns or list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
