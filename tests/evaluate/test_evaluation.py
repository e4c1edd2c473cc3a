"""From a table to scores: what counts, what is left out, what is refused."""

import csv
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.errors import InputError
from reg2rg.evaluate import evaluate
from reg2rg.evaluate.evaluation import EvaluationSettings, evaluate_table
from reg2rg.evaluate.examples import pick_examples
from reg2rg.evaluate.reward import make_reward_fn
from reg2rg.evaluate.scores import scores_schema
from reg2rg.evaluate.tables import ReportTable, read_reports

TEXT_ONLY = EvaluationSettings(metrics=("ROUGE-1", "BLEU-4"), labeler="none")
REGIONS = ReportTable(
    "a.csv",
    ("1", "2", "3"),
    (
        "The region 0 is lung: No nodule. The region 1 is heart: Large heart. ",
        "The region 0 is heart: Normal size. The region 1 is lung: Clear. ",
        "The region 0 is lung: Clear. The region 1 is thyroid:  ",
    ),
    ("The region 0 is lung: No nodule. The region 1 is spleen: Large. ", "The region 0 is heart: Normal size. ", ""),
)


def test_a_region_without_prediction_counts_as_missed() -> None:
    scores = evaluate_table(REGIONS, TEXT_ONLY)
    assert {name: (region.pairs, region.missing) for name, region in scores.regions.items()} == {
        "heart": (2, 1),
        "lung": (3, 2),
    }
    assert scores.regions["lung"].text.metrics["ROUGE-1"].mean == pytest.approx(1 / 3)
    assert scores.regions["heart"].text.metrics["ROUGE-1"].mean == 0.5
    assert scores.left_out == (
        "regions, where references name them without a text: thyroid 1 study",
        "distinct predicted reports: 1 study with an empty one",
    )
    assert scores.recognition is not None
    assert scores.recognition.accuracy == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert scores.recognition.invented == {"spleen": 1}


def test_only_common_regions_as_the_authors_score() -> None:
    scores = evaluate_table(REGIONS, replace(TEXT_ONLY, only_common=True))
    assert {name: (region.pairs, region.missing) for name, region in scores.regions.items()} == {
        "heart": (1, 0),
        "lung": (1, 0),
    }
    assert scores.regions["lung"].text.metrics["ROUGE-1"].mean == 1
    assert "regions, where predictions lack them (--only-common): heart 1 study, lung 2 studies" in scores.left_out


def test_only_common_needs_regions() -> None:
    table = ReportTable("a.csv", ("1",), ("Clear.",), ("Clear.",))
    with pytest.raises(InputError, match=r"a\.csv, column reference: --only-common needs references with regions"):
        evaluate_table(table, replace(TEXT_ONLY, only_common=True))


def test_numbers_given_twice_are_said() -> None:
    twice = "The region 0 is heart: Large. The region 0 is lung: Clear."
    table = ReportTable("a.csv", ("1", "2"), (twice, "The region 0 is lung: Clear."), (twice, twice))
    scores = evaluate_table(table, TEXT_ONLY)
    assert scores.left_out == (
        "recognition: the second name of a region number that a report gives twice; of references 1 do, of "
        "predictions 2",
    )


def test_texts_without_headings_have_no_regions_and_this_is_said() -> None:
    reason = "regions and their recognition: no reference has headings ('The region 0 is NAME: ...')"
    assert evaluate(["Clear."], ["Dense."], ["ROUGE-1"]).left_out == (reason,)
    headed = evaluate(["Clear."], ["The region 0 is lung: Dense."], ["ROUGE-1"])
    assert headed.left_out == (f"{reason}; those of predictions are scored as words",)


def test_headings_are_not_scored() -> None:
    scores = evaluate_table(REGIONS, TEXT_ONLY)
    plain = evaluate(
        ["No nodule. Large heart.", "Normal size. Clear.", "Clear."],
        ["No nodule. Large.", "Normal size.", ""],
        ["ROUGE-1", "BLEU-4"],
    )
    assert scores.text == plain.text
    assert (plain.recognition, plain.regions, plain.clinical) == (None, {}, None)
    assert plain.length.empty_predictions == 1


def test_distinct_texts_and_lengths() -> None:
    scores = evaluate(["a b", "c", "d e f"], ["Normal.", "Normal. ", "Large one."], ["ROUGE-1"])
    distinct = scores.distinct["report"]
    assert (distinct.n, distinct.distinct, distinct.share, distinct.reference_share) == (3, 2, 2 / 3, 1)
    assert [(text.text, text.count) for text in distinct.most_frequent] == [("Normal.", 2), ("Large one.", 1)]
    assert (scores.length.reference_mean, scores.length.prediction_mean) == (2, 4 / 3)


def test_the_interval_of_a_region_is_over_studies() -> None:
    figure = evaluate_table(REGIONS, TEXT_ONLY).regions["lung"].text.metrics["ROUGE-1"]
    assert figure.n == 3
    assert figure.ci95 == (0.0, 1.0)


def labelled(reference: np.ndarray, prediction: np.ndarray) -> ReportTable:
    keys = tuple(map(str, range(len(reference))))
    return ReportTable("l.csv", keys, keys, keys, reference_labels=reference, predicted_labels=prediction)


def test_labels_of_the_file_are_taken_as_they_are() -> None:
    reference, prediction = np.zeros((4, 18), bool), np.zeros((4, 18), bool)
    reference[:3, 9], prediction[2:, 9] = True, True
    clinical = evaluate_table(labelled(reference, prediction), EvaluationSettings(metrics=("ROUGE-1",))).clinical
    assert clinical is not None
    assert (clinical.labeler, clinical.reference_labels) == ("given", "given")
    nodule = clinical.per_abnormality["Lung nodule"]
    assert (nodule.precision, nodule.recall, nodule.f1, nodule.support) == (0.5, 1 / 3, 0.4, 3)
    assert clinical.macro.f1 == clinical.micro.f1 == 0.4
    assert len(clinical.unsupported) == 17


def test_two_labelers_are_not_compared() -> None:
    labels = np.zeros((2, 18), bool)
    table = labelled(labels, labels)
    plain = ReportTable("p.csv", table.keys, table.references, table.predictions)
    with pytest.raises(InputError, match=r"p.csv: its labels come from 'rules.*', those of l.csv from 'given'"):
        evaluate_table(table, EvaluationSettings(metrics=("ROUGE-1",)), compare=plain)
    scores = evaluate_table(table, TEXT_ONLY, compare=plain)
    assert scores.clinical is None
    assert scores.comparison is not None


def test_an_explicit_labeler_reads_the_texts_of_a_file_with_labels() -> None:
    labels = np.ones((2, 18), bool)
    texts = ("The heart is enlarged.", "No nodule.")
    table = ReportTable("l.csv", ("1", "2"), texts, texts, reference_labels=labels, predicted_labels=labels)
    given = evaluate_table(table, EvaluationSettings(metrics=("ROUGE-1",)))
    read = evaluate_table(table, EvaluationSettings(metrics=("ROUGE-1",), labeler="rules"))
    assert given.clinical is not None
    assert read.clinical is not None
    assert (given.settings["labeler"], given.clinical.micro.support) == ("given", 36)
    assert (read.settings["labeler"], read.clinical.micro.support) == (read.clinical.labeler, 1)
    assert read.clinical.labeler.startswith("rules")


def test_different_reference_labels_are_not_compared() -> None:
    labels = np.zeros((2, 18), bool)
    others = labels.copy()
    others[1, ABNORMALITY_NAMES.index("Emphysema")] = True
    with pytest.raises(InputError, match=r"l\.csv, column GT_Emphysema: the label of '1' is not that of l\.csv"):
        evaluate_table(
            labelled(labels, labels), EvaluationSettings(metrics=("ROUGE-1",)), compare=labelled(others, labels)
        )


def test_gold_labels_need_a_labeler() -> None:
    with pytest.raises(InputError, match=r"gold\.csv: gold labels are of no use without labels of the predictions"):
        evaluate_table(REGIONS, replace(TEXT_ONLY, labels=Path("gold.csv")))


def test_gold_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    rows = [
        ["VolumeName", *ABNORMALITY_NAMES],
        ["7.nii.gz", *("1" if name == "Cardiomegaly" else "0" for name in ABNORMALITY_NAMES)],
    ]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    table = ReportTable("a.csv", ("7",), ("Nothing is said here.",), ("The heart is enlarged.",))
    clinical = evaluate_table(table, EvaluationSettings(metrics=("ROUGE-1",), labels=path)).clinical
    assert clinical is not None
    assert clinical.reference_labels == str(path)
    assert clinical.per_abnormality["Cardiomegaly"].f1 == 1


def test_comparison_and_control() -> None:
    references = tuple(f"No nodule {number} in lung {number}." for number in range(30))
    keys = tuple(map(str, range(30)))
    good = ReportTable("good.csv", keys, references, references)
    bad = ReportTable("bad.csv", keys, references, ("Normal.",) * 30)
    scores = evaluate_table(good, TEXT_ONLY, compare=bad, control=good)
    assert scores.comparison is not None
    assert scores.control is not None
    difference = scores.comparison.differences["ROUGE-1"]
    assert (difference.value, difference.p) == (1.0, 1 / 1001)
    assert scores.control.differences["ROUGE-1"].p == 1
    value = scores.to_json()
    jsonschema.validate(value, scores_schema())
    assert value["comparison"]["source"] == "bad.csv"
    assert value["comparison"]["differences"]["Overall_BLEU-4"]["p"] < 0.01


def test_json() -> None:
    scores = evaluate_table(REGIONS, EvaluationSettings(metrics=("ROUGE-1", "BLEU-4", "CIDEr")))
    value = scores.to_json()
    jsonschema.validate(value, scores_schema())
    assert value["pairs"] == 3
    assert set(value["text"]["BLEU-4"]) == {"mean", "std", "ci95", "n"}
    assert isinstance(value["text"]["Overall_BLEU-4"], float)
    assert len(value["text"]["Overall_BLEU-4_ci95"]) == 2
    assert "Overall_CIDEr" not in value["text"]
    assert {"labeler", "micro", "macro", "weighted", "per_abnormality"} <= set(value["clinical"])
    assert set(value["clinical"]["micro"]) == {
        *("precision", "recall", "f1"),
        *("precision_ci95", "recall_ci95", "f1_ci95", "support"),
    }
    assert {"accuracy", "per_region", "swaps"} <= set(value["recognition"])
    assert set(value["regions"]["lung"]) == {"pairs", "missing", "text", "clinical"}
    assert set(value["distinct"]) == {"lung", "heart", "report"}


def test_the_same_seed_gives_the_same_scores() -> None:
    assert evaluate_table(REGIONS, TEXT_ONLY).to_json() == evaluate_table(REGIONS, TEXT_ONLY).to_json()


@pytest.mark.parametrize(
    ("references", "predictions", "message"),
    [
        ([], [], "at least one"),
        (["a"], [], "as many predictions as references, got 0 and 1"),
        (["a", " "], ["a", "b"], "reference 1 is empty"),
    ],
)
def test_texts_that_are_refused(references: list[str], predictions: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(references, predictions)


def test_no_metrics_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected at least one metric, got none; choose from BLEU-1, .*METEOR"):
        evaluate(["a"], ["a"], [])


def test_another_order_of_rows_compares_the_same() -> None:
    keys, references, predictions = ("1", "2", "3"), ("a b", "c d", "e f"), ("a", "c d", "x")
    table = ReportTable("a.csv", keys, references, references)
    other = ReportTable("b.csv", keys, references, predictions)
    turned = ReportTable("b.csv", keys[::-1], references[::-1], predictions[::-1])
    first, second = (evaluate_table(table, TEXT_ONLY, compare=each, control=each).to_json() for each in (other, turned))
    assert first == second


def test_one_study_has_no_intervals_but_exact_ones() -> None:
    scores = evaluate(["Heart is enlarged. No nodule."], ["Heart is enlarged."], ["ROUGE-1", "BLEU-1"], labeler="rules")
    assert {figure.ci95 for figure in scores.text.metrics.values()} == {None}
    assert {figure.ci95 for figure in scores.text.overall.values()} == {None}
    assert scores.clinical is not None
    assert scores.clinical.micro.f1_ci95 is None
    cardiomegaly = scores.clinical.per_abnormality["Cardiomegaly"]
    assert (cardiomegaly.recall, cardiomegaly.recall_ci95) == (1, (0.025, 1.0))
    jsonschema.validate(scores.to_json(), scores_schema())


def test_examples() -> None:
    references = tuple(f"The heart is enlarged. Word {number}." for number in range(12))
    predictions = tuple("Pleural effusion." if number == 3 else text for number, text in enumerate(references))
    table = ReportTable("a.csv", tuple(map(str, range(12))), references, predictions)
    worst = pick_examples(evaluate_table(table, EvaluationSettings(metrics=("ROUGE-1",))), table)[0]
    assert worst.title.startswith("Worst: 3,")
    assert (worst.missed, worst.added) == (("Cardiomegaly",), ("Pleural effusion",))
    (span,) = worst.prediction_spans
    assert worst.prediction[slice(*span)] == "Pleural effusion"
    plain = pick_examples(evaluate_table(table, TEXT_ONLY), table)
    assert [plain[0].reference[slice(*span)] for span in plain[0].reference_spans] == [
        "The heart is enlarged.",
        "Word 3.",
    ]
    assert len(plain) == 8
    assert plain[-1].reference_spans == ()


def test_rewards() -> None:
    reward = make_reward_fn("ROUGE-1", reference_column="report")
    chat = [{"role": "assistant", "content": "The region 0 is lung: Clear."}]
    assert reward(prompts=["p", "p"], completions=[chat, "Dense."], report=["Clear.", "Clear."], other=[1, 2]) == [1, 0]
    assert reward(completions=[], report=[]) == []
    with pytest.raises(InputError, match="no column 'report'"):
        reward(completions=["a"])
    with pytest.raises(InputError, match="CIDEr cannot be a reward"):
        make_reward_fn("CIDEr")


def test_published_clinical_figures(shared: Path) -> None:
    """``metrics_manual.csv``, to the last digit; the micro averages of the printed report."""
    folder = shared / "reports/ctrg"
    table = read_reports(folder / "label_inferred.csv")
    clinical = evaluate_table(table, EvaluationSettings(metrics=("ROUGE-1",))).clinical
    assert clinical is not None
    with (folder / "metrics_manual.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            weighted = row["Label"] == "Weighted Average"
            rating = clinical.weighted if weighted else clinical.per_abnormality[row["Label"]]
            expected = [float(row[column]) for column in ("Precision", "Recall", "F1 Score")]
            rates = np.nan_to_num([rating.precision, rating.recall, rating.f1])  # the file has 0 for 0/0
            assert rates.tolist() == pytest.approx(expected, abs=1e-15)
            assert rating.support == int(row["Support"])
    assert [round(value, 2) for value in (clinical.micro.precision, clinical.micro.recall, clinical.micro.f1)] == [
        *(0.54, 0.18, 0.28)
    ]
