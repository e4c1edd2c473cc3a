"""What is still to be said, token by token: asked of the language model beside the text itself.

To choose its contents before its words is an old advice for writing about data (Puduppully, Dong and Lapata, AAAI
2019). Here each token of a region's text is asked which of the region's findings are still to be said, and their
attributes. From the text alone this is learnt late: most of a text's loss is the choice of words, and one word in
dozens decides whether a nodule is stated.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Integer

from reg2rg.phantom.finding import KINDS
from reg2rg.phantom.report import read_findings
from reg2rg.report import split_sentences
from reg2rg.train.questions import KIND_NAMES, answers_of, kinds_known


class Plan(NamedTuple):
    """What is to be said at each token of a region's text.

    Attributes:
        remaining: for each kind whether it is being said or still to be said.
        attributes: those of the text's findings.
        known: whether the kind belongs to the region.
        is_stating: whether the next token belongs to a sentence that states a finding.
    """

    remaining: Bool[np.ndarray, "token kind"]
    attributes: Float32[np.ndarray, "token attribute"]
    known: Float32[np.ndarray, "token kind"]
    is_stating: Bool[np.ndarray, " token"]


def plan_of(region: str, text: str, ends: Integer[np.ndarray, " token"]) -> Plan:
    """The plan of a region's text in the phantoms' grammar.

    Args:
        region: name of the region.
        text: its text.
        ends: where each token ends, in letters from the beginning of the text; what precedes the text is below 1.

    >>> at = KIND_NAMES.index("Emphysema")
    >>> plan = plan_of("lung", "Mild emphysema. No nodule.", np.array([0, 14, 15, 18]))
    >>> plan.remaining[:, at].tolist(), plan.is_stating.tolist()
    ([True, True, False, False], [True, True, False, False])
    """
    read = _read(region, text)
    sentence = np.searchsorted(read.sentence_ends, ends, side="right")
    return Plan(
        remaining=(ends[:, None] < read.said_until) & (read.said_until > 0),
        attributes=np.repeat(read.attributes[None], len(ends), axis=0),
        known=np.repeat(kinds_known([region]), len(ends), axis=0),
        is_stating=np.append(read.is_stating, False)[sentence],
    )


class _Reading(NamedTuple):
    """A text as the grammar reads it.

    Attributes:
        said_until: where the last sentence about each kind ends, 0 where there is none.
        attributes: those of the findings.
        sentence_ends: where each sentence ends.
        is_stating: whether it states a finding.
    """

    said_until: Integer[np.ndarray, " kind"]
    attributes: Float32[np.ndarray, " attribute"]
    sentence_ends: Integer[np.ndarray, " sentence"]
    is_stating: Bool[np.ndarray, " sentence"]


@cache
def _read(region: str, text: str) -> _Reading:
    said_until = np.zeros(len(KIND_NAMES), np.int64)
    ends: list[int] = []
    is_stating: list[bool] = []
    for sentence in split_sentences(text):
        ends.append(text.index(sentence, ends[-1] if ends else 0) + len(sentence))
        own = [found for found in read_findings(sentence, region) if KINDS[found.abnormality].region == region]
        is_stating.append(bool(own))
        said_until[[KIND_NAMES.index(finding.abnormality) for finding in own]] = ends[-1]
    attributes = answers_of(read_findings(text, region)).attributes
    return _Reading(said_until, attributes, np.array(ends, np.int64), np.array(is_stating, bool))
