"""What each part of the method carries: a table and a picture from the ablation runs' own files.

    RUN="reg2rg train --config phantom-report --studies 4000 --steps 800 --reword false --finding_weight 1.5 \
        --writing.regions_per_prompt null --writing.sampling null --writing.drafts 1 --writing.median_quantities false"
    for INPUTS in none global texture geometry texture+geometry all; do
        $RUN --inputs $INPUTS --out runs/ablations/$INPUTS
    done
    $RUN --shuffle_regions false --out runs/ablations/fixed
    for SEED in 1 2; do for INPUTS in global all; do
        $RUN --inputs $INPUTS --seed $SEED --out runs/ablations/$INPUTS-$SEED
    done; done
    SCORE="python benchmarks/phantom_model.py --data data --cache cache --count 320 --model runs/ablations/all/model"
    $SCORE --swap-masks --json runs/ablations/swapped.json
    $SCORE --regions-per-prompt 1 --json runs/ablations/alone.json
    python benchmarks/ablations.py runs/ablations --markdown docs/ABLATIONS.md --picture docs/pictures/ablations.png

The likeliest words are written, and all regions of a study stand in one prompt, as published; in the last row one
region does. Every run is a language model of its own; two rows score that of "all", seed 0, again. Runs that differ
only in their seed are one row: the mean of the seeds, the lowest and highest of them where there are several, and the
95 % interval over resampled phantoms (mean of the limits).
"""

import argparse
import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

SCORED_AGAIN = ("swapped", "alone")  # JSON files beside the runs: scores of the model of one of them
# In the order of the table: what is shown, as TrainConfig.inputs names it, and whether regions come in random order.
ROWS: dict[tuple[str, bool], str] = {
    ("none", True): "nothing (control)",
    ("global", True): "global only",
    ("texture", True): "texture only",
    ("geometry", True): "geometry only",
    ("texture+geometry", True): "texture + geometry",
    ("swapped", True): "all, masks swapped between studies (control)",
    ("all", False): "texture + geometry + global, regions in fixed order",
    ("all", True): "all: texture + geometry + global, random order (RRA)",
    ("alone", True): "the same, one region per prompt",
}
# Columns of F1: title, and where validation.json holds it.
COLUMNS: dict[str, tuple[str, ...]] = {
    "all 18, micro": ("micro",),
    "all 18, macro": ("macro",),
    "large findings": ("groups", "large"),
    "diffuse": ("groups", "diffuse"),
    "calcifications": ("groups", "calcifications"),
    "nodules >= 10 mm": ("groups", "large nodules"),
    "cardiomegaly": ("per_abnormality", "Cardiomegaly"),
}


@dataclass(frozen=True)
class Score:
    """One figure of one row: mean of the seeds, their 95 % limits (nan where nothing varies), and each seed's own."""

    low: float
    high: float
    seeds: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(np.mean(self.seeds))

    def __str__(self) -> str:
        spread = f"; seeds {min(self.seeds):.2f} to {max(self.seeds):.2f}" if len(self.seeds) > 1 else ""
        interval = "-" if np.isnan(self.low) else f"{self.low:.2f} to {self.high:.2f}"
        return f"{self.mean:.2f} ({interval}{spread})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="folder of finished runs of the report stage")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()

    runs = read_runs(args.runs)
    table = markdown(runs)
    if args.markdown:
        args.markdown.write_text(table)
    if args.picture:
        draw(runs, args.picture)
    print(table)


def read_runs(folder: Path) -> dict[tuple[str, bool], list[dict[str, Any]]]:
    """Scores and settings of the finished runs of a folder, by what they were shown."""
    runs: dict[tuple[str, bool], list[dict[str, Any]]] = {}
    for file in sorted(folder.glob("*/validation.json")):
        settings = yaml.safe_load((file.parent / "config.yaml").read_text())
        scores = json.loads(file.read_text())
        key = (settings["inputs"], settings["shuffle_regions"])
        runs.setdefault(key, []).append({"settings": settings, "scores": scores})
    for name in SCORED_AGAIN:
        file = folder / f"{name}.json"
        if file.is_file():
            runs[name, True] = [{"scores": json.loads(file.read_text())}]
    return {key: runs[key] for key in ROWS if key in runs}


def score(runs: Sequence[dict[str, Any]], path: tuple[str, ...]) -> Score:
    """F1 of some findings in the runs of one row."""
    found = []
    for run in runs:
        rates = run["scores"]["findings"]
        for step in path:
            rates = rates[step]
        found.append(rates)
    seeds = tuple(rates["f1"] or 0.0 for rates in found)
    limits = [rates["f1_ci95"] for rates in found]
    if not any(limits):
        return Score(np.nan, np.nan, seeds)
    low, high = np.mean([own or (f1, f1) for own, f1 in zip(limits, seeds, strict=True)], axis=0)
    return Score(float(low), float(high), seeds)


def markdown(runs: dict[tuple[str, bool], list[dict[str, Any]]]) -> str:
    """The page with both tables."""
    first = next(iter(runs.values()))[0]
    settings, studies = first["settings"], first["scores"]["studies"]
    lines = [
        "# Ablations",
        "",
        textwrap.fill(
            "What each part of the method carries **on phantoms**. Each row is a language model of its own on the same "
            f"frozen encoders: {settings['steps']} steps of {settings['batch_size']} phantoms; two rows, of swapped "
            'masks and of one region per prompt, score that of "all", seed 0, again. F1 of generated reports against '
            f"what was drawn, on {studies} held-out phantoms, with 95 % intervals over resampled phantoms (- where "
            "nothing is found, and nothing varies), and the lowest and highest of several seeds. The likeliest words "
            "are written, and all regions of a study stand in one prompt, as published. Made by "
            "`python benchmarks/ablations.py`, whose first lines say how to repeat the runs.",
            width=120,
        ),
        "",
        "![F1 by what the model is shown](pictures/ablations.png)",
        "",
        f"| shown | seeds | regions named right | {' | '.join(COLUMNS)} |",
        "|---" * (3 + len(COLUMNS)) + "|",
    ]
    for key, members in runs.items():
        naming = np.mean([run["scores"]["naming"]["accuracy"] for run in members])
        figures = [str(score(members, path)) for path in COLUMNS.values()]
        lines.append(f"| {ROWS[key]} | {len(members)} | {naming:.3f} | {' | '.join(figures)} |")
    lines += ["", *(f"- {statement}" for statement in statements(runs))]
    lines += ["", "F1 of each abnormality:", "", f"| abnormality | {' | '.join(ROWS[key] for key in runs)} |"]
    lines.append("|---" * (1 + len(runs)) + "|")
    for name in first["scores"]["findings"]["per_abnormality"]:
        means = [f"{score(members, ('per_abnormality', name)).mean:.2f}" for members in runs.values()]
        lines.append(f"| {name} | {' | '.join(means)} |")
    return "\n".join(lines) + "\n"


def statements(runs: dict[tuple[str, bool], list[dict[str, Any]]]) -> Iterator[str]:
    """What the table says of each part of the method, as far as its rows are there."""

    def naming(shown: str) -> float:
        return float(np.mean([run["scores"]["naming"]["accuracy"] for run in runs[shown, True]]))

    for more, less, column, what in (
        ("all", "global", "all 18, micro", "Regions by themselves, beside the whole image"),
        ("texture+geometry", "texture", "cardiomegaly", "The mask, beside the crop, which forgets the size"),
        ("all", "global", "calcifications", "Regions by themselves, for what is small"),
        ("texture+geometry", "geometry", "calcifications", "Crops beside the masks, for what is small"),
        (
            "texture+geometry",
            "geometry",
            "nodules >= 10 mm",
            "The same for nodules (without crops they are always stated)",
        ),
    ):
        if (more, True) in runs and (less, True) in runs:
            high, low = (round(score(runs[shown, True], COLUMNS[column]).mean, 2) for shown in (more, less))
            yield f"{what}: {column} {high:.2f} with {more}, {low:.2f} with {less} alone, {high - low:.2f} apart."
    if ("global", True) in runs and ("all", True) in runs:
        yield (
            f"Without anything of the regions by themselves they are named by chance: {naming('global'):.3f} right "
            f"instead of {naming('all'):.3f}."
        )


def draw(runs: dict[tuple[str, bool], list[dict[str, Any]]], path: Path) -> None:
    """A dot with its interval for each row, a panel for each column."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(COLUMNS), figsize=(2.1 * len(COLUMNS), 0.5 * len(runs) + 1.6), sharey=True)
    places = -np.arange(len(runs))
    for axis, (title, way) in zip(axes, COLUMNS.items(), strict=True):
        for place, members in zip(places, runs.values(), strict=True):
            found = score(members, way)
            axis.plot([found.low, found.high], [place, place], color="0.6", linewidth=2)
            axis.plot(found.seeds, [place] * len(found.seeds), "o", color="C0", markersize=5)
        axis.set(xlim=(-0.03, 1.03), xticks=(0, 0.5, 1))
        axis.set_title(title, fontsize=10)
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(places, [ROWS[key] for key in runs])
    figure.supxlabel("F1 on held-out phantoms; grey: 95 % interval", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
