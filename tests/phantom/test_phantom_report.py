import re
from collections import defaultdict
from dataclasses import replace
from functools import cache
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phantom_findings import random_finding, random_findings

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.evaluate.labeler import RuleLabeler
from reg2rg.phantom.finding import AMOUNTS, KINDS, Finding
from reg2rg.phantom.report import WORD, read_findings, reword, vocabulary, write_report, write_whole_report
from reg2rg.phantom.report.style import STYLES
from reg2rg.phantom.report.wordings import AMOUNT_WORDS, DETAIL_WORDS, SEEN_WORDS, SENTENCE_VERB, slots, wordings
from reg2rg.phantom.report.writer import in_order
from reg2rg.regions import REGION_NAMES

SLOT_OF = {"size_mm": {"size"}, "amount": {"amount", "amountly"}, "detail": {"detail", "vessel"}}


@pytest.fixture(scope="module")
def reports() -> list[tuple[list[Finding], dict[str, str]]]:
    """A thousand sets of findings with their texts."""
    made = []
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        findings = random_findings(rng)
        made.append((findings, write_report(findings, rng)))
    return made


def without_ratio(finding: Finding) -> Finding:
    return replace(finding, percent=None) if finding.abnormality == "Cardiomegaly" else finding


def test_reading_gives_back_what_was_written(reports: list[tuple[list[Finding], dict[str, str]]]) -> None:
    unsaid = stated = 0
    for findings, texts in reports[:500]:
        assert tuple(texts) == REGION_NAMES
        read = [finding for region, text in texts.items() for finding in read_findings(text, region)]
        assert len(read) == len(findings), texts
        assert set(map(without_ratio, read)) == set(map(without_ratio, findings)), texts
        assert set(read) - set(findings) <= {f for f in read if f.percent is None}, texts
        assert set(read_findings(write_whole_report(texts))) == set(read), "without knowing the regions, too"
        unsaid += len(set(read) - set(findings))
        stated += len(read)
    assert unsaid < 0.02 * stated, "only a heart may be large without a number"


def test_other_words_state_the_same_findings(reports: list[tuple[list[Finding], dict[str, str]]]) -> None:
    same = total = unsaid = stated = 0
    for seed, (_, texts) in enumerate(reports[:300]):
        asked = {region: texts[region] for region in REGION_NAMES[seed % 3 :: 2]}
        again = reword(asked, np.random.default_rng(seed))
        assert tuple(again) == tuple(asked)
        for region, text in again.items():
            before, after = (set(read_findings(words, region)) for words in (texts[region], text))
            assert set(map(without_ratio, after)) == set(map(without_ratio, before)), (texts[region], text)
            assert after - before <= {finding for finding in after if finding.percent is None}
            unsaid += len(after - before)
            stated += len(after)
            same += text == texts[region]
            total += 1
    assert unsaid < 0.02 * stated, "only a heart may be large without a number"
    assert same < 0.03 * total
    assert reword(asked, np.random.default_rng(seed)) == again


@pytest.mark.parametrize("name", KINDS)
def test_every_wording_states_its_kind_with_the_attributes_of_its_slots(name: str) -> None:
    rng = np.random.default_rng(0)
    options = [*wordings(name, "finding"), *wordings(name, "uncertain")]
    assert len(wordings(name, "finding")) >= 8
    for wording, amount in product(options, AMOUNTS):
        for word in AMOUNT_WORDS.get(name, {"small": ("",), "moderate": ("",), "large": ("",)})[amount]:
            finding = random_finding(name, rng)
            finding = replace(finding, amount=amount) if finding.amount else finding
            detail = finding.detail or ""
            words = {"side": finding.side, "lobe": finding.lobe, "size": finding.size_mm, "percent": finding.percent}
            words |= {"amount": word, "amountly": f"{word}ly", "detail": detail, "vessel": DETAIL_WORDS.get(detail)}
            text = wording.format(**words, tail="lead", seen="noted")
            unsaid = {a: None for a in KINDS[name].states if not SLOT_OF.get(a, {a}) & slots(wording)}
            for region in (None, KINDS[name].region):
                assert read_findings(text, region) == (replace(finding, **unsaid),), text


@pytest.mark.parametrize("name", KINDS)
def test_most_wordings_say_every_attribute(name: str) -> None:
    options = wordings(name, "finding")
    for attribute in KINDS[name].states:
        said = [bool(SLOT_OF.get(attribute, {attribute}) & slots(wording)) for wording in options]
        assert np.mean(said) >= 0.8, attribute


def test_both_sides_in_one_sentence_keep_their_amounts_and_sizes() -> None:
    for wording in wordings("Pleural effusion", "pair"):
        text = wording.format(amount="small", size=12, amount2="extensive", size2=70, seen="seen")
        by_side = {finding.side: (finding.amount, finding.size_mm) for finding in read_findings(text, "pleura")}
        assert by_side == {"right": ("small", 12), "left": ("large", 70)}


@pytest.mark.parametrize("name", KINDS)
def test_denials_assert_nothing(name: str) -> None:
    texts = [wording.format(seen="present") for wording in wordings(name, "denial")]
    (noun,) = wordings(name, "noun")
    texts += [wording.format(list=f"hernia, {noun} or mass", seen="seen") for wording in wordings("", "list")]
    texts += [wording.format(first=noun, second="mass", seen="seen") for wording in wordings("", "neither")]
    assert len(texts) >= 9
    for text in texts:
        assert all(read_findings(text, region) == () for region in (None, *REGION_NAMES)), text
    assert not RuleLabeler().label(texts).any()


@pytest.mark.parametrize("region", REGION_NAMES)
def test_normal_statements_assert_nothing(region: str) -> None:
    normal, clear = wordings(region, "normal"), wordings(region, "clear")
    assert len(normal) >= 12
    texts = [wording.format(seen="seen") for wording in (*normal, *clear)]
    assert all(read_findings(text, region) == () == read_findings(text) for text in texts)
    assert not RuleLabeler().label(texts).any()


def test_the_labeler_agrees(reports: list[tuple[list[Finding], dict[str, str]]]) -> None:
    texts, truth = [], []
    for findings, by_region in reports[:120]:
        for region, text in (*by_region.items(), (None, write_whole_report(by_region))):
            had = {finding.abnormality for finding in findings if region in (None, finding.region)}
            texts.append(text)
            truth.append([name in had for name in ABNORMALITY_NAMES])
    labels, expected = RuleLabeler().label(texts), np.array(truth)
    f1 = 2 * (labels & expected).sum(axis=0) / (labels.sum(axis=0) + expected.sum(axis=0))
    assert f1.min() >= 0.99, dict(zip(ABNORMALITY_NAMES, f1, strict=True))
    assert 2 * (labels & expected).sum() / (labels.sum() + expected.sum()) >= 0.995


@pytest.mark.parametrize("region", REGION_NAMES)
def test_abnormal_texts_vary(region: str, reports: list[tuple[list[Finding], dict[str, str]]]) -> None:
    texts = [texts[region] for findings, texts in reports if any(f.region == region for f in findings)]
    assert len(set(texts)) >= 0.9 * len(texts)


def test_texts_are_short(reports: list[tuple[list[Finding], dict[str, str]]]) -> None:
    assert np.mean([len(write_whole_report(texts).split()) for _, texts in reports]) < 230
    assert max(len(texts[region].split()) for _, texts in reports for region in REGION_NAMES if region != "lung") < 60


def test_topics_keep_their_order(reports: list[tuple[list[Finding], dict[str, str]]]) -> None:
    for findings, texts in reports[:300]:
        for region, text in texts.items():
            own = in_order([finding for finding in findings if finding.region == region])
            read = read_findings(text, region)
            assert [f.abnormality for f in read] == [f.abnormality for f in own], text
            sizes = [finding.size_mm for finding in read if finding.abnormality == "Lung nodule"]
            assert sizes == sorted(sizes, reverse=True)
            ranks = [_rank(f"{sentence.rstrip('.')}.", region) for sentence in text.split(". ")]
            assert ranks == sorted(ranks), text


def _rank(sentence: str, region: str) -> tuple[int, int]:
    """Findings before denials before normal statements; these in the order of the kinds and of the table."""
    return _fixed_ranks(region).get(sentence, (0, 0) if read_findings(sentence, region) else (1, 0))


@cache
def _fixed_ranks(region: str) -> dict[str, tuple[int, int]]:
    names = [name for name in KINDS if KINDS[name].region == region]
    ranked = [(wording, (1, place)) for place, name in enumerate(names) for wording in wordings(name, "denial")]
    for rank, use in ((2, "clear"), (3, "normal")):
        ranked += [(wording, (rank, place)) for place, wording in enumerate(wordings(region, use))]
    return {wording.format(seen=seen): rank for wording, rank in ranked for seen in SEEN_WORDS}


def test_a_report_keeps_its_style(reports: list[tuple[list[Finding], dict[str, str]]]) -> None:
    for _, texts in reports:
        words = set(re.findall(WORD, write_whole_report(texts)))
        assert len(words & set(SEEN_WORDS)) <= 1
        assert len({word.lower() for word in words} & {"mild", "slight", "minimal"}) <= 1 + ("small" not in words)
    openings = defaultdict(set)
    for seed in range(150):
        rng = np.random.default_rng(seed)
        sizes = sorted(rng.choice(np.arange(3, 31), size=3, replace=False).tolist())
        nodules = [replace(random_finding("Lung nodule", rng), size_mm=size) for size in sizes]
        text = write_report(nodules, rng)["lung"]
        openings[seed] = {
            wording
            for wording in wordings("Lung nodule", "finding")
            if re.search("(?i)" + re.sub(r"\\\{\w+\\\}", r"[\\w-]+( lobe)?", re.escape(wording)), text)
        }
    assert np.mean([len(found) <= 1 for found in openings.values()]) > 0.8, "nodules are worded alike, doubts apart"
    assert len(set().union(*openings.values())) == len(wordings("Lung nodule", "finding"))


def test_styles_prefer_few_wordings_and_share_them() -> None:
    assert len(STYLES) >= 6
    for name in KINDS:
        options = wordings(name, "finding")
        preferred = [set(style.preferred(options, 3)) for style in STYLES]
        assert all(2 <= len(each) <= 4 for each in preferred)
        assert all(here & there for here, there in pairwise(preferred))
        assert set().union(*preferred) == set(options)


def test_equal_seeds_give_equal_reports() -> None:
    for seed in range(20):
        findings = random_findings(np.random.default_rng(seed))
        first, second = (write_report(findings, np.random.default_rng(seed)) for _ in range(2))
        assert first == second
        shuffled = [findings[index] for index in np.random.default_rng(seed + 1).permutation(len(findings))]
        assert write_report(shuffled, np.random.default_rng(seed)) == first, "in whatever order they come"


def test_what_is_not_known_of_a_finding_is_not_said() -> None:
    for seed in range(60):
        findings = [
            Finding("Cardiomegaly", "heart"),
            Finding("Lung nodule", "lung", "left", "upper lobe", size_mm=9),
            Finding("Medical material", "mediastinum", "right"),
        ]
        texts = write_report(findings, np.random.default_rng(seed))
        assert "None" not in write_whole_report(texts)
        assert {f for region, text in texts.items() for f in read_findings(text, region)} == set(findings), texts


@pytest.mark.parametrize(
    ("text", "abnormalities"),
    [
        ("No pleural effusion but a nodule of 8 mm is seen.", ["Lung nodule"]),
        ("A consolidation is seen without pleural effusion.", ["Consolidation"]),
        ("Neither consolidation nor emphysema.", []),
        ("A nodule was not seen.", []),
        ("THE HEART IS ENLARGED", ["Cardiomegaly"]),
        ("The heart is not enlarged; there is a hiatal hernia.", ["Hiatal hernia"]),
        ("There is a thyroid nodule.", ["Thyroid nodule"]),
        ("A ground-glass nodule is seen.", ["Lung nodule"]),
        ("Calcified coronary plaques.", ["Coronary artery wall calcification"]),
        ("The liver is enlarged.", []),
        ("", []),
    ],
)
def test_denying_goes_clause_by_clause(text: str, abnormalities: list[str]) -> None:
    assert [finding.abnormality for finding in read_findings(text)] == abnormalities


@pytest.mark.parametrize(
    ("text", "region", "abnormality"),
    [
        ("A small effusion is present.", "heart", "Pericardial effusion"),
        ("A small effusion is present.", "pleura", "Pleural effusion"),
        ("A nodule of 9 mm is present.", "thyroid", "Thyroid nodule"),
        ("A nodule of 9 mm is present.", "lung", "Lung nodule"),
        ("A mass of 9 mm is present.", "breast", "Breast mass"),
        ("A lesion of 9 mm is present.", "abdomen", "Liver lesion"),
    ],
)
def test_a_bare_word_is_that_of_its_region(text: str, region: str, abnormality: str) -> None:
    assert [finding.abnormality for finding in read_findings(text, region)] == [abnormality]


def test_a_statement_repeated_counts_once() -> None:
    assert len(read_findings("Cardiomegaly is present. There is cardiomegaly. The heart is enlarged.")) == 1


def test_a_number_of_nodules_is_none_itself_unless_nothing_else_is_said() -> None:
    assert len(read_findings("Two pulmonary nodules are seen.")) == 1
    assert [f.size_mm for f in read_findings("Two nodules are seen. A 9 mm nodule is seen. A 5 mm nodule.")] == [9, 5]


@given(st.lists(st.sampled_from([*vocabulary(), "99999", "mm", "cm", "-", "1.5"]), max_size=40))
def test_word_soup_never_raises(words: list[str]) -> None:
    for region in (None, *REGION_NAMES):
        for finding in read_findings(" ".join(words), region):
            assert finding.abnormality in KINDS


@given(st.text(max_size=80))
def test_any_text_is_read_without_raising(text: str) -> None:
    assert isinstance(read_findings(text, "lung"), tuple)


def test_the_vocabulary_holds_every_word_of_many_reports_and_stays_small(
    reports: list[tuple[list[Finding], dict[str, str]]],
) -> None:
    words = set(vocabulary())
    assert len(words) <= 800
    assert all(word.isascii() for word in words)
    written = set(re.findall(WORD, " ".join(write_whole_report(texts) for _, texts in reports)))
    assert written <= words
    assert len(written) > 0.8 * len(words), "it lists little that is never written"


def test_sentences_begin_with_a_capital_and_articles_agree(
    reports: list[tuple[list[Finding], dict[str, str]]],
) -> None:
    for _, texts in reports:
        for text in texts.values():
            assert text.endswith(".")
            assert all(sentence[0].isupper() for sentence in text.split(". "))
            assert not re.search(r"\b[Aa] ([aeiou]|8|11 |18 )", text), text
            assert not re.search(r"None|\{|  |\bT\b(?!\d)", text), text


def test_findings_share_a_sentence_at_times(reports: list[tuple[list[Finding], dict[str, str]]]) -> None:
    joined = [text for _, texts in reports for text in texts.values() if ", and " in text]
    assert 0.01 < len(joined) / (10 * len(reports)) < 0.2
    assert all(SENTENCE_VERB.search(text) for text in joined)
