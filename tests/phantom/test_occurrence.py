"""How often abnormalities occur, and which come together, without drawing."""

from collections import Counter
from functools import partial

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from reg2rg.phantom.finding import KINDS
from reg2rg.phantom.occurrence import PREVALENCE, SHARED, sample_present
from reg2rg.phantom.world import _stream

COUNT = 1500


@pytest.fixture(scope="module")
def people() -> list[frozenset[str]]:
    return [sample_present(partial(_stream, seed), KINDS) for seed in range(COUNT)]


def test_prevalences_are_those_of_the_table(people: list[frozenset[str]]) -> None:
    counts = Counter(name for person in people for name in person)
    for name, share in PREVALENCE.items():
        assert 0.15 <= share <= 0.3
        assert abs(counts[name] / COUNT - share) < 4 * (share * (1 - share) / COUNT) ** 0.5, name


def test_one_share_for_all_is_kept_whatever_comes_together() -> None:
    people = [sample_present(partial(_stream, seed), KINDS, 0.5) for seed in range(600)]
    for name in KINDS:
        assert abs(sum(name in person for person in people) / len(people) - 0.5) < 0.1, name


def expected_correlation(one: str, other: str) -> float:
    """Of two yes-or-no variables cut from normals that correlate by what they share."""
    shared = sum(kinds.get(one, 0) * kinds.get(other, 0) for kinds in SHARED.values())
    p, q = PREVALENCE[one], PREVALENCE[other]
    both = multivariate_normal.cdf([norm.ppf(p), norm.ppf(q)], cov=[[1, shared], [shared, 1]])
    return float((both - p * q) / (p * (1 - p) * q * (1 - q)) ** 0.5)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Arterial wall calcification", "Coronary artery wall calcification"),
        ("Cardiomegaly", "Pleural effusion"),
        ("Consolidation", "Lung opacity"),
    ],
)
def test_what_has_a_cause_in_common_comes_together(people: list[frozenset[str]], one: str, other: str) -> None:
    has = np.array([(one in person, other in person) for person in people], float)
    expected = expected_correlation(one, other)
    assert expected > 0.1  # of heart and effusion .11: with more, the effusion would tell that the heart is large
    assert np.corrcoef(has.T)[0, 1] == pytest.approx(expected, abs=4 / COUNT**0.5)


def test_what_may_occur_changes_nothing_of_the_rest(people: list[frozenset[str]]) -> None:
    kinds = [name for name in KINDS if name != "Emphysema"]
    for seed in range(20):
        assert sample_present(partial(_stream, seed), kinds) == people[seed] - {"Emphysema"}


def test_shares_in_common_leave_room_for_chance() -> None:
    for name in KINDS:
        assert sum(kinds.get(name, 0) ** 2 for kinds in SHARED.values()) < 0.7
