"""Metrics of the RadEval package, where it is installed: GREEN, RadGraph, RaTEScore, BERTScore.

They need models that RadEval fetches itself on first use, so none of them is computed unless it is asked for by name.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from reg2rg.errors import InputError
from reg2rg.evaluate.pairs import Pairs
from reg2rg.evaluate.statistics import MetricScores

_SWITCHES = {
    "BERTScore": ("do_bertscore", "bertscore"),
    "GREEN": ("do_green", "green"),
    "RadGraph": ("do_radgraph", "radgraph_partial"),
    "RaTEScore": ("do_ratescore", "ratescore"),
}
"""By metric: the argument that switches it on, and the name of its figure in the result."""


def _score(name: str, pairs: Pairs) -> MetricScores:
    try:
        from RadEval import RadEval
    except ImportError as error:
        raise InputError(
            f"metric {name}: needs the package RadEval, which is not installed: pip install RadEval"
        ) from error
    switch, figure = _SWITCHES[name]
    evaluator = RadEval(**{switch: True})
    distinct, rows = pairs.distinct
    scores = [
        float(evaluator(refs=[pairs.texts[reference]], hyps=[pairs.texts[prediction]])[figure])
        for reference, prediction in distinct
    ]
    values = np.array(scores, np.float64)[rows]
    return MetricScores(per_report={name: values}, overall={f"Overall_{name}": float(values.mean())})


BERTScore: Callable[[Pairs], MetricScores] = partial(_score, "BERTScore")
GREEN: Callable[[Pairs], MetricScores] = partial(_score, "GREEN")
RadGraph: Callable[[Pairs], MetricScores] = partial(_score, "RadGraph")
RaTEScore: Callable[[Pairs], MetricScores] = partial(_score, "RaTEScore")
