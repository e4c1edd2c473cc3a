"""Does a sentence hang on its lesion? The same phantom is reported with and without it.

Naming a region right says that the model knows which region it speaks of, not that it looked at it. So each lesion is
taken out of the CT, all else left as it was (`make_phantom(without=...)`): what was stated of it should vanish, and
what is stated of other regions should stay. Findings are compared, not wordings, and sizes by their class.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reg2rg.generate import GenerationSettings, Reporter
from reg2rg.phantom.finding import KINDS, Finding, size_class
from reg2rg.phantom.report import read_findings
from reg2rg.phantom.world import make_phantom
from reg2rg.preprocess import StudyCrops
from reg2rg.report import Report

_BATCH = 16


@dataclass
class GroundingCounts:
    """Of the findings that are stated and were drawn, per abnormality.

    Attributes:
        stated: how many of them there are.
        vanished: those no longer stated once their lesion is taken out.
        watched: pairs of one of them and a lesion of another region that was taken out.
        lost: those of the pairs in which it is no longer stated.
        changed: those in which it is stated otherwise: another side, lobe, detail, amount or class of size.
        renumbered: those in which only a number differs: of mm within its class, or of percent, which has no classes.
    """

    stated: Counter[str] = field(default_factory=Counter)
    vanished: Counter[str] = field(default_factory=Counter)
    watched: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    renumbered: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        """Rates over all abnormalities and of each; *disturbed* is lost or changed."""
        known = [name for name in KINDS if self.stated[name]]
        return {**self._rates(known), "per_abnormality": {name: self._rates([name]) for name in known}}

    def _rates(self, names: Sequence[str]) -> dict[str, Any]:
        def total(counts: Counter[str]) -> int:
            return sum(counts[name] for name in names)

        pairs = total(self.watched)
        return {
            "stated": total(self.stated),
            "vanished": _share(total(self.vanished), total(self.stated)),
            "pairs": pairs,
            "disturbed": _share(total(self.lost) + total(self.changed), pairs),
            "lost": _share(total(self.lost), pairs),
            "changed": _share(total(self.changed), pairs),
            "renumbered": _share(total(self.renumbered), pairs),
        }


def measure_grounding(
    reporter: Reporter,
    seeds: Sequence[int],
    progress: Callable[[int, int], None] | None = None,
    settings: GenerationSettings | None = None,
) -> GroundingCounts:
    """Reports each phantom whole, then without each of its abnormalities in turn.

    Args:
        reporter: the model; prompts are in the order of the ten regions.
        seeds: of small phantoms (`make_phantom`), none of them used in training.
        progress: called with (phantoms done, all).
        settings: how text is generated; None for the model's own way. Where words are drawn, they are drawn with the
            same seeds for a phantom with and without a lesion.
    """
    counts = GroundingCounts()
    for done, seed in enumerate(seeds, start=1):
        whole = make_phantom(seed)
        drawn = list(dict.fromkeys(finding.abnormality for finding in whole.findings))
        variants = [whole, *(make_phantom(seed, without=(name,)) for name in drawn)]
        crops = [reporter.processor.crop(variant.study) for variant in variants]
        placed = [_placed_as(crops[0], own) for own in crops]
        reports = reporter.report_crops([variant.study for variant in variants], placed, settings, rows=_BATCH)
        compare_reports(
            stated_by_kind(reports[0]), dict(zip(drawn, map(stated_by_kind, reports[1:]), strict=True)), counts
        )
        if progress:
            progress(done, len(seeds))
    return counts


def _placed_as(whole: StudyCrops, own: StudyCrops) -> StudyCrops:
    """The same crops, said to lie where the whole phantom's do, which decides what is drawn."""
    places = dict(zip(whole.regions, whole.boxes, strict=True))
    boxes = (places.get(name, box) for name, box in zip(own.regions, own.boxes, strict=True))
    return replace(own, image_box=whole.image_box, boxes=tuple(boxes))


def compare_reports(
    whole: dict[str, set[Finding]], without: dict[str, dict[str, set[Finding]]], counts: GroundingCounts
) -> None:
    """Counts one phantom: what is stated of it whole, and without each abnormality that was drawn.

    >>> effusion = Finding("Pleural effusion", "pleura", "left", amount="small")
    >>> counts = GroundingCounts()
    >>> compare_reports({"Pleural effusion": {effusion}}, {"Pleural effusion": {}, "Emphysema": {}}, counts)
    >>> counts.to_json()["vanished"], counts.to_json()["disturbed"]
    (1.0, 1.0)
    """
    for name in without:
        if name not in whole:
            continue
        counts.stated[name] += 1
        counts.vanished[name] += name not in without[name]
        for other, stated in without.items():
            if KINDS[other].region != KINDS[name].region:
                counts.watched[name] += 1
                if name not in stated:
                    counts.lost[name] += 1
                elif set(map(_as_classed, stated[name])) != set(map(_as_classed, whole[name])):
                    counts.changed[name] += 1
                elif stated[name] != whole[name]:
                    counts.renumbered[name] += 1


def _as_classed(finding: Finding) -> tuple[object, ...]:
    """A finding without its numbers: 12 mm and 13 mm are the same finding, small and large are not."""
    return finding.abnormality, finding.side, finding.lobe, finding.detail, size_class(finding)


def stated_by_kind(report: Report) -> dict[str, set[Finding]]:
    """What a report states, by abnormality."""
    stated: dict[str, set[Finding]] = {}
    for region in report.regions:
        for finding in read_findings(region.text, region.name):
            stated.setdefault(finding.abnormality, set()).add(finding)
    return stated


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
