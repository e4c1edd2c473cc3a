"""Studies to look at: those that score worst and best, with what differs between reference and prediction."""

from dataclasses import dataclass

import numpy as np

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.evaluate.scores import Scores, StudyLabels
from reg2rg.evaluate.sentences import split_sentences
from reg2rg.evaluate.tables import ReportTable
from reg2rg.prompt import strip_region_text

Span = tuple[int, int]
"""Where something begins in a text, and where it ends."""

_EACH_WAY = 4


@dataclass(frozen=True)
class Example:
    """One study side by side.

    Attributes:
        title: its name and score.
        reference: the text without headings.
        prediction: likewise.
        reference_spans: what the prediction lacks, in the order of the text.
        prediction_spans: what the reference lacks.
        missed: abnormalities that only the reference has, by the labels of the evaluation; None without labels.
        added: likewise those that only the prediction has.
    """

    title: str
    reference: str
    prediction: str
    reference_spans: tuple[Span, ...]
    prediction_spans: tuple[Span, ...]
    missed: tuple[str, ...] | None
    added: tuple[str, ...] | None


def pick_examples(scores: Scores, table: ReportTable) -> tuple[Example, ...]:
    """The worst and the best studies by the mean of their text metrics but CIDEr, which has another scale.

    With the rule labeler the evidence of abnormalities that only one text has is marked, else the sentences that only
    one text has.
    """
    metrics = [name for name in scores.per_report if name != "CIDEr"] or list(scores.per_report)
    values = np.mean([scores.per_report[name] for name in metrics], axis=0)
    order = [int(row) for row in np.argsort(values, kind="stable") if not np.isnan(values[row])]
    worst, best = order[:_EACH_WAY], order[_EACH_WAY:][::-1][:_EACH_WAY]
    clean = strip_region_text if scores.recognition else str
    uses_rules = scores.clinical is not None and scores.clinical.labeler.startswith("rules")
    return tuple(
        _example(
            f"{kind}: {table.keys[row]}, mean text score {values[row]:.3f}",
            clean(table.references[row]),
            clean(table.predictions[row]),
            uses_rules,
            *_findings(scores.labels, row),
        )
        for kind, rows in (("Worst", worst), ("Best", best))
        for row in rows
    )


def _findings(labels: StudyLabels | None, row: int) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """What a study's prediction misses and adds."""
    if labels is None:
        return None, None
    reference, prediction = labels.references[row], labels.predictions[row]
    missed, added = (
        tuple(ABNORMALITY_NAMES[place] for place in np.flatnonzero(only))
        for only in (reference & ~prediction, prediction & ~reference)
    )
    return missed, added


def _example(
    title: str,
    reference: str,
    prediction: str,
    uses_rules: bool,
    missed: tuple[str, ...] | None,
    added: tuple[str, ...] | None,
) -> Example:
    of_reference, of_prediction = _differing(reference, prediction) if uses_rules else ({}, {})
    return Example(
        title,
        reference,
        prediction,
        reference_spans=_merged(of_reference) if uses_rules else _unshared_sentences(reference, prediction),
        prediction_spans=_merged(of_prediction) if uses_rules else _unshared_sentences(prediction, reference),
        missed=missed,
        added=added,
    )


def _differing(reference: str, prediction: str) -> tuple[dict[str, list[Span]], dict[str, list[Span]]]:
    """Abnormalities that only the one text asserts, with the words that do, and those that only the other asserts."""
    from reg2rg.evaluate.labeler import COUNTED, RuleLabeler

    spans: list[dict[str, list[Span]]] = []
    for text in (reference, prediction):
        found = [item for item in RuleLabeler().find(text) if item.status in COUNTED]
        spans.append({})
        for name in ABNORMALITY_NAMES:
            if places := [(item.start, item.end) for item in found if item.abnormality == name]:
                spans[-1][name] = places
    first, second = spans
    return {name: first[name] for name in first if name not in second}, {
        name: second[name] for name in second if name not in first
    }


def _unshared_sentences(text: str, other: str) -> tuple[Span, ...]:
    shared = set(split_sentences(other))
    spans, start = [], 0
    for sentence in split_sentences(text):
        start = text.index(sentence, start)
        if sentence not in shared:
            spans.append((start, start + len(sentence)))
        start += len(sentence)
    return tuple(spans)


def _merged(places: dict[str, list[Span]]) -> tuple[Span, ...]:
    """All spans in order, without overlaps."""
    merged: list[Span] = []
    for start, end in sorted(span for spans in places.values() for span in spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)
