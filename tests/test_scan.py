"""A real scan from its files to its folder of results."""

from pathlib import Path

import nibabel as nib
import numpy as np

from reg2rg.generate import GenerationSettings
from reg2rg.regions import get_region
from reg2rg.scan import ScanOptions, report_scan


def test_a_real_mask_on_a_larger_grid_stays_where_the_heart_is(shared: Path, untrained: Path, tmp_path: Path) -> None:
    """The voxels of the mask and of ``regions.nii.gz``, compared by their places in mm."""
    scan = shared / "ct/chest_cta.nii.gz"
    heart = nib.load(shared / "ct/chest_cta_heart_larger_grid.nii.gz")
    options = ScanOptions(
        masks=(f"heart={heart.get_filename()}",),
        model=str(untrained),
        device="cpu",
        generation=GenerationSettings(max_new_tokens=2),
    )
    report = report_scan(scan, tmp_path / "out", options)
    assert any("cut off by the field of view" in warning for warning in report.warnings)

    regions, ct = nib.load(tmp_path / "out/regions.nii.gz"), nib.load(scan)
    np.testing.assert_allclose(regions.affine, ct.affine, atol=1e-5)
    assert regions.shape == ct.shape
    places_mm = nib.affines.apply_affine(heart.affine, np.argwhere(np.asarray(heart.dataobj) > 0))
    voxels = np.rint(nib.affines.apply_affine(np.linalg.inv(ct.affine), places_mm)).astype(int)
    inside = voxels[((voxels >= 0) & (voxels < ct.shape)).all(axis=1)]
    expected = np.zeros(ct.shape, bool)
    expected[tuple(inside.T)] = True
    drawn = (np.asarray(regions.dataobj) & get_region("heart").bit) != 0
    dice = 2 * np.count_nonzero(drawn & expected) / (np.count_nonzero(drawn) + np.count_nonzero(expected))
    assert np.count_nonzero(expected) > 100_000
    assert dice == 1.0  # 0.99 is asked for
