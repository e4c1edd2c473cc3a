"""Every voxel stays where it is in millimetres: orientation, crop, resampling, and their inverses."""

from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from nibabel.processing import resample_from_to
from scipy.ndimage import map_coordinates

from reg2rg.geometry import crop, mask_box, paste, reorient, resample, spaced_grid
from reg2rg.volume import Box, Grid, RegionMasks, Volume

CODES = [
    "".join(letters)
    for axes in permutations(("LR", "PA", "IS"))
    for letters in product(*axes)
]  # fmt: skip
SKEWED = np.array([[0.9, 0.12, -0.05, -31], [-0.1, 1.1, 0.2, 14], [0.06, -0.21, 2.4, 350], [0, 0, 0, 1]])


def rotation(degrees: float, axis: int) -> np.ndarray:
    turn, (a, b) = np.deg2rad(degrees), [i for i in range(3) if i != axis]
    matrix = np.eye(4)
    matrix[[a, a, b, b], [a, b, a, b]] = np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)
    return matrix


def places_mm(grid: Grid) -> np.ndarray:
    """Millimetres of every voxel, in the array's order, worked out voxel by voxel."""
    return np.array([grid.affine[:3, :3] @ index + grid.affine[:3, 3] for index in np.ndindex(grid.size_xyz)])


def by_place(volume: Volume) -> dict[tuple[float, ...], float]:
    places = np.round(places_mm(volume.grid), 6) + 0.0  # no negative zeros
    return dict(zip(map(tuple, places.tolist()), volume.array.ravel().tolist(), strict=True))


def numbered(affine: np.ndarray, size: tuple[int, int, int] = (3, 4, 5)) -> Volume:
    return Volume(np.arange(np.prod(size), dtype=np.int16).reshape(size), affine)


def test_there_are_48_orientations() -> None:
    assert len(set(CODES)) == 48


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("affine", [np.diag([2.0, 3, 4, 1]), SKEWED], ids=["straight", "oblique"])
def test_every_orientation_keeps_each_voxel_at_its_place_and_comes_back(code: str, affine: np.ndarray) -> None:
    volume = numbered(affine)
    turned = reorient(volume, code)
    assert turned.grid.orientation == code
    assert by_place(turned) == by_place(volume)
    back = reorient(turned, volume.grid.orientation)
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-12)


@pytest.mark.parametrize("code", ["LPS", "SAR", "AIL"])
def test_canonical_is_the_same_whatever_the_file_was(code: str) -> None:
    canonical = numbered(np.diag([2.0, 3, 4, 1]))
    stored = reorient(canonical, code)
    np.testing.assert_array_equal(reorient(stored).array, canonical.array)
    np.testing.assert_allclose(reorient(stored).affine, canonical.affine, atol=1e-12)


def test_masks_turn_with_the_volume() -> None:
    volume = numbered(SKEWED)
    masks = RegionMasks.from_masks({"lung": volume.array % 7 == 0, "heart": volume.array > 30}, SKEWED, {"lung": "a"})
    turned = reorient(masks, "PIR")
    np.testing.assert_array_equal(turned.mask("lung"), reorient(volume, "PIR").array % 7 == 0)
    assert turned.sources == {"lung": "a"}
    assert turned.volume_ml("heart") == pytest.approx(masks.volume_ml("heart"))


@pytest.mark.parametrize("degrees", [(10, 20, 30), (45, 0, 0), (45, 45, 45), (80, -35, 60)])
def test_any_rotation_becomes_canonical_and_comes_back(degrees: tuple[int, int, int]) -> None:
    turn = rotation(degrees[0], 0) @ rotation(degrees[1], 1) @ rotation(degrees[2], 2)
    volume = numbered(turn @ np.diag([0.7, -0.7, 3, 1]))
    canonical = reorient(volume)
    assert canonical.grid.orientation == "RAS"
    assert by_place(canonical) == by_place(volume)
    back = reorient(canonical, volume.grid.orientation)
    np.testing.assert_array_equal(back.array, volume.array)
    assert back.grid.matches(volume.grid)


def test_mask_box_is_the_smallest() -> None:
    mask = np.zeros((7, 8, 9), bool)
    assert mask_box(mask) is None
    mask[2, 3, 4] = mask[5, 1, 8] = True
    assert mask_box(mask) == Box((2, 1, 4), (6, 4, 9))
    assert mask_box(np.ones((2, 2, 2), bool)) == Box((0, 0, 0), (2, 2, 2))


def test_crop_moves_the_origin_and_paste_brings_it_back() -> None:
    volume = numbered(SKEWED, (6, 7, 8))
    piece = crop(volume, Box((1, 2, 3), (5, 6, 8)))
    assert piece.array.shape == (4, 4, 5)
    assert set(by_place(piece).items()) <= set(by_place(volume).items())
    empty = volume.moved(np.zeros_like(volume.array), volume.affine)
    pasted = paste(piece, empty)
    np.testing.assert_array_equal(crop(pasted, Box((1, 2, 3), (5, 6, 8))).array, piece.array)
    assert np.count_nonzero(pasted.array) == np.count_nonzero(piece.array)
    assert not empty.array.any(), "paste changes its argument"
    np.testing.assert_array_equal(paste(piece, volume).array, volume.array)


def test_paste_refuses_what_is_no_crop() -> None:
    volume = numbered(np.eye(4), (6, 6, 6))
    half_voxel, other_spacing, outside = np.eye(4), np.diag([2.0, 1, 1, 1]), np.eye(4)
    half_voxel[0, 3], outside[2, 3] = 0.5, 4
    for affine, reason in ((half_voxel, "not on the grid"), (other_spacing, "not on the grid"), (outside, "outside")):
        with pytest.raises(ValueError, match=reason):
            paste(numbered(affine, (3, 3, 3)), volume)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 3.0), (0.7, 2.5, 1.1), (30.0, 30.0, 30.0)])
def test_a_spaced_grid_covers_the_same_block(spacing: tuple[float, float, float]) -> None:
    grid = Grid((20, 24, 30), SKEWED)
    spaced = spaced_grid(grid, spacing)
    assert spaced.spacing_mm == pytest.approx(spacing)
    corner = [-0.5, -0.5, -0.5, 1]
    np.testing.assert_allclose(spaced.affine @ corner, grid.affine @ corner, atol=1e-9)
    for n, step, old_n, old_step in zip(spaced.size_xyz, spacing, grid.size_xyz, grid.spacing_mm, strict=True):
        assert n == 1 or abs(n * step - old_n * old_step) <= step / 2 + 1e-9
    with pytest.raises(ValueError, match="positive"):
        spaced_grid(grid, (1.0, 0.0, 1.0))


def smooth_field(grid: Grid) -> Volume:
    """HU that are a linear function of the place: linear interpolation must reproduce it exactly."""
    hu = places_mm(grid) @ [3.0, -2.0, 1.5] + 40
    return Volume(hu.reshape(grid.size_xyz).astype(np.float32), grid.affine)


@pytest.mark.parametrize(
    "target",
    [
        rotation(20, 2) @ rotation(-15, 0) @ np.diag([1.3, 0.8, 2.0, 1]),
        np.diag([-1.7, 0.9, 1.1, 1]),
        np.diag([1.7, -0.9, -1.1, 1]),
        np.eye(4)[[1, 2, 0, 3]] @ np.diag([1.5, 1.2, 0.7, 1]),
    ],
    ids=["oblique", "flipped x", "flipped y and z", "axes exchanged"],
)
def test_a_linear_field_is_resampled_exactly(target: np.ndarray) -> None:
    source = smooth_field(Grid((30, 30, 30), np.diag([1.0, 1.2, 1.4, 1])))
    affine = target.copy()
    affine[:3, 3] = (source.affine @ [14.5, 14.5, 14.5, 1])[:3] - target[:3, :3] @ [4.5, 4.5, 4.5]
    grid = Grid((10, 10, 10), affine)
    np.testing.assert_allclose(resample(source, grid).array, smooth_field(grid).array, atol=1e-3)


@pytest.mark.parametrize(
    "change",
    [rotation(30, 1) @ np.diag([1.1, 0.9, 1.2, 1]), np.diag([1.1, 0.9, 1.2, 1]), np.diag([-1.1, 0.9, -0.6, 1])],
    ids=["oblique", "axis by axis", "flipped"],
)
def test_resampling_agrees_with_interpolation_voxel_by_voxel(change: np.ndarray) -> None:
    """Partly outside of the source, so that its rim is compared as well."""
    rng = np.random.default_rng(0)
    source = Volume(rng.normal(size=(9, 10, 11)).astype(np.float32), SKEWED)
    to_source = change.copy()
    to_source[:3, 3] = [4.2, 5.3, 4.9] - change[:3, :3] @ [4.5, 5.2, 5.1]
    grid = Grid((10, 11, 12), SKEWED @ to_source)
    index = (np.linalg.inv(SKEWED) @ np.c_[places_mm(grid), np.ones(10 * 11 * 12)].T)[:3]
    expected = map_coordinates(source.array, index, order=1, mode="grid-constant", cval=-1024)
    assert (expected == -1024).any()
    np.testing.assert_allclose(resample(source, grid, outside=-1024).array.ravel(), expected, atol=2e-3)


def test_masks_on_another_grid_agree_with_nibabel_and_with_the_nearest_voxel() -> None:
    rng = np.random.default_rng(1)
    masks = RegionMasks(rng.integers(0, 1024, (9, 10, 11)).astype(np.uint16), SKEWED, {"lung": "lung.nii.gz"})
    change = rotation(25, 0) @ rotation(-10, 2) @ np.diag([0.8, -1.1, 0.7, 1])
    change[:3, 3] = [0.7, 9.3, -1.2]
    grid = Grid((12, 8, 14), SKEWED @ change)
    resampled = resample(masks, grid)
    stored = nib.Nifti1Image(masks.array, SKEWED)
    oracle = resample_from_to(stored, (grid.size_xyz, grid.affine), order=0, mode="grid-constant")
    np.testing.assert_array_equal(resampled.array, np.asarray(oracle.dataobj))
    nearest = np.rint(np.linalg.inv(SKEWED) @ np.c_[places_mm(grid), np.ones(12 * 8 * 14)].T)[:3].astype(int)
    is_inside = ((nearest >= 0) & (nearest < np.array([[9], [10], [11]]))).all(axis=0)
    assert 0.3 < is_inside.mean() < 0.95
    by_hand = np.zeros(is_inside.size, np.uint16)
    by_hand[is_inside] = masks.array[tuple(nearest[:, is_inside])]
    np.testing.assert_array_equal(resampled.array.ravel(), by_hand)
    assert resampled.sources == masks.sources


def test_there_and_back_again_keeps_a_smooth_volume() -> None:
    grid = Grid((40, 36, 32), np.diag([1.0, 1.0, 1.5, 1]))
    x, y, z = np.indices(grid.size_xyz) / 9
    volume = Volume((300 * np.sin(x) * np.cos(y + z)).astype(np.float32), grid.affine)
    fine = resample(volume, spaced_grid(grid, (0.8, 0.7, 0.9)))
    back = resample(fine, grid)
    inner = (slice(2, -2),) * 3
    np.testing.assert_allclose(back.array[inner], volume.array[inner], atol=6)


def test_an_asymmetric_landmark_stays_at_its_millimetres() -> None:
    grid = Grid((40, 44, 30), np.diag([1.0, 1.2, 2.0, 1]) @ rotation(8, 2))
    volume = Volume(np.zeros(grid.size_xyz, np.float32), grid.affine)
    volume.array[30:33, 9:11, 22] = 1000
    place = (grid.affine @ [31, 9.5, 22, 1])[:3]
    for code, spacing in (("LPS", (0.7, 0.7, 1.5)), ("SRA", (1.6, 1.1, 0.9))):
        turned = reorient(volume, code)
        target = spaced_grid(turned.grid, spacing)
        hu = resample(turned, target).array
        center = (target.affine @ [*(np.average(axis, weights=hu) for axis in np.indices(hu.shape)), 1])[:3]
        assert np.linalg.norm(center - place) < 0.5 * max(spacing)


def test_masks_take_the_nearest_voxel_up_to_the_rim() -> None:
    masks = RegionMasks.from_masks({"lung": np.ones((2, 2, 2), bool)}, np.diag([4.0, 4, 4, 1]))
    fine = Grid((12, 12, 12), np.array([[1.0, 0, 0, -3.5], [0, 1, 0, -3.5], [0, 0, 1, -3.5], [0, 0, 0, 1]]))
    resampled = resample(masks, fine)
    assert resampled.array.dtype == np.uint16
    expected = np.zeros((12, 12, 12), bool)  # the two voxels reach from -2 to 6 mm
    expected[2:10, 2:10, 2:10] = True
    np.testing.assert_array_equal(resampled.mask("lung"), expected)


def test_outside_gets_the_given_value_and_integers_become_floats() -> None:
    volume = numbered(np.eye(4))
    shifted = np.eye(4)
    shifted[0, 3] = 2
    moved = resample(volume, Grid((3, 4, 5), shifted), outside=-1024)
    assert moved.array.dtype == np.float32
    np.testing.assert_array_equal(moved.array[0], volume.array[2])
    np.testing.assert_array_equal(moved.array[1:], -1024)


def test_the_same_grid_is_not_interpolated() -> None:
    volume = numbered(np.eye(4))
    nearly = np.eye(4)
    nearly[0, 3] = 1e-5
    same = resample(volume, Grid((3, 4, 5), nearly))
    assert same.array is volume.array
    np.testing.assert_array_equal(same.affine, nearly)
