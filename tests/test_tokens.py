import json
from pathlib import Path

import pytest

from reg2rg.tokens import SpecialTokens

GOLDEN = json.loads((Path(__file__).parent / "golden/golden_prompt.json").read_text())
PUBLISHED = SpecialTokens(num_latents=32, max_regions=10)


def test_published_tokens_are_366_and_distinct():
    assert len(PUBLISHED) == 366 == len(PUBLISHED.strings) == len(set(PUBLISHED.strings))


def test_published_ids():
    ids = PUBLISHED.ids(32000)
    assert {string: ids[string] for string in GOLDEN["special_ids"]} == GOLDEN["special_ids"]
    assert list(ids.values()) == list(range(32000, 32366))


def test_rows_of_image_and_slots_follow_one_another():
    tokens = SpecialTokens(num_latents=3, max_regions=2)
    rows = [*range(4), *tokens.image_rows, *tokens.region_rows(0), *tokens.region_rows(1)]
    assert rows == list(range(len(tokens)))
    assert [tokens.strings[row] for row in tokens.region_rows(1)] == [f"<region{i}>" for i in (4, 5, 6, 7)]


@pytest.mark.parametrize("slot", [-1, 2])
def test_a_slot_that_is_not_there_is_refused(slot):
    with pytest.raises(ValueError, match="slots 0 to 1"):
        SpecialTokens(num_latents=3, max_regions=2).region_rows(slot)


@pytest.mark.parametrize("sizes", [(0, 10), (32, 0)])
def test_nothing_to_place_is_refused(sizes):
    with pytest.raises(ValueError, match="at least one"):
        SpecialTokens(*sizes)
