"""Findings to texts, one per region.

A report is written in one `Style`. Within a region the order is fixed: what is found, in the order of `KINDS` and from
the largest down; then what is denied, in the same order; then what is normal, in the order of the table. Which denials
and normal statements are made is left to chance.
"""

import re
from collections.abc import Sequence

import numpy as np

from reg2rg.phantom.finding import AMOUNTS, KINDS, Finding
from reg2rg.phantom.report.style import STYLES, Style
from reg2rg.phantom.report.wordings import (
    AMOUNT_WORDS,
    COUNTS,
    DETAIL_WORDS,
    SENTENCE_VERB,
    TAILS,
    UNSAID_DETAILS,
    slots,
    wordings,
)
from reg2rg.regions import REGION_NAMES

_UNCERTAIN = 0.08  # share of the findings that are stated with doubt
_PAIRED = 0.6  # share of two-sided findings that are stated in one sentence
_JOINED = 0.4  # share of pairs of findings that share a sentence, in a style that does so
_DENIED_AT_MOST = 0.6  # chance of each denial
_DENIALS = (1.8, 1.5, 1.2, 0.6)  # how many a region has on average, by its number of findings; fewer to be brief
_CLEAR = 0.4  # share of the regions without finding of which that is said in general terms
_ORDER = {name: place for place, name in enumerate(KINDS)}


def write_report(findings: Sequence[Finding], rng: np.random.Generator) -> dict[str, str]:
    """One text per region: its findings, denials of what it might have had, and what is normal.

    All ten regions get a text, in their published order. Equal findings are stated once. Reading the texts back gives
    the findings:

    >>> from reg2rg.phantom.report.reader import read_findings
    >>> nodule = Finding("Lung nodule", "lung", "left", "upper lobe", size_mm=12, detail="solid")
    >>> texts = write_report([nodule], np.random.default_rng(0))
    >>> read_findings(texts["lung"], "lung") == (nodule,)
    True
    """
    style = STYLES[rng.integers(len(STYLES))]
    return {region: _write_region(region, findings, style, rng) for region in REGION_NAMES}


def write_whole_report(texts: dict[str, str]) -> str:
    """The report as one text: the regions' texts in their order."""
    return " ".join(texts[region] for region in REGION_NAMES if region in texts)


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """The findings in the order in which a region's text states them, each once."""
    return sorted(dict.fromkeys(findings), key=_place)


def _place(finding: Finding) -> tuple[int, int, int, bool]:
    amount = AMOUNTS.index(finding.amount) if finding.amount else 0
    return _ORDER[finding.abnormality], -(finding.size_mm or 0), -amount, finding.side != "right"


def _write_region(region: str, findings: Sequence[Finding], style: Style, rng: np.random.Generator) -> str:
    own = in_order([finding for finding in findings if finding.region == region])
    had = {finding.abnormality for finding in own}
    might = [name for name, kind in KINDS.items() if kind.region == region and name not in had]
    chance = min(_DENIED_AT_MOST, _DENIALS[min(len(own), len(_DENIALS) - 1)] / max(1, len(might)))
    denied = [name for name in might if rng.random() < chance]
    sentences = _write_findings(own, style, rng) + _write_denials(denied, style, rng)
    if not own and rng.random() < _CLEAR:
        sentences.append(_pick(style.preferred(wordings(region, "clear"), 2), rng).format(seen=style.seen))
    normal = wordings(region, "normal")
    count = int(rng.integers(*_normal_statements(len(own), len(sentences))))
    preferred = style.preferred(normal, max(6, len(normal) // 2))
    chosen = {preferred[index] for index in rng.permutation(len(preferred))[:count]}
    sentences += [sentence.format(seen=style.seen) for sentence in normal if sentence in chosen]
    return " ".join(sentences)


def _normal_statements(findings: int, sentences: int) -> tuple[int, int]:
    """From how many normal statements to below how many a text gets that has so many findings and sentences."""
    if sentences < 2:
        return 1, 3
    return (1, 3) if 0 < findings < 3 else (0, 2)


def _write_findings(findings: Sequence[Finding], style: Style, rng: np.random.Generator) -> list[str]:
    sentences: list[str] = []
    for name in dict.fromkeys(finding.abnormality for finding in findings):
        own = [finding for finding in findings if finding.abnormality == name]
        pairs = style.preferred(wordings(name, "pair"), 2)
        if pairs and sorted(finding.side or "" for finding in own) == ["left", "right"] and rng.random() < _PAIRED:
            right, left = sorted(own, key=lambda finding: finding.side == "left")
            sentences.append(_fill(_pick(pairs, rng), right, style, left))
            continue
        counts = style.preferred(wordings(name, "count"), 2)
        if counts and style.counts and len(own) in COUNTS:
            sentences.append(_capital(_pick(counts, rng).format(count=COUNTS[len(own)], seen=style.seen)))
        usual = _pick(_possible(name, "finding", own, style), rng)
        for finding in own:
            doubtful = rng.random() < _UNCERTAIN
            doubts = _possible(name, "uncertain", [finding], style) if doubtful else []
            sentences.append(_fill(_pick(doubts, rng) if doubts else usual, finding, style))
    return _join(sentences, style, rng)


def _possible(name: str, use: str, findings: Sequence[Finding], style: Style) -> Sequence[str]:
    """The style's wordings that say no more of a kind than is known of these findings; any others if it has none."""
    missing = {slot for finding in findings for slot, text in _slot_texts(finding, style).items() if text is None}
    options = wordings(name, use)
    possible = [wording for wording in style.preferred(options, 3) if not slots(wording) & missing]
    possible = possible or [wording for wording in options if not slots(wording) & missing]
    assert possible, f"{name}: no {use} wording does without {sorted(missing)}"
    return possible


def _fill(wording: str, finding: Finding, style: Style, other: Finding | None = None) -> str:
    """A wording about a finding, and for a pair about the other one on the left."""
    of_other = _slot_texts(other, style) if other else {}
    second = {f"{slot}2": of_other.get(slot) for slot in ("amount", "size")}
    sentence = wording.format(**_slot_texts(finding, style), **second)
    sentence = re.sub(" +", " ", sentence).strip()
    return _capital(re.sub(r"\b([Aa]) (?=[aeiou]|8\d?\b|11\b|18\b)", r"\1n ", sentence))


def _slot_texts(finding: Finding, style: Style) -> dict[str, str | None]:
    """What fills the slots of a wording; None where nothing is known."""
    name = finding.abnormality
    amount = style.usual(AMOUNT_WORDS[name][finding.amount]) if finding.amount else None
    return {
        "seen": style.seen,
        "side": finding.side,
        "lobe": finding.lobe,
        "size": None if finding.size_mm is None else str(finding.size_mm),
        "percent": None if finding.percent is None else str(finding.percent),
        "amount": amount,
        "amountly": amount and f"{amount}ly",
        "detail": UNSAID_DETAILS.get(name) if finding.detail is None else finding.detail,
        "vessel": DETAIL_WORDS.get(finding.detail or ""),
        "tail": TAILS.get(finding.detail),
    }


def _join(sentences: list[str], style: Style, rng: np.random.Generator) -> list[str]:
    """Some neighbours among the sentences made one."""
    joined: list[str] = []
    free = False  # whether the last sentence may take another
    for sentence in sentences:
        whole = bool(SENTENCE_VERB.search(sentence))
        if style.joins_findings and free and whole and rng.random() < _JOINED:
            joined[-1] = f"{joined[-1][:-1]}, and {sentence[0].lower()}{sentence[1:]}"
            free = False
        else:
            joined.append(sentence)
            free = whole
    return joined


def _write_denials(denied: Sequence[str], style: Style, rng: np.random.Generator) -> list[str]:
    """The denials of some kinds, as one list or as a sentence each."""
    nouns = [wordings(name, "noun")[0] for name in denied]
    if style.lists_denials and len(nouns) == 2 and rng.random() < 0.5:
        return [wordings("", "neither")[0].format(first=nouns[0], second=nouns[1], seen=style.seen)]
    if style.lists_denials and len(nouns) > 1:
        listed = f"{', '.join(nouns[:-1])} or {nouns[-1]}"
        return [_pick(style.preferred(wordings("", "list"), 2), rng).format(list=listed, seen=style.seen)]
    return [_pick(style.preferred(wordings(name, "denial"), 2), rng).format(seen=style.seen) for name in denied]


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
