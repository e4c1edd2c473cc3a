"""Words as numbers, and how often each n-gram comes in each text, as sparse matrices."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import count

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix


class WordTable:
    """The words of many texts, numbered.

    Attributes:
        lengths: words in each text.
        ids: the words of all texts, one text after the other, as numbers.
        vocabulary: the word of each number.
    """

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        numbers: defaultdict[str, int] = defaultdict(count().__next__)
        ids = [numbers[word] for words in texts for word in words]
        self.ids: Int[np.ndarray, " word"] = np.array(ids, np.int64)
        self.lengths: Int[np.ndarray, " text"] = np.array([len(words) for words in texts], np.int64)
        self.vocabulary = tuple(numbers)
        self._counts: list[csr_matrix] = []

    def row(self, text: int) -> list[int]:
        """The words of one text as numbers."""
        end = int(self.lengths[: text + 1].sum())
        return self.ids[end - int(self.lengths[text]) : end].tolist()

    def counts(self, highest_order: int) -> list[csr_matrix]:
        """For n = 1, 2, ... a matrix, text by n-gram, of how often each n-gram comes; computed once."""
        if len(self._counts) < highest_order:
            self._counts = self._count(highest_order)
        return self._counts[:highest_order]

    def _count(self, highest_order: int) -> list[csr_matrix]:
        text = np.repeat(np.arange(len(self.lengths)), self.lengths)
        grams, counts = self.ids, []
        for order in range(1, highest_order + 1):
            size = max(len(text) - order + 1, 0)
            # An n-gram is the (n-1)-gram that begins it and its last word, where both are in the same text.
            inside = text[order - 1 :] == text[:size]
            keys = grams[:size] * len(self.vocabulary) + self.ids[order - 1 :] if order > 1 else self.ids
            distinct, numbered = np.unique(keys[inside], return_inverse=True)
            grams = np.zeros(size, np.int64)
            grams[inside] = numbered
            shape = (len(self.lengths), len(distinct))
            counts.append(csr_matrix((np.ones(len(numbered), np.int64), (text[:size][inside], numbered)), shape=shape))
        return counts


def shared_counts(table: csr_matrix, first: Int[np.ndarray, " pair"], second: Int[np.ndarray, " pair"]) -> np.ndarray:
    """How many n-grams two texts share, each as often as it comes in both, for each pair of rows."""
    return np.asarray(table[first].minimum(table[second]).sum(axis=1)).ravel()


def ratio(
    numerator: Float[np.ndarray, "*shape"] | Int[np.ndarray, "*shape"],
    denominator: Float[np.ndarray, "*shape"] | Int[np.ndarray, "*shape"],
) -> Float[np.ndarray, "*shape"]:
    """The quotient; 0 where the denominator is 0.

    >>> ratio(np.array([1.0, 1.0]), np.array([2.0, 0.0])).tolist()
    [0.5, 0.0]
    """
    safe = np.where(denominator == 0, 1, denominator)
    return np.where(denominator == 0, 0.0, numerator / safe)
