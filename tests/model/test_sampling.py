"""Drawn tokens follow the softmax of their scores; impossible settings are refused."""

import pytest
import torch

from reg2rg.errors import InputError
from reg2rg.model.config import Sampling
from reg2rg.model.sampling import TokenSampler


def test_draws_follow_the_probabilities() -> None:
    scores = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    sampler, generators = TokenSampler(Sampling()), [torch.Generator().manual_seed(0)]
    draws = torch.stack([sampler(scores, generators).argmax() for _ in range(4000)])
    shares = torch.bincount(draws, minlength=3) / len(draws)
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.3, 0.2]), atol=0.03, rtol=0)


def test_what_top_p_leaves_out_is_never_drawn() -> None:
    scores = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    sampler, generators = TokenSampler(Sampling(top_p=0.6)), [torch.Generator().manual_seed(0)]
    draws = {int(sampler(scores, generators).argmax()) for _ in range(200)}
    assert draws == {0, 1}


@pytest.mark.parametrize("bad", [{"temperature": 0.0}, {"top_p": 0.0}, {"top_p": 1.5}, {"top_k": 0}])
def test_impossible_settings(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        Sampling(**bad)  # type: ignore[arg-type]
