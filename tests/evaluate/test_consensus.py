"""Which of several drafts is kept, and what is read in them."""

from collections.abc import Sequence
from itertools import permutations

import pytest

from reg2rg.evaluate.consensus import most_agreed, statements
from reg2rg.prompt import build_target

CLEAR = "The lungs are clear. No nodule is seen."


def kept(texts: Sequence[str]) -> int:
    """The place of the text that is kept of drafts about the lung, as a model writes them."""
    return most_agreed([build_target([("lung", text)]) for text in texts])


def test_what_one_alone_says_is_not_kept() -> None:
    nodule, again = "There is a nodule in the right upper lobe.", "A right upper lobe nodule is present."
    drafts = [CLEAR, nodule, again]
    assert {drafts[kept(drafts)] for drafts in permutations(drafts)} <= {nodule, again}
    drafts = [CLEAR, "The lungs are normal.", nodule]
    assert {drafts[kept(drafts)] for drafts in permutations(drafts)} <= set(drafts) - {nodule}


def test_equal_drafts_are_equals_whatever_stands_between_them() -> None:
    others = ["A nodule of 7 mm.", "Mild emphysema.", "Emphysema and a nodule of 30 mm."]
    for drafts in permutations(["Severe emphysema."] * 2 + others):
        chosen = drafts[kept(drafts)]
        assert drafts.index(chosen) == kept(drafts), "the first of equals"


@pytest.mark.parametrize(
    ("drafts", "expected"),
    [
        (["A 6 mm nodule.", "A 13 mm nodule.", "A nodule of 12 mm."], "13"),
        (["Severe emphysema.", "Mild emphysema.", "Minimal emphysematous changes."], "Mild"),
        (["Left pleural effusion.", "Right pleural effusion.", "Effusion of the right pleura."], "Right"),
        (["A mildly enlarged thyroid.", "The thyroid has a lump.", "The thyroid has a lump of 9 mm."], "lump."),
    ],
    ids=["size", "degree", "side", "words where nothing is stated"],
)
def test_details_count(drafts: list[str], expected: str) -> None:
    assert expected in drafts[kept(drafts)]


def test_denied_and_past_findings_are_no_statements() -> None:
    assert statements("No nodule. Pneumonia has resolved. The heart is of normal size.") == frozenset()
    assert ("Lung nodule", "") in statements("A nodule cannot be excluded.")


def test_a_detail_belongs_to_what_its_sentence_states() -> None:
    stated = statements("Emphysema. A nodule of 12 mm in the left lower lobe.")
    assert {detail for name, detail in stated if name == "Emphysema"} == {""}
    assert {detail for name, detail in stated if name == "Lung nodule"} == {"", "=e^2.5", "left", "lower"}


def test_statements_come_before_words() -> None:
    drafts = ["No nodule is seen in the lung.", "A nodule is seen in the lung.", "Nodule."]
    assert kept(drafts) == 1
    assert kept([draft.replace("nodule", "thing").replace("Nodule", "Thing") for draft in drafts]) == 0


def test_the_order_of_sentences_and_the_number_of_the_region_say_nothing() -> None:
    one, other = "A nodule of 12 mm. Mild emphysema.", "Mild emphysema. A nodule of 12 mm."
    for drafts in permutations([one, other, other.replace("12", "40")]):
        assert "40" not in drafts[kept(drafts)]
    # Equal statements, so that words decide, which are the same, too: the first of equals.
    assert kept([one, other]) == kept([other, one]) == 0


def test_what_most_take_a_region_for_comes_first() -> None:
    drafts = [build_target([("lung", "A nodule of 12 mm.")]), *[build_target([("heart", "Large.")])] * 2]
    assert most_agreed(drafts) == 1
    assert most_agreed(drafts[::-1]) == 0


def test_what_is_said_of_one_region_is_not_said_of_another() -> None:
    own = [
        build_target([("lung", first), ("pleura", second)])
        for first, second in (
            ("A nodule.", "No effusion."),
            ("Clear.", "A nodule."),
            ("Clear.", "No nodule."),
            ("A nodule.", ""),
        )
    ]
    assert most_agreed(own) in (0, 3)


def test_answers_without_any_heading() -> None:
    assert most_agreed(["Clear.", "A nodule.", "A nodule."]) == 1


def test_what_is_written_again_of_a_region_does_not_count() -> None:
    again = build_target([("lung", "Clear.")]) + " " + build_target([("lung", "A nodule.")])
    nodule, clear = build_target([("lung", "A nodule.")]), build_target([("lung", "Clear.")])
    assert most_agreed([nodule, again, clear]) == 1


def test_numbers_of_any_length() -> None:
    assert statements(f"A nodule of {'9' * 400} mm.") == statements("A nodule of 1000000 mm.")


def test_no_drafts_of_nothing() -> None:
    assert kept([""]) == kept(["", ""]) == 0
