"""The spine between two lungs whose place is known."""

import numpy as np
import pytest

from reg2rg.segment.spine import locate_spine

SPACING_MM = (4.0, 5.0, 6.0)
SIZE = (60, 30, 40)


def lungs_around(middles: np.ndarray, backs: np.ndarray, is_small: np.ndarray) -> np.ndarray:
    """Two blocks in each slice, 10 voxels wide, with 10 voxels between them; a small slice has one corner only."""
    lungs = np.zeros(SIZE, bool)
    for z, (middle, back, small) in enumerate(zip(middles, backs, is_small, strict=True)):
        if small:
            lungs[2:12, back : back + 10, z] = True
        else:
            lungs[middle - 15 : middle - 5, back : back + 20, z] = True
            lungs[middle + 5 : middle + 15, back : back + 20, z] = True
    return lungs


def hull_of_blocks(lungs: np.ndarray) -> np.ndarray:
    thorax = lungs.copy()
    for z in np.flatnonzero(lungs.any(axis=(0, 1))):
        x, y = (np.flatnonzero(lungs[:, :, z].any(axis=axis)) for axis in (1, 0))
        thorax[x[0] : x[-1] + 1, y[0] : y[-1] + 1, z] = True
    return thorax


Z = np.arange(SIZE[2])
STRAIGHT, BENT = np.full(SIZE[2], 30), np.where(Z < 20, 28, 33)
FLAT, STEPPED = np.full(SIZE[2], 6), np.where(Z < 20, 5, 8)


@pytest.mark.parametrize(("middles", "backs"), [(STRAIGHT, FLAT), (BENT, STEPPED)], ids=["straight", "bent"])
def test_distances_from_the_middle_and_from_the_backs_of_the_lungs(middles: np.ndarray, backs: np.ndarray) -> None:
    lungs = lungs_around(middles, backs, np.zeros(SIZE[2], bool))
    spine = locate_spine(lungs, hull_of_blocks(lungs), SPACING_MM)
    assert spine.aside_mm.shape == (60, 1, 40) and spine.ahead_mm.shape == (1, 30, 40)
    x, y = np.arange(60)[:, None, None], np.arange(30)[None, :, None]
    # between the lungs are the voxels from middle - 5 to middle + 4
    np.testing.assert_allclose(spine.aside_mm, np.abs(x - (middles - 0.5)) * 4.0)
    np.testing.assert_allclose(spine.ahead_mm, (y - backs) * 5.0)


def test_small_slices_above_and_below_take_the_place_of_the_nearest_large_one() -> None:
    is_small = (Z < 5) | (Z >= 33)
    lungs = lungs_around(BENT, np.where(is_small, 15, STEPPED), is_small)
    lungs[:, :, 38:] = False  # not even a small one
    spine = locate_spine(lungs, hull_of_blocks(lungs), SPACING_MM)
    for z, nearest in ((0, 5), (4, 5), (33, 32), (39, 32)):
        np.testing.assert_array_equal(spine.aside_mm[:, :, z], spine.aside_mm[:, :, nearest])
        np.testing.assert_array_equal(spine.ahead_mm[:, :, z], spine.ahead_mm[:, :, nearest])


def test_a_slice_that_is_off_does_not_move_the_spine() -> None:
    off = np.where(Z == 12, 40, STRAIGHT)
    lungs = lungs_around(off, FLAT, np.zeros(SIZE[2], bool))
    spine = locate_spine(lungs, hull_of_blocks(lungs), SPACING_MM)
    np.testing.assert_array_equal(spine.aside_mm[:, 0, 12], spine.aside_mm[:, 0, 0])


def test_lungs_that_meet_behind_give_the_middle_of_the_thorax() -> None:
    lungs = np.zeros(SIZE, bool)
    lungs[10:51, 5:25] = True
    spine = locate_spine(lungs, lungs, SPACING_MM)
    assert np.argmin(spine.aside_mm[:, 0, 0]) == 30 and spine.aside_mm[30, 0, 0] == 0


def test_vertebrae_are_within_a_zone_wider_behind() -> None:
    lungs = lungs_around(STRAIGHT, FLAT, np.zeros(SIZE[2], bool))
    zone = locate_spine(lungs, hull_of_blocks(lungs), SPACING_MM).zone
    assert zone.shape == SIZE

    def holds(aside_mm: float, ahead_mm: float) -> bool:
        return bool(zone[round(29.5 + aside_mm / 4), round(6 + ahead_mm / 5), 20])

    assert holds(22, 55) and holds(-22, 55) and holds(42, 25) and holds(-42, 25) and holds(22, -30)
    assert not holds(0, 60) and not holds(30, 30) and not holds(-30, 30) and not holds(46, 0)
