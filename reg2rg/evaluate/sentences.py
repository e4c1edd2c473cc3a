"""Where sentences end, as NLTK's Punkt model for English decides it, without the model.

Punkt ends a sentence at ``.``, ``!`` or ``?`` with a blank behind, except after words that it has learned to be
abbreviations, after initials, and after numbers when a lower-case word follows (Kiss and Strunk, Computational
Linguistics 2006). What decides in radiology reports is "CT.", which newspapers taught it to be Connecticut.
"""

import re

_ABBREVIATIONS = frozenset(
    "ct dr st mr mrs ms prof vs mg yr ft lt sw pa va ga co inc ltd corp jan feb aug sep sept oct nov dec "
    "c d e f g h k l m n p r s t v w a.m p.m ph.d u.s u.k d.c".split()
)
"""Of Punkt's list, what can stand at the end of a word in a report; after these a period rarely ends a sentence."""

_STARTERS = frozenset(
    "most he since so both these it nevertheless this indeed however instead under similarly some though while when "
    "in despite although nonetheless thus there if the nor separately moreover but they yet many according among "
    "meanwhile even i".split()
)
"""Capitalized, these begin a sentence even after an abbreviation."""

_STOP = re.compile(r"""[.!?](?P<closing>["')\]}]*)\s+(?=(?P<next>\S+))""")
_BEFORE_A_WORD = frozenset(""" \t\n\r()"';}]*:@{[!?""")
_NUMBER = re.compile(r"-?[.,]?\d[\d,.-]*")


def split_sentences(text: str) -> list[str]:
    """The sentences of a text; joined by the blanks that were between them they give the text back.

    >>> split_sentences("Seen on CT. The lungs are clear. Size 3.5 mm.")
    ['Seen on CT.', 'The lungs are clear.', 'Size 3.5 mm.']
    >>> split_sentences("On non-contrast CT. no nodule. 8. segment")
    ['On non-contrast CT. no nodule.', '8. segment']
    """
    sentences, start = [], 0
    for stop in _STOP.finditer(text):
        if not _goes_on(text, stop):
            sentences.append(text[start : stop.end("closing")])
            start = stop.end()
    return [*sentences, text[start:]] if text[start:].strip() else sentences


def _goes_on(text: str, stop: re.Match[str]) -> bool:
    """Whether a period does not end its sentence."""
    if stop.group()[0] != "." or stop["closing"]:
        return False
    following = stop["next"]
    beginning = stop.start()
    while beginning > 0 and text[beginning - 1] not in _BEFORE_A_WORD:
        beginning -= 1
    before = text[beginning : stop.start()].lower()
    if before in _ABBREVIATIONS or before.rpartition("-")[2] in _ABBREVIATIONS or before.endswith("."):
        is_initial = len(before) == 1
        return is_initial or not (following[0].isupper() and following.lower().rstrip(".,;:") in _STARTERS)
    return following[0].islower() and (bool(_NUMBER.fullmatch(before)) or (len(before) == 1 and before.isalpha()))
