r"""METEOR as NLTK computes it, with the parameters of the published figures (Lavie and Agarwal 2007).

Words of the prediction are aligned with words of the reference in three stages: equal words, equal stems, synonyms.
With m aligned words in c unbroken chunks, P and R the shares of aligned words, alpha 0.9, beta 3, gamma 0.5:

    METEOR = (1 - gamma (c/m)^beta) * P R / (alpha P + (1 - alpha) R)

In each stage both texts are gone through from their end, and each word takes the last free partner. Synonyms are
looked up on stems, as NLTK does.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from reg2rg.evaluate.ngrams import WordTable, ratio
from reg2rg.evaluate.pairs import Pairs
from reg2rg.evaluate.statistics import MetricScores
from reg2rg.evaluate.stemmer import stem
from reg2rg.evaluate.synonyms import synonyms
from reg2rg.evaluate.tokenize import treebank_words

ALPHA, BETA, GAMMA = 0.9, 3.0, 0.5
_PLACE_BITS = 24  # no text has as many words


@dataclass(frozen=True, eq=False)
class _Words:
    """The words on one side of all pairs, or those that are still free.

    Attributes:
        pair: which pair.
        place: where in its text, from 0.
        number: which word of the vocabulary.
    """

    pair: Int[np.ndarray, " word"]
    place: Int[np.ndarray, " word"]
    number: Int[np.ndarray, " word"]

    def __getitem__(self, which: Int[np.ndarray, " some"] | Bool[np.ndarray, " word"]) -> "_Words":
        return _Words(self.pair[which], self.place[which], self.number[which])

    def without(self, taken: Int[np.ndarray, " some"]) -> "_Words":
        free = np.ones(len(self.pair), bool)
        free[taken] = False
        return self[free]


def meteor(pairs: Pairs) -> MetricScores:
    """METEOR of each report, 0 if nothing can be aligned; ``Overall`` is the mean.

    >>> meteor(Pairs(["The heart is enlarged"], ["the heart enlarged"])).per_report["METEOR"].round(4).tolist()
    [0.6553]
    """
    distinct, rows = pairs.distinct
    table = pairs.words(treebank_words)
    references, predictions = np.array(distinct, np.int64).reshape(-1, 2).T
    predicted, referred = align_words(table, predictions, references)
    aligned = np.bincount(predicted.pair, minlength=len(distinct))
    after = [np.diff(of) for of in (predicted.pair, predicted.place, referred.place)]
    goes_on = (after[0] == 0) & (after[1] == 1) & (after[2] == 1)
    chunks = aligned - np.bincount(predicted.pair[1:][goes_on], minlength=len(distinct))
    precision, recall = ratio(aligned, table.lengths[predictions]), ratio(aligned, table.lengths[references])
    mean = ratio(precision * recall, ALPHA * precision + (1 - ALPHA) * recall)
    scores: Float[np.ndarray, " pair"] = ((1 - GAMMA * ratio(chunks, aligned) ** BETA) * mean)[rows]
    return MetricScores(per_report={"METEOR": scores}, overall={"Overall_METEOR": float(scores.mean())})


def align_words(
    table: WordTable, predictions: Int[np.ndarray, " pair"], references: Int[np.ndarray, " pair"]
) -> tuple[_Words, _Words]:
    """Aligned words of predictions and of their references, side by side, in the order of the predictions.

    Args:
        table: the words of all texts.
        predictions, references: for each pair the places of its texts in `table`.
    """
    predicted, referred = _words(table, predictions), _words(table, references)
    taken: list[tuple[_Words, _Words]] = []
    lower = [word.lower() for word in table.vocabulary]
    for names in (lower, [stem(word) for word in lower]):
        vocabulary, numbers = _numbered(names)
        first, second = _take_equal(predicted, referred, numbers)
        taken.append((predicted[first], referred[second]))
        predicted, referred = predicted.without(first), referred.without(second)
    first, second = _take_synonyms(predicted, referred, numbers, vocabulary)
    taken.append((predicted[first], referred[second]))
    both = [_joined(side) for side in zip(*taken, strict=True)]
    order = np.lexsort((both[0].place, both[0].pair))
    return both[0][order], both[1][order]


def _words(table: WordTable, texts: Int[np.ndarray, " pair"]) -> _Words:
    lengths = table.lengths[texts]
    pair = np.repeat(np.arange(len(texts)), lengths)
    place = np.arange(len(pair)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    starts = np.cumsum(table.lengths) - table.lengths
    return _Words(pair, place, table.ids[starts[texts][pair] + place])


def _numbered(names: list[str]) -> tuple[list[str], Int[np.ndarray, " word"]]:
    """The distinct ones, and for each name its number among them."""
    numbers: dict[str, int] = {}
    of_names = [numbers.setdefault(name, len(numbers)) for name in names]
    return list(numbers), np.array(of_names, np.int64)


def _joined(parts: tuple[_Words, ...]) -> _Words:
    return _Words(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("pair", "place", "number")))


def _take_equal(
    predicted: _Words, referred: _Words, numbers: Int[np.ndarray, " word"]
) -> tuple[Int[np.ndarray, " taken"], Int[np.ndarray, " taken"]]:
    """Places in both lists of words with equal numbers: of each number the last with the last, and so on."""
    first, second = (_from_the_end(words, numbers) for words in (predicted, referred))
    _, *taken = np.intersect1d(first, second, assume_unique=True, return_indices=True)
    return taken[0], taken[1]


def _from_the_end(words: _Words, numbers: Int[np.ndarray, " vocabulary"]) -> Int[np.ndarray, " word"]:
    """For each word a number that tells its pair, what it is, and the how many-th of its kind it is from the end."""
    kinds = words.pair * (len(numbers) + 1) + numbers[words.number]
    order = np.argsort(kinds[::-1], kind="stable")
    ordered = kinds[::-1][order]
    begins = np.flatnonzero(np.diff(ordered, prepend=-1))
    rank = np.arange(len(ordered)) - np.repeat(begins, np.diff(begins, append=len(ordered)))
    ranks = np.empty_like(rank)
    ranks[order] = rank
    return kinds << _PLACE_BITS | ranks[::-1]


def _take_synonyms(
    predicted: _Words, referred: _Words, numbers: Int[np.ndarray, " word"], vocabulary: list[str]
) -> tuple[Int[np.ndarray, " taken"], Int[np.ndarray, " taken"]]:
    """Places in both lists of a word and one of its synonyms, the last one that is free."""
    stems = numbers[predicted.number]
    free: dict[tuple[int, int], list[int]] = {}
    for index, kind in enumerate(zip(referred.pair.tolist(), numbers[referred.number].tolist(), strict=True)):
        free.setdefault(kind, []).append(index)
    in_use = {vocabulary[number]: number for number in np.unique(numbers[referred.number]).tolist()}
    known = {
        number: [in_use[word] for word in synonyms(vocabulary[number]) if word in in_use]
        for number in np.unique(stems).tolist()
    }
    taken = []
    for index in np.flatnonzero(np.isin(stems, [number for number, words in known.items() if words]))[::-1].tolist():
        pair = int(predicted.pair[index])
        partners = [partner for word in known[int(stems[index])] if (partner := free.get((pair, word)))]
        if partners:
            taken.append((index, max(partners, key=lambda places: places[-1]).pop()))
    first, second = np.array(taken, np.int64).reshape(-1, 2).T
    return first, second
