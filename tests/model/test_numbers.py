"""The median of the numbers that a model believes in."""

import torch

from reg2rg.model.numbers import WholeNumbers

IDS = [5, 2, 7]  # in a vocabulary of 8, from the smallest number to the largest


def scores(**probabilities: float) -> torch.Tensor:
    row = torch.full((8,), 1e-9)
    for token, probability in probabilities.items():
        row[int(token[1:])] = probability
    return row.log()[None]


def test_the_median_instead_of_the_likeliest() -> None:
    row = scores(t5=0.4, t2=0.3, t7=0.3)
    assert WholeNumbers(IDS)(row, row.argmax(dim=-1)).tolist() == [2]


def test_what_is_sure_stays() -> None:
    for token in IDS:
        row = scores(**{f"t{token}": 0.97})
        assert WholeNumbers(IDS)(row, row.argmax(dim=-1)).tolist() == [token]


def test_a_half_is_enough() -> None:
    row = scores(t5=0.5, t7=0.5)
    assert WholeNumbers(IDS)(row, torch.tensor([7])).tolist() == [5]


def test_words_are_left_alone_and_do_not_count() -> None:
    word = scores(t0=0.6, t5=0.3, t7=0.1)
    number = scores(t0=0.6, t2=0.1, t7=0.3)  # the word is likelier, but a number was drawn
    chosen = WholeNumbers(IDS)(torch.cat([word, number]), torch.tensor([0, 2]))
    assert chosen.tolist() == [0, 7]
