"""Scores on a terminal."""

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from reg2rg.evaluate.scores import ClinicalFigures, Comparison, RecognitionFigures, Scores
from reg2rg.results.comparison import compared_figures, comparisons
from reg2rg.results.figures import (
    DASH,
    NONE,
    NOTICE,
    comparison_note,
    counted,
    interval,
    number,
    overall_note,
    p_value,
    region_metric,
    signed,
    signed_interval,
)

_SWAPS_SHOWN = 5


def print_scores(scores: Scores, console: Console) -> None:
    """Prints the tables, each with what its words mean, and what was left out."""
    for title, table, note in _tables(scores):
        console.print(title, markup=False, highlight=False, soft_wrap=True)  # rich would break a long path anywhere
        console.print(table)
        console.print(f"{note}\n", markup=False, highlight=False)
    for line in _facts(scores):
        console.print(line, markup=False, highlight=False)


def _tables(scores: Scores) -> Iterator[tuple[str, Table, str]]:
    """Each table with its title and a note."""
    draws = scores.settings["draws"]
    yield (
        f"{scores.source}\n{counted(scores.pairs, 'report')}, recipe {scores.recipe}",
        _text_table(scores),
        f"Intervals hold 95 % of {draws} resamples of studies. {overall_note(scores)} {DASH}",
    )
    if scores.recognition:
        yield _region_title(scores.recognition), _region_table(scores, scores.recognition), _region_note(scores)
    if scores.clinical:
        yield _clinical_title(scores.clinical), _clinical_table(scores.clinical), _CLINICAL_NOTE
    for title, other in comparisons(scores):
        yield title, _comparison_table(scores, other), comparison_note(scores)


def _text_table(scores: Scores) -> Table:
    table = _table("metric", "mean ± std", "95 % interval", "overall")
    for name, figure in scores.text.metrics.items():
        overall = scores.text.overall.get(f"Overall_{name}")
        spread = f"{number(figure.mean)} ± {number(figure.std)}"
        table.add_row(name, spread, interval(figure.ci95), number(overall.value) if overall else NONE)
    return table


def _region_title(recognition: RecognitionFigures) -> str:
    return (
        f"Regions named rightly: {number(recognition.accuracy)} ± {number(recognition.accuracy_std)} per report "
        f"({interval(recognition.accuracy_ci95)}), {number(recognition.pooled_accuracy)} of all regions"
    )


def _region_table(scores: Scores, recognition: RecognitionFigures) -> Table:
    metric = region_metric(scores)
    table = _table("region", "naming F1", "95 % interval", "texts", "silent", metric, "distinct")
    for name in dict.fromkeys((*scores.regions, *recognition.per_region)):
        rating, region = recognition.per_region.get(name), scores.regions.get(name)
        is_invented = name in recognition.invented
        if region or is_invented or (rating and rating.support):
            table.add_row(
                f"{name} (invented)" if is_invented else name,
                number(rating.f1) if rating else NONE,
                interval(rating.f1_ci95) if rating else NONE,
                str(region.pairs) if region else NONE,
                str(region.missing) if region else NONE,
                number(region.text.metrics[metric].mean) if region else NONE,
                f"{scores.distinct[name].share:.0%}" if region else NONE,
            )
    return table


def _region_note(scores: Scores) -> str:
    return (
        "Naming F1: whether the region's number is given its right name. Texts: references with a text about the "
        f"region, over which {region_metric(scores)} is the mean. Silent: predictions without one; they score 0. "
        "Distinct: how many of the predicted texts are different."
    )


_CLINICAL_NOTE = (
    "n: references that have it. Micro: all abnormalities counted together; macro: the mean over those that any "
    "reference has; weighted: the same, weighted by n."
)


def _clinical_title(clinical: ClinicalFigures) -> str:
    return f"Abnormalities: labels by {clinical.labeler}, of references by {clinical.reference_labels}"


def _clinical_table(clinical: ClinicalFigures) -> Table:
    table = _table("abnormality", "precision", "recall", "F1", "95 % interval", "n")
    averages = {"micro average": clinical.micro, "macro average": clinical.macro, "weighted average": clinical.weighted}
    for name, rating in {**averages, **clinical.per_abnormality}.items():
        rates = (number(value) for value in (rating.precision, rating.recall, rating.f1))
        cells = (name, *rates, interval(rating.f1_ci95), str(rating.support))
        table.add_row(*cells, end_section=name == "weighted average")
    return table


def _comparison_table(scores: Scores, other: Comparison) -> Table:
    table = _table("figure", "this", "other", "difference", "95 % interval", "p")
    group = ""
    for figure in compared_figures(scores, other):
        if group not in ("", figure.group):
            table.add_section()
        group = figure.group
        difference = figure.difference
        table.add_row(
            figure.name,
            number(figure.ours),
            number(figure.theirs),
            signed(difference.value),
            signed_interval(difference.ci95),
            p_value(difference.p, scores.settings["draws"]),
        )
    return table


def _facts(scores: Scores) -> Iterator[str]:
    distinct, length = scores.distinct["report"], scores.length
    yield (
        f"Distinct predicted reports: {distinct.distinct} of {distinct.n} ({distinct.share:.0%}; references "
        f"{distinct.reference_share:.0%}). Words: {length.prediction_mean:.1f} per prediction, "
        f"{length.reference_mean:.1f} per reference. Empty predictions: {length.empty_predictions}."
    )
    swaps = scores.recognition.swaps if scores.recognition else ()
    for swap in swaps[:_SWAPS_SHOWN]:
        yield f"Taken for another: {swap.reference} for {swap.prediction}, {counted(swap.count, 'time')}."
    if len(swaps) > _SWAPS_SHOWN:
        yield f"... and {len(swaps) - _SWAPS_SHOWN} other kinds of mistake, less frequent; --out has them all."
    yield from (f"Left out: {line}." for line in scores.left_out)
    yield NOTICE


def _table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for column in others:
        table.add_column(column, justify="right", no_wrap=True)
    return table
