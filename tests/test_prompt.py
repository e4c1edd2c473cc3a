import csv
import json
import string
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reg2rg.errors import InputError
from reg2rg.prompt import (
    ParsedFinding,
    build_prompt,
    build_target,
    join_answers,
    parse_report,
    strip_region_text,
    text_spans,
)
from reg2rg.regions import REGION_NAMES
from reg2rg.tokens import SpecialTokens

GOLDEN = json.loads((Path(__file__).parent / "golden/golden_prompt.json").read_text())
PUBLISHED = SpecialTokens(num_latents=32, max_regions=10)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_published_prompts_string_for_string():
    assert build_prompt(3, PUBLISHED) == GOLDEN["prompt"]
    assert build_prompt(10, PUBLISHED) == GOLDEN["test_question"]


def test_published_targets_string_for_string():
    reports = GOLDEN["region_reports"]
    assert build_target([(name, reports[name]) for name in GOLDEN["region_order_train"]]) == GOLDEN["target"]
    all_ten = GOLDEN["test_region2area"].values()
    assert build_target([(name, reports.get(name, "")) for name in all_ten]) == GOLDEN["test_gt"]
    assert GOLDEN["full_text_train"] == GOLDEN["prompt"] + " " + GOLDEN["target"]


@pytest.mark.parametrize("count", [0, 11])
def test_a_prompt_has_one_to_ten_regions(count):
    with pytest.raises(InputError, match=f"expected 1 to 10 regions in a prompt, got {count}"):
        build_prompt(count, PUBLISHED)


@pytest.mark.parametrize("per_prompt", [1, 2, 3, 10])
def test_answers_to_several_prompts_are_one_report(per_prompt):
    findings = [(name, f"Text of the {name}.") for name in REGION_NAMES]
    parts = [range(start, min(start + per_prompt, 10)) for start in range(0, 10, per_prompt)]
    answers = [(part, build_target([findings[number] for number in part])) for part in parts]
    assert join_answers(answers) == (build_target(findings).strip(), "")


def test_what_an_answer_says_beyond_its_prompt_is_no_other_region():
    beyond = "The region 0 is lung: Clear. The region 1 is heart: Large. The region 0 is lung: Again."
    assert join_answers(
        [([0], beyond), ([1], "The region 0 is bone: Whole."), ([2], "The region 4 is heart: Small.")]
    ) == (
        "The region 0 is lung: Clear. The region 1 is bone: Whole.",
        "The region 1 is heart: Large. The region 0 is lung: Again. The region 4 is heart: Small.",
    )


def test_ctrg_prompts_and_references_string_for_string(shared):
    rows = read_csv(shared / "reports/ctrg/ctrg_combined_reports.csv")
    assert len(rows) == 361
    for row in rows:
        report = parse_report(row["GT_whole_report"])
        findings = [(finding.name, finding.text) for finding in report.findings]
        assert not report.problems
        assert build_target(findings, report.other) == row["GT_whole_report"]
        assert build_prompt(len(findings), PUBLISHED, with_other=True) == row["Question"]


def test_ctrg_predictions_are_read_and_their_faults_named(shared):
    rows = read_csv(shared / "reports/ctrg/ctrg_combined_reports.csv")
    problems = {row["AccNum"]: parse_report(row["Pred_whole_report"]).problems for row in rows}
    assert {key: value for key, value in problems.items() if value} == {
        "6": ("region 9: 'cerebellum' is none of the ten regions",),
        "129": ("'breast' is named 2 times",),
        "151": ("'lung' is named 2 times",),
        "410": ("'heart' is named 2 times",),
        "643": ("'heart' is named 2 times",),
        "1041": ("no colon after 'The other report is'",),
        "1118": ("unclosed brace: other",),
        "1283": ("'heart' is named 2 times", "'lung' is named 2 times"),
    }


def test_stripped_text_is_the_published_one(shared):
    """The published file leaves the brace that prediction 1118 never closes."""
    combined = read_csv(shared / "reports/ctrg/ctrg_combined_reports.csv")
    stripped = read_csv(shared / "reports/ctrg/ctrg_combined_reports_rm_region_text.csv")
    for column, exceptions in (("GT_whole_report", set()), ("Pred_whole_report", {"1118"})):
        differing = {
            row["AccNum"]
            for row, published in zip(combined, stripped, strict=True)
            if strip_region_text(row[column]) != published[column].strip()
        }
        assert differing == exceptions


def test_stripping_keeps_text_where_a_colon_is_missing():
    text = "The region 0 is lung The nodule measures as follows, at most: 3 mm. The region 1 is heart: Large. "
    assert strip_region_text(text) == "The region 0 is lung The nodule measures as follows, at most: 3 mm. Large."


# Texts within the contract: no blanks around them, no heading inside, no beginning of one at the end.
words = st.text(string.ascii_letters + string.digits + ".,:;()%é×\"'", min_size=1, max_size=8)
texts = st.lists(words | st.sampled_from(["The", "region", "3", "is", "report:"]), max_size=8).map(" ".join)
texts = texts.filter(lambda text: "The region" not in text and "The other" not in text)
findings = st.lists(st.tuples(st.sampled_from(REGION_NAMES), texts), max_size=10)
others = st.dictionaries(st.sampled_from([*REGION_NAMES, "other", "upper abdomen"]), texts)


@given(findings, others)
@example([("trachea and bronchie", ""), ("lung", "12 mm: large.")], {"other": ""})
def test_parsing_undoes_building(findings, other):
    report = parse_report(build_target(findings, other))
    assert report.findings == tuple(ParsedFinding(i, name, text) for i, (name, text) in enumerate(findings))
    assert report.other == other
    assert list(report.other) == list(other)


@given(findings, others)
def test_texts_lie_in_the_answer_where_it_is_said(findings, other):
    answer = build_target(findings, other)
    assert [answer[begin:end] for begin, end in text_spans(findings)] == [text for _, text in findings]


@given(
    st.lists(st.sampled_from([*"{}:. 0", "The", " region ", "1", "99999999", " is ", "lung", "The other report is"]))
)
def test_parsing_never_raises(pieces):
    text = "".join(pieces)
    parse_report(text)
    strip_region_text(text)


@pytest.mark.parametrize(
    ("text", "findings", "problems"),
    [
        ("", (), ()),
        ("The lungs are clear.", (), ("text ahead of every region: The lungs are clear.",)),
        (
            "Well. The region 0 is lung: Clear. ",
            (ParsedFinding(0, "lung", "Clear."),),
            ("text ahead of every region: Well.",),
        ),
        (
            "The region 0 is left main bronchus: Open. ",
            (ParsedFinding(0, "left main bronchus", "Open."),),
            ("region 0: 'left main bronchus' is none of the ten regions",),
        ),
        (
            "The region 1 is lung: A. The region 0 is lung: B. The region 4 is bone: C. The region 4 is heart: D",
            (
                ParsedFinding(1, "lung", "A."),
                ParsedFinding(0, "lung", "B."),
                ParsedFinding(4, "bone", "C."),
                ParsedFinding(4, "heart", "D"),
            ),
            (
                "region 4 comes 2 times",
                "'lung' is named 2 times",
                "regions are out of order: 1, 0, 4, 4",
                "regions are missing: 2, 3",
            ),
        ),
        (
            "The region 0 is trachea and bronchie Both open. A nodule: 3 mm. ",
            (ParsedFinding(0, "trachea and bronchie", "Both open. A nodule: 3 mm."),),
            ("region 0: no colon after the name",),
        ),
        (
            "The region 0 is quite normal in size. A nodule: 3 mm. ",
            (ParsedFinding(0, "", "quite normal in size. A nodule: 3 mm."),),
            ("region 0: no colon after the name",),
        ),
        (
            "The region 0 is lung: Clear. The region 1 is trachea and",
            (ParsedFinding(0, "lung", "Clear."), ParsedFinding(1, "trachea and", "")),
            ("region 1: cut off in the name 'trachea and'",),
        ),
        (
            "The region 0 is lung: Clear. The region 1",
            (ParsedFinding(0, "lung", "Clear."),),
            ("cut off in a heading: The region 1",),
        ),
        ("The region 0 is lung: Cle", (ParsedFinding(0, "lung", "Cle"),), ()),
    ],
)
def test_what_models_write(text, findings, problems):
    report = parse_report(text)
    assert report.findings == findings
    assert report.problems == problems


@pytest.mark.parametrize(
    ("text", "other", "problems"),
    [
        ("{pleura: A.}{other: B", {"pleura": "A.", "other": "B"}, ("unclosed brace: other",)),
        ("{pleura: A. {other: B}", {"pleura": "A.", "other": "B"}, ("unclosed brace: pleura",)),
        ("{pleura: A.} and {other: }", {"pleura": "A.", "other": ""}, ("text outside of braces: and",)),
        ("{no title}", {"": "no title"}, ("no title in the braces: no title",)),
        ("{other: A.}{other: B.}", {"other": "A. B."}, ("the other report has 'other' twice",)),
        ("No effusion.", {}, ("text outside of braces: No effusion.",)),
    ],
)
def test_other_reports_with_faults(text, other, problems):
    report = parse_report(f"The other report is: {text}")
    assert report.other == other
    assert report.problems == problems
