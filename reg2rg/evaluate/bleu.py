r"""BLEU-1 to BLEU-4, smoothed as in the published figures.

For n-grams up to order N, with :math:`m_n` matches among :math:`t_n` n-grams of the prediction (Papineni et al. 2002),
here with one added to both at every order, and lengths :math:`c` and :math:`r` of prediction and reference:

    BLEU-N = min(1, exp(1 - r/c)) * (prod_n (m_n + 1) / (t_n + 1)) ** (1/N)

A pair with an empty text scores 0. ``Overall``: the counts of all reports are added first, then scored once.
"""

import numpy as np
from jaxtyping import Float, Num

from reg2rg.evaluate.ngrams import shared_counts
from reg2rg.evaluate.pairs import Pairs
from reg2rg.evaluate.statistics import MetricScores, StudySums, score_sums
from reg2rg.evaluate.tokenize import wmt_words

ORDERS = (1, 2, 3, 4)
NAMES = tuple(f"BLEU-{order}" for order in ORDERS)


def bleu(pairs: Pairs) -> MetricScores:
    """BLEU-1..4 of each report, and of all as one corpus."""
    counts = bleu_counts(pairs)
    overall = StudySums(tuple(f"Overall_{name}" for name in NAMES), counts, bleu_of_counts)
    per_report = bleu_of_counts(counts)
    return MetricScores(
        per_report=dict(zip(NAMES, per_report.T, strict=True)),
        overall=dict(zip(overall.names, score_sums(overall), strict=True)),
        overall_sums=overall,
    )


def bleu_counts(pairs: Pairs) -> Float[np.ndarray, "report 10"]:
    """Per report: matches of order 1..4, n-grams of the prediction of order 1..4, its length, the reference's."""
    table = pairs.words(wmt_words)
    predicted = table.lengths[pairs.prediction_rows]
    matches = [shared_counts(c, pairs.reference_rows, pairs.prediction_rows) for c in table.counts(ORDERS[-1])]
    totals = [np.maximum(predicted - order + 1, 0) for order in ORDERS]
    columns = (*matches, *totals, predicted, table.lengths[pairs.reference_rows])
    return np.stack(columns, axis=1).astype(np.float64)


def bleu_of_counts(counts: Num[np.ndarray, "draw 10"]) -> Float[np.ndarray, "draw 4"]:
    """BLEU-1..4 of rows as `bleu_counts` gives them, or of sums of such rows."""
    matches, totals, predicted, reference = counts[:, :4], counts[:, 4:8], counts[:, 8], counts[:, 9]
    precisions = np.log((matches + 1) / (totals + 1)).cumsum(axis=1) / np.array(ORDERS)
    filled = (predicted > 0) & (reference > 0)
    brevity = np.minimum(0.0, 1 - reference / np.where(filled, predicted, 1))
    return np.where(filled[:, None], np.exp(precisions + brevity[:, None]), 0.0)
