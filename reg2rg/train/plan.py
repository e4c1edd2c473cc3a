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
    """

    remaining: Bool[np.ndarray, "token kind"]
    attributes: Float32[np.ndarray, "token attribute"]
    known: Float32[np.ndarray, "token kind"]


def plan_of(region: str, text: str, ends: Integer[np.ndarray, " token"]) -> Plan:
    """The plan of a region's text in the phantoms' grammar.

    Args:
        region: name of the region.
        text: its text.
        ends: where each token ends, in letters from the beginning of the text; what precedes the text is below 1.

    >>> at = KIND_NAMES.index("Emphysema")
    >>> plan_of("lung", "Mild emphysema. No nodule.", np.array([0, 14, 15, 18])).remaining[:, at].tolist()
    [True, True, False, False]
    """
    said_until, attributes = _read(region, text)
    known = kinds_known([region])
    remaining = (ends[:, None] < said_until) & (said_until > 0)
    return Plan(remaining, *(np.repeat(row, len(ends), axis=0) for row in (attributes[None], known)))


@cache
def _read(region: str, text: str) -> tuple[Integer[np.ndarray, " kind"], Float32[np.ndarray, " attribute"]]:
    """Where the last sentence about each kind ends, 0 where there is none, and the findings' attributes."""
    said_until = np.zeros(len(KIND_NAMES), np.int64)
    end = 0
    for sentence in split_sentences(text):
        end = text.index(sentence, end) + len(sentence)
        for finding in read_findings(sentence, region):
            if KINDS[finding.abnormality].region == region:
                said_until[KIND_NAMES.index(finding.abnormality)] = end
    return said_until, answers_of(read_findings(text, region)).attributes
