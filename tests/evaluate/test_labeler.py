"""The rule labeler on sentences written for it, on the phantom's reports, and against RadBERT on real ones."""

import csv
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phantom_findings import random_findings

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.errors import InputError
from reg2rg.evaluate.labeler import COUNTED, Evidence, RuleLabeler, find_labeler, read_rules, split_sentences
from reg2rg.evaluate.labels import read_inferred_labels
from reg2rg.phantom.report import write_report, write_whole_report

SENTENCES = Path(__file__).with_name("labeler_sentences.csv")
KINDS = {"plain", "synonym", "negated", "uncertain", "past", "elsewhere", "list"}


def sentences() -> list[dict[str, str]]:
    with SENTENCES.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def asserted(text: str) -> set[str]:
    return {name for name, label in zip(ABNORMALITY_NAMES, RuleLabeler().label([text])[0], strict=True) if label}


def test_the_table_of_sentences_covers_every_abnormality_in_every_way() -> None:
    rows = sentences()
    assert len({row["sentence"] for row in rows}) == len(rows) >= 300
    kinds = defaultdict(set)
    for row in rows:
        kinds[row["about"]].add(row["kind"])
    assert kinds == dict.fromkeys(ABNORMALITY_NAMES, KINDS)


@pytest.mark.parametrize("about", ABNORMALITY_NAMES)
def test_sentences_are_labelled_right(about: str) -> None:
    wrong = {
        row["sentence"]: (asserted(row["sentence"]), row["labels"])
        for row in sentences()
        if row["about"] == about and asserted(row["sentence"]) != set(filter(None, row["labels"].split("; ")))
    }
    assert wrong == {}


def test_each_rule_finds_its_own_example() -> None:
    labeler = RuleLabeler()
    rules = [row for row in read_rules() if row["kind"] == "finding"]
    silent = [row for row in rules if row["name"] not in {each.abnormality for each in labeler.find(row["example"])}]
    assert silent == []
    assert {row["name"] for row in rules} == set(ABNORMALITY_NAMES)


def test_the_table_is_sound() -> None:
    rows = read_rules()
    assert {row["kind"] for row in rows} == {"finding", "organ", "site", "cue"}
    sites = {row["name"] for row in rows if row["kind"] in ("organ", "site")}
    assert {site for row in rows for site in row["not_in"].split()} <= sites
    duplicates = [pattern for pattern, count in Counter((r["name"], r["pattern"]) for r in rows).items() if count > 1]
    assert duplicates == []


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("Pleural effusion is seen.", "present"),
        ("No pleural effusion.", "absent"),
        ("Possible pleural effusion.", "uncertain"),
        ("A pleural effusion cannot be excluded.", "uncertain"),
        ("The pleural effusion has resolved.", "past"),
    ],
)
def test_status(text: str, status: str) -> None:
    (evidence,) = (
        each for each in RuleLabeler().find(text) if text[each.start : each.end].lower() == "pleural effusion"
    )
    assert evidence.status == status


def test_evidence_points_into_the_text() -> None:
    text = "Lungs:\nNo consolidation. On ct. 4.5 mm nodule in the left lung; heart enlarged."
    assert [(e.abnormality, text[e.start : e.end], e.status) for e in RuleLabeler().find(text)] == [
        ("Consolidation", "consolidation", "absent"),
        ("Lung nodule", "nodule", "present"),
        ("Cardiomegaly", "heart enlarged", "present"),
    ]


def test_offsets_hold_behind_letters_that_grow_in_lower_case() -> None:
    text = "İİİ: nodule in the left lung."
    assert [text[e.start : e.end] for e in RuleLabeler().find(text)] == ["nodule"]


def test_an_organ_named_before_holds_for_the_sentence_behind() -> None:
    assert asserted("The thyroid gland is enlarged. A nodule of 9 mm is seen.") == set()
    assert asserted("The thyroid gland is enlarged. A nodule of 9 mm is seen in the lingula.") == {"Lung nodule"}


def test_labels_follow_from_the_evidence_and_name_their_labeler() -> None:
    labeler = find_labeler("rules")
    assert labeler.name.startswith("rules/")
    labels = labeler.label(["Nodule in the left lung, no effusion.", "", "!?; ..."])
    assert labels.dtype == bool
    assert labels.sum(axis=1).tolist() == [1, 0, 0]
    assert "uncertain" in COUNTED
    assert "past" not in COUNTED


@pytest.mark.parametrize("name", ["", "rule", "rules:x", "radbert", "radbert:"])
def test_unknown_labelers_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="expected rules, or radbert:DIR"):
        find_labeler(name)


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    sentences = list(split_sentences(text))
    assert all(text[start : start + len(sentence)] == sentence for start, sentence in sentences)
    assert "".join("".join(sentence for _, sentence in sentences).split()) == "".join(text.split())
    for evidence in RuleLabeler().find(text):
        assert isinstance(evidence, Evidence)
        assert 0 <= evidence.start < evidence.end <= len(text)


def test_phantom_reports_are_read_without_error() -> None:
    rng = np.random.default_rng(5)
    for _ in range(40):
        findings = random_findings(rng)
        text = write_whole_report(write_report(findings, rng))
        assert asserted(text) == {finding.abnormality for finding in findings} & set(ABNORMALITY_NAMES), text


@pytest.mark.parametrize(
    "abnormality",
    [
        "Consolidation",
        "Emphysema",
        "Coronary artery wall calcification",
        "Lung nodule",
        "Pleural effusion",
        "Lymphadenopathy",
        "Interlobular septal thickening",
    ],
)
def test_agrees_with_radbert_on_real_reports(shared: Path, abnormality: str) -> None:
    inferred = read_inferred_labels(shared / "reports/ctrg/label_inferred.csv")
    index = ABNORMALITY_NAMES.index(abnormality)
    radbert = np.concatenate([inferred.reference_labels, inferred.predicted_labels])[:, index]
    rules = RuleLabeler().label([*inferred.references, *inferred.predictions])[:, index]
    assert 2 * (radbert & rules).sum() / (radbert.sum() + rules.sum()) >= 0.9
