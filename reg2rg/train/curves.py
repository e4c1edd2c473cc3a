"""The loss of a run, as a table and as a picture."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reg2rg.files import staged_file


def write_curves(folder: Path, history: Sequence[dict[str, Any]]) -> None:
    """Writes losses.csv (step, loss, learning_rate, held_out_loss) and losses.png from a trainer's log."""
    rows: dict[int, dict[str, Any]] = {}
    for entry in history:
        found = {column: entry[key] for key, column in _COLUMNS.items() if key in entry}
        if "loss" in found or "held_out_loss" in found:
            rows.setdefault(entry["step"], {"step": entry["step"]}).update(found)
    with staged_file(folder / "losses.csv") as staging, staging.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["step", *_COLUMNS.values()])
        writer.writeheader()
        writer.writerows(rows[step] for step in sorted(rows))
    if rows:
        _draw(folder / "losses.png", rows)


# What the trainer calls it, and what we do.
_COLUMNS = {"loss": "loss", "learning_rate": "learning_rate", "eval_loss": "held_out_loss"}


def _draw(path: Path, rows: dict[int, dict[str, Any]]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for column, name, style in (("loss", "training", "-"), ("held_out_loss", "held-out studies", "o-")):
        steps = [step for step in sorted(rows) if column in rows[step]]
        if steps:
            axes.plot(steps, [rows[step][column] for step in steps], style, markersize=4, label=name)
    axes.set(xlabel="optimizer step", ylabel="loss", yscale="log")
    axes.legend()
    axes.grid(alpha=0.3)
    with staged_file(path) as staging:
        figure.savefig(staging, dpi=120, format="png")
