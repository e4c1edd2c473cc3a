"""Texts to findings: the inverse of the writer.

The reader goes by clauses and cue words and not by whole wordings, so that any text, the word soup of a weak generator
included, is read. What it knows of each kind is in `_CUES`; which attributes a kind has is in `KINDS`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from reg2rg.phantom.finding import KINDS, Finding
from reg2rg.phantom.report.wordings import AMOUNT_WORDS


@dataclass(frozen=True)
class _Cue:
    """How a clause, in lower case, mentions a kind.

    Attributes:
        mention: anywhere.
        at_home: in the text of the kind's own region.
        unless: a clause with this is about something else.
        not_under: regions whose texts never mean this kind.
    """

    mention: str
    at_home: str = r"(?!)"
    unless: str = r"(?!)"
    not_under: tuple[str, ...] = ()


_NODULE = r"\bnodul(e|es|ar)\b"
_CALCIFIED = r"\b(calcif|plaques?\b|atheroma|atherosclero)"
_PLEURAL_SPACE = r"\bpleural? (space|cavit|sac)"
_PERICARDIAL_SPACE = r"\bpericardi(al (space|sac)|um\b)"

_CUES: dict[str, _Cue] = {
    "Medical material": _Cue(r"\b(devices?|pacemaker|port|catheter|leads?|medical material)\b"),
    "Arterial wall calcification": _Cue(
        rf"{_CALCIFIED}.*\b(aort(a|ic)|arch)\b|\b(aort(a|ic)|arch)\b.*{_CALCIFIED}", _CALCIFIED, r"\bcoronary\b"
    ),
    "Cardiomegaly": _Cue(
        r"\bcardiomegaly\b|\benlarged heart\b"
        r"|\b(heart|cardiac silhouette)\b.*\b(enlarged|increased|larger than normal)\b"
        r"|\bcardiothoracic ratio\b.*\b(increased|exceeds|\d+ ?%)",
        unless=r"\beffusion\b",
    ),
    "Pericardial effusion": _Cue(
        rf"\bpericardial (effusions?|fluid)\b|{_PERICARDIAL_SPACE}.*\b(fluid|effusions?)\b"
        rf"|\b(fluid|effusions?)\b.*{_PERICARDIAL_SPACE}",
        r"\beffusions?\b",
    ),
    "Coronary artery wall calcification": _Cue(rf"\bcoronary\b.*{_CALCIFIED}|{_CALCIFIED}.*\bcoronary\b"),
    "Hiatal hernia": _Cue(r"\bhernia(tion)?\b"),
    "Lymphadenopathy": _Cue(
        r"\blymphadenopathy\b|\b(enlarged|pathologic)\b.*\blymph nodes?\b|\blymph nodes?\b.*\b(enlarged|pathologic)\b"
    ),
    "Emphysema": _Cue(r"\bemphysema(tous)?\b"),
    "Atelectasis": _Cue(r"\batelecta(sis|tic)\b"),
    "Lung nodule": _Cue(_NODULE, unless=r"\b(thyroid|breasts?)\b", not_under=("thyroid", "breast")),
    "Lung opacity": _Cue(r"\bopacit(y|ies)\b|\bground ?- ?glass (areas?|attenuation)\b|\binfiltrates?\b"),
    "Pulmonary fibrotic sequela": _Cue(r"\bfibrotic\b|\bfibrosis\b|\bscar(s|ring)?\b|\bsequelae?\b"),
    "Pleural effusion": _Cue(
        rf"\bpleural (effusions?|fluid)\b|{_PLEURAL_SPACE}.*\b(fluid|effusions?)\b"
        rf"|\b(fluid|effusions?)\b.*{_PLEURAL_SPACE}",
        r"\beffusions?\b",
    ),
    "Mosaic attenuation pattern": _Cue(r"\bmosaic\b"),
    "Peribronchial thickening": _Cue(
        r"\bperibronchial\b|\bbronch(i|ial)\b.*\bthicken(ed|ing)\b|\bthicken(ed|ing)\b.*\bbronch(i|ial)\b"
    ),
    "Consolidation": _Cue(r"\bconsolidat(ion|ions|ed)\b"),
    "Bronchiectasis": _Cue(
        r"\bbronchiecta(sis|tic)\b|\bbronchi\b.*\bdilat(ed|ation)\b|\bdilat(ed|ation)\b.*\bbronchi\b"
    ),
    "Interlobular septal thickening": _Cue(r"\bsept(al|a)\b.*\bthicken(ed|ing)\b|\bthicken(ed|ing)\b.*\bsept(al|a)\b"),
    "Vertebral compression": _Cue(
        r"\bcompress(ion|ed)\b|\bheight\b.*\b(los[ts]|reduced)\b|\b(los[ts]|reduced)\b.*\bheight\b"
    ),
    "Rib fracture": _Cue(r"\bfractured?\b.*\bribs?\b|\bribs?\b.*\bfractured?\b"),
    "Liver lesion": _Cue(
        r"\b(liver|hepatic)\b.*\b(lesions?|mass)\b|\b(lesions?|mass)\b.*\b(liver|hepatic)\b", r"\blesions?\b"
    ),
    "Thyroid nodule": _Cue(rf"\bthyroid\b.*{_NODULE}|{_NODULE}.*\bthyroid\b", _NODULE),
    "Breast mass": _Cue(r"\bbreasts?\b.*\bmass\b|\bmass\b.*\bbreasts?\b", r"\bmass\b"),
}
assert _CUES.keys() == KINDS.keys()

# Details that are not written as they are named.
_DETAILS = {
    "three-vessel": r"\bthree ?- ?vessel|\ball three\b|\bthree (vessels|coronary)",
    "ground-glass": r"\bground ?- ?glass\b",
}
_DENYING = re.compile(r"\b(no|not|without|neither|nor|free of|absent|never|none)\b")
_SENTENCE_END = re.compile(r"[.;!?\n]+(?!\d)")
_CLAUSE_START = re.compile(r"\bbut\b|\bhowever\b|, and\b|(?=\bwithout\b)")
_COUNT = re.compile(r"\b(two|three|four|five|several|multiple)\b")
_AMOUNT_OF = {
    word + ending: amount
    for words_of in AMOUNT_WORDS.values()
    for amount, words in words_of.items()
    for word in words
    for ending in ("", "ly")
}
_AMOUNT = re.compile(r"\b(" + "|".join(sorted(_AMOUNT_OF, key=len, reverse=True)) + r")\b")


def read_findings(text: str, region: str | None = None) -> tuple[Finding, ...]:
    """Which findings a text asserts, in the order of its sentences; never raises, whatever the text.

    Each clause is read by itself: a kind counts when the clause mentions it and holds no denying word (no, not,
    without, neither, nor, free of). Attributes are taken from the clause, None where it says nothing. One clause with
    both sides gives one finding per side. The same statement twice counts once, and a number of findings ("two
    nodules are seen") counts only if none of them is described.

    Args:
        text: a report or a part of it.
        region: the region that the text is about, if known; it tells what a bare "effusion", "nodule", "lesion" or
            "mass" means.

    >>> [(f.side, f.amount) for f in read_findings("No nodule. Bilateral effusions, large on the left.", "pleura")]
    [('left', 'large'), ('right', None)]
    >>> read_findings("A nodule of 8 mm is seen in the left upper lobe, without consolidation.")[0].size_mm
    8
    """
    found: dict[Finding, None] = {}
    counted: dict[Finding, None] = {}
    for sentence in _SENTENCE_END.split(text.lower()):
        for clause in _CLAUSE_START.split(sentence):
            if not _DENYING.search(clause):
                for finding in _read_clause(clause, region):
                    is_count = _COUNT.search(clause) and finding == Finding(finding.abnormality, finding.region)
                    (counted if is_count else found)[finding] = None
    described = {finding.abnormality for finding in found}
    return (*found, *(finding for finding in counted if finding.abnormality not in described))


def _read_clause(clause: str, region: str | None) -> Iterator[Finding]:
    for name, (mention, at_home, unless) in _patterns().items():
        if region in _CUES[name].not_under or unless.search(clause):
            continue
        if mention.search(clause) or (region == KINDS[name].region and at_home.search(clause)):
            yield from _read_attributes(name, clause)


def _read_attributes(name: str, clause: str) -> Iterator[Finding]:
    """The findings of one kind in one clause: several where it names both sides."""
    kind = KINDS[name]
    amounts: list[str | None] = [_AMOUNT_OF[word] for word in _AMOUNT.findall(clause)] if _has(name, "amount") else []
    sides = _read_sides(clause) if _has(name, "side") else [None]
    if len(sides) > 1 and len(amounts) == 1:
        amounts.append(None if re.search(r"\b(left|right)\b", clause) else amounts[0])
    lobe = re.search(r"\b(upper|middle|lower) lobe\b", clause) if _has(name, "lobe") else None
    sizes = re.findall(r"\b(\d{1,4}) ?mm\b", clause) if _has(name, "size_mm") else []
    percent = re.search(r"\b(\d{1,4}) ?%", clause) if _has(name, "percent") else None
    details = [detail for detail in kind.details if re.search(_detail_pattern(detail), clause)]
    for index, side in enumerate(sides):
        yield Finding(
            name,
            kind.region,
            side,
            lobe.group(0) if lobe else None,
            int(sizes[min(index, len(sizes) - 1)]) if sizes else None,
            amounts[min(index, len(amounts) - 1)] if amounts else None,
            int(percent.group(1)) if percent else None,
            details[0] if details else None,
        )


def _read_sides(clause: str) -> list[str | None]:
    sides: list[str | None] = list(dict.fromkeys(re.findall(r"\b(left|right)\b", clause)))
    if not sides:
        return ["right", "left"] if re.search(r"\b(bilateral|both)\b", clause) else [None]
    if len(sides) == 1 and re.search(r"\bbilateral\b", clause):
        sides.append("left" if sides == ["right"] else "right")
    return sides


def _has(name: str, attribute: str) -> bool:
    return attribute in KINDS[name].states


@cache
def _detail_pattern(detail: str) -> str:
    return _DETAILS.get(detail, rf"\b{re.escape(detail.lower())}\b")


@cache
def _patterns() -> dict[str, tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]]:
    return {
        name: (re.compile(cue.mention), re.compile(cue.at_home), re.compile(cue.unless)) for name, cue in _CUES.items()
    }
