"""Which of several drafts is kept, and what is read in them."""

from itertools import permutations

import pytest

from reg2rg.evaluate.consensus import most_agreed, statements

CLEAR = "The lungs are clear. No nodule is seen."


def test_what_one_alone_says_is_not_kept() -> None:
    nodule, again = "There is a nodule in the right upper lobe.", "A right upper lobe nodule is present."
    drafts = [CLEAR, nodule, again]
    assert {drafts[most_agreed(drafts)] for drafts in permutations(drafts)} <= {nodule, again}
    drafts = [CLEAR, "The lungs are normal.", nodule]
    assert {drafts[most_agreed(drafts)] for drafts in permutations(drafts)} <= set(drafts) - {nodule}


def test_equal_drafts_are_equals_whatever_stands_between_them() -> None:
    others = ["A nodule of 7 mm.", "Mild emphysema.", "Emphysema and a nodule of 30 mm."]
    for drafts in permutations(["Severe emphysema."] * 2 + others):
        chosen = drafts[most_agreed(drafts)]
        assert drafts.index(chosen) == most_agreed(drafts), "the first of equals"


@pytest.mark.parametrize(
    ("drafts", "kept"),
    [
        (["A 6 mm nodule.", "A 13 mm nodule.", "A nodule of 12 mm."], "13"),
        (["Severe emphysema.", "Mild emphysema.", "Minimal emphysematous changes."], "Mild"),
        (["Left pleural effusion.", "Right pleural effusion.", "Effusion of the right pleura."], "Right"),
        (["A mildly enlarged thyroid.", "The thyroid has a lump.", "The thyroid has a lump of 9 mm."], "lump."),
    ],
    ids=["size", "degree", "side", "words where nothing is stated"],
)
def test_details_count(drafts: list[str], kept: str) -> None:
    assert kept in drafts[most_agreed(drafts)]


def test_denied_and_past_findings_are_no_statements() -> None:
    assert statements("No nodule. Pneumonia has resolved. The heart is of normal size.") == frozenset()
    assert ("Lung nodule", "") in statements("A nodule cannot be excluded.")


def test_a_detail_belongs_to_what_its_sentence_states() -> None:
    stated = statements("Emphysema. A nodule of 12 mm in the left lower lobe.")
    assert {detail for name, detail in stated if name == "Emphysema"} == {""}
    assert {detail for name, detail in stated if name == "Lung nodule"} == {"", "=e^2.5", "left", "lower"}


def test_statements_come_before_words() -> None:
    drafts = ["No nodule is seen in the lung.", "A nodule is seen in the lung.", "Nodule."]
    assert most_agreed(drafts) == 1
    assert most_agreed([draft.replace("nodule", "thing").replace("Nodule", "Thing") for draft in drafts]) == 0


def test_numbers_of_any_length() -> None:
    assert statements(f"A nodule of {'9' * 400} mm.") == statements("A nodule of 1000000 mm.")


def test_no_drafts_of_nothing() -> None:
    assert most_agreed([""]) == most_agreed(["", ""]) == 0
