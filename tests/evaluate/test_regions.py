"""Regions: texts, recognition, rates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reg2rg.evaluate.rates import class_rates, exact_intervals, rate_sums
from reg2rg.evaluate.regions import count_recognition, region_texts
from reg2rg.evaluate.statistics import score_sums
from reg2rg.prompt import ParsedReport, build_target, parse_report
from reg2rg.regions import REGION_NAMES

sentences = st.lists(st.sampled_from(("No nodule.", "Clear: yes.", "Size 3.5 mm.", "Large, dense")), max_size=3).map(
    " ".join
)


@given(st.dictionaries(st.sampled_from(REGION_NAMES), sentences, max_size=10), st.sampled_from(REGION_NAMES), sentences)
def test_texts_are_those_that_were_built(texts: dict[str, str], elsewhere: str, text: str) -> None:
    other = {} if elsewhere in texts else {elsewhere: text, "other": "Chest wall."}
    report = parse_report(build_target(list(texts.items()), other))
    assert region_texts(report) == texts | {name: text for name, text in other.items() if name != "other"}


def test_texts_of_odd_reports() -> None:
    text = "The region 0 is lung: A. The region 1 is Lungs: B. The region 2 is spleen: C. The region 3 is"
    assert region_texts(parse_report(text)) == {"lung": "A. B.", "spleen": "C."}
    assert region_texts(parse_report("")) == {}


def reports(*texts: tuple[str, str]) -> list[tuple[ParsedReport, ParsedReport]]:
    def build(names: str) -> ParsedReport:
        return parse_report(build_target([(name.strip(), "x") for name in names.split(",") if name.strip()]))

    return [(build(reference), build(prediction)) for reference, prediction in texts]


def test_recognition() -> None:
    counts = count_recognition(
        reports(
            ("lung, pleura, heart", "lung, heart, pleura"),
            ("lung, trachea and bronchie", "lung, trachea and bronchie, spleen"),
            ("heart", ""),
        )
    )
    assert counts.accuracies.tolist() == [1 / 3, 1.0, 0.0]
    assert score_sums(counts.accuracy) == [pytest.approx(4 / 9)]
    assert score_sums(counts.pooled) == [0.5]
    assert counts.swaps == {("pleura", "heart"): 1, ("heart", "pleura"): 1, ("heart", "nothing"): 1}
    assert counts.invented == {"spleen": 1}
    assert counts.names == (*REGION_NAMES, "spleen")
    rates = dict(zip(counts.rates.names, score_sums(counts.rates), strict=True))
    assert (rates["lung precision"], rates["lung recall"]) == (1, 1)
    assert (rates["heart precision"], rates["heart recall"]) == (0, 0)
    assert rates["trachea and bronchie f1"] == 1
    assert (rates["micro precision"], rates["micro recall"]) == (3 / 6, 3 / 6)
    assert rates["macro f1"] == (1 + 0 + 0 + 1) / 4  # lung, pleura, heart, trachea and bronchie


def test_a_number_given_twice_counts_once_as_right() -> None:
    prediction = parse_report("The region 0 is heart: a. The region 0 is lung: b. The region 7 is bone: c.")
    counts = count_recognition([(parse_report("The region 0 is lung: a."), prediction)])
    assert counts.accuracies.tolist() == [0]
    rates = dict(zip(counts.rates.names, score_sums(counts.rates), strict=True))
    assert (rates["micro precision"], rates["lung precision"]) == (0, 0)
    copied = count_recognition([(prediction, prediction)])
    assert copied.accuracies.tolist() == [1]


def test_rates() -> None:
    rates = class_rates(np.array([2, 0, 0]), np.array([4, 1, 0]), np.array([2, 3, 0]))
    assert rates.per_class[:2].tolist() == [[0.5, 1.0, pytest.approx(2 / 3)], [0, 0, 0]]
    assert np.isnan(rates.per_class[2]).all()
    assert rates.micro.tolist() == [0.4, 0.4, pytest.approx(0.4)]
    assert rates.macro.tolist() == [0.25, 0.5, pytest.approx(1 / 3)]
    assert rates.weighted.tolist() == [0.2, 0.4, pytest.approx(4 / 15)]


def test_rates_follow_from_sums() -> None:
    generator = np.random.default_rng(0)
    reference, prediction = generator.random((2, 7, 3)) < 0.4
    sums = rate_sums(("a", "b", "c"), reference & prediction, prediction, reference)
    direct = class_rates((reference & prediction).sum(0), prediction.sum(0), reference.sum(0))
    values = dict(zip(sums.names, score_sums(sums), strict=True))
    assert [values[f"micro {measure}"] for measure in ("precision", "recall", "f1")] == direct.micro.tolist()
    assert [values[f"c {measure}"] for measure in ("precision", "recall", "f1")] == direct.per_class[2].tolist()


def test_exact_intervals_are_those_of_scipy() -> None:
    from scipy.stats import binomtest

    generator = np.random.default_rng(0)
    reference, prediction = generator.random((2, 40, 3)) < (0.5, 0.2, 0.1)
    prediction[:, 0] = reference[:, 0]  # found always
    prediction[:, 1] &= ~reference[:, 1]  # found never
    hits = reference & prediction
    intervals = exact_intervals(rate_sums(("always", "never", "rare"), hits, prediction, reference))
    for place, name in enumerate(("always", "never", "rare")):
        found, predicted, referenced = (int(table[:, place].sum()) for table in (hits, prediction, reference))
        shares = {"precision": predicted, "recall": referenced, "f1": predicted + referenced - found}
        for measure, trials in shares.items():
            expected = np.array(binomtest(found, trials).proportion_ci(method="exact"))
            if measure == "f1":
                expected = 2 * expected / (1 + expected)
            assert intervals[f"{name} {measure}"] == pytest.approx(tuple(expected), abs=1e-12)
    assert intervals["never recall"] is not None
    assert intervals["never recall"][0] == 0 < intervals["never recall"][1] < 1


def test_labels_that_are_not_counted_by_study_have_no_exact_interval() -> None:
    nothing = np.zeros((2, 3))
    twice, once = np.array([[2, 1, 0], [0, 1, 0]]), np.array([[1, 1, 0], [0, 1, 0]])
    intervals = exact_intervals(rate_sums(("twice", "once", "never"), nothing, twice, once))
    assert "twice precision" not in intervals
    assert intervals["once precision"] == (0.0, pytest.approx(1 - 0.025**0.5))
    assert intervals["never precision"] is intervals["never recall"] is intervals["never f1"] is None


def test_published_recognition(shared) -> None:  # type: ignore[no-untyped-def]
    """The figures that the committed predictions give, not those of the published run."""
    from reg2rg.evaluate.tables import read_reports

    parsed = read_reports(shared / "reports/ctrg/ctrg_combined_reports.csv").parsed
    assert parsed is not None
    counts = count_recognition(parsed)
    assert f"{counts.accuracies.mean():.4f}±{counts.accuracies.std():.4f}" == "0.8838±0.1708"
    rates = dict(zip(counts.rates.names, score_sums(counts.rates), strict=True))
    assert [f"{rates[f'macro {name}']:.4f}" for name in ("precision", "recall", "f1")] == ["0.5452", "0.5278", "0.5280"]


def test_the_macro_average_of_a_resample_is_over_the_classes_of_all_studies() -> None:
    reference = np.array([[True, True], [True, False]])
    sums = rate_sums(("common", "rare"), reference, reference, reference)
    without_rare = sums.finish(2 * sums.per_study[1:])[0]
    assert dict(zip(sums.names, without_rare, strict=True))["macro recall"] == 0.5
