"""What is still to be said, and what is said next, token by token: asked of the language model beside the text itself.

To choose its contents before its words is an old advice for writing about data (Puduppully, Dong and Lapata, AAAI
2019). Here each token of a region's text is asked which of the region's findings are still to be said, which the
sentence of the next token states, and their attributes. From the text alone this is learnt late: most of a text's loss
is the choice of words, and one word in dozens decides whether a nodule is stated.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Integer

from reg2rg.phantom.finding import KINDS
from reg2rg.phantom.report import read_findings
from reg2rg.report import split_sentences
from reg2rg.train.questions import Answers, answers_of, kinds_known


class Plan(NamedTuple):
    """What is to be said at each token of a region's text.

    Attributes:
        remaining: for each kind whether it is being said or still to be said.
        attributes: those of the text's findings.
        next: for each kind whether the sentence of the next token states it.
        next_attributes: those of that sentence's findings.
        known: whether the kind belongs to the region.
    """

    remaining: Bool[np.ndarray, "token kind"]
    attributes: Float32[np.ndarray, "token attribute"]
    next: Bool[np.ndarray, "token kind"]
    next_attributes: Float32[np.ndarray, "token attribute"]
    known: Float32[np.ndarray, "token kind"]


def plan_of(region: str, text: str, ends: Integer[np.ndarray, " token"]) -> Plan:
    """The plan of a region's text in the phantoms' grammar.

    Args:
        region: name of the region.
        text: its text.
        ends: where each token ends, in letters from the beginning of the text; what precedes the text is below 1.

    >>> from reg2rg.train.questions import KIND_NAMES
    >>> at = KIND_NAMES.index("Emphysema")
    >>> plan = plan_of("lung", "Clear. Mild emphysema. No nodule.", np.array([0, 6, 14, 22, 26]))
    >>> plan.remaining[:, at].tolist(), plan.next[:, at].tolist()
    ([True, True, True, False, False], [False, True, True, False, False])
    """
    read = _read(region, text)
    sentence = np.searchsorted(read.sentence_ends, ends, side="right")
    return Plan(
        remaining=(ends[:, None] < read.said_until) & (read.said_until > 0),
        attributes=np.repeat(read.attributes[None], len(ends), axis=0),
        next=read.stated[sentence],
        next_attributes=read.stated_attributes[sentence],
        known=np.repeat(kinds_known([region]), len(ends), axis=0),
    )


class _Reading(NamedTuple):
    """A text as the grammar reads it.

    Attributes:
        said_until: where the last sentence about each kind ends, 0 where there is none.
        attributes: those of the findings.
        sentence_ends: where each sentence ends.
        stated: which kinds it states; a last row for what follows the text.
        stated_attributes: those of its findings, in the same rows.
    """

    said_until: Integer[np.ndarray, " kind"]
    attributes: Float32[np.ndarray, " attribute"]
    sentence_ends: Integer[np.ndarray, " sentence"]
    stated: Bool[np.ndarray, "sentence+1 kind"]
    stated_attributes: Float32[np.ndarray, "sentence+1 attribute"]


def _read(region: str, text: str) -> _Reading:
    ends = [0]
    answers = []
    for sentence in split_sentences(text):
        ends.append(text.index(sentence, ends[-1]) + len(sentence))
        answers.append(_answers(region, sentence))
    answers.append(answers_of([]))
    stated = np.stack([answer.present for answer in answers]) > 0
    attributes = np.stack([answer.attributes for answer in answers])
    return _Reading(
        said_until=(stated[:-1] * np.array(ends[1:], np.int64)[:, None]).max(axis=0, initial=0),
        attributes=attributes.max(axis=0),
        sentence_ends=np.array(ends[1:], np.int64),
        stated=stated,
        stated_attributes=attributes,
    )


@lru_cache(maxsize=2**16)  # sentences come again, whole texts need not (see `TrainConfig.reword`)
def _answers(region: str, sentence: str) -> Answers:
    findings = read_findings(sentence, region)
    return answers_of([found for found in findings if KINDS[found.abnormality].region == region])
