"""The rule labeler: which of the 18 abnormalities a report asserts, and by which words.

Offline and deterministic. Everything that is known about wordings is in one table, ``labeler_rules.csv``, with a row
per rule; this module reads the table, splits a report into sentences and sentences into statements, and decides for
each wording that it finds whether it is asserted, doubted, denied or past. docs/LABELER.md describes the table and
compares the labels with those of RadBERT.
"""

import csv
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.resources import files
from itertools import product
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.errors import InputError
from reg2rg.evaluate.clinical import Labeler

PRESENT, UNCERTAIN, ABSENT, PAST = "present", "uncertain", "absent", "past"

# What a label of 1 stands for. A doubted finding ("possible", "suspected", "cannot be excluded") counts, since
# CT-RATE's labels know no doubt and are given to what a report mentions without denying it (docs/LABELER.md).
COUNTED = frozenset({PRESENT, UNCERTAIN})

RULES = 2  # raise with every change of the table or of this module that can change a label


@dataclass(frozen=True)
class Evidence:
    """The words by which a report speaks of an abnormality.

    Attributes:
        abnormality: one of the 18 names.
        start: offset of the first letter in the text.
        end: offset after the last one.
        status: ``present``, ``uncertain``, ``absent`` (denied) or ``past`` (resolved, removed).
    """

    abnormality: str
    start: int
    end: int
    status: str


class RuleLabeler:
    """Labels by the rules of ``labeler_rules.csv``.

    >>> labeler = RuleLabeler()
    >>> text = "No pleural effusion. Possible nodule, the heart is enlarged."
    >>> [(found.abnormality, text[found.start : found.end], found.status) for found in labeler.find(text)]
    [('Pleural effusion', 'pleural effusion', 'absent'), ('Lung nodule', 'nodule', 'uncertain'),
     ('Cardiomegaly', 'heart is enlarged', 'present')]
    >>> labels = labeler.label([text, ""])
    >>> labels.shape, [ABNORMALITY_NAMES[i] for i in np.flatnonzero(labels[0])]
    ((2, 18), ['Cardiomegaly', 'Lung nodule'])
    """

    name = f"rules/{RULES}"

    def label(self, texts: Sequence[str]) -> Bool[np.ndarray, "report abnormality"]:
        """One row per report: which abnormalities it asserts, in the order of ABNORMALITY_NAMES."""
        labels = np.zeros((len(texts), len(ABNORMALITY_NAMES)), bool)
        for row, text in zip(labels, texts, strict=True):
            for evidence in self.find(text):
                if evidence.status in COUNTED:
                    row[ABNORMALITY_NAMES.index(evidence.abnormality)] = True
        return labels

    def find(self, text: str) -> tuple[Evidence, ...]:
        """Everything that a report says about the 18 abnormalities, denials included, in the order of the text."""
        found: list[Evidence] = []
        site: str | None = None
        for start, sentence in split_sentences(text):
            # The Turkish capital is the one letter that has two signs in lower case, which would move the offsets.
            evidence, site = _read_sentence(sentence.replace("İ", "I").lower(), site)
            found += [replace(e, start=start + e.start, end=start + e.end) for e in evidence]
        return tuple(found)


def find_labeler(name: str) -> Labeler:
    """The labeler of this name: ``rules``, or ``radbert:DIR`` with the folder of its weights.

    Raises:
        InputError: if there is no labeler of this name, or no model in the folder.

    >>> find_labeler("rules").name
    'rules/2'
    """
    kind, _, folder = name.partition(":")
    if kind == "rules" and not folder:
        return RuleLabeler()
    if kind == "radbert" and folder:
        from reg2rg.evaluate.radbert import RadBERTLabeler

        return RadBERTLabeler.from_folder(Path(folder))
    raise InputError(f"unknown labeler {name!r}: expected rules, or radbert:DIR with the folder of the weights")


# A full stop ends a sentence before a blank, unless it belongs to an abbreviation; the point of "4.5" has no blank.
_ABBREVIATIONS = "".join(rf"(?<!\b{word})" for word in ("ct", "iv", "vs", "dr", "fig", "approx", r"e\.g", r"i\.e"))
_SENTENCE_END = re.compile(rf"{_ABBREVIATIONS}[.!;]+\s+|\?\s+(?=[A-Z])|\n+", re.IGNORECASE)


def split_sentences(text: str) -> Iterator[tuple[int, str]]:
    """The sentences of a report, each with the offset of its first letter.

    >>> list(split_sentences("On ct. 4.5 mm nodule. No effusion; clear."))
    [(0, 'On ct. 4.5 mm nodule.'), (22, 'No effusion;'), (35, 'clear.')]
    """
    start = 0
    for end in (*(match.end() for match in _SENTENCE_END.finditer(text)), len(text)):
        sentence = text[start:end].rstrip()
        if sentence:
            yield start, sentence
        start = end


_BLANK = r"[\s/-]+"
_NEAR = r"(?:[^\w,:;]+\w+){0,6}?[^\w,:;]+"
_FAR = r"(?:[^\w:;]+\w+){0,12}?[^\w:;]+"


def translate(pattern: str) -> str:
    """A pattern of the table as a regular expression for text in lower case.

    In the table ``*`` stands for the rest of a word, a blank also for a hyphen or a slash, ``..`` for at most six
    words without a comma, and ``...`` for at most twelve words, commas included. Groups such as ``(a|b)``, ``( c)?``
    and ``(?!d)`` are those of regular expressions.

    >>> re.search(translate("(enlarged|swollen) .. lymph node*"), "swollen left hilar lymph-nodes").group()
    'swollen left hilar lymph-nodes'
    """
    for sugar, meaning in ((" ... ", "\0"), (" .. ", "\1"), ("*", r"\w*"), (" ", _BLANK)):
        pattern = pattern.replace(sugar, meaning)
    pattern = re.sub(r"\((?!\?)", "(?:", pattern)
    return rf"\b(?:{pattern})(?!\w)".replace("\0", _FAR).replace("\1", _NEAR)


def _key_words(pattern: str) -> tuple[str, ...]:
    """Words of which every match of a pattern contains at least one; looking for them first saves most of the time.

    >>> _key_words("(large|swollen( up)?) .. lymphatic node*"), _key_words("(nodul*(?! like)|micronodul*)")
    (('lymphatic',), ('nodul', 'micronodul'))
    """
    groups: list[tuple[str, ...]] = []

    def close(group: re.Match[str]) -> str:
        """A sign for a group that a match must pass, a blank for one that it may leave out."""
        if group[2] or group[1].startswith("?"):
            return " "
        groups.append(tuple(word for each in group[1].split("|") for word in best(each)))
        return chr(_FIRST_GROUP + len(groups) - 1)

    def best(alternative: str) -> tuple[str, ...]:
        words = re.findall("[a-z]+", alternative)
        passed = [groups[ord(sign) - _FIRST_GROUP] for sign in alternative if ord(sign) >= _FIRST_GROUP]
        return max([("",), *((word,) for word in words), *passed], key=lambda each: min(map(len, each)))

    pattern, count = re.sub(r"\\.", " ", pattern), 1
    while count:
        pattern, count = re.subn(r"\(([^()]*)\)(\?|\{.*?\})?", close, pattern)
    return best(pattern)


_FIRST_GROUP = 0xE000  # signs that no pattern holds


@dataclass(frozen=True)
class _Wording:
    """A row of the table that words a finding."""

    abnormality: str
    pattern: re.Pattern[str]
    key_words: tuple[str, ...]
    not_in: frozenset[str]
    unless: re.Pattern[str] | None


@dataclass(frozen=True)
class _Table:
    """The rules, compiled: wordings of findings, names of sites, those that are organs, and cues by their kind."""

    wordings: tuple[_Wording, ...]
    site: re.Pattern[str]
    organs: frozenset[str]
    cues: dict[str, re.Pattern[str]]


@cache
def _table() -> _Table:
    rows = read_rules()
    wordings = tuple(
        _Wording(
            row["name"],
            re.compile(translate(row["pattern"])),
            _key_words(row["pattern"]),
            frozenset(row["not_in"].split()),
            re.compile(translate(row["unless"])) if row["unless"] else None,
        )
        for row in rows
        if row["kind"] == "finding"
    )
    patterns: dict[str, dict[str, list[str]]] = {"site": {}, "cue": {}}
    for row in rows:
        if row["kind"] != "finding":
            kind = "cue" if row["kind"] == "cue" else "site"
            patterns[kind].setdefault(row["name"], []).append(translate(row["pattern"]))
    site = "|".join(f"(?P<{name}>{'|'.join(alternatives)})" for name, alternatives in patterns["site"].items())
    organs = frozenset(row["name"] for row in rows if row["kind"] == "organ")
    cues = {name: re.compile("|".join(alternatives)) for name, alternatives in patterns["cue"].items()}
    return _Table(wordings, re.compile(site), organs, cues)


def read_rules() -> list[dict[str, str]]:
    """The rows of the table: kind (finding, organ, site, cue), name, pattern, not_in, unless, example."""
    text = (files("reg2rg.evaluate") / "labeler_rules.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


Span = tuple[int, int]


@lru_cache(maxsize=50_000)
def _read_sentence(sentence: str, last_site: str | None) -> tuple[tuple[Evidence, ...], str | None]:
    """What a sentence in lower case says, with offsets in it, and the site that it leaves for the next sentence.

    Args:
        sentence: one sentence.
        last_site: the site that was named last before it; it holds until another one is named.
    """
    table = _table()
    sites = [(match.start(), match.lastgroup) for match in table.site.finditer(sentence)]
    wordings = [wording for wording in table.wordings if any(word in sentence for word in wording.key_words)]
    statements = _split_statements(sentence, table.cues) if wordings else []
    scopes = _scopes(sentence, statements, table.cues) if wordings else {}
    found = []
    for wording, statement in product(wordings, statements):
        for match in wording.pattern.finditer(sentence, *statement):
            start, end = match.span()
            if wording.unless and wording.unless.search(sentence, *statement):
                continue
            if _is_elsewhere(wording.not_in, statement, start, sites, last_site):
                continue
            status = next((s for s, spans in scopes.items() if any(a < end and start < b for a, b in spans)), PRESENT)
            found.append(Evidence(wording.abnormality, start, end, status))
    return _without_parts(found), sites[-1][1] if sites else last_site


def _without_parts(found: list[Evidence]) -> tuple[Evidence, ...]:
    """The evidence in the order of the text, without what only repeats a part of other evidence."""
    kept: list[Evidence] = []
    for each in sorted(found, key=lambda e: (e.start, -e.end)):
        if not any(
            other.end >= each.end and replace(each, start=other.start, end=other.end) == other for other in kept
        ):
            kept.append(each)
    return tuple(kept)


def _is_elsewhere(
    not_in: frozenset[str], statement: Span, start: int, sites: list[tuple[int, str | None]], last_site: str | None
) -> bool:
    """Whether a finding is said of an site that it does not count for: the statement's, else the nearest organ."""
    here = {site for at, site in sites if statement[0] <= at < statement[1]}
    if here:
        return here <= not_in
    before = [site for at, site in sites if at < start]
    nearest = before[-1] if before else sites[0][1] if sites else last_site
    return nearest in not_in and nearest in _table().organs


_JOINT = re.compile(r"[,:]\s*(?:(?:and|with)\b)?|\b(?:and|with)\b")


def _split_statements(sentence: str, cues: dict[str, re.Pattern[str]]) -> list[Span]:
    """The parts of a sentence that are denied or asserted by themselves, so that lists stay whole.

    A word like "but" always parts. A comma or an "and" parts when a new statement begins behind it ("no mass is seen,
    and nodules are seen"), and not between the items of a list ("no nodule, mass, or effusion is seen").
    """
    starts = {0, *(match.start() for match in cues["parts"].finditer(sentence))}
    for joint in _JOINT.finditer(sentence):
        left = sentence[max(start for start in starts if start <= joint.start()) : joint.start()]
        right = re.split("[,:]", sentence[joint.end() :].lstrip(), maxsplit=1)[0]
        if _is_new_statement(left, joint.group(), right, cues):
            starts.add(joint.start())
    ordered = sorted(starts)
    return list(zip(ordered, [*ordered[1:], len(sentence)], strict=True))


def _is_new_statement(left: str, joint: str, right: str, cues: dict[str, re.Pattern[str]]) -> bool:
    predicate = cues["predicate"]
    if cues["continues"].match(right) or predicate.match(right):
        return False  # it speaks on of a subject on the left
    denial = cues["denies-following"].search(left)
    if cues["place"].match(left.lstrip(", ")) and not predicate.search(left) and not denial:
        return False  # "in the right lung, ..."
    if joint != "with" and cues["opens"].match(right):
        return True
    if joint[0] in ",:" and cues["opens-after-comma"].match(right):
        return True
    if joint != "and" and denial and predicate.search(left, denial.end()):
        return True  # "no mass is seen in the lung, ...": what was denied is complete
    if not predicate.search(right):
        return False
    if predicate.search(left):
        return True
    return joint != "and" and bool(cues["place"].search(left) or cues["determiner"].match(right))


def _scopes(sentence: str, statements: list[Span], cues: dict[str, re.Pattern[str]]) -> dict[str, list[Span]]:
    """Where in a sentence findings are past, absent or uncertain; the first that applies holds."""
    bounds = [start for start, _ in statements]

    def cues_of(kind: str, masks: Sequence[Span] = ()) -> Iterator[tuple[Span, Span]]:
        for match in cues[kind].finditer(sentence):
            if not any(start < match.end() and match.start() < end for start, end in masks):
                yield match.span(), statements[bisect_right(bounds, match.end() - 1) - 1]

    doubts = list(cues_of("doubts"))
    masks = [cue for kind in ("doubts", "denies-nothing") for cue, _ in cues_of(kind)]
    absent = [(begin, cue[1]) for cue, (begin, _) in cues_of("denies-preceding", masks)]
    for cue, (_, end) in cues_of("denies-following", masks):
        stop = cues["ends-denial"].search(sentence, cue[1], end)
        absent.append((cue[0], stop.start() if stop else end))
    past = [(begin, cue[1]) for cue, (begin, _) in cues_of("past-preceding")]
    for cue, (_, end) in cues_of("past-following"):
        comma = sentence.find(",", cue[1], end)
        past.append((cue[0], end if comma < 0 else comma))
    return {PAST: past, ABSENT: absent, UNCERTAIN: [statement for _, statement in doubts]}
