from dataclasses import asdict

import numpy as np
import pytest

from reg2rg.phantom.body import ENLARGED_RATIO, NORMAL_RATIO, sample_anatomy


@pytest.mark.parametrize("seed", range(20))
def test_heart_is_as_wide_as_the_cardiothoracic_ratio_says(seed: int) -> None:
    enlarged = seed % 2 == 1
    anatomy = sample_anatomy(np.random.default_rng(seed), enlarged)
    low, high = anatomy.heart_union().bounds_mm()
    ratio = (high[0] - low[0]) / anatomy.thorax_width_mm
    assert ratio == pytest.approx(anatomy.cardiothoracic_ratio)
    assert (ratio > 0.5) == enlarged


@pytest.mark.parametrize("seed", range(20))
def test_heart_fits_between_breastbone_and_spine(seed: int) -> None:
    anatomy = sample_anatomy(np.random.default_rng(seed), enlarged_heart=True)
    low, high = anatomy.heart_union().bounds_mm()
    half = anatomy.thorax_width_mm / 2
    assert -half < low[0] and high[0] < half
    assert -anatomy.thorax_depth_mm / 2 < low[1] and high[1] < anatomy.thorax_depth_mm / 2


def test_an_enlarged_heart_is_the_same_solid_at_another_scale() -> None:
    normal, enlarged = (sample_anatomy(np.random.default_rng(3), is_enlarged) for is_enlarged in (False, True))
    scale = enlarged.heart_width_mm / normal.heart_width_mm
    assert scale > 1.05
    before, after = normal.heart_union().parts, enlarged.heart_union().parts
    gap_before = np.subtract(before[0].center_mm, before[1].center_mm)
    gap_after = np.subtract(after[0].center_mm, after[1].center_mm)
    assert gap_after == pytest.approx(scale * gap_before)
    for one, other in zip(before, after, strict=True):
        assert np.array(other.radii_mm) == pytest.approx(scale * np.array(one.radii_mm))


def test_an_enlarged_heart_changes_nothing_else_of_the_person() -> None:
    normal, enlarged = (asdict(sample_anatomy(np.random.default_rng(5), big)) for big in (False, True))
    assert {key for key in normal if normal[key] != enlarged[key]} == {"cardiothoracic_ratio"}


def test_a_scan_now_and_then_begins_below_the_thyroid() -> None:
    people = [sample_anatomy(np.random.default_rng(seed), enlarged_heart=False) for seed in range(1000)]
    too_low = [person.scan_top_mm < person.apex_mm + 2 * person.scale for person in people]
    assert 0.03 < np.mean(too_low) < 0.1


def test_ratios_leave_a_gap_around_a_half() -> None:
    assert NORMAL_RATIO[1] < 0.49 and ENLARGED_RATIO[0] > 0.51
