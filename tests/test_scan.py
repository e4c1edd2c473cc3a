"""A real scan from its files to its folder of results."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from objects import assert_valid

from reg2rg.dicom.segmentation import read_segmentation
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


def test_a_real_series_gives_valid_objects_once_it_has_uids(shared: Path, untrained: Path, tmp_path: Path) -> None:
    """The series was published without them; it shows no chest, so bones are all that is drawn."""
    options = ScanOptions(
        segmenter="threshold",
        model=str(untrained),
        device="cpu",
        generation=GenerationSettings(max_new_tokens=2),
        even_others=True,
    )
    report = report_scan(shared / "ct/dicom_series", tmp_path / "without", options)
    assert any("no DICOM objects are written" in warning for warning in report.warnings)
    assert not (tmp_path / "without/dicom").exists()

    (tmp_path / "ct").mkdir()
    for number, path in enumerate(sorted((shared / "ct/dicom_series").glob("*.dcm")), start=1):
        slice_ = pydicom.dcmread(path)
        slice_.StudyInstanceUID, slice_.SeriesInstanceUID = "2.25.1", "2.25.2"
        slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = f"2.25.2.{number}"
        slice_.save_as(tmp_path / "ct" / path.name)
    report_scan(tmp_path / "ct", tmp_path / "out", options)
    for name in ("segmentation.dcm", "report_sr.dcm"):
        assert_valid(tmp_path / "out/dicom" / name)
    masks = read_segmentation(tmp_path / "out/dicom/segmentation.dcm").paint({1: get_region("bone").bit})
    stored = nib.load(tmp_path / "out/regions.nii.gz")
    assert np.count_nonzero(masks.array) == np.count_nonzero(np.asarray(stored.dataobj)) > 10_000
