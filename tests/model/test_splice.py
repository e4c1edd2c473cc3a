"""Splicing against the slow way: one row after the other."""

import pytest
import torch

from reg2rg.model.splice import splice
from reg2rg.tokens import SpecialTokens

TOKENS = SpecialTokens(num_latents=2, max_regions=3)
COUNTS = [2, 0, 1]


@pytest.fixture
def parts() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "brackets": torch.randn(4, 5, generator=generator),
        "images": torch.randn(3, 2, 5, generator=generator),
        "regions": torch.randn(3, 3, 5, generator=generator),
    }


def test_every_token_of_every_study(parts: dict[str, torch.Tensor]) -> None:
    first_region = [0, 2, 2]
    for study, count in enumerate(COUNTS):
        rows = list(range(-2, TOKENS.image_rows.stop + 3 * count))
        special = torch.full((3, len(rows)), -1)
        special[study] = torch.tensor(rows)
        text = torch.randn(3, len(rows), 5)
        got = splice(special, text, **parts, region_counts=COUNTS, tokens=TOKENS)
        own_regions = parts["regions"][first_region[study] : first_region[study] + count]
        expected = torch.cat([text[study, :2], parts["brackets"], parts["images"][study], *own_regions])
        assert torch.equal(got[study], expected)
        others = [other for other in range(3) if other != study]
        assert torch.equal(got[others], text[others])


@pytest.mark.parametrize(("study", "row"), [(0, 12), (1, 6), (2, 9), (2, 100)])
def test_a_slot_the_study_does_not_fill(parts: dict[str, torch.Tensor], study: int, row: int) -> None:
    special = torch.full((3, 4), -1)
    special[study, 2] = row
    with pytest.raises(ValueError, match="region slot"):
        splice(special, torch.zeros(3, 4, 5), **parts, region_counts=COUNTS, tokens=TOKENS)


def test_more_regions_than_slots(parts: dict[str, torch.Tensor]) -> None:
    parts["regions"] = torch.zeros(4, 3, 5)
    with pytest.raises(ValueError, match="more than 3 regions"):
        splice(torch.full((3, 1), -1), torch.zeros(3, 1, 5), **parts, region_counts=[4, 0, 0], tokens=TOKENS)


def test_gradients_reach_each_row_once_per_use(parts: dict[str, torch.Tensor]) -> None:
    for part in parts.values():
        part.requires_grad_(True)
    special = torch.tensor([[4, 4, 0], [-1, -1, -1], [6, 5, -1]])
    text = torch.zeros(3, 3, 5, requires_grad=True)
    splice(special, text, **parts, region_counts=COUNTS, tokens=TOKENS).sum().backward()
    assert parts["images"].grad[..., 0].tolist() == [[2, 0], [0, 0], [0, 1]]
    assert parts["regions"].grad[..., 0].tolist() == [[0, 0, 0], [0, 0, 0], [1, 0, 0]]
    assert parts["brackets"].grad[..., 0].tolist() == [1, 0, 0, 0]
    assert text.grad[..., 0].tolist() == [[0, 0, 0], [1, 1, 1], [0, 0, 1]]


def test_result_has_the_dtype_of_the_text(parts: dict[str, torch.Tensor]) -> None:
    text = torch.zeros(3, 1, 5, dtype=torch.bfloat16)
    assert (
        splice(torch.zeros(3, 1, dtype=torch.long), text, **parts, region_counts=COUNTS, tokens=TOKENS).dtype
        == text.dtype
    )
