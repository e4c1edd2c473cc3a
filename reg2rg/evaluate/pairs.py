"""References and predictions side by side, each text looked at once however often it comes.

Reports repeat themselves: of 11,462 pairs of the published region files 6,691 are distinct, of the texts far fewer.
"""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Int

from reg2rg.evaluate.ngrams import WordTable

Tokenizer = Callable[[str], Sequence[str]]


class Pairs:
    """Pairs of a reference and a prediction.

    Attributes:
        texts: every text once.
        reference_rows: for each pair the place of its reference in `texts`.
        prediction_rows: for each pair the place of its prediction in `texts`.
    """

    def __init__(self, references: Sequence[str], predictions: Sequence[str]) -> None:
        if len(references) != len(predictions):
            raise ValueError(f"{len(references)} references and {len(predictions)} predictions")
        places: dict[str, int] = {}
        rows = [places.setdefault(text, len(places)) for text in (*references, *predictions)]
        self.texts = tuple(places)
        self.reference_rows: Int[np.ndarray, " pair"] = np.array(rows[: len(references)], np.int64)
        self.prediction_rows: Int[np.ndarray, " pair"] = np.array(rows[len(references) :], np.int64)
        self._tables: dict[Tokenizer, WordTable] = {}

    def __len__(self) -> int:
        return len(self.reference_rows)

    def words(self, tokenizer: Tokenizer) -> WordTable:
        """The words of all texts by a tokenizer; computed once."""
        if tokenizer not in self._tables:
            self._tables[tokenizer] = WordTable([tokenizer(text) for text in self.texts])
        return self._tables[tokenizer]

    @cached_property
    def distinct(self) -> tuple[list[tuple[int, int]], Int[np.ndarray, " pair"]]:
        """Pairs of places in `texts`, each once, and for each pair its place in that list."""
        places: dict[tuple[int, int], int] = {}
        both = zip(self.reference_rows.tolist(), self.prediction_rows.tolist(), strict=True)
        rows = [places.setdefault(pair, len(places)) for pair in both]
        return list(places), np.array(rows, np.int64)
