r"""METEOR as NLTK computes it, with the parameters of the published figures (Lavie and Agarwal 2007).

Words of the prediction are aligned with words of the reference in three stages: equal words, equal stems, synonyms.
With m aligned words in c unbroken chunks, P and R the shares of aligned words, alpha 0.9, beta 3, gamma 0.5:

    METEOR = (1 - gamma (c/m)^beta) * P R / (alpha P + (1 - alpha) R)

In each stage both texts are gone through from their end, and each word takes the last free partner. Synonyms are
looked up on stems, as NLTK does.
"""

from collections import defaultdict
from itertools import pairwise

import numpy as np

from reg2rg.evaluate.pairs import Pairs
from reg2rg.evaluate.statistics import MetricScores
from reg2rg.evaluate.stemmer import stem
from reg2rg.evaluate.synonyms import synonyms
from reg2rg.evaluate.tokenize import treebank_words

ALPHA, BETA, GAMMA = 0.9, 3.0, 0.5

Place = tuple[int, str]
"""A word and where it stands."""


def meteor(pairs: Pairs) -> MetricScores:
    """METEOR of each report; ``Overall`` is the mean."""
    distinct, rows = pairs.distinct
    words = [[word.lower() for word in treebank_words(text)] for text in pairs.texts]
    scores = np.array([meteor_of_words(words[first], words[second]) for first, second in distinct], np.float64)[rows]
    return MetricScores(per_report={"METEOR": scores}, overall={"Overall_METEOR": float(scores.mean())})


def meteor_of_words(reference: list[str], prediction: list[str]) -> float:
    """METEOR of one pair of lower-case words; 0 if nothing can be aligned.

    >>> round(meteor_of_words("the heart is enlarged".split(), "the heart enlarged".split()), 4)
    0.6553
    """
    aligned = align_words(reference, prediction)
    if not aligned:
        return 0.0
    precision, recall = len(aligned) / len(prediction), len(aligned) / len(reference)
    mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
    chunks = 1 + sum(after != (before[0] + 1, before[1] + 1) for before, after in pairwise(aligned))
    return (1 - GAMMA * (chunks / len(aligned)) ** BETA) * mean


def align_words(reference: list[str], prediction: list[str]) -> list[tuple[int, int]]:
    """Aligned words as (place in the prediction, place in the reference), in the order of the prediction."""
    predicted, referred = list(enumerate(prediction)), list(enumerate(reference))
    aligned = _take_equal(predicted, referred)
    predicted = [(place, stem(word)) for place, word in predicted]
    referred = [(place, stem(word)) for place, word in referred]
    aligned += _take_equal(predicted, referred)
    aligned += _take_synonyms(predicted, referred)
    return sorted(aligned)


def _take_equal(predicted: list[Place], referred: list[Place]) -> list[tuple[int, int]]:
    """Pairs of equal words; they are taken out of both lists."""
    free = _places(referred)
    taken = []
    for place, word in reversed(predicted):
        if free.get(word):
            taken.append((place, free[word].pop()))
    _remove(taken, predicted, referred)
    return taken


def _take_synonyms(predicted: list[Place], referred: list[Place]) -> list[tuple[int, int]]:
    """Pairs of a word and one of its synonyms, the last one that is free; they are not taken out: nothing follows."""
    free = _places(referred)
    taken = []
    for place, word in reversed(predicted):
        known = [synonym for synonym in synonyms(word) if free.get(synonym)]
        if known:
            last = max(known, key=lambda synonym: free[synonym][-1])
            taken.append((place, free[last].pop()))
    return taken


def _places(words: list[Place]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = defaultdict(list)
    for place, word in words:
        places[word].append(place)
    return places


def _remove(taken: list[tuple[int, int]], predicted: list[Place], referred: list[Place]) -> None:
    for words, gone in ((predicted, {pair[0] for pair in taken}), (referred, {pair[1] for pair in taken})):
        words[:] = [(place, word) for place, word in words if place not in gone]
