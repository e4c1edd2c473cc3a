r"""CIDEr as pycocoevalcap computes it, which is CIDEr-D (Vedantam et al. 2015).

Each text is a vector of n-gram counts, weighted by log(N / df): df is in how many of the N references of this very
set the n-gram stands. The score is 10 times the mean over n = 1..4 of the cosine between prediction and reference, in
which the prediction's weights are cut to the reference's, times exp(-d^2 / (2 sigma^2)) for texts that differ by d
words, sigma 6. Words are what stands between blanks. Without the cut CTRG would score .3150 instead of .3127.

It depends on the whole set: the same pair scores differently among other references, and alone it scores 0.
"""

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_matrix

from reg2rg.evaluate.ngrams import ratio
from reg2rg.evaluate.pairs import Pairs
from reg2rg.evaluate.statistics import MetricScores

ORDERS = (1, 2, 3, 4)
SIGMA = 6.0


def cider(pairs: Pairs) -> MetricScores:
    """CIDEr of each report; there is no ``Overall``."""
    table = pairs.words(str.split)
    cosines = [_cosines(counts, pairs) for counts in table.counts(ORDERS[-1])]
    # The length is counted in bigrams, so a single word is as long as none.
    lengths = np.maximum(table.lengths - 1, 0)
    difference = lengths[pairs.prediction_rows] - lengths[pairs.reference_rows]
    penalty = np.exp(-(difference**2) / (2 * SIGMA**2))
    return MetricScores(per_report={"CIDEr": 10 * np.mean(cosines, axis=0) * penalty}, overall={})


def _cosines(counts: csr_matrix, pairs: Pairs) -> Float[np.ndarray, " report"]:
    """Cosines of the weighted counts of one order, cut as said above."""
    holds = (counts > 0).astype(np.float64)
    how_often = np.bincount(pairs.reference_rows, minlength=len(pairs.texts)).astype(np.float64)
    frequency = np.maximum(1.0, holds.T @ how_often)
    weighted = counts.multiply(np.log(len(pairs)) - np.log(frequency)).tocsr()
    norms = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    reference, prediction = weighted[pairs.reference_rows], weighted[pairs.prediction_rows]
    products = np.asarray(prediction.minimum(reference).multiply(reference).sum(axis=1)).ravel()
    return ratio(products, norms[pairs.reference_rows] * norms[pairs.prediction_rows])
