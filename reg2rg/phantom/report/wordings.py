"""The sentences of the reports: the rows of ``wordings.csv``, and the words that fill their slots.

Each row says about what it is (a kind of finding, a region, or nothing), its use, and the wording:

| use | said |
|---|---|
| finding, uncertain | of a finding; an uncertain one counts as present all the same |
| pair | of two findings of a kind, one on each side |
| count | before several findings of a kind |
| denial | of a kind that the region does not have; `noun` is the kind's name in a list of denials |
| list, neither | of several kinds that the region does not have |
| normal | of a region, whatever is found in it |
| clear | of a region in which nothing is found |

Slots: side, lobe, size (mm), percent, amount, amountly (its adverb), amount2 and size2 (of a pair's left side), detail,
vessel (a detail with its article), tail (what leads away from a device), count; seen is the style's word.
"""

import csv
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from reg2rg.phantom.finding import KINDS, LOBES, SIDES

_DEGREES = {
    "small": ("mild", "slight", "minimal"),
    "moderate": ("moderate",),
    "large": ("severe", "marked", "extensive"),
}
_SIZES = {"small": ("small", "minimal"), "moderate": ("moderate", "medium"), "large": ("large", "extensive")}
_HAVE_SIZES = ("Lung opacity", "Consolidation", "Pleural effusion")

AMOUNT_WORDS = {name: _SIZES if name in _HAVE_SIZES else _DEGREES for name in KINDS if "amount" in KINDS[name].states}
"""The words for each amount, by kind."""

DETAIL_WORDS = {
    "left anterior descending": "the left anterior descending artery",
    "right": "the right coronary artery",
    "circumflex": "the circumflex artery",
    "three-vessel": "all three vessels",
}
"""How a coronary vessel is written in the slot {vessel}."""

UNSAID_DETAILS = {"Lung nodule": "", "Medical material": "device"}
"""What is written for a detail that is not known, by kind; in other kinds a wording without the slot is taken."""

TAILS = {"port": "catheter", "pacemaker": "lead", None: "lead"}
COUNTS = {2: "two", 3: "three"}
SEEN_WORDS = ("seen", "noted", "observed", "present", "visible", "identified")

WORD = r"[A-Za-z]+|\d+|[^\sA-Za-z\d]"
"""A word, a number or a punctuation mark."""

SENTENCE_VERB = re.compile(r"\b(is|are|has|have|shows?|contains?|lies|ends)\b")
"""What makes a wording a whole sentence, which another one may be joined to."""

_SLOT = re.compile(r"\{(\w+)\}")
_LARGEST_NUMBER = 199


@cache
def wordings(about: str, use: str) -> tuple[str, ...]:
    """The wordings about a kind or a region for one use, in the order of the table.

    >>> wordings("Thyroid nodule", "denial")[0]
    'No thyroid nodule is {seen}.'
    """
    return tuple(row["wording"] for row in _rows() if row["about"] == about and row["use"] == use)


@cache
def slots(wording: str) -> frozenset[str]:
    """The slots of a wording.

    >>> sorted(slots("A {size} mm nodule in the {side} {lobe}."))
    ['lobe', 'side', 'size']
    """
    return frozenset(_SLOT.findall(wording))


@cache
def vocabulary() -> tuple[str, ...]:
    """Every word, number and punctuation mark that a report may hold, as `WORD` parts a text.

    >>> "effusion" in vocabulary(), "30" in vocabulary(), len(vocabulary()) < 800
    (True, True, True)
    """
    words = {"an", "An", *(str(number) for number in range(1, _LARGEST_NUMBER + 1))}
    for row in _rows():
        wording = row["wording"]
        words.update(re.findall(WORD, _SLOT.sub(" ", wording)))
        if row["use"] in ("finding", "uncertain") and SENTENCE_VERB.search(wording):
            words.add(re.findall(WORD, wording[0].lower() + wording[1:])[0])
        for slot in slots(wording):
            for text in _slot_texts(slot, row["about"]):
                words.update(re.findall(WORD, text))
                if wording.startswith(f"{{{slot}}}"):
                    words.add(re.findall(WORD, text[0].upper() + text[1:])[0])
    return tuple(sorted(words - {"{", "}"}))


def _slot_texts(slot: str, about: str) -> Iterator[str]:
    """What a slot can hold in the wordings about a kind; numbers apart, and lists, which are made of nouns."""
    if slot == "side":
        yield from SIDES
    elif slot == "lobe":
        yield from LOBES
    elif slot in ("amount", "amount2", "amountly"):
        ending = "ly" if slot == "amountly" else ""
        yield from (word + ending for words in AMOUNT_WORDS[about].values() for word in words)
    elif slot == "detail":
        yield from filter(None, (*KINDS[about].details, UNSAID_DETAILS.get(about)))
    elif slot == "vessel":
        yield from DETAIL_WORDS.values()
    elif slot == "tail":
        yield from TAILS.values()
    elif slot == "count":
        yield from COUNTS.values()
    elif slot == "seen":
        yield from SEEN_WORDS
    elif slot == "list":
        yield from (",", "or")


@cache
def _rows() -> tuple[dict[str, str], ...]:
    text = (files("reg2rg.phantom.report") / "wordings.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))
