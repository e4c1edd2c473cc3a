"""``scores.html``: one page without other files, to look at before reading any number."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from reg2rg.evaluate.bootstrap import Interval
from reg2rg.evaluate.examples import Example, Span
from reg2rg.evaluate.scores import Comparison, DistinctTexts, RecognitionFigures, Scores
from reg2rg.report import DISCLAIMER
from reg2rg.results.charts import Bar, bar_chart

_REGION_METRICS = ("METEOR", "ROUGE-L", "BLEU-4")
"""The first of these that was computed is shown per region."""


def scores_to_html(scores: Scores, examples: Sequence[Example]) -> str:
    """The page.

    Args:
        scores: what to show.
        examples: studies to show side by side.
    """
    sections = "\n".join(_sections(scores, examples))
    left_out = "".join(f"<li>{escape(line)}</li>" for line in scores.left_out) or "<li>nothing</li>"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Scores of {escape(scores.source)}</title><style>{_STYLE}</style></head><body>
<header><h1>Scores of {escape(scores.source)}</h1>
<p class="notice" role="note"><strong>{escape(DISCLAIMER)}</strong></p>
<p>{scores.pairs} reports, recipe <b>{escape(scores.recipe)}</b>. Intervals hold 95 % of {scores.settings["draws"]}
resamples of studies. Predictions have {scores.length.prediction_mean:.0f} words on average, references
{scores.length.reference_mean:.0f}; {scores.length.empty_predictions} predictions are empty.</p></header>
<main>{sections}
<section><h2>Left out</h2><ul>{left_out}</ul></section></main></body></html>
"""


def _sections(scores: Scores, examples: Sequence[Example]) -> Iterator[str]:
    yield _section("Text", _text_table(scores))
    if scores.regions:
        metric = next(
            (name for name in _REGION_METRICS if name in scores.text.metrics), next(iter(scores.text.metrics))
        )
        bars = [
            Bar(name, (figure := region.text.metrics[metric]).mean, figure.ci95, _missing(region.pairs, region.missing))
            for name, region in scores.regions.items()
        ]
        yield _section("Regions", bar_chart(f"{metric} by region; a region that is not mentioned scores 0", bars))
    if scores.recognition:
        yield _section("Recognition", _recognition(scores.recognition))
    if clinical := scores.clinical:
        averages = {"micro average": clinical.micro, "macro average": clinical.macro}
        bars = [
            Bar(name, rating.f1, rating.f1_ci95, f"{rating.f1:.3f}, support {rating.support}")
            for name, rating in {**averages, **clinical.per_abnormality}.items()
        ]
        facts = (
            f"<p>Labels of predictions by <b>{escape(clinical.labeler)}</b>, of references by "
            f"<b>{escape(clinical.reference_labels)}</b>. Published figures are micro averages; the macro average "
            "counts each abnormality alike and leaves out those that no reference has.</p>"
        )
        yield _section("Abnormalities", facts + bar_chart("F1 by abnormality", bars))
    yield _section("Templates", _distinct_table(scores.distinct))
    if examples:
        yield _section("Examples", "".join(_example(example) for example in examples))


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _missing(pairs: int, missing: int) -> str:
    return f"n {pairs}, {missing} not mentioned"


def _text_table(scores: Scores) -> str:
    others = [(name, other) for name, other in (("compared", scores.comparison), ("control", scores.control)) if other]
    head = "".join(
        f"<th>{name}<br><small>{escape(Path(other.scores.source).name)}</small></th><th>difference</th>"
        for name, other in others
    )
    rows = ""
    for name, figure in scores.text.metrics.items():
        overall = scores.text.overall.get(f"Overall_{name}")
        cells = [
            f"{figure.mean:.4f} ± {figure.std:.4f}",
            _interval(figure.ci95),
            f"{overall.value:.4f} {_interval(overall.ci95)}" if overall else "",
            *(cell for _, other in others for cell in _other_cells(name, other)),
        ]
        rows += f"<tr><th>{escape(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    return (
        f"<table><tr><th>metric</th><th>mean ± std per report</th><th>95 % interval</th><th>overall</th>{head}</tr>"
        f"{rows}</table>"
    )


def _other_cells(name: str, other: Comparison) -> list[str]:
    difference = other.differences[name]
    return [
        f"{other.scores.text.metrics[name].mean:.4f}",
        f"{difference.value:+.4f} {_interval(difference.ci95)} p {difference.p:.3f}",
    ]


def _interval(interval: Interval | None) -> str:
    return f"[{interval[0]:.4f}, {interval[1]:.4f}]" if interval else ""


def _recognition(recognition: RecognitionFigures) -> str:
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
        rows += f"<tr><th>{escape(name)}</th>{cells}<td>{recognition.per_region[name].f1:.3f}</td></tr>"
    return (
        f"<p>{recognition.accuracy:.4f} ± {recognition.accuracy_std:.4f} {_interval(recognition.accuracy_ci95)} of a "
        f"report's regions are named rightly; {recognition.pooled_accuracy:.4f} of all regions.</p>"
        f'<table class="matrix"><tr><th>region, taken for</th>{head}<th>F1</th></tr>{rows}</table>'
    )


def _cell(count: int, support: int, right: bool) -> str:
    if not count:
        return "<td></td>"
    color = "46, 160, 100" if right else "214, 48, 49"
    return f'<td style="background: rgba({color}, {0.15 + 0.75 * count / support:.2f})">{count}</td>'


def _distinct_table(distinct: dict[str, DistinctTexts]) -> str:
    rows = ""
    for name, texts in distinct.items():
        first = texts.most_frequent[0] if texts.most_frequent else None
        frequent = f"{first.count} times: {escape(first.text[:300])}" if first else ""
        rows += (
            f"<tr><th>{escape(name)}</th><td>{texts.distinct} of {texts.n}</td><td>{texts.share:.0%}</td>"
            f'<td>{texts.reference_share:.0%}</td><td class="text">{frequent}</td></tr>'
        )
    return (
        "<table><tr><th></th><th>distinct predictions</th><th>share</th><th>share of references</th>"
        f"<th>most frequent prediction</th></tr>{rows}</table>"
    )


def _example(example: Example) -> str:
    missed = ", ".join(example.missed) or "none"
    added = ", ".join(example.added) or "none"
    return (
        f'<article><h3>{escape(example.title)}</h3><p class="findings">missed: {escape(missed)} · '
        f'added: {escape(added)}</p><div class="pair"><div><h4>Reference</h4><p>'
        f"{_marked(example.reference, example.reference_spans, 'missed')}</p></div><div><h4>Prediction</h4><p>"
        f"{_marked(example.prediction, example.prediction_spans, 'added')}</p></div></div></article>"
    )


def _marked(text: str, spans: Sequence[Span], kind: str) -> str:
    parts, end = [], 0
    for start, stop in spans:
        parts += [escape(text[end:start]), f'<mark class="{kind}">{escape(text[start:stop])}</mark>']
        end = stop
    return "".join([*parts, escape(text[end:])]) or '<em class="empty">empty</em>'


_STYLE = """
:root { color-scheme: light dark; --back: #fff; --fore: #1c2733; --soft: #f2f5f8; --line: #d5dce4; --bar: #4895ef;
  --missed: #ffd9a8; --added: #cfe3ff; --warn: #8a4b00; }
@media (prefers-color-scheme: dark) { :root { --back: #14191f; --fore: #e4eaf0; --soft: #1d242c; --line: #36414d;
  --missed: #6b4312; --added: #1d4272; --warn: #ffb75e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1200px; padding: 1rem 1.5rem; background: var(--back); color: var(--fore);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.1rem; border-bottom: 1px solid var(--line); } h3, h4 { margin: .4rem 0 0; }
.notice { border-left: 4px solid var(--warn); background: var(--soft); padding: .5rem .8rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td.text { text-align: left; } td.text { white-space: normal; font-size: .85rem; }
.matrix td { text-align: center; min-width: 2.4rem; }
.turned { height: 9.5rem; vertical-align: bottom; }
.turned span { writing-mode: vertical-rl; transform: rotate(180deg); }
figure { margin: 0; } svg { width: 100%; max-width: 900px; } svg text { font-size: 13px; fill: var(--fore); }
svg .note { opacity: .75; } svg rect { fill: var(--bar); }
svg path { stroke: var(--fore); fill: none; stroke-width: 1.5; }
article { border: 1px solid var(--line); border-radius: 6px; padding: .4rem .9rem; margin-bottom: .8rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1.2rem; } .pair p { margin: .2rem 0; }
@media (max-width: 800px) { .pair { grid-template-columns: 1fr; } }
.findings { font-size: .9rem; opacity: .85; margin: 0; }
mark { color: inherit; border-radius: 3px; } mark.missed { background: var(--missed); }
mark.added { background: var(--added); }
"""
