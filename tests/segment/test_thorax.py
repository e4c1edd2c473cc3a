"""Air, body and lungs, drawn as boxes in mm."""

import numpy as np
import pytest

from reg2rg.errors import InputError
from reg2rg.segment.morphology import Spacing
from reg2rg.segment.thorax import divide_lungs, fill_lung, find_aerated_lungs, find_air, find_body, hull_slices

AIR, LUNG, TISSUE = -1000.0, -850.0, 40.0


def box(size: tuple[int, int, int], *ranges: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[tuple(slice(start, stop) for start, stop in ranges)] = True
    return mask


def filled(size: tuple[int, int, int], value: float) -> np.ndarray:
    return np.full(size, value, np.float32)


def test_air_around_the_patient_and_air_inside() -> None:
    size = (20, 16, 10)
    hu = filled(size, AIR)
    body = box(size, (2, 20), (3, 14), (0, 10))  # cut off at the last x and at both ends in z
    lung, cut_off = box(size, (4, 8), (5, 12), (0, 10)), box(size, (15, 20), (5, 12), (0, 10))
    hu[body], hu[lung], hu[cut_off] = TISSUE, LUNG, LUNG
    air = find_air(hu)
    np.testing.assert_array_equal(air.outside, ~body)
    np.testing.assert_array_equal(air.inside, lung | cut_off)


def test_fat_is_no_air_and_a_mean_of_air_is_outside() -> None:
    size = (12, 12, 6)
    hu = filled(size, -100)
    gas = box(size, (0, 4), (0, 4), (0, 6))
    hu[gas] = -950
    air = find_air(hu)
    np.testing.assert_array_equal(air.outside, gas)
    assert not air.inside.any()


def test_the_couch_is_no_body() -> None:
    size, spacing_mm = (60, 50, 20), (2.0, 2.0, 2.0)
    body = box(size, (10, 50), (16, 46), (0, 20))
    lung = box(size, (15, 25), (22, 40), (0, 20))
    couch = box(size, (0, 60), (5, 7), (0, 20))
    found = find_body(~(body | couch) & ~lung, spacing_mm)
    np.testing.assert_array_equal(found, body)


def test_a_couch_that_the_patient_lies_on_ends_where_the_patient_does() -> None:
    size = (60, 50, 20)
    body, couch = box(size, (14, 46), (16, 46), (0, 20)), box(size, (0, 60), (14, 16), (0, 20))
    found = find_body(~(body | couch), (2.0, 2.0, 2.0))
    assert found[body].all()
    assert not found[:8].any() and not found[52:].any()


def test_what_is_nowhere_thick_is_taken_whole() -> None:
    size = (30, 30, 10)
    sheet = box(size, (0, 30), (10, 12), (0, 10))
    np.testing.assert_array_equal(find_body(~sheet, (2.0, 2.0, 2.0)), sheet)


LUNG_SIZE, LUNG_SPACING_MM = (24, 16, 20), (8.0, 8.0, 10.0)  # 0.64 ml a voxel
RIGHT, LEFT = box(LUNG_SIZE, (2, 10), (3, 12), (2, 14)), box(LUNG_SIZE, (14, 22), (3, 12), (2, 14))  # 553 ml each


def test_lungs_by_size_and_density() -> None:
    hu = filled(LUNG_SIZE, TISSUE)
    hu[RIGHT | LEFT] = LUNG
    gas, crumb, fat = (
        box(LUNG_SIZE, (2, 22), (3, 12), (16, 19)),  # 346 ml
        box(LUNG_SIZE, (11, 13), (3, 6), (2, 6)),  # 15 ml
        box(LUNG_SIZE, (0, 24), (13, 15), (0, 20)),
    )
    hu[gas], hu[crumb], hu[fat] = AIR, LUNG, -450
    inside = RIGHT | LEFT | gas | crumb | fat
    np.testing.assert_array_equal(find_aerated_lungs(hu, inside, LUNG_SPACING_MM), RIGHT | LEFT)


def test_a_small_piece_beside_a_large_lung_is_left_out() -> None:
    large = box(LUNG_SIZE, (0, 20), (0, 16), (0, 20))  # 4096 ml
    piece = box(LUNG_SIZE, (21, 24), (0, 16), (0, 12))  # 369 ml, less than a tenth of it
    hu = filled(LUNG_SIZE, LUNG)
    np.testing.assert_array_equal(find_aerated_lungs(hu, large | piece, LUNG_SPACING_MM), large)


@pytest.mark.parametrize(("value", "found"), [(LUNG, 346), (AIR, 0), (-450.0, 0)])
def test_too_little_lung_is_refused_with_what_was_found(value: float, found: int) -> None:
    inside = box(LUNG_SIZE, (2, 22), (3, 12), (16, 19))
    with pytest.raises(InputError, match=rf"^no lungs found, .* 400 ml of aerated lung, found {found} ml; .*--masks"):
        find_aerated_lungs(filled(LUNG_SIZE, value), inside, LUNG_SPACING_MM)


def test_lungs_that_touch_are_parted_at_the_bridge() -> None:
    size, spacing_mm = (34, 20, 20), (1.0, 2.0, 2.0)
    right, left = box(size, (1, 16), (2, 18), (2, 18)), box(size, (18, 33), (2, 18), (2, 18))
    bridge = box(size, (16, 18), (12, 14), (6, 12))
    pair = divide_lungs(right | left | bridge, spacing_mm)
    assert len(pair) == 2
    assert not (pair[0] & pair[1]).any()
    np.testing.assert_array_equal(pair[0] | pair[1], right | left | bridge)
    shares = sorted((part & right).sum() / right.sum() for part in pair)
    assert shares == [0.0, 1.0]
    assert sorted((part & left).sum() / left.sum() for part in pair) == [0.0, 1.0]


def test_lungs_that_do_not_touch_and_one_lung_alone() -> None:
    pair = divide_lungs(RIGHT | LEFT, LUNG_SPACING_MM)
    assert {tuple(np.argwhere(lung)[0]) for lung in pair} == {(2, 3, 2), (14, 3, 2)}
    (alone,) = divide_lungs(RIGHT, LUNG_SPACING_MM)
    np.testing.assert_array_equal(alone, RIGHT)


@pytest.mark.parametrize("spacing_mm", [(2.0, 2.0, 2.0), (1.5, 2.0, 3.0)])
def test_vessels_are_filled_and_large_gaps_stay(spacing_mm: Spacing) -> None:
    places = np.meshgrid(*(np.arange(n) * mm for n, mm in zip((60, 50, 44), spacing_mm, strict=True)), indexing="ij")

    def ball(center_mm: tuple[float, float, float], radius_mm: float) -> np.ndarray:
        return np.linalg.norm([axis - c for axis, c in zip(places, center_mm, strict=True)], axis=0) <= radius_mm

    vessel, mass = ball((22.0, 40.0, 40.0), 12.0), ball((58.0, 50.0, 40.0), 18.0)
    lung = ~vessel & ~mass
    filled_lung = fill_lung(lung, spacing_mm)
    assert filled_lung[vessel].all()
    assert not filled_lung[ball((58.0, 50.0, 40.0), 14.0)].any()
    assert filled_lung[lung].all()


def hull_slowly(mask: np.ndarray) -> np.ndarray:
    """Exactly, in whole numbers: Andrew's monotone chain, then the side of every edge."""
    points = [tuple(point) for point in np.argwhere(mask).tolist()]

    def turn(a: tuple[int, ...], b: tuple[int, ...], c: tuple[int, ...]) -> int:
        return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

    corners: list[tuple[int, ...]] = []
    for way in (points, points[::-1]):
        chain: list[tuple[int, ...]] = []
        for point in way:
            while len(chain) >= 2 and turn(chain[-2], chain[-1], point) <= 0:
                chain.pop()
            chain.append(point)
        corners += chain[:-1]
    hull = np.zeros_like(mask)
    for place in np.ndindex(mask.shape):
        hull[place] = all(turn(a, b, place) >= 0 for a, b in zip(corners, corners[1:] + corners[:1], strict=True))
    return hull


def test_the_hull_of_each_slice() -> None:
    rng = np.random.default_rng(8)
    mask = rng.random((13, 11, 6)) < np.array([0.03, 0.05, 0.1, 0.2, 0.5, 0.9])
    before = mask.copy()
    hull = hull_slices(mask)
    for z in range(mask.shape[2]):
        assert mask[:, :, z].sum() >= 3
        np.testing.assert_array_equal(hull[:, :, z], hull_slowly(mask[:, :, z]), err_msg=str(z))
    np.testing.assert_array_equal(mask, before)


def test_slices_without_a_plane_stay_as_they_are() -> None:
    mask = np.zeros((7, 7, 5), bool)
    mask[3, 2, 1] = True
    mask[[1, 5], 4, 2] = True  # a line
    mask[2, [1, 5], 3] = True
    mask[[1, 3, 5], [1, 3, 5], 4] = True
    np.testing.assert_array_equal(hull_slices(mask), mask)
    assert not hull_slices(np.zeros((3, 3, 3), bool)).any()
