from functools import cache

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from reg2rg.phantom.body import sample_anatomy
from reg2rg.phantom.organs import LOBES, Chest, draw_chest, smooth_noise
from reg2rg.phantom.vessels import grow_tree
from reg2rg.regions import REGION_NAMES
from reg2rg.volume import Grid, RegionMasks


@cache
def chest(spacing_mm: float = 3.5, seed: int = 8) -> Chest:
    anatomy = sample_anatomy(np.random.default_rng(seed), enlarged_heart=False)
    size = np.array([400, 320, 360]) / spacing_mm
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = (-200, -160, -210)
    return draw_chest(anatomy, Grid(tuple(size.astype(int).tolist()), affine), np.random.default_rng(9))


def masks(drawn: Chest) -> RegionMasks:
    return RegionMasks(drawn.canvas.regions, drawn.canvas.grid.affine)


def test_all_ten_regions_are_drawn() -> None:
    assert masks(chest()).present == REGION_NAMES


@pytest.mark.parametrize(
    ("region", "low_ml", "high_ml"),
    [
        ("lung", 2000, 8500),
        ("heart", 300, 1200),
        ("thyroid", 5, 35),
        ("trachea and bronchie", 30, 320),  # with the sleeve of lung around the bronchi
        ("esophagus", 20, 120),
        ("bone", 500, 2500),
        ("breast", 100, 2000),
        ("mediastinum", 300, 1600),
    ],
)
def test_regions_have_plausible_volumes(region: str, low_ml: float, high_ml: float) -> None:
    assert low_ml < masks(chest()).volume_ml(region) < high_ml


@pytest.mark.parametrize(
    ("region", "low_hu", "high_hu"),
    [("heart", 30, 60), ("lung", -920, -780), ("esophagus", -100, 50), ("thyroid", 80, 110), ("bone", 100, 600)],
)
def test_the_inside_of_organs_has_plausible_hu(region: str, low_hu: float, high_hu: float) -> None:
    mask = masks(chest()).mask(region)
    inside = binary_erosion(mask) if mask.sum() > 2000 else mask
    assert low_hu < np.median(chest().canvas.hu[inside]) < high_hu


def test_air_surrounds_the_body_and_fills_the_trachea() -> None:
    canvas = chest().canvas
    assert (canvas.hu[0] == -1000).all() and (canvas.hu[:, 0] == -1000).all()
    assert canvas.hu[canvas.region_mask("trachea and bronchie")].min() < -950


def test_the_pleura_is_a_thin_shell_at_the_surface_of_the_lung() -> None:
    pleura, lung = masks(chest()).mask("pleura"), masks(chest()).mask("lung")
    cube = np.ones((3, 3, 3), bool)
    surface = binary_dilation(lung, cube, iterations=2) & ~binary_erosion(lung, cube, iterations=2)
    assert pleura.any() and (pleura & ~surface).sum() < 0.005 * pleura.sum()
    assert (pleura & lung).any(), "the shell overlaps the lung, as in RadGenome"
    assert masks(chest()).volume_ml("pleura") < 0.5 * masks(chest()).volume_ml("lung")


def test_regions_lie_where_they_belong() -> None:
    drawn = chest()
    centers = {
        name: np.argwhere(masks(drawn).mask(name)).mean(0) * drawn.canvas.voxel_mm + drawn.canvas.grid.affine[:3, 3]
        for name in REGION_NAMES
    }
    assert centers["heart"][0] < -5, "the heart lies to the left, which is -x in RAS"
    assert centers["thyroid"][2] > centers["lung"][2] > centers["abdomen"][2]
    assert centers["breast"][1] > centers["heart"][1] > centers["esophagus"][1]
    assert centers["bone"][1] < centers["mediastinum"][1], "ribs and spine lie further back"


def test_heart_takes_its_voxels_from_its_neighbours() -> None:
    regions = masks(chest())
    for other in ("abdomen", "esophagus", "lung", "mediastinum", "trachea and bronchie"):
        assert not (regions.mask("heart") & regions.mask(other)).any(), other


def test_another_grid_shows_the_same_person() -> None:
    coarse, fine = masks(chest(4.5)), masks(chest(2.5))
    for name in ("heart", "lung", "abdomen", "bone", "mediastinum", "thyroid"):
        tolerance = 0.15 if name == "thyroid" else 0.05  # a few hundred voxels
        assert coarse.volume_ml(name) == pytest.approx(fine.volume_ml(name), rel=tolerance), name


def test_noise_of_the_lungs_is_bound_to_place_not_to_the_grid() -> None:
    fields = [smooth_noise(chest(spacing).canvas, 15.0, np.random.default_rng(1)) for spacing in (4.5, 2.5)]
    at_mm = np.random.default_rng(2).uniform(-100, 100, (200, 3))
    coarse, fine = (
        chest(spacing).canvas.sample(field, at_mm, outside=0.0)
        for spacing, field in zip((4.5, 2.5), fields, strict=True)
    )
    assert np.corrcoef(coarse, fine)[0, 1] > 0.9
    assert fields[0].std() == pytest.approx(1, abs=0.15)


def test_lobes_split_each_lung_and_only_the_right_has_a_middle_one() -> None:
    drawn = chest()
    x, y, z = drawn.canvas.axes_mm()
    lobes = drawn.lobe(x, y, z)
    lung = masks(drawn).mask("lung")
    for index, (side, _) in enumerate(LOBES):
        part = lung & (lobes == index)
        share = part.sum() / lung.sum()
        assert 0.04 < share < 0.45, LOBES[index]
        assert ((x * part)[part] > 0).all() == (side == "right")
    heights = [np.argwhere(lung & (lobes == index))[:, 2].mean() for index in range(5)]
    assert heights[0] > heights[2] and heights[3] > heights[4]


def test_a_tree_forks_and_stays_inside() -> None:
    directions = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    tree = grow_tree(
        np.random.default_rng(0), np.zeros(3), directions, 20.0, 4.0, 4, lambda points: points[:, 0] < 30.0
    )
    assert {branch.generation for branch in tree} == {0, 1, 2, 3}
    assert len(tree) > 2 + 4 + 8
    assert all(branch.tube.end_mm[0] < 30 for branch in tree)
    starts = {branch.tube.start_mm for branch in tree if branch.generation > 0}
    assert starts <= {branch.tube.end_mm for branch in tree}
    assert all(branch.tube.end_radius_mm < branch.tube.start_radius_mm for branch in tree)


@pytest.mark.parametrize("seed", range(6))
def test_every_lobe_has_bronchi_beside_a_large_heart(seed: int) -> None:
    anatomy = sample_anatomy(np.random.default_rng(seed), enlarged_heart=True)
    affine = np.diag([5.0] * 3 + [1.0])
    affine[:3, 3] = (-200, -160, -210)
    drawn = draw_chest(anatomy, Grid((80, 64, 72), affine), np.random.default_rng(9))
    ends = np.array([branch.tube.end_mm for branch in drawn.airways])
    assert set(drawn.lobe(*ends.T).tolist()) == set(range(len(LOBES)))
    assert (drawn.canvas.sample(drawn.lung_mm, ends, outside=1.0) < 0).all()
