"""Synonyms of single words by WordNet 3.0, from the table that the package ships (``wordnet/LICENSE.txt``).

METEOR's published figures need this version and its morphology: 3.1 or none at all give other figures.
"""

import gzip
import json
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

_SUFFIX_RULES = {
    "n": "s: ses:s ves:f xes:x zes:z ches:ch shes:sh men:man ies:y",
    "v": "s: ies:y es:e es: ed:e ed: ing:e ing:",
    "a": "er: est: er:e est:e",
    "r": "",
}
"""By part of speech (noun, verb, adjective, adverb): endings and what base forms have instead."""

_RULES = {
    part: tuple((rule.partition(":")[0], rule.partition(":")[2]) for rule in rules.split())
    for part, rules in _SUFFIX_RULES.items()
}


@lru_cache(maxsize=65536)
def synonyms(word: str) -> frozenset[str]:
    """All single words that share a meaning with this word or one of its base forms, and the word itself.

    >>> sorted(synonyms("enlarged"))[:4], synonyms("xyzzy")
    (['blown-up', 'dilate', 'elaborate', 'enlarge'], frozenset({'xyzzy'}))
    """
    table = _table()
    found = {word}
    for part, rules in _RULES.items():
        bases = table["exc"][part].get(word)
        if bases is None:
            bases = [word[: -len(ending)] + instead for ending, instead in rules if word.endswith(ending)]
        for base in (word, *bases):
            found.update(table["syn"].get(f"{base}|{part}", ()))
    return frozenset(found)


@cache
def _table() -> dict[str, Any]:
    """Read on first use, 0.1 s."""
    data = files("reg2rg").joinpath("evaluate/wordnet/single_word_synonyms.json.gz").read_bytes()
    table: dict[str, Any] = json.loads(gzip.decompress(data))
    return table
