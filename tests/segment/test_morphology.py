"""Shapes in millimetres against the slow obvious way: every voxel's distance to every other one."""

import numpy as np
import pytest
from scipy.ndimage import binary_closing, label

from reg2rg.segment import morphology
from reg2rg.segment.morphology import close, components, dilate, enlarge, erode, grown_box, shrink, slice_neighbours
from reg2rg.volume import Box

SPACINGS = [(1.0, 1.0, 1.0), (0.7, 0.7, 2.5), (3.0, 1.1, 0.9)]
RADII_MM = [0.5, 1.0, 2.2, 3.0]


def random_mask(share: float, seed: int, size: tuple[int, int, int] = (8, 7, 6)) -> np.ndarray:
    return np.random.default_rng(seed).random(size) < share


def places_mm(size: tuple[int, ...], spacing_mm: tuple[float, float, float]) -> np.ndarray:
    return np.array(list(np.ndindex(size))) * spacing_mm


def dilate_slowly(mask: np.ndarray, radius_mm: float, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    places = places_mm(mask.shape, spacing_mm)
    distances = np.linalg.norm(places[:, None] - places[mask.ravel()][None], axis=-1)
    return (distances <= radius_mm + 1e-6).any(axis=1).reshape(mask.shape)


def erode_slowly(mask: np.ndarray, radius_mm: float, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    return ~dilate_slowly(~mask, radius_mm, spacing_mm)


@pytest.fixture(params=[200, 0], ids=["shifts", "distances"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Both ways of `_near`, whatever the size of the ball."""
    monkeypatch.setattr(morphology, "_LARGE_BALL", request.param)
    return request.param


@pytest.mark.parametrize("spacing_mm", SPACINGS)
@pytest.mark.parametrize("radius_mm", RADII_MM)
def test_dilate_and_erode(way: int, radius_mm: float, spacing_mm: tuple[float, float, float]) -> None:
    for share in (0.02, 0.5, 0.98):
        mask = random_mask(share, seed=1)
        before = mask.copy()
        np.testing.assert_array_equal(dilate(mask, radius_mm, spacing_mm), dilate_slowly(mask, radius_mm, spacing_mm))
        np.testing.assert_array_equal(erode(mask, radius_mm, spacing_mm), erode_slowly(mask, radius_mm, spacing_mm))
        np.testing.assert_array_equal(mask, before)


def test_a_large_ball_takes_the_way_by_distances_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    mask, spacing_mm, radius_mm = random_mask(0.01, seed=2, size=(14, 12, 10)), (1.0, 1.2, 0.8), 4.0
    by_distance = dilate(mask, radius_mm, spacing_mm)
    monkeypatch.setattr(morphology, "_LARGE_BALL", 10**6)
    monkeypatch.setattr(morphology, "distance_transform_edt", None)
    np.testing.assert_array_equal(by_distance, dilate(mask, radius_mm, spacing_mm))
    np.testing.assert_array_equal(by_distance, dilate_slowly(mask, radius_mm, spacing_mm))


def test_a_distance_of_exactly_the_radius_is_within(way: int) -> None:
    mask = np.zeros((1, 1, 9), bool)
    mask[0, 0, 4] = True
    near = dilate(mask, 3 * 0.7, (1.0, 1.0, 0.7))  # 3 * 0.7 = 2.0999999999999996
    assert near.ravel().tolist() == [False] + [True] * 7 + [False]


def test_a_mask_that_the_field_of_view_cuts_off_is_not_worn_away_there() -> None:
    mask = np.ones((6, 5, 4), bool)
    mask[3:] = False
    eroded = erode(mask, 1.0, (1.0, 1.0, 1.0))
    assert eroded[:2].all() and not eroded[2:].any()
    assert erode(np.ones((4, 4, 4), bool), 3.0, (1.0, 1.0, 1.0)).all()


@pytest.mark.parametrize("change", [dilate, erode, close])
def test_an_empty_mask_stays_empty(change) -> None:  # type: ignore[no-untyped-def]
    empty = np.zeros((4, 3, 2), bool)
    changed = change(empty, 2.0, (1.0, 1.0, 1.0))
    assert not changed.any() and changed is not empty


@pytest.mark.parametrize("spacing_mm", SPACINGS)
@pytest.mark.parametrize("radius_mm", RADII_MM)
def test_close_fills_what_a_ball_cannot_enter(radius_mm: float, spacing_mm: tuple[float, float, float]) -> None:
    mask = np.zeros((8, 7, 6), bool)
    mask[2:, :5, 1:] = random_mask(0.4, seed=3, size=(6, 5, 5))  # touches three faces of the array
    closed = close(mask, radius_mm, spacing_mm)
    margin = 4  # voxels: more than any radius here
    offsets = np.indices((2 * margin + 1,) * 3).transpose(1, 2, 3, 0) - margin
    ball = np.linalg.norm(offsets * spacing_mm, axis=-1) <= radius_mm + 1e-6
    with_room = binary_closing(np.pad(mask, 2 * margin), ball)
    np.testing.assert_array_equal(closed, with_room[(slice(2 * margin, -2 * margin),) * 3])
    assert closed.sum() == with_room.sum()
    assert (closed >= mask).all()


def test_closing_twice_changes_nothing_more() -> None:
    mask = random_mask(0.3, seed=4, size=(12, 11, 10))
    once = close(mask, 1.6, (1.0, 0.8, 1.5))
    assert once.sum() > mask.sum()
    np.testing.assert_array_equal(close(once, 1.6, (1.0, 0.8, 1.5)), once)


def test_a_margin_in_mm_around_a_box_stays_in_the_array() -> None:
    mask = np.zeros((20, 20, 20), bool)
    mask[9:11, 1, 18:] = True
    assert grown_box(mask, 3.0, (1.0, 2.0, 5.0)) == Box((6, 0, 17), (14, 4, 20))
    assert grown_box(mask, 0.0, (1.0, 2.0, 5.0)) == Box((9, 1, 18), (11, 2, 20))
    assert grown_box(np.zeros((3, 3, 3), bool), 3.0, (1.0, 1.0, 1.0)) is None


def test_components_touch_by_faces_and_are_counted() -> None:
    mask = np.zeros((4, 4, 3), bool)
    mask[0, 0, 0] = mask[1, 1, 0] = mask[1, 1, 1] = True  # the first touches the others by an edge only
    labels, sizes = components(mask)
    assert labels[0, 0, 0] != labels[1, 1, 0] == labels[1, 1, 1] != 0
    assert sizes.tolist() == [mask.size - 3, 1, 2]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_components_of_slices_are_those_of_each_slice_alone(axis: int) -> None:
    mask = random_mask(0.5, seed=5)
    labels, sizes = components(mask, within_slices_across=axis)
    names = set()
    for at in range(mask.shape[axis]):
        alone, _ = label(np.take(mask, at, axis))
        both = zip(np.take(labels, at, axis).ravel().tolist(), alone.ravel().tolist(), strict=True)
        names |= {(ours, (at, theirs) if theirs else 0) for ours, theirs in both}
    assert len(names) == len(dict(names)) == len({theirs for _, theirs in names}) == sizes.size
    assert (0, 0) in names and sizes.tolist() == np.bincount(labels.ravel()).tolist()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_neighbours_within_slices(axis: int) -> None:
    neighbours = slice_neighbours(axis)
    offsets = np.argwhere(neighbours) - 1
    assert len(offsets) == 5
    assert (offsets[:, axis] == 0).all() and (np.abs(offsets).sum(axis=1) <= 1).all()


def test_shrink_is_the_mean_of_each_block() -> None:
    array = np.random.default_rng(6).integers(-1000, 1000, (7, 6, 5)).astype(np.int16)
    small = shrink(array, (2, 3, 1))
    assert small.shape == (4, 2, 5) and small.dtype == np.float32
    for x, y, z in np.ndindex(small.shape):
        block = array[2 * x : 2 * x + 2, 3 * y : 3 * y + 3, z]
        assert small[x, y, z] == pytest.approx(block.mean(), abs=1e-3)


def test_enlarge_puts_every_voxel_where_its_block_was() -> None:
    small = np.arange(24, dtype=np.uint16).reshape(4, 2, 3)
    large = enlarge(small, (2, 3, 1), (7, 5, 3))
    assert large.dtype == np.uint16 and large.shape == (7, 5, 3)
    for x, y, z in np.ndindex(large.shape):
        assert large[x, y, z] == small[x // 2, y // 3, z]


def test_shrink_undoes_enlarge() -> None:
    small = random_mask(0.5, seed=7, size=(4, 3, 5))
    factors, size_xyz = (2, 3, 2), (7, 8, 10)
    np.testing.assert_array_equal(shrink(enlarge(small, factors, size_xyz), factors) == 1, small)
