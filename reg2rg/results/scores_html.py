"""``scores.html``: one page without other files, to look at before reading any number."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from reg2rg.evaluate.examples import Example, Span
from reg2rg.evaluate.scores import ClinicalFigures, Comparison, DistinctTexts, Rating, RecognitionFigures, Scores
from reg2rg.results.charts import bar
from reg2rg.results.comparison import compared_figures, comparisons
from reg2rg.results.figures import (
    DASH,
    NONE,
    NOTICE,
    comparison_note,
    counted,
    file_name,
    interval,
    number,
    overall_note,
    p_value,
    region_metric,
    signed,
    signed_interval,
)

_CHARACTERS_SHOWN = 300
"""Of the most frequent prediction."""


def scores_to_html(scores: Scores, examples: Sequence[Example]) -> str:
    """The page.

    Args:
        scores: what to show.
        examples: studies to show side by side.
    """
    sections = "\n".join(_section(title, content) for title, content in _sections(scores, examples))
    length = scores.length
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Scores of {escape(file_name(scores))}</title><style>{_STYLE}</style></head><body>
<header><h1>Scores of {escape(file_name(scores))}</h1><p class="path">{escape(scores.source)}</p>
<p class="notice" role="note"><strong>{escape(NOTICE)}</strong></p>
<p>{counted(scores.pairs, "report")}, recipe <b>{escape(scores.recipe)}</b>. Predictions have
{length.prediction_mean:.0f} words on average, references {length.reference_mean:.0f};
{length.empty_predictions} of the predictions are empty.</p>
<p class="note">{_intervals_note(scores)} {escape(DASH)}</p></header>
<main>{sections}</main></body></html>
"""


def _intervals_note(scores: Scores) -> str:
    return (
        f"Intervals hold 95 % of {scores.settings['draws']} resamples of studies; those of a single abnormality or of "
        "a region's name are exact (Clopper and Pearson) where each study has it at most once. In bars they are drawn "
        "as whiskers."
    )


def _sections(scores: Scores, examples: Sequence[Example]) -> Iterator[tuple[str, str]]:
    """Title and content of each section."""
    yield "Text", _text_table(scores)
    yield "Left out", _list(scores.left_out)
    for title, other in comparisons(scores):
        yield title, _comparison_table(scores, other)
    if scores.clinical:
        yield "Abnormalities", _abnormalities(scores.clinical)
    if scores.regions:
        yield "Regions", _regions(scores)
    if scores.recognition:
        yield "Recognition", _recognition(scores.recognition)
    yield "Templates", _distinct_table(scores.distinct)
    if examples:
        yield "Examples", _examples(scores, examples)


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines or ('nothing',))}</ul>"


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _table(head: Iterable[str], rows: Iterable[str], kind: str = "") -> str:
    """A table that scrolls by itself where the page is narrower."""
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    return f'<div class="wide"><table class="{kind}"><tr>{cells}</tr>{"".join(rows)}</table></div>'


def _row(name: str, *cells: str, kind: str = "") -> str:
    """A row; the cells are HTML."""
    return f'<tr class="{kind}"><th>{escape(name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _text_table(scores: Scores) -> str:
    rows = []
    for name, figure in scores.text.metrics.items():
        overall = scores.text.overall.get(f"Overall_{name}")
        of_all = (number(overall.value), interval(overall.ci95)) if overall else (NONE, NONE)
        rows.append(_row(name, f"{number(figure.mean)} ± {number(figure.std)}", interval(figure.ci95), *of_all))
    head = ("metric", "mean ± std of reports", "95 % interval", "overall", "95 % interval")
    return _table(head, rows) + _note(overall_note(scores))


def _comparison_table(scores: Scores, other: Comparison) -> str:
    draws = scores.settings["draws"]
    rows, group = [], ""
    for figure in compared_figures(scores, other):
        if figure.group != group:
            group = figure.group
            rows.append(f'<tr class="group"><th colspan="6">{escape(group)}</th></tr>')
        difference = figure.difference
        cells = (number(figure.ours), number(figure.theirs), signed(difference.value), signed_interval(difference.ci95))
        rows.append(_row(figure.name, *cells, p_value(difference.p, draws)))
    head = ("", "this", "other", "difference", "95 % interval", "p")
    return f'<p class="path">{escape(other.scores.source)}</p>' + _table(head, rows) + _note(comparison_note(scores))


def _abnormalities(clinical: ClinicalFigures) -> str:
    averages = {"micro average": clinical.micro, "macro average": clinical.macro, "weighted average": clinical.weighted}
    rows = [
        *(_rating_row(name, rating, kind="average") for name, rating in averages.items()),
        *(_rating_row(name, rating) for name, rating in clinical.per_abnormality.items()),
    ]
    facts = (
        f"<p>Labels of predictions by <b>{escape(clinical.labeler)}</b>, of references by "
        f"<b>{escape(clinical.reference_labels)}</b>.</p>"
    )
    note = (
        "n: references that have it. Micro: all abnormalities counted together; macro: the mean over those that any "
        "reference has, each counting alike; weighted: the same, weighted by n."
    )
    head = ("abnormality", "F1", "interval", "", "precision", "interval", "recall", "interval", "n")
    return facts + _table(head, rows) + _note(note)


def _rating_row(name: str, rating: Rating, kind: str = "") -> str:
    cells = (
        *(number(rating.f1), interval(rating.f1_ci95), bar(rating.f1, rating.f1_ci95)),
        *(number(rating.precision), interval(rating.precision_ci95)),
        *(number(rating.recall), interval(rating.recall_ci95)),
    )
    return _row(name, *cells, str(rating.support), kind=kind)


def _regions(scores: Scores) -> str:
    metric = region_metric(scores)
    figures = {name: region.text.metrics[metric] for name, region in scores.regions.items()}
    highest = max(limit for figure in figures.values() for limit in (figure.mean, *(figure.ci95 or ())))
    rows = [
        _row(
            name,
            number(figure.mean),
            interval(figure.ci95),
            bar(figure.mean, figure.ci95, max(1.0, highest)),
            str(scores.regions[name].pairs),
            str(scores.regions[name].missing),
        )
        for name, figure in figures.items()
    ]
    note = (
        "n: references with a text about the region, over which the mean is. Silent: predictions without one; they "
        "score 0."
    )
    return _table(("region", metric, "95 % interval", "", "n", "silent"), rows) + _note(note)


def _recognition(recognition: RecognitionFigures) -> str:
    ratings = {"micro average": recognition.micro, "macro average": recognition.macro, **recognition.per_region}
    rows = [
        _rating_row(name + (" (invented)" if name in recognition.invented else ""), rating)
        for name, rating in ratings.items()
        if rating.support or name in recognition.invented
    ]
    head = ("name", "F1", "interval", "", "precision", "interval", "recall", "interval", "n")
    return (
        f"<p>{number(recognition.accuracy)} ± {number(recognition.accuracy_std)} "
        f"({interval(recognition.accuracy_ci95)}) of a report's regions are named rightly; "
        f"{number(recognition.pooled_accuracy)} of all regions.</p>"
        f"{_matrix(recognition)}{_table(head, rows)}"
    )


def _matrix(recognition: RecognitionFigures) -> str:
    """Who was taken for whom."""
    counts = {(swap.reference, swap.prediction): swap.count for swap in recognition.swaps}
    names = [name for name, rating in recognition.per_region.items() if rating.support]
    for name in names:
        rating = recognition.per_region[name]
        counts[name, name] = round(rating.recall * rating.support)
    columns = list(dict.fromkeys((*names, *(swap.prediction for swap in recognition.swaps))))
    head = "".join(f'<th class="turned"><span>{escape(name)}</span></th>' for name in columns)
    rows = ""
    for name in names:
        support = recognition.per_region[name].support
        cells = "".join(_cell(counts.get((name, column), 0), support, name == column) for column in columns)
        rows += f"<tr><th>{escape(name)}</th>{cells}</tr>"
    return f'<div class="wide"><table class="matrix"><tr><th>region, taken for</th>{head}</tr>{rows}</table></div>'


def _cell(count: int, support: int, right: bool) -> str:
    if not count:
        return "<td></td>"
    color = "46, 160, 100" if right else "214, 48, 49"
    return f'<td style="background: rgba({color}, {0.15 + 0.75 * count / support:.2f})">{count}</td>'


def _distinct_table(distinct: dict[str, DistinctTexts]) -> str:
    rows = []
    for name, texts in distinct.items():
        first = texts.most_frequent[0] if texts.most_frequent else None
        text = textwrap.shorten(first.text, _CHARACTERS_SHOWN, placeholder=" …") if first else ""
        frequent = f'<div class="text">{escape(text)}</div>'
        count = str(first.count) if first else NONE
        cells = (f"{texts.distinct} of {texts.n}", f"{texts.share:.0%}", f"{texts.reference_share:.0%}", count)
        rows.append(_row(name, *cells, frequent))
    head = ("", "distinct predictions", "share", "share of references", "times", "most frequent prediction")
    return _table(head, rows, "templates") + _note(
        "Few distinct predictions where references differ: the model writes templates."
    )


def _examples(scores: Scores, examples: Sequence[Example]) -> str:
    metrics = [name for name in scores.text.metrics if name != "CIDEr"] or list(scores.text.metrics)
    note = f"The worst and the best reports by their mean text score: the mean of {', '.join(metrics)}."
    marks_findings = scores.clinical is not None and scores.clinical.labeler.startswith("rules")
    if marks_findings:
        legend = (
            '<mark class="missed">missed</mark> words by which only the reference asserts an abnormality; '
            '<mark class="added">added</mark> by which only the prediction does.'
        )
    else:
        legend = '<mark class="unshared">marked</mark> sentences that only this text has, word for word.'
    if scores.clinical:
        legend += " Missed and added below each title are by the labels that the figures are counted from."
    articles = "".join(_example(example, marks_findings) for example in examples)
    return f'{_note(note)}<p class="note">{legend}</p>{articles}'


def _example(example: Example, marks_findings: bool) -> str:
    findings = ""
    if example.missed is not None and example.added is not None:
        missed, added = (", ".join(names) or "none" for names in (example.missed, example.added))
        findings = f'<p class="findings">missed: {escape(missed)} · added: {escape(added)}</p>'
    kinds = ("missed", "added") if marks_findings else ("unshared", "unshared")
    return (
        f'<article><h3>{escape(example.title)}</h3>{findings}<div class="pair"><div><h4>Reference</h4><p>'
        f"{_marked(example.reference, example.reference_spans, kinds[0])}</p></div><div><h4>Prediction</h4><p>"
        f"{_marked(example.prediction, example.prediction_spans, kinds[1])}</p></div></div></article>"
    )


def _marked(text: str, spans: Sequence[Span], kind: str) -> str:
    parts, end = [], 0
    for start, stop in spans:
        parts += [escape(text[end:start]), f'<mark class="{kind}">{escape(text[start:stop])}</mark>']
        end = stop
    return "".join([*parts, escape(text[end:])]) or '<em class="empty">empty</em>'


_STYLE = """
:root { color-scheme: light dark; --back: #fff; --fore: #1c2733; --soft: #f2f5f8; --line: #d5dce4; --bar: #4895ef;
  --missed: #ffd9a8; --added: #cfe3ff; --unshared: #e3e6ea; --warn: #8a4b00; }
@media (prefers-color-scheme: dark) { :root { --back: #14191f; --fore: #e4eaf0; --soft: #1d242c; --line: #36414d;
  --missed: #6b4312; --added: #1d4272; --unshared: #343d48; --warn: #ffb75e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1200px; padding: 1rem 1.5rem; background: var(--back); color: var(--fore);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.1rem; border-bottom: 1px solid var(--line); } h3, h4 { margin: .4rem 0 0; }
.notice { border-left: 4px solid var(--warn); background: var(--soft); padding: .5rem .8rem; }
h1, .path { overflow-wrap: anywhere; } .path, .note { font-size: .85rem; opacity: .8; margin: .3rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { font-weight: 600; } th:first-child { text-align: left; }
tr:not(:first-child, .average, .group) th { font-weight: normal; }
.text { white-space: normal; font-size: .85rem; text-align: left; width: max(16rem, 34vw); max-width: 30rem; }
.templates th:last-child { text-align: left; }
.bar { width: 160px; height: 14px; display: block; } .bar rect { fill: var(--bar); }
.bar path { stroke: var(--fore); fill: none; stroke-width: 1.5; }
.matrix { margin-bottom: 1rem; } .matrix tr:first-child th { vertical-align: bottom; }
.matrix td { text-align: center; min-width: 2.4rem; }
.turned { height: 9.5rem; vertical-align: bottom; }
.turned span { writing-mode: vertical-rl; transform: rotate(180deg); }
article { border: 1px solid var(--line); border-radius: 6px; padding: .4rem .9rem; margin-bottom: .8rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1.2rem; } .pair p { margin: .2rem 0; }
@media (max-width: 800px) { .pair { grid-template-columns: 1fr; } }
.findings { font-size: .9rem; opacity: .85; margin: 0; }
mark { color: inherit; border-radius: 3px; } mark.missed { background: var(--missed); }
mark.added { background: var(--added); } mark.unshared { background: var(--unshared); }
"""
