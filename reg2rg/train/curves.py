"""The loss of a run, as a table and as a picture."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reg2rg.files import staged_file


def write_curves(folder: Path, history: Sequence[dict[str, Any]]) -> None:
    """Writes losses.csv (step, loss, learning_rate) and losses.png from a trainer's log."""
    rows = [(entry["step"], entry["loss"], entry["learning_rate"]) for entry in history if "loss" in entry]
    with staged_file(folder / "losses.csv") as staging, staging.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("step", "loss", "learning_rate"), *rows])
    if rows:
        _draw(folder / "losses.png", [step for step, _, _ in rows], [loss for _, loss, _ in rows])


def _draw(path: Path, steps: list[int], losses: list[float]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot(steps, losses)
    axes.set(xlabel="optimizer step", ylabel="training loss", yscale="log")
    axes.grid(alpha=0.3)
    with staged_file(path) as staging:
        figure.savefig(staging, dpi=120, format="png")
