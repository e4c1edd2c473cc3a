"""The median of how much a model believes in."""

import torch

from reg2rg.model.quantities import Quantities

NUMBERS = [[5], [2], [7]]  # in a vocabulary of 8, from the smallest number to the largest
DEGREES = [[1, 3], [], [4], [6]]


def scores(**probabilities: float) -> torch.Tensor:
    row = torch.full((8,), 1e-9)
    for token, probability in probabilities.items():
        row[int(token[1:])] = probability
    return row.log()[None]


def chosen(row: torch.Tensor, drawn: torch.Tensor | None = None) -> list[int]:
    return Quantities([NUMBERS, DEGREES])(row, row if drawn is None else drawn).tolist()


def test_the_median_instead_of_the_likeliest() -> None:
    assert chosen(scores(t5=0.4, t2=0.3, t7=0.3)) == [2]


def test_what_is_sure_stays() -> None:
    for token in range(8):
        assert chosen(scores(**{f"t{token}": 0.97})) == [token]


def test_a_half_is_enough() -> None:
    assert chosen(scores(t5=0.5, t7=0.5), scores(t7=0.9)) == [5]


def test_synonyms_are_counted_together_and_the_likelier_is_written() -> None:
    assert chosen(scores(t4=0.4, t1=0.25, t3=0.35)) == [3]
    assert chosen(scores(t4=0.4, t1=0.25, t3=0.35), scores(t4=0.4, t1=0.3, t3=0.2)) == [1]  # as it was drawn


def test_a_step_that_was_not_to_be_drawn_from_has_its_likeliest_word() -> None:
    drawn = torch.full((1, 8), -torch.inf)
    drawn[0, 4] = 0
    assert chosen(scores(t4=0.4, t1=0.25, t3=0.35), drawn) == [3]


def test_other_words_are_left_alone_and_do_not_count() -> None:
    word = scores(t0=0.6, t5=0.3, t7=0.1)
    number = scores(t0=0.6, t2=0.1, t7=0.3)  # the other word is likelier, but a number was drawn
    assert chosen(torch.cat([word, number]), torch.cat([word, scores(t2=0.9)])) == [0, 7]
