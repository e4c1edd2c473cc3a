"""Of several drafts of a text, the one that says most nearly what all of them say.

Minimum Bayes risk decoding (Kumar and Byrne, HLT-NAACL 2004, section 2) in which the drafts, drawn from the model, are
each other's references (Eikema and Aziz, EMNLP 2022, section 3): what one draft alone states is more often wrong than
what most of them state. Drafts are compared by the names of the regions, then by what the rule labeler reads in them,
then by their words.
"""

import math
import re
from collections.abc import Hashable, Iterator, Sequence

from reg2rg.evaluate.labeler import COUNTED, RuleLabeler, split_sentences
from reg2rg.prompt import parse_report
from reg2rg.vocabulary import step_of_degree

_WORD = re.compile(r"[a-z]+|\d+(?:\.\d+)?")
_PLACES = frozenset({"left", "right", "bilateral", "both", "upper", "middle", "lower", "lingula"})
_RUNG = 0.25  # of a ladder of logarithms: numbers on one rung differ by 28 % at most
_LARGEST = 1e6  # a model may write hundreds of digits
_AMOUNT = "="  # begins what stands for a degree or a number, as no word does


def most_agreed(drafts: Sequence[str]) -> int:
    """The place of the answer to a prompt that agrees most with all; the first of equals.

    Agreement is F1 of the regions' names; where these tell no difference, of what is stated of each region; and where
    that does not either, of the words.

    >>> answers = ["The lungs are clear.", "A nodule of 30 mm.", "A nodule of 11 mm.", "There is a 12 mm nodule."]
    >>> most_agreed([f"The region 0 is lung: {answer}" for answer in answers])
    2
    """
    read = [_read(draft) for draft in drafts]

    def agreement(place: int) -> tuple[float, ...]:
        # Summed without rounding: the order of the drafts decides nothing.
        return tuple(math.fsum(_f1(own, other[aspect]) for other in read) for aspect, own in enumerate(read[place]))

    return max(range(len(drafts)), key=agreement)


def _read(draft: str) -> tuple[frozenset[Hashable], ...]:
    """An answer's names, statements and words, each with the number or title of its part."""
    report = parse_report(draft)
    # With its name before it, a text is read as one about that region.
    firsts = {finding.index: finding for finding in reversed(report.findings)}  # what is in a report
    parts = [(str(index), f"{finding.name}: {finding.text}") for index, finding in firsts.items()]
    parts += [(title, f"{title}: {text}") for title, text in report.other.items()]
    parts = parts or [("", draft)]
    return (
        frozenset((index, finding.recognized_as) for index, finding in firsts.items()),
        frozenset((part, *statement) for part, text in parts for statement in statements(text)),
        frozenset((part, word) for part, text in parts for word in _words(text)),
    )


def statements(text: str) -> frozenset[tuple[str, str]]:
    """What a text asserts of the 18 abnormalities: each with nothing, as it is there, and with what is said beside it.

    That is places, degrees (by their step) and numbers (by their rung on a ladder of ratios).

    >>> sorted(statements("No effusion. Mild emphysema of both lungs. A nodule of 12 mm."))
    [('Emphysema', ''), ('Emphysema', '=degree 0'), ('Emphysema', 'both'),
     ('Lung nodule', ''), ('Lung nodule', '=e^2.5')]
    """
    found = [evidence for evidence in RuleLabeler().find(text) if evidence.status in COUNTED]
    stated: set[tuple[str, str]] = set()
    for start, sentence in split_sentences(text):
        details = [word for word in _words(sentence) if word.startswith(_AMOUNT) or word in _PLACES]
        for evidence in found:
            if start <= evidence.start < start + len(sentence):
                stated.update((evidence.abnormality, detail) for detail in ("", *details))
    return frozenset(stated)


def _words(text: str) -> Iterator[str]:
    """Words in lower case, with one sign for all degrees of a step, and for all numbers of a rung."""
    for word in _WORD.findall(text.lower()):
        if (step := step_of_degree(word)) is not None:
            yield f"{_AMOUNT}degree {step}"
        elif word[0].isdigit():
            number = min(max(float(word), 1), _LARGEST)
            yield f"{_AMOUNT}e^{round(math.log(number) / _RUNG) * _RUNG:g}"
        else:
            yield word.removesuffix("ly")


def _f1(one: frozenset[Hashable], other: frozenset[Hashable]) -> float:
    return 2 * len(one & other) / (len(one) + len(other)) if one or other else 1.0
