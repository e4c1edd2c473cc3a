r"""ROUGE-1, ROUGE-2 and ROUGE-L, F-measure, as the ``rouge_score`` package computes them (Lin 2004).

ROUGE-n compares n-grams, ROUGE-L the longest common subsequence of words; F = 2PR / (P + R). The published figures
are made without a stemmer. Their ``Overall`` is the median of 1000 bootstrap means from one stream of numpy's legacy
generator, seeded with 42.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from reg2rg.evaluate.ngrams import ratio, shared_counts
from reg2rg.evaluate.pairs import Pairs, Tokenizer
from reg2rg.evaluate.statistics import MetricScores
from reg2rg.evaluate.stemmer import stem
from reg2rg.evaluate.tokenize import rouge_words

NAMES = ("ROUGE-1", "ROUGE-2", "ROUGE-L")


def rouge(pairs: Pairs) -> MetricScores:
    """ROUGE of each report; ``Overall`` by the published bootstrap."""
    return _scores(pairs, rouge_words, _bootstrap_medians)


def stemmed_rouge(pairs: Pairs) -> MetricScores:
    """ROUGE on Porter stems, with the plain mean as ``Overall``, as most toolkits for radiology reports give it."""
    return _scores(pairs, stemmed_words, lambda scores: [float(mean) for mean in scores.mean(axis=1)])


def stemmed_words(text: str) -> list[str]:
    """`rouge_words`, those of more than three letters as stems.

    >>> stemmed_words("No enlarged lymph nodes.")
    ['no', 'enlarg', 'lymph', 'node']
    """
    return [stem(word) if len(word) > 3 else word for word in rouge_words(text)]


def _scores(
    pairs: Pairs, tokenizer: Tokenizer, overall: Callable[[Float[np.ndarray, "metric report"]], list[float]]
) -> MetricScores:
    table = pairs.words(tokenizer)
    reference_lengths = table.lengths[pairs.reference_rows]
    predicted_lengths = table.lengths[pairs.prediction_rows]
    columns = []
    for order, counts in enumerate(table.counts(2)):
        shared = shared_counts(counts, pairs.reference_rows, pairs.prediction_rows)
        columns.append(_f_measure(shared, np.maximum(reference_lengths - order, 0), predicted_lengths - order))
    columns.append(_f_measure(_subsequences(pairs, tokenizer), reference_lengths, predicted_lengths))
    names = (f"Overall_{name}" for name in NAMES)
    return MetricScores(
        per_report=dict(zip(NAMES, columns, strict=True)),
        overall=dict(zip(names, overall(np.stack(columns)), strict=True)),
    )


def _f_measure(
    shared: Int[np.ndarray, " report"], reference: Int[np.ndarray, " report"], predicted: Int[np.ndarray, " report"]
) -> Float[np.ndarray, " report"]:
    precision = shared / np.maximum(predicted, 1)
    recall = shared / np.maximum(reference, 1)
    return ratio(2 * precision * recall, precision + recall)


def _subsequences(pairs: Pairs, tokenizer: Tokenizer) -> Int[np.ndarray, " pair"]:
    table = pairs.words(tokenizer)
    distinct, rows = pairs.distinct
    texts = {row: table.row(row) for row in {row for pair in distinct for row in pair}}
    lengths = [longest_common_subsequence(texts[first], texts[second]) for first, second in distinct]
    return np.array(lengths, np.int64)[rows]


def longest_common_subsequence(first: list[int], second: list[int]) -> int:
    """Length of the longest common subsequence, with one bit per word of `first` (Hyyrö 2004).

    >>> longest_common_subsequence([1, 2, 3, 4], [2, 4, 1, 4])
    2
    """
    places: dict[int, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    mask = (1 << len(first)) - 1
    row = mask
    for word in second:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & mask
    return len(first) - row.bit_count()


_DRAWS = 1000
_SEED = 42


def _bootstrap_medians(scores: Float[np.ndarray, "metric report"]) -> list[float]:
    """One stream for all metrics: seeding it anew for each gives other figures than the published."""
    generator = np.random.RandomState(_SEED)
    medians = []
    for values in scores:
        picks = generator.randint(0, len(values), (_DRAWS, len(values)))
        medians.append(float(np.median(values[picks].mean(axis=1))))
    return medians
