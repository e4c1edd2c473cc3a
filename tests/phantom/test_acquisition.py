import numpy as np
import pytest

from reg2rg.errors import InputError
from reg2rg.phantom.acquisition import Acquisition, acquire, sample_acquisition, scan_grid
from reg2rg.phantom.body import sample_anatomy


def test_noise_has_the_stated_deviation_and_flat_tissue_keeps_its_hu() -> None:
    settings = Acquisition((1.0, 1.0, 1.0), blur_vox=0.5, noise_hu=12.0)
    stored = acquire(np.full((40, 40, 40), 50, np.float32), settings, np.random.default_rng(0))
    assert stored.dtype == np.int16
    assert stored[2:-2, 2:-2, 2:-2].std() == pytest.approx(12, rel=0.03)
    assert stored.mean() == pytest.approx(50, abs=0.3)


def test_blur_spreads_a_point_by_the_stated_deviation_and_keeps_its_sum() -> None:
    point = np.zeros((9, 9, 9), np.float32)
    point[4, 4, 4] = 2000
    settings = Acquisition((1.0, 1.0, 1.0), blur_vox=0.5, noise_hu=0.0)
    blurred = acquire(point, settings, np.random.default_rng(0)).astype(float)
    along = blurred.sum(axis=(1, 2))
    assert along.sum() == pytest.approx(2000, rel=0.01)
    assert (along * (np.arange(9) - 4) ** 2).sum() / along.sum() == pytest.approx(0.25, rel=0.03)


def test_stored_hu_are_twelve_bits() -> None:
    settings = Acquisition((1.0, 1.0, 1.0), blur_vox=0.4, noise_hu=10.0)
    hu = np.where(np.arange(20)[:, None, None] < 10, -1000, 9000) * np.ones((20, 8, 8), np.float32)
    stored = acquire(hu.astype(np.float32), settings, np.random.default_rng(0))
    assert stored.min() >= -1024 and stored.max() == 3071


@pytest.mark.parametrize("seed", range(12))
def test_small_grids_show_every_heart_in_as_many_voxels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    anatomy = sample_anatomy(rng, enlarged_heart=seed % 2 == 0)
    settings = sample_acquisition(rng, anatomy, "small")
    assert 31 <= anatomy.heart_width_mm / settings.spacing_mm[0] <= 39


@pytest.mark.parametrize("size", ["small", "standard", "clinical"])
def test_grid_is_canonical_covers_the_body_and_has_a_negative_origin(size: str) -> None:
    rng = np.random.default_rng(4)
    anatomy = sample_anatomy(rng, enlarged_heart=False)
    grid = scan_grid(anatomy, sample_acquisition(rng, anatomy, size), size)
    assert grid.orientation == "RAS" and (grid.affine[:3, 3] < 0).all()
    covered = np.array(grid.size_xyz) * grid.spacing_mm
    assert covered[0] >= 2 * anatomy.half_width_mm and covered[1] >= anatomy.front_mm - anatomy.back_mm
    assert covered[2] == pytest.approx(anatomy.scan_top_mm - anatomy.scan_bottom_mm, abs=grid.spacing_mm[2])
    if size == "clinical":
        assert grid.size_xyz[:2] == (512, 512) and grid.spacing_mm[2] == 1.0


def test_an_unknown_size_is_refused() -> None:
    anatomy = sample_anatomy(np.random.default_rng(0), enlarged_heart=False)
    with pytest.raises(InputError, match="small, standard, clinical"):
        sample_acquisition(np.random.default_rng(0), anatomy, "huge")
