"""Porter's stemmer with the extensions that NLTK has made its default, as the published METEOR needs it.

Porter, "An algorithm for suffix stripping", Program 14(3), 1980. The extensions: a table of irregular words, words of
one or two letters as they are, ``ies``/``ied`` after one letter, ``y`` to ``i`` after consonants only, ``alli`` before
the other rules of step 2, ``fulli`` and ``logi``, and vowel-consonant words of two letters as short stems.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

_Rules = dict[str, tuple[tuple[str, str], ...]]

_IRREGULAR = {
    "skies": "sky",
    "sky": "sky",
    "dying": "die",
    "lying": "lie",
    "tying": "tie",
    "news": "news",
    "innings": "inning",
    "inning": "inning",
    "outings": "outing",
    "outing": "outing",
    "cannings": "canning",
    "canning": "canning",
    "howe": "howe",
    "proceed": "proceed",
    "exceed": "exceed",
    "succeed": "succeed",
}


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """The stem of a lower-case word.

    >>> [stem(word) for word in ("nodules", "thickening", "emphysematous", "cavity")]
    ['nodul', 'thicken', 'emphysemat', 'caviti']
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) <= 2:
        return word
    for step in (_plurals, _past_and_participle, _final_y, _double_suffixes, _single_suffixes, _bare_suffixes, _tidy):
        word = step(word)
    return word


def _consonants(word: str) -> list[bool]:
    """For each letter whether it is a consonant; y is one unless it follows one."""
    flags: list[bool] = []
    for letter in word:
        flags.append(letter not in "aeiou" if letter != "y" else not (flags and flags[-1]))
    return flags


def _measure(word: str) -> int:
    """Porter's m: how often a vowel is followed by a consonant."""
    flags = _consonants(word)
    return sum(not before and after for before, after in pairwise(flags))


def _ends_double_consonant(word: str) -> bool:
    return len(word) >= 2 and word[-1] == word[-2] and _consonants(word)[-1]


def _ends_short(word: str) -> bool:
    """Porter's *o, consonant-vowel-consonant and not w, x, y at the end; or just vowel-consonant."""
    flags = _consonants(word)
    if len(word) == 2:
        return flags == [False, True]
    return flags[-3:] == [True, False, True] and word[-1] not in "wxy"


def _plurals(word: str) -> str:
    if word.endswith("ies"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("sses"):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _past_and_participle(word: str) -> str:
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for suffix in ("ed", "ing"):
        if word.endswith(suffix) and not all(_consonants(word[: -len(suffix)])):
            word = word[: -len(suffix)]
            break
    else:
        return word
    if word.endswith(("at", "bl", "iz")):
        return word + "e"
    if _ends_double_consonant(word):
        return word if word[-1] in "lsz" else word[:-1]
    return word + "e" if _measure(word) == 1 and _ends_short(word) else word


def _final_y(word: str) -> str:
    before = word[:-1]
    return before + "i" if word.endswith("y") and len(before) > 1 and _consonants(before)[-1] else word


def _by_ending(*rules: tuple[str, str]) -> _Rules:
    """Rules by the last two letters of their suffix, so that few are tried; their order is kept."""
    endings = dict.fromkeys(suffix[-2:] for suffix, _ in rules)
    return {ending: tuple(rule for rule in rules if rule[0].endswith(ending)) for ending in endings}


_DOUBLE = _by_ending(
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("fulli", "ful"),
)
_SINGLE = _by_ending(
    ("icate", "ic"),
    ("ative", ""),
    ("alize", "al"),
    ("iciti", "ic"),
    ("ical", "ic"),
    ("ful", ""),
    ("ness", ""),
)
_BARE = _by_ending(
    *(
        (suffix, "")
        for suffix in "al ance ence er ic able ible ant ement ment ent ion ou ism ate iti ous ive ize".split()
    )
)


def _replace_suffix(word: str, rules: _Rules, allowed: Callable[[str, str], bool]) -> str:
    """Applies the first rule whose suffix the word has, if the rest allows it; no other rule is tried."""
    for suffix, replacement in rules.get(word[-2:], ()):
        if word.endswith(suffix):
            rest = word[: -len(suffix)]
            return rest + replacement if allowed(rest, suffix) else word
    return word


def _double_suffixes(word: str) -> str:
    if word.endswith("alli") and _measure(word[:-4]) > 0:
        return _double_suffixes(word[:-2])
    if word.endswith("logi"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    return _replace_suffix(word, _DOUBLE, lambda rest, suffix: _measure(rest) > 0)


def _single_suffixes(word: str) -> str:
    return _replace_suffix(word, _SINGLE, lambda rest, suffix: _measure(rest) > 0)


def _bare_suffixes(word: str) -> str:
    return _replace_suffix(
        word, _BARE, lambda rest, suffix: _measure(rest) > 1 and (suffix != "ion" or rest[-1] in "st")
    )


def _tidy(word: str) -> str:
    """Drops a final e and one of two final l."""
    if word.endswith("e"):
        rest = word[:-1]
        measure = _measure(rest)
        if measure > 1 or (measure == 1 and not _ends_short(rest)):
            word = rest
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word
