"""A phantom's DICOM series is the phantom: for our reader and for SimpleITK, byte for byte the same each time."""

from pathlib import Path

import numpy as np
import pydicom
from scanner import assert_same_places, read_by_simpleitk

from reg2rg.dicom.read import read_dicom
from reg2rg.geometry import reorient
from reg2rg.load import read_scan
from reg2rg.phantom.dataset import write_dataset
from reg2rg.phantom.dicom import write_dicom_series
from reg2rg.phantom.world import Phantom


def test_the_reader_gives_the_phantom_back(tmp_path: Path, phantom_study: Phantom) -> None:
    volume = phantom_study.study.volume
    write_dicom_series(tmp_path / "ct", reorient(volume, "LPS"), 3, "train_1_a_1")
    scan = read_dicom(tmp_path / "ct")
    assert scan.volume.grid.orientation == "LPS"
    canonical = reorient(scan.volume)
    assert canonical.array.dtype == np.int16
    np.testing.assert_array_equal(canonical.array, volume.array)
    np.testing.assert_allclose(canonical.affine, volume.affine, rtol=0, atol=1e-9)
    datasets = [pydicom.dcmread(path) for path in sorted((tmp_path / "ct").iterdir())]
    assert_same_places(volume, read_by_simpleitk(datasets, tmp_path / "ct"))
    assert {str(dataset.PatientName) for dataset in datasets} == {"PHANTOM^train_1_a_1"}
    assert len({dataset.SOPInstanceUID for dataset in datasets}) == len(datasets)
    assert all(
        uid.startswith("2.25.") and len(uid) <= 64 for uid in (datasets[0].SOPInstanceUID, scan.series.study_uid)
    )


def test_the_same_phantom_gives_the_same_bytes(tmp_path: Path, phantom_study: Phantom) -> None:
    volume = reorient(phantom_study.study.volume, "LPS")
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_dicom_series(tmp_path / name, volume, seed, "one")
    first, again, other = ([path.read_bytes() for path in sorted((tmp_path / n).iterdir())] for n in "abc")
    assert first == again
    assert first != other


def test_a_dataset_gets_dicom_also_afterwards(tmp_path: Path) -> None:
    write_dataset(tmp_path, 1, seed=1, workers=1)
    dicom = tmp_path / "dataset/train_dicom/train_1_a_1"
    assert not dicom.exists()
    write_dataset(tmp_path, 1, seed=1, dicom=True, workers=1)
    nifti = tmp_path / "dataset/train_preprocessed/train_1/train_1a/train_1_a_1.nii.gz"
    expected, found = reorient(read_scan(nifti)[0]), reorient(read_scan(dicom)[0])
    np.testing.assert_array_equal(found.array, expected.array)
    assert found.grid.matches(expected.grid)
