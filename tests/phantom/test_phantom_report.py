import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reg2rg.phantom.abnormalities import DRAWERS
from reg2rg.phantom.finding import AMOUNTS, Finding
from reg2rg.phantom.organs import LOBES
from reg2rg.phantom.report import (
    AMOUNT_WORDS,
    BACKGROUND,
    BILATERAL_EFFUSION,
    DENIALS,
    WORD,
    WORDINGS,
    read_findings,
    vocabulary,
    write_report,
    write_whole_report,
)
from reg2rg.regions import REGION_NAMES


def random_findings(rng: np.random.Generator, prevalence: float = 0.4) -> list[Finding]:
    """Findings as the drawers state them, without drawing."""
    findings: list[Finding] = []
    for name in DRAWERS:
        if rng.random() > prevalence:
            continue
        amount = AMOUNTS[rng.integers(3)]
        if name == "Lung nodule":
            sizes = rng.choice(np.arange(3, 31), size=rng.integers(1, 4), replace=False)
            places = [LOBES[rng.integers(5)] for _ in sizes]
            findings += [Finding(name, "lung", *place, size_mm=int(s)) for place, s in zip(places, sizes, strict=True)]
        elif name == "Consolidation":
            findings.append(Finding(name, "lung", *LOBES[rng.integers(5)], amount=amount))
        elif name == "Pleural effusion":
            sides = [("right", "left"), ("right",), ("left",)][rng.integers(3)]
            findings += [Finding(name, "pleura", side, amount=AMOUNTS[rng.integers(3)]) for side in sides]
        elif name == "Emphysema":
            findings.append(Finding(name, "lung", amount=amount))
        elif name == "Medical material":
            findings.append(Finding(name, "mediastinum", ("left", "right")[rng.integers(2)]))
        elif name == "Cardiomegaly":
            findings.append(Finding(name, "heart"))
        else:
            region = {"Pericardial effusion": "heart", "Hiatal hernia": "esophagus"}[name]
            findings.append(Finding(name, region, size_mm=int(rng.integers(6, 60))))
    return findings


@pytest.mark.parametrize("block", range(3))
def test_reading_gives_back_what_was_written(block: int) -> None:
    for seed in range(100 * block, 100 * block + 100):
        rng = np.random.default_rng(seed)
        findings = random_findings(rng)
        texts = write_report(findings, rng)
        assert tuple(texts) == REGION_NAMES
        read = [finding for region, text in texts.items() for finding in read_findings(text, region)]
        assert sorted(map(repr, read)) == sorted(map(repr, findings)), texts
        assert set(read_findings(write_whole_report(texts))) == set(findings), "without knowing the regions, too"


@pytest.mark.parametrize("name", WORDINGS)
def test_every_wording_asserts_its_abnormality_and_no_other(name: str) -> None:
    for wording in WORDINGS[name]:
        for amounts in AMOUNT_WORDS.values():
            for word in amounts:
                text = wording.format(side="left", lobe="upper lobe", size=17, amount=word)
                (finding,) = read_findings(text)
                assert finding.abnormality == name, text
                assert finding.size_mm == (17 if "{size}" in wording else None)
                assert finding.side == ("left" if "{side}" in wording else None)
                assert finding.lobe == ("upper lobe" if "{lobe}" in wording else None)
                if "{amount}" in wording:
                    assert finding.amount is not None and word in AMOUNT_WORDS[finding.amount]


@pytest.mark.parametrize("wording", BILATERAL_EFFUSION)
def test_both_sides_in_one_sentence_keep_their_amounts(wording: str) -> None:
    right, left = read_findings(wording.format(amount="small", amount2="extensive"), "pleura")
    by_side = {right.side: right.amount, left.side: left.amount}
    assert by_side == {"right": "small", "left": "large"}


@pytest.mark.parametrize("name", DENIALS)
def test_denials_assert_nothing(name: str) -> None:
    for sentence in DENIALS[name]:
        assert read_findings(sentence) == () == read_findings(sentence, "pleura") == read_findings(sentence, "heart")


@pytest.mark.parametrize("region", REGION_NAMES)
def test_background_asserts_nothing(region: str) -> None:
    for sentence in BACKGROUND[region]:
        assert read_findings(sentence, region) == () == read_findings(sentence)


@pytest.mark.parametrize(
    ("text", "abnormalities"),
    [
        ("No pleural effusion but a nodule of 8 mm is seen.", ["Lung nodule"]),
        ("A consolidation is seen without pleural effusion.", ["Consolidation"]),
        ("Neither consolidation nor emphysema.", []),
        ("A nodule was not seen.", []),
        ("THE HEART IS ENLARGED", ["Cardiomegaly"]),
        ("The heart is not enlarged; there is a hiatal hernia.", ["Hiatal hernia"]),
        ("There is a thyroid nodule.", []),
        ("The liver is enlarged.", []),
        ("", []),
    ],
)
def test_denying_goes_clause_by_clause(text: str, abnormalities: list[str]) -> None:
    assert [finding.abnormality for finding in read_findings(text)] == abnormalities


def test_a_bare_effusion_is_that_of_its_region() -> None:
    text = "A small effusion is present."
    assert [f.abnormality for f in read_findings(text, "heart")] == ["Pericardial effusion"]
    assert [f.abnormality for f in read_findings(text, "pleura")] == ["Pleural effusion"]
    assert read_findings(text) == ()


def test_a_statement_repeated_counts_once() -> None:
    assert len(read_findings("Cardiomegaly is present. There is cardiomegaly. The heart is enlarged.")) == 1


@given(st.lists(st.sampled_from([*vocabulary(), "99999", "mm", "cm", "-", "1.5"]), max_size=40))
def test_word_soup_never_raises(words: list[str]) -> None:
    for region in (None, *REGION_NAMES):
        for finding in read_findings(" ".join(words), region):
            assert finding.abnormality in DRAWERS


@given(st.text(max_size=80))
def test_any_text_is_read_without_raising(text: str) -> None:
    assert isinstance(read_findings(text, "lung"), tuple)


def test_the_vocabulary_holds_every_word_of_many_reports_and_stays_small() -> None:
    words = set(vocabulary())
    assert len(words) < 400
    written: set[str] = set()
    for seed in range(300):
        rng = np.random.default_rng(seed)
        written |= set(re.findall(WORD, write_whole_report(write_report(random_findings(rng), rng))))
    assert written <= words
    assert len(written) > 0.8 * len(words), "it lists little that is never written"


def test_reports_vary() -> None:
    lungs = set()
    for seed in range(200):
        rng = np.random.default_rng(seed)
        nodule = Finding("Lung nodule", "lung", *LOBES[rng.integers(5)], size_mm=int(rng.integers(3, 31)))
        lungs.add(write_report([nodule], rng)["lung"])
    assert len(lungs) > 180


def test_sentences_begin_with_a_capital_and_articles_agree() -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        for text in write_report(random_findings(rng), rng).values():
            assert all(sentence[0].isupper() for sentence in text.split(". "))
            assert not re.search(r"\b[Aa] [aeiou]", text), text
            assert "None" not in text and "{" not in text
