"""Records of voxels: sizes, spacing and volumes by hand; what does not fit together is refused."""

import dataclasses

import numpy as np
import pytest

from reg2rg.errors import InputError
from reg2rg.regions import REGION_NAMES
from reg2rg.volume import Box, Grid, RegionMasks, Study, Volume

LPS = np.array([[-0.5, 0, 0, 90], [0, -0.5, 0, 80], [0, 0, 2, -400], [0, 0, 0, 1]])
# x runs to the feet, y to the left, z to the front
SLP = np.array([[0, -3.0, 0, 5], [0, 0, 4, 6], [-2, 0, 0, 7], [0, 0, 0, 1]])


def tilted(degrees: float) -> np.ndarray:
    """2 x 3 x 4 mm voxels, turned about the x axis as by a gantry."""
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.array([[1, 0, 0, 0], [0, cos, -sin, 0], [0, sin, cos, 0], [0, 0, 0, 1]])
    return turn @ np.diag([2.0, 3, 4, 1])


def test_a_box_is_half_open() -> None:
    box = Box((1, 0, 2), (3, 4, 5))
    array = np.arange(4 * 4 * 6).reshape(4, 4, 6)
    assert box.size_xyz == array[box.slices].shape == (2, 4, 3)
    assert array[box.slices][0, 0, 0] == array[1, 0, 2]
    assert array[box.slices][-1, -1, -1] == array[2, 3, 4]


@pytest.mark.parametrize(
    ("affine", "spacing", "orientation"),
    [
        (LPS, (0.5, 0.5, 2), "LPS"),
        (SLP, (2, 3, 4), "ILA"),
        (tilted(20), (2, 3, 4), "RAS"),
        (tilted(-50), (2, 3, 4), "RIA"),
    ],
)
def test_spacing_and_orientation_belong_to_the_array_axes(
    affine: np.ndarray, spacing: tuple[float, ...], orientation: str
) -> None:
    grid = Grid((2, 3, 4), affine)
    assert grid.spacing_mm == pytest.approx(spacing)
    assert grid.orientation == orientation
    assert grid.voxel_ml == pytest.approx(np.prod(spacing) / 1000)


def test_an_affine_is_held_in_double_precision() -> None:
    assert Grid((2, 3, 4), np.eye(4, dtype=np.float32)).affine.dtype == np.float64
    assert Volume(np.zeros((2, 3, 4), np.int16), np.eye(4, dtype=int)).affine.dtype == np.float64


@pytest.mark.parametrize(
    ("affine", "reason"),
    [
        (np.diag([1.0, 1, 0, 1]), "no length"),
        (np.array([[1.0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "coincide"),
        (np.diag([1.0, np.nan, 1, 1]), "finite"),
        (np.diag([1.0, 1, np.inf, 1]), "finite"),
    ],
)
def test_an_affine_must_be_invertible_and_finite(affine: np.ndarray, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Grid((2, 2, 2), affine)
    with pytest.raises(ValueError, match=reason):
        Volume(np.zeros((2, 2, 2), np.int16), affine)


def test_grids_match_to_a_hundredth_of_a_voxel_at_every_corner() -> None:
    grid = Grid((100, 100, 50), LPS)

    def changed(row: int, column: int, by: float, size: tuple[int, int, int] = (100, 100, 50)) -> Grid:
        affine = LPS.copy()
        affine[row, column] += by
        return Grid(size, affine)

    assert grid.matches(grid)
    assert grid.matches(changed(0, 3, 0.004))
    assert not grid.matches(changed(0, 3, 0.006))
    assert grid.matches(changed(0, 0, 4e-5)), "0.00396 mm at the far corner"
    assert not grid.matches(changed(0, 0, 6e-5)), "0.00594 mm at the far corner"
    assert not grid.matches(changed(0, 3, 0.0, (100, 100, 51)))


def test_a_shift_that_a_turn_makes_up_for_at_one_corner_is_no_match() -> None:
    """The first voxels coincide, and so do the last ones of two axes: only some corners are off."""
    sheared = LPS.copy()
    sheared[0, 1], sheared[0, 2] = 0.01, -0.02
    assert not Grid((100, 100, 50), LPS).matches(Grid((100, 100, 50), sheared))


@pytest.mark.parametrize("shape", [(4, 4), (2, 2, 2, 1), (3, 0, 3)])
def test_a_volume_has_three_axes_with_voxels(shape: tuple[int, ...]) -> None:
    for record in (Volume, RegionMasks):
        with pytest.raises((ValueError, TypeError), match="x y z"):  # the annotations' checker may come first
            record(np.zeros(shape, np.uint16), np.eye(4))


def test_records_are_frozen_and_moved_makes_another() -> None:
    volume = Volume(np.zeros((2, 3, 4), np.int16), LPS)
    with pytest.raises(dataclasses.FrozenInstanceError):
        volume.array = np.ones((2, 3, 4), np.int16)  # type: ignore[misc]
    moved = volume.moved(np.ones((4, 3, 2), np.int16), SLP)
    assert moved.grid.size_xyz == (4, 3, 2)
    np.testing.assert_array_equal(moved.affine, SLP)
    np.testing.assert_array_equal(volume.affine, LPS)
    masks = RegionMasks(np.ones((2, 3, 4), np.uint16), LPS, {"abdomen": "a.nii"})
    assert masks.moved(np.zeros((4, 3, 2), np.uint16), SLP).sources == {"abdomen": "a.nii"}


def test_bit_k_is_region_k_and_regions_overlap() -> None:
    """Ten masks, region k true at voxels k and k + 1."""
    line = np.arange(11)
    masks = {name: ((line == k) | (line == k + 1)).reshape(1, 1, 11) for k, name in enumerate(REGION_NAMES)}
    field = RegionMasks.from_masks(masks, LPS, {"lung": "lung.nii.gz"})
    assert field.array.dtype == np.uint16
    assert field.array.ravel().tolist() == [1, 3, 6, 12, 24, 48, 96, 192, 384, 768, 512]
    assert field.present == REGION_NAMES
    assert field.sources == {"lung": "lung.nii.gz"}
    for name, mask in masks.items():
        np.testing.assert_array_equal(field.mask(name), mask)
        assert field.volume_ml(name) == pytest.approx(2 * 0.5 * 0.5 * 2 / 1000)


def test_an_empty_mask_is_an_absent_region() -> None:
    masks = {"lung": np.ones((2, 2, 2), bool), "heart": np.zeros((2, 2, 2), bool)}
    field = RegionMasks.from_masks(masks, np.eye(4))
    assert field.present == ("lung",)
    assert not field.mask("heart").any()
    assert field.volume_ml("heart") == 0
    assert RegionMasks(np.zeros((2, 2, 2), np.uint16), np.eye(4)).present == ()


def test_present_is_in_the_order_of_the_ten_and_synonyms_are_known() -> None:
    one = np.ones((1, 1, 1), bool)
    field = RegionMasks.from_masks({"airways": one, "lungs": one, "abdomen": one}, np.eye(4))
    assert field.present == ("abdomen", "lung", "trachea and bronchie")
    assert field.mask("trachea").all()
    with pytest.raises(InputError, match="unknown region 'spleen'"):
        field.mask("spleen")


def test_region_masks_are_a_bit_field_of_uint16() -> None:
    with pytest.raises(ValueError, match="uint16 bit field, got int16"):
        RegionMasks(np.zeros((2, 2, 2), np.int16), np.eye(4))
    with pytest.raises(ValueError, match="at least one mask"):
        RegionMasks.from_masks({}, np.eye(4))


def study_of(
    volume_affine: np.ndarray, masks_affine: np.ndarray, masks_shape: tuple[int, int, int] = (4, 5, 6)
) -> Study:
    volume = Volume(np.zeros((4, 5, 6), np.int16), volume_affine)
    return Study("one", volume, RegionMasks(np.ones(masks_shape, np.uint16), masks_affine))


def test_a_study_has_its_masks_on_the_grid_of_its_volume() -> None:
    assert study_of(LPS, LPS).masks.present == ("abdomen",)
    for affine, shape in ((LPS, (4, 5, 7)), (SLP, (4, 5, 6))):
        with pytest.raises(ValueError, match=r"study one: masks .* different grids"):
            study_of(LPS, affine, shape)


def test_the_native_grid_has_the_sizes_of_the_stored_axes() -> None:
    canonical = np.diag([3.0, 4.0, 2.0, 1.0])  # 4 x 5 x 6 voxels, stored as I, L, A
    study = dataclasses.replace(study_of(canonical, canonical), native_affine=SLP)
    assert study.native_grid.size_xyz == (6, 4, 5)
    np.testing.assert_array_equal(study.native_grid.affine, SLP)
    as_it_is = study_of(canonical, canonical).native_grid
    assert as_it_is.size_xyz == (4, 5, 6)
    np.testing.assert_array_equal(as_it_is.affine, canonical)
