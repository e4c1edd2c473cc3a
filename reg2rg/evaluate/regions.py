"""Reports region by region: which texts belong to which region, and whether regions are recognized.

A region is recognized if the prediction gives the number of the prompt the name that the reference gives it. Accuracy
per report is the share of the reference's regions that are; invented names and surplus regions count against precision.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from reg2rg.evaluate.ngrams import ratio
from reg2rg.evaluate.rates import rate_sums
from reg2rg.evaluate.statistics import StudySums, mean_sums
from reg2rg.prompt import ParsedReport
from reg2rg.regions import REGION_NAMES, find_region, normalize_name

NOTHING = "nothing"
"""What a region is taken for that the prediction does not name."""


def region_texts(report: ParsedReport) -> dict[str, str]:
    """The text of each region that a report names; texts of a region named twice are joined.

    Entries of the other report count where their title is a region: there the region had no mask, but a text.

    >>> from reg2rg.prompt import parse_report
    >>> region_texts(parse_report("The region 0 is lungs: Clear. The other report is: {pleura: Dry.}{other: -}"))
    {'lung': 'Clear.', 'pleura': 'Dry.'}
    """
    texts: dict[str, list[str]] = {}
    for finding in report.findings:
        if finding.name:
            texts.setdefault(canonical_name(finding.name), []).append(finding.text)
    for title, text in report.other.items():
        if find_region(title):
            texts.setdefault(canonical_name(title), []).append(text)
    return {name: " ".join(text for text in parts if text) for name, parts in texts.items()}


def canonical_name(name: str) -> str:
    """The published name of a region; another name as it is compared."""
    region = find_region(name)
    return region.name if region else normalize_name(name)


@dataclass(frozen=True)
class RecognitionCounts:
    """How the regions of a set of reports were recognized.

    Attributes:
        names: the ten regions, then other names of the references, then invented ones.
        support: by name, how often references have it.
        accuracies: per report, share of its regions that are named rightly; NaN for a reference without any.
        accuracy: the mean of these as a figure, ``accuracy``.
        pooled: right names over all regions of all reports, ``pooled accuracy``.
        rates: precision, recall and F1 of each name and their averages.
        swaps: (name in the reference, name in the prediction) to how often.
        invented: predicted names that are no region of the ten, and how often.
    """

    names: tuple[str, ...]
    support: dict[str, int]
    accuracies: Float[np.ndarray, " study"]
    accuracy: StudySums
    pooled: StudySums
    rates: StudySums
    swaps: Counter[tuple[str, str]]
    invented: Counter[str]


def count_recognition(reports: Sequence[tuple[ParsedReport, ParsedReport]]) -> RecognitionCounts:
    """Compares the names of regions in each reference and prediction, number by number.

    Of a number that a report gives twice the first name counts; in the prediction the second one is a surplus region.
    """
    hits, predicted, referenced = ([Counter[str]() for _ in reports] for _ in range(3))
    swaps = Counter[tuple[str, str]]()
    for study, (reference, prediction) in enumerate(reports):
        answers = _numbered_names(prediction)
        for finding in prediction.findings:
            if finding.name:
                predicted[study][canonical_name(finding.name)] += 1
        for index, name in _numbered_names(reference).items():
            referenced[study][name] += 1
            answer = answers.get(index) or NOTHING
            if answer == name:
                hits[study][name] += 1
            else:
                swaps[name, answer] += 1
    all_referenced, all_predicted = sum(referenced, Counter[str]()), sum(predicted, Counter[str]())
    names = tuple(dict.fromkeys((*REGION_NAMES, *sorted(all_referenced), *sorted(all_predicted))))
    right = np.array([counts.total() for counts in hits], np.float64)
    asked = np.array([counts.total() for counts in referenced], np.float64)
    accuracies = np.where(asked > 0, ratio(right, asked), np.nan)
    return RecognitionCounts(
        names=names,
        support={name: all_referenced[name] for name in names},
        accuracies=accuracies,
        accuracy=mean_sums(("accuracy",), accuracies[:, None]),
        pooled=StudySums(("pooled accuracy",), np.stack([right, asked], axis=1), _share),
        rates=rate_sums(names, _table(hits, names), _table(predicted, names), _table(referenced, names)),
        swaps=swaps,
        invented=Counter({name: count for name, count in all_predicted.items() if name not in REGION_NAMES}),
    )


def _numbered_names(report: ParsedReport) -> dict[int, str]:
    """By number the first name that the report gives it."""
    names: dict[int, str] = {}
    for finding in report.findings:
        names.setdefault(finding.index, canonical_name(finding.name))
    return names


def _table(counts: Sequence[Counter[str]], names: tuple[str, ...]) -> Float[np.ndarray, "study name"]:
    return np.array([[study[name] for name in names] for study in counts], np.float64)


def _share(sums: Float[np.ndarray, "draw 2"]) -> Float[np.ndarray, "draw 1"]:
    return np.where(sums[:, 1:] > 0, ratio(sums[:, :1], sums[:, 1:]), np.nan)
