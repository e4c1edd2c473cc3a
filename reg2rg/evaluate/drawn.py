"""Reports of phantoms against what was drawn: which findings are stated, on which side, how large, in how many words.

The truth is exact, so that more can be asked than of patients' reports: side and size of what is found, nodules apart
by their size, and what always stating an abnormality would score. Presence is read by the rule labeler from the whole
report, side and size by the inverse of the phantoms' grammar from each region's text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.evaluate.bootstrap import Bootstrap, Difference
from reg2rg.evaluate.clinical import Labels
from reg2rg.evaluate.labeler import RuleLabeler
from reg2rg.evaluate.rates import class_rates, rate_sums
from reg2rg.evaluate.statistics import StudySums, score_sums
from reg2rg.phantom.finding import KINDS, Finding, size_class
from reg2rg.phantom.report import read_findings

GROUPS: dict[str, tuple[str, ...]] = {
    "large": (
        "Pleural effusion",
        "Consolidation",
        "Cardiomegaly",
        "Pericardial effusion",
        "Medical material",
        "Hiatal hernia",
        "Peribronchial thickening",
    ),
    "diffuse": (
        "Lung opacity",
        "Emphysema",
        "Atelectasis",
        "Lymphadenopathy",
        "Mosaic attenuation pattern",
        "Interlobular septal thickening",
        "Pulmonary fibrotic sequela",
        "Bronchiectasis",
    ),
    "calcifications": ("Arterial wall calcification", "Coronary artery wall calcification"),
}
"""Abnormalities that are as hard to see as each other; nodules are a group of their own, by size."""

NODULE = "Lung nodule"
LARGE_NODULE_MM = 10


@dataclass(frozen=True)
class DrawnReport:
    """A generated report and the truth of its phantom.

    Attributes:
        drawn: what was drawn.
        texts: generated text by region, the region named by its mask.
    """

    drawn: tuple[Finding, ...]
    texts: Mapping[str, str]


def score_drawn(
    reports: Sequence[DrawnReport], control: Sequence[DrawnReport] | None = None, seed: int = 0
) -> dict[str, Any]:
    """Scores of generated reports, with 95 % intervals over resampled studies, as JSON values.

    Args:
        reports: one per study.
        control: reports of the same studies, in the same order, by a model that sees no image.
        seed: of the resampling.

    Returns:
        ``micro``, ``macro`` and ``per_abnormality`` rates of the 18; ``groups`` with the rates of `GROUPS` and of
        large nodules (smaller true ones count neither way); ``side`` and ``size`` (share right among the true
        positives whose text says it); ``distinct_texts`` per region (among texts that state a finding);
        ``gain_over_always`` and ``gain_over_control`` of F1.
    """
    labeler = RuleLabeler()
    drawn, stated = _labels_drawn(reports), _labels_stated(reports, labeler)
    bootstrap = Bootstrap(len(reports), seed)
    sums = rate_sums(ABNORMALITY_NAMES, drawn & stated, stated, drawn)
    figures = _figures(sums, bootstrap)
    scores: dict[str, Any] = {
        "studies": len(reports),
        "labeler": labeler.name,
        "micro": _rates_of(figures, "micro"),
        "macro": _rates_of(figures, "macro"),
        "per_abnormality": {
            name: _rates_of(figures, name) | {"support": int(drawn[:, column].sum())}
            for column, name in enumerate(ABNORMALITY_NAMES)
        },
        "groups": {name: _group(drawn, stated, members, bootstrap) for name, members in GROUPS.items()},
        "gain_over_always": _gain_over_always(drawn, stated, bootstrap),
        **_attributes(reports),
        "distinct_texts": _distinct(reports),
    }
    scores["groups"]["large nodules"] = _large_nodules(reports, stated, bootstrap)
    if control is not None:
        control_stated = _labels_stated(control, labeler)
        theirs = rate_sums(ABNORMALITY_NAMES, drawn & control_stated, control_stated, drawn)
        scores["control"] = {name: _rates_of(_figures(theirs, bootstrap), name) for name in ("micro", "macro")}
        differences = bootstrap.compare(sums, theirs)
        scores["gain_over_control"] = {
            name: _difference(differences[f"{name} f1"]) for name in ("micro", "macro", *ABNORMALITY_NAMES)
        }
    return scores


def _labels_drawn(reports: Sequence[DrawnReport]) -> Labels:
    return np.array(
        [
            [name in {finding.abnormality for finding in report.drawn} for name in ABNORMALITY_NAMES]
            for report in reports
        ]
    )


def _labels_stated(reports: Sequence[DrawnReport], labeler: RuleLabeler) -> Labels:
    """Region by region, so that a text is never read across the border of two regions."""
    texts = [text for report in reports for text in report.texts.values()]
    owners = [study for study, report in enumerate(reports) for _ in report.texts]
    labels = np.zeros((len(reports), len(ABNORMALITY_NAMES)), bool)
    if texts:
        np.logical_or.at(labels, owners, labeler.label(texts))
    return labels


def _figures(sums: StudySums, bootstrap: Bootstrap) -> dict[str, tuple[float, tuple[float, float] | None]]:
    intervals = bootstrap.intervals(sums)
    return {name: (value, intervals[name]) for name, value in zip(sums.names, score_sums(sums), strict=True)}


def _rates_of(figures: Mapping[str, tuple[float, tuple[float, float] | None]], group: str) -> dict[str, Any]:
    rates: dict[str, Any] = {}
    for measure in ("precision", "recall", "f1"):
        value, interval = figures[f"{group} {measure}"]
        rates[measure] = _rounded(value)
        rates[f"{measure}_ci95"] = None if interval is None else [_rounded(limit) for limit in interval]
    return rates


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


def _group(drawn: Labels, stated: Labels, members: tuple[str, ...], bootstrap: Bootstrap) -> dict[str, Any]:
    columns = [ABNORMALITY_NAMES.index(name) for name in members]
    drawn, stated = drawn[:, columns], stated[:, columns]
    return _rates_of(_figures(rate_sums(members, drawn & stated, stated, drawn), bootstrap), "micro")


def _large_nodules(reports: Sequence[DrawnReport], stated: Labels, bootstrap: Bootstrap) -> dict[str, Any]:
    """Nodules of 10 mm or more; a study whose nodules are all smaller is left out, whatever its report says."""
    sizes = [[f.size_mm or 0 for f in report.drawn if f.abnormality == NODULE] for report in reports]
    has_large = np.array([any(size >= LARGE_NODULE_MM for size in study) for study in sizes])[:, None]
    counts = np.array([not study or max(study) >= LARGE_NODULE_MM for study in sizes])[:, None]
    says = stated[:, [ABNORMALITY_NAMES.index(NODULE)]] & counts
    sums = rate_sums((NODULE,), has_large & says, says, has_large)
    return _rates_of(_figures(sums, bootstrap), "micro") | {"support": int(has_large.sum())}


def _gain_over_always(drawn: Labels, stated: Labels, bootstrap: Bootstrap) -> dict[str, Any]:
    """F1 of each abnormality less that of stating it in every report, which is 2 p / (1 + p) at a prevalence of p."""
    counts = np.concatenate([drawn & stated, stated, drawn, np.ones((len(drawn), 1), bool)], axis=1).astype(float)
    sums = StudySums(ABNORMALITY_NAMES, counts, partial(_less_always, len(ABNORMALITY_NAMES)))
    return {
        name: {"value": _rounded(value), "ci95": None if interval is None else [_rounded(limit) for limit in interval]}
        for name, (value, interval) in _figures(sums, bootstrap).items()
    }


def _less_always(kinds: int, sums: Float[np.ndarray, "draw sum"]) -> Float[np.ndarray, "draw name"]:
    hits, stated, drawn = np.split(sums[:, : 3 * kinds], 3, axis=1)
    studies = np.broadcast_to(sums[:, -1:], drawn.shape)
    ours, always = class_rates(hits, stated, drawn), class_rates(drawn, studies, drawn)
    return ours.per_class[..., 2] - always.per_class[..., 2]


def _difference(difference: Difference) -> dict[str, Any]:
    interval = None if difference.ci95 is None else [_rounded(limit) for limit in difference.ci95]
    return {"value": _rounded(difference.value), "ci95": interval, "p": _rounded(difference.p)}


def _attributes(reports: Sequence[DrawnReport]) -> dict[str, Any]:
    """Side and size class of what is stated and was drawn: right if a finding of that kind has it.

    A size is compared with the findings of the stated side where there are any.
    """
    side, size = _Share(), _Share()
    for report in reports:
        for region, text in report.texts.items():
            for said in dict.fromkeys(read_findings(text, region)):
                true = [finding for finding in report.drawn if finding.abnormality == said.abnormality]
                if not true or said.abnormality not in ABNORMALITY_NAMES:
                    continue
                same_side = [finding for finding in true if finding.side == said.side]
                if said.side is not None:
                    side.count(said.abnormality, bool(same_side))
                said_class = size_class(said)
                if said_class is not None:
                    size.count(said.abnormality, said_class in map(size_class, same_side or true))
    return {"side": side.to_json(), "size": size.to_json()}


class _Share:
    """How often something is right, over all and by name."""

    def __init__(self) -> None:
        self._right: dict[str, int] = {}
        self._asked: dict[str, int] = {}

    def count(self, name: str, is_right: bool) -> None:
        self._asked[name] = self._asked.get(name, 0) + 1
        self._right[name] = self._right.get(name, 0) + is_right

    def to_json(self) -> dict[str, Any]:
        asked, right = sum(self._asked.values()), sum(self._right.values())
        return {
            "right": round(right / asked, 4) if asked else None,
            "stated": asked,
            "per_abnormality": {
                name: {"right": round(self._right[name] / count, 4), "stated": count}
                for name, count in sorted(self._asked.items())
            },
        }


def _distinct(reports: Sequence[DrawnReport]) -> dict[str, Any]:
    """Share of different texts among those of a region that state a finding."""
    texts: dict[str, list[str]] = {}
    for report in reports:
        for region, text in report.texts.items():
            if any(KINDS[finding.abnormality].region == region for finding in read_findings(text, region)):
                texts.setdefault(region, []).append(text)
    return {
        region: {"distinct": round(len(set(found)) / len(found), 4), "texts": len(found)}
        for region, found in sorted(texts.items())
    }
