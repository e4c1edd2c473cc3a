"""Intervals and tests against the slow way: every resample scored anew."""

from itertools import product

import numpy as np
import pytest

from reg2rg.evaluate.bleu import bleu
from reg2rg.evaluate.bootstrap import Bootstrap
from reg2rg.evaluate.pairs import Pairs
from reg2rg.evaluate.statistics import StudySums, mean_sums, score_sums

REFERENCES = ["no effusion", "large nodule in the lung", "the heart is large", "clear", "no nodule in the lung"]
PREDICTIONS = ["no effusion seen", "nodule in the lung", "the heart", "dense", "no nodule"]


def test_intervals_are_those_of_scoring_each_resample() -> None:
    bootstrap = Bootstrap(5, seed=3, draws=60)
    overall = bleu(Pairs(REFERENCES, PREDICTIONS)).overall_sums
    assert overall is not None
    figures = []
    for weights in bootstrap.weights.astype(int):
        rows = np.repeat(np.arange(5), weights)
        again = bleu(Pairs([REFERENCES[row] for row in rows], [PREDICTIONS[row] for row in rows]))
        figures.append(again.overall["Overall_BLEU-2"])
    low, high = np.percentile(figures, [2.5, 97.5])
    interval = bootstrap.intervals(overall)["Overall_BLEU-2"]
    assert interval == (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))
    assert low < high


def test_resamples_have_as_many_studies_and_repeat_with_the_seed() -> None:
    first, again, other = Bootstrap(7, 1, 50), Bootstrap(7, 1, 50), Bootstrap(7, 2, 50)
    assert (first.weights.sum(axis=1) == 7).all()
    assert (first.weights == again.weights).all()
    assert (first.weights != other.weights).any()


def test_the_interval_of_a_mean_is_as_wide_as_its_standard_error_says() -> None:
    values = np.random.default_rng(0).normal(3, 2, (400, 1))
    interval = Bootstrap(400).intervals(mean_sums(("x",), values))["x"]
    assert interval is not None
    error = values.std() / 20
    assert interval[1] - interval[0] == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert interval[0] < values.mean() < interval[1]


def test_a_study_without_a_value_has_no_part() -> None:
    sums = mean_sums(("x", "y"), np.array([[1.0, np.nan], [np.nan, np.nan], [3.0, np.nan]]))
    assert score_sums(sums)[0] == 2
    intervals = Bootstrap(3, draws=200).intervals(sums)
    assert intervals["x"] == (1.0, 3.0)
    assert intervals["y"] is None


def test_randomization() -> None:
    """p against all exchanges of five studies."""
    ours, theirs = np.array([[5.0], [4.0], [6.0], [5.5], [7.0]]), np.array([[1.0], [2.0], [5.0], [6.0], [3.0]])
    observed = float((ours - theirs).mean())
    exact = np.mean(
        [abs((signs * (ours - theirs)[:, 0]).mean()) >= observed - 1e-12 for signs in product([1, -1], repeat=5)]
    )
    difference = Bootstrap(5, draws=4000).compare(mean_sums(("x",), ours), mean_sums(("x",), theirs))["x"]
    assert difference.value == pytest.approx(observed)
    assert difference.p == pytest.approx(exact, abs=0.02)
    assert difference.ci95 is not None
    assert difference.ci95[0] < observed < difference.ci95[1]


def test_p_is_never_zero_and_one_for_equal_models() -> None:
    ours, theirs = mean_sums(("x",), np.full((40, 1), 1.0)), mean_sums(("x",), np.zeros((40, 1)))
    bootstrap = Bootstrap(40, draws=99)
    assert bootstrap.compare(ours, theirs)["x"].p == 1 / 100
    same = bootstrap.compare(ours, ours)["x"]
    assert (same.p, same.value, same.ci95) == (1.0, 0.0, None)


def test_resamples_that_agree_give_no_interval() -> None:
    values = np.array([[0.1, 0.3]])
    for studies in (1, 7):
        sums = mean_sums(("x", "y"), np.repeat(values, studies, axis=0))
        assert Bootstrap(studies).intervals(sums) == {"x": None, "y": None}
    alone = Bootstrap(1).compare(mean_sums(("x",), values[:, :1]), mean_sums(("x",), values[:, 1:]))["x"]
    assert (alone.value, alone.ci95, alone.p) == (pytest.approx(-0.2), None, 1.0)


def test_a_figure_that_does_not_exist_has_no_difference() -> None:
    ours, theirs = mean_sums(("x",), np.array([[1.0], [2.0]])), mean_sums(("x",), np.full((2, 1), np.nan))
    difference = Bootstrap(2).compare(ours, theirs)["x"]
    assert np.isnan([difference.value, difference.p]).all()
    assert difference.ci95 is None


def test_exchanges_without_a_figure_are_not_counted() -> None:
    """Two studies, a value in one each: half of all exchanges give both to one model."""
    ours, theirs = mean_sums(("x",), np.array([[3.0], [np.nan]])), mean_sums(("x",), np.array([[np.nan], [1.0]]))
    difference = Bootstrap(2).compare(ours, theirs)["x"]
    assert (difference.value, difference.p) == (2.0, 1.0)


def test_figures_that_are_no_means() -> None:
    sums = StudySums(("ratio",), np.array([[1.0, 2.0], [3.0, 3.0]]), lambda sums: sums[:, :1] / sums[:, 1:])
    assert score_sums(sums) == [0.8]
    assert Bootstrap(2, draws=300).intervals(sums)["ratio"] == (0.5, 1.0)
