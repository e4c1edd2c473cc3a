"""Text scores against the libraries, on random and on hostile text, and against the published figures."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.meteor_score import single_meteor_score
from pycocoevalcap.cider.cider_scorer import CiderScorer
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU

from reg2rg.errors import InputError
from reg2rg.evaluate.pairs import Pairs
from reg2rg.evaluate.rouge import longest_common_subsequence
from reg2rg.evaluate.statistics import MetricScores
from reg2rg.evaluate.synonyms import synonyms
from reg2rg.evaluate.text import TEXT_METRICS, metric_names, register_metric, score_texts
from reg2rg.evaluate.tokenize import treebank_words, wmt_words

HOSTILE = [
    "",
    " \n",
    "nodule",
    "Nodule.",
    "?!... ,;:",
    "No pleural effusion. No pericardial effusion.",
    "There is a 3.5-mm nodule (SE5, IM204); it's \"new\" - isn't it?",
    "肺部未见异常。 心影不大。",
    "Лёгкие чистые. Сердце не увеличено.",
    "🫁 clear 🫀 enlarged 👍🏽 .",
    "the the the the growth of a mass",
    "A mass grows; masses increased in the the lungs",
]
WORDS = (
    "the a Lung lungs. nodule nodules enlarged large heart, mass growth increase (3.5 mm) no No effusion. 🫁 ?".split()
)
reports = st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join)
pairs_of_reports = st.lists(st.tuples(reports, reports), min_size=1, max_size=5)


def bleu_oracle(reference: str, prediction: str) -> list[float]:
    """The statistics of sacrebleu, scored by the smoothed formula."""
    counts = BLEU(tokenize="none", effective_order=False).corpus_score([prediction], [[reference]])
    if not counts.sys_len or not counts.ref_len:
        return [0.0] * 4
    brevity = min(1.0, float(np.exp(1 - counts.ref_len / counts.sys_len)))
    precisions = [(m + 1) / (t + 1) for m, t in zip(counts.counts, counts.totals, strict=True)]
    return [brevity * float(np.prod(precisions[:order])) ** (1 / order) for order in (1, 2, 3, 4)]


class TableOfSynonyms:
    """WordNet as NLTK asks it, with our table behind it."""

    def synsets(self, word: str) -> list[SimpleNamespace]:
        lemmas = [SimpleNamespace(name=lambda name=name: name) for name in synonyms(word)]
        return [SimpleNamespace(lemmas=lambda: lemmas)]


def check_against_libraries(references: Sequence[str], predictions: Sequence[str]) -> None:
    scores = score_texts(references, predictions).per_report
    assert tuple(scores) == TEXT_METRICS
    rouge_scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    cider_scorer = CiderScorer(n=4, sigma=6.0)
    for row, (reference, prediction) in enumerate(zip(references, predictions, strict=True)):
        words = [" ".join(wmt_words(text)) for text in (reference, prediction)]
        assert [scores[f"BLEU-{n}"][row] for n in (1, 2, 3, 4)] == pytest.approx(bleu_oracle(*words), abs=1e-9)
        rouge = rouge_scorer.score(reference, prediction)
        for ours, theirs in (("ROUGE-1", "rouge1"), ("ROUGE-2", "rouge2"), ("ROUGE-L", "rougeL")):
            assert scores[ours][row] == pytest.approx(rouge[theirs].fmeasure, abs=1e-9)
        meteor = single_meteor_score(treebank_words(reference), treebank_words(prediction), wordnet=TableOfSynonyms())
        assert scores["METEOR"][row] == pytest.approx(meteor, abs=1e-9)
        cider_scorer += (prediction, [reference])
    if any(reference.split() for reference in references):  # else it stops at an empty table of frequencies
        _, cider = cider_scorer.compute_score()
        assert scores["CIDEr"].tolist() == pytest.approx(cider.tolist(), abs=1e-9)


def test_hostile_texts() -> None:
    pairs = [(reference, prediction) for reference in HOSTILE for prediction in HOSTILE]
    check_against_libraries([pair[0] for pair in pairs], [pair[1] for pair in pairs])


@settings(max_examples=25, deadline=None)
@given(pairs_of_reports)
def test_random_texts(pairs: list[tuple[str, str]]) -> None:
    check_against_libraries([pair[0] for pair in pairs], [pair[1] for pair in pairs])


def test_long_texts() -> None:
    long = " ".join(f"word{place % 97} effusion." for place in range(5_000))
    check_against_libraries([long, "No effusion."], ["No effusion.", long])
    itself = score_texts([long, "No effusion."], [long, "No nodule."]).per_report
    assert itself["ROUGE-L"][0] == itself["BLEU-4"][0] == 1.0
    assert itself["METEOR"][0] == pytest.approx(1 - 0.5 / 15_000**3)


def test_texts_without_any_word() -> None:
    scores = score_texts(["", "  "], ["", "nodule"])
    assert all(not values.any() for values in scores.per_report.values())
    assert all(value == 0 for value in scores.overall.values())


@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=12))
def test_longest_common_subsequence(first: list[int], second: list[int]) -> None:
    table = np.zeros((len(first) + 1, len(second) + 1), int)
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            table[i + 1, j + 1] = table[i, j] + 1 if one == other else max(table[i, j + 1], table[i + 1, j])
    assert longest_common_subsequence(first, second) == table[-1, -1]


def test_overall_bleu_adds_the_counts_first() -> None:
    references, predictions = ["no effusion", "a large nodule in the lung"], ["no effusion", "a nodule"]
    counts = BLEU(tokenize="none").corpus_score(predictions, [references])
    precisions = [(m + 1) / (t + 1) for m, t in zip(counts.counts, counts.totals, strict=True)]
    expected = np.exp(1 - counts.ref_len / counts.sys_len) * np.prod(precisions) ** 0.25
    assert score_texts(references, predictions).overall["Overall_BLEU-4"] == pytest.approx(expected, abs=1e-12)


def test_overall_rouge_is_a_median_of_one_stream() -> None:
    references = ["no effusion", "large nodule", "the heart is large", "clear"]
    predictions = ["no effusion", "small nodule", "the heart", "dense"]
    scores = score_texts(references, predictions)
    state = np.random.RandomState(42)
    for name in ("ROUGE-1", "ROUGE-2", "ROUGE-L"):
        values = scores.per_report[name]
        medians = np.median([np.mean(state.choice(values, size=4)) for _ in range(1000)])
        assert scores.overall[f"Overall_{name}"] == medians


def test_metrics_and_recipes_by_name() -> None:
    some = score_texts(["Nodules."], ["Nodule."], metrics=["ROUGE-1", "BLEU-2"])
    assert list(some.per_report) == ["ROUGE-1", "BLEU-2"]
    assert set(some.overall) == {"Overall_ROUGE-1", "Overall_BLEU-2"}
    assert some.per_report["ROUGE-1"][0] == 0
    assert score_texts(["Nodules."], ["Nodule."], "stemmed", ["ROUGE-1"]).per_report["ROUGE-1"][0] == 1
    with pytest.raises(InputError, match="unknown recipe 'other': expected one of published, stemmed"):
        score_texts(["a"], ["a"], "other")
    with pytest.raises(InputError, match="unknown metric 'BLUE'"):
        score_texts(["a"], ["a"], metrics=["BLUE"])
    with pytest.raises(InputError, match="needs the package RadEval"):
        score_texts(["a"], ["a"], metrics=["GREEN"])


def test_a_further_metric_registers_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def shorter(pairs: Pairs) -> MetricScores:
        lengths = np.array([float(len(text)) for text in pairs.texts])
        return MetricScores({"Shorter": lengths[pairs.reference_rows] - lengths[pairs.prediction_rows]}, {})

    monkeypatch.setitem(sys.modules, "someones_metric", SimpleNamespace(shorter=shorter))
    monkeypatch.setattr("reg2rg.evaluate.text._FURTHER", {})
    register_metric("Shorter", "someones_metric:shorter")
    assert metric_names()[-1] == "Shorter"
    assert score_texts(["abc", "a"], ["a", "a"], metrics=["Shorter"]).per_report["Shorter"].tolist() == [2, 0]


def published(path: Path, region: str | None = None) -> dict[str, str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return next(row for row in csv.DictReader(file) if region in (None, row.get("region")))


@pytest.mark.parametrize("name", ["ctrg", "lung", "heart", "thyroid"])
def test_published_figures(shared: Path, name: str) -> None:
    """All 17 of each file, to the last digit that was printed."""
    reports = shared / "reports"
    if name == "ctrg":
        table, figures = reports / "ctrg/ctrg_combined_reports_rm_region_text.csv", "ctrg/nlg_evaluation_results.csv"
        expected = published(reports / figures)
    else:
        table = reports / f"radgenome/{name}_reports.csv"
        expected = published(reports / "radgenome/nlg_published.csv", name)
        del expected["region"]
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kind = "whole" if name == "ctrg" else "combined"
    scores = score_texts([row[f"GT_{kind}_report"] for row in rows], [row[f"Pred_{kind}_report"] for row in rows])
    got = {metric: f"{values.mean():.4f}±{values.std():.4f}" for metric, values in scores.per_report.items()}
    got |= {metric: f"{value:.4f}" for metric, value in scores.overall.items()}
    assert got == expected
    if name == "ctrg":
        stemmed = score_texts(
            [row["GT_whole_report"] for row in rows],
            [row["Pred_whole_report"] for row in rows],
            "stemmed",
            ["ROUGE-1", "ROUGE-2", "ROUGE-L"],
        )
        assert [f"{values.mean():.4f}" for values in stemmed.per_report.values()] == ["0.6079", "0.4140", "0.4861"]
