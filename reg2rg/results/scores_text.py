"""Scores on a terminal."""

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from reg2rg.evaluate.bootstrap import Interval
from reg2rg.evaluate.scores import ClinicalFigures, RecognitionFigures, Scores

_SWAPS_SHOWN = 5


def print_scores(scores: Scores, console: Console) -> None:
    """Prints the tables, and what was left out."""
    for table in _tables(scores):
        console.print(table)
    distinct, length = scores.distinct["report"], scores.length
    lines = [
        f"Distinct predicted reports: {distinct.distinct} of {distinct.n} ({distinct.share:.0%}; "
        f"references {distinct.reference_share:.0%}). Words: {length.prediction_mean:.1f} per prediction, "
        f"{length.reference_mean:.1f} per reference. Empty predictions: {length.empty_predictions}."
    ]
    if scores.recognition:
        lines += [
            f"Taken for another: {swap.reference} for {swap.prediction}, {swap.count} times"
            for swap in scores.recognition.swaps[:_SWAPS_SHOWN]
        ]
    lines += [f"Left out: {line}." for line in scores.left_out]
    for line in lines:
        console.print(line, markup=False, highlight=False)


def _tables(scores: Scores) -> Iterator[Table]:
    yield _text_table(scores)
    if scores.recognition:
        yield _region_table(scores, scores.recognition)
    if scores.clinical:
        yield _clinical_table(scores.clinical)


def _text_table(scores: Scores) -> Table:
    others = [(name, other) for name, other in (("compared", scores.comparison), ("control", scores.control)) if other]
    columns = [column for name, _ in others for column in (name, "difference (p)")]
    title = f"{scores.source}: {scores.pairs} reports, recipe {scores.recipe}"
    table = _table(title, "metric", "mean ± std", "95 % int.", "overall", *columns)
    for name, figure in scores.text.metrics.items():
        overall = scores.text.overall.get(f"Overall_{name}")
        cells = [
            name,
            f"{figure.mean:.4f} ± {figure.std:.4f}",
            _interval(figure.ci95),
            f"{overall.value:.4f}" if overall else "",
        ]
        for _, other in others:
            difference = other.differences[name]
            cells += [f"{other.scores.text.metrics[name].mean:.4f}", f"{difference.value:+.4f} ({difference.p:.3f})"]
        table.add_row(*cells)
    return table


def _region_table(scores: Scores, recognition: RecognitionFigures) -> Table:
    metric = "METEOR" if "METEOR" in scores.text.metrics else next(iter(scores.text.metrics))
    title = (
        f"Regions recognized per report: {recognition.accuracy:.4f} ± {recognition.accuracy_std:.4f} "
        f"({_interval(recognition.accuracy_ci95)}), of all: {recognition.pooled_accuracy:.4f}"
    )
    table = _table(title, "region", "named F1", "95 % int.", "pairs", "missing", metric, "distinct")
    for name in dict.fromkeys((*scores.regions, *recognition.per_region)):
        rating, region = recognition.per_region.get(name), scores.regions.get(name)
        is_invented = name in recognition.invented
        if region or is_invented or (rating and rating.support):
            table.add_row(
                f"{name} (invented)" if is_invented else name,
                f"{rating.f1:.4f}" if rating else "",
                _interval(rating.f1_ci95) if rating else "",
                str(region.pairs) if region else "",
                str(region.missing) if region else "",
                f"{region.text.metrics[metric].mean:.4f}" if region else "",
                f"{scores.distinct[name].share:.0%}" if region else "",
            )
    return table


def _clinical_table(clinical: ClinicalFigures) -> Table:
    title = f"Abnormalities: labels by {clinical.labeler}, of references by {clinical.reference_labels}"
    table = _table(title, "abnormality", "precision", "recall", "F1", "95 % int.", "n")
    averages = {"micro average": clinical.micro, "macro average": clinical.macro, "weighted average": clinical.weighted}
    for name, rating in {**averages, **clinical.per_abnormality}.items():
        rates = (f"{value:.4f}" for value in (rating.precision, rating.recall, rating.f1))
        cells = (name, *rates, _interval(rating.f1_ci95), str(rating.support))
        table.add_row(*cells, end_section=name == "weighted average")
    return table


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for column in others:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _interval(interval: Interval | None) -> str:
    return f"{interval[0]:.3f}–{interval[1]:.3f}" if interval else ""
