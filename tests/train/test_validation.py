"""Prompts in random orders, masks of another study, and how naming is counted."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reg2rg.generate import GenerationSettings, Reporter, WrittenReport
from reg2rg.model.decode import Prompt, Written
from reg2rg.model.reg2rg import Reg2RG
from reg2rg.phantom.dataset import write_dataset
from reg2rg.phantom.world import make_phantom
from reg2rg.preprocess import StudyCrops, in_steps
from reg2rg.processor import Processor, crops_of
from reg2rg.train.validation import report_valid, score_naming, with_masks_of_the_next


@pytest.fixture(scope="module")
def reporter() -> Reporter:
    return Reporter.load("phantom", "cpu")


def test_masks_of_the_next_study_come_region_by_region(reporter: Reporter) -> None:
    one, two = (crops_of(make_phantom(seed).study, reporter.model.config) for seed in (2, 3))
    bare = replace(two, regions=two.regions[1:], masks=two.masks[1:], textures=two.textures[1:], boxes=two.boxes[1:])
    (_, first), (key, second) = with_masks_of_the_next([("one", one), ("bare", bare)])
    assert key == "bare" and isinstance(first, StudyCrops) and isinstance(second, StudyCrops)
    assert first.regions == one.regions and second.regions == bare.regions
    np.testing.assert_array_equal(first.textures, one.textures)
    for row, name in enumerate(one.regions):
        expected = bare.masks[bare.regions.index(name)] if name in bare.regions else one.masks[row]
        np.testing.assert_array_equal(first.masks[row], expected)
    np.testing.assert_array_equal(second.masks[0], one.masks[one.regions.index(bare.regions[0])])


def test_prompts_in_a_random_order_are_named_by_their_masks(
    reporter: Reporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(tmp_path, count=2, seed=5, split="valid", workers=1)
    seen: list[StudyCrops] = []

    def write(
        studies: Iterable[StudyCrops],
        settings: GenerationSettings,
        with_other: bool = False,
        rows: int = 1,
    ) -> Iterator[WrittenReport]:
        for place, crops in enumerate(studies):
            seen.append(crops)
            text = "".join(f"The region {i} is {name}: Clear. " for i, name in enumerate(crops.regions))
            yield WrittenReport(place, text, True)

    monkeypatch.setattr(reporter, "write", write)
    reports = report_valid(reporter, tmp_path, 2, order_seed=1)
    assert any(crops.regions != tuple(sorted(crops.regions)) for crops in seen)
    assert [tuple(r.name for r in report.regions) for report in reports] == [crops.regions for crops in seen]
    scores = score_naming(reports)
    assert scores["accuracy"] == 1 and scores["swaps"] == {}


def test_kept_tokens_are_what_encoding_anew_gives(reporter: Reporter, tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", count=2, seed=5, split="valid", workers=1)
    seen: list[list[Prompt]] = []
    for cache, swap_masks in itertools.product((None, tmp_path / "cache"), (False, True)):
        prompts: list[Prompt] = []

        def take(
            model: Reg2RG, given: Iterable[Prompt], into: list[Prompt] = prompts, **_: object
        ) -> Iterator[Written]:
            into.extend(given)
            return iter(())

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Reg2RG, "generate", take)
            # Crops are kept in steps of a quarter of a HU, which alone move the first study's lung by .7 %.
            patch.setattr(Processor, "crop", lambda self, study: in_steps(crops_of(study, self.config)))
            assert report_valid(reporter, tmp_path / "data", 2, order_seed=3, swap_masks=swap_masks, cache=cache) == []
        seen.append(prompts)
    anew, anew_swapped, kept, kept_swapped = seen
    assert len(anew) == len(kept) > 0
    for one, other in zip(anew + anew_swapped, kept + kept_swapped, strict=True):
        assert far(one, other) < 0.001  # rounded to float16
        assert one.seed == other.seed
    assert all(far(one, other) > 0.01 for one, other in zip(kept, kept_swapped, strict=True))


def far(one: Prompt, other: Prompt) -> float:
    """How far a prompt is from another, as a share of its length."""
    return float((one.embeddings - other.embeddings).norm() / one.embeddings.norm())
