"""Given DICOM segmentations: segments find their regions, voxels their places, and masks of others are refused."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from objects import MODEL, SIZE, random_masks
from pydicom.dataset import Dataset
from scanner import CORONAL, block, make_series, save

from reg2rg.codes import Code
from reg2rg.dicom.derived import write_object
from reg2rg.dicom.read import DicomScan, read_dicom
from reg2rg.errors import InputError
from reg2rg.geometry import reorient, resample
from reg2rg.load import load_study, to_native
from reg2rg.nifti import write_volume
from reg2rg.results.dicom_seg import make_segmentation
from reg2rg.segment.given import MaskArgument, read_masks
from reg2rg.segment.segmentation import Segmentation
from reg2rg.volume import Grid, RegionMasks


@pytest.fixture
def scan(tmp_path: Path) -> DicomScan:
    return read_dicom(save(tmp_path / "ct", make_series(block(size=SIZE))))


def write(path: Path, scan: DicomScan, names: Sequence[tuple[Code | None, str, str]] = ()) -> RegionMasks:
    """A segmentation of three segments; `names` says their codes, labels and descriptions instead of our own."""
    masks = random_masks(scan.series.grid)
    made = make_segmentation(scan.series, masks, MODEL)
    for segment, (code, label, description) in zip(made.SegmentSequence, names, strict=bool(names)):
        segment.SegmentLabel, segment.SegmentDescription = label, description
        if code is None:
            del segment.SegmentedPropertyTypeCodeSequence
        else:
            item = Dataset()
            item.CodingSchemeDesignator, item.CodeValue, item.CodeMeaning = code.scheme, code.value, code.meaning
            segment.SegmentedPropertyTypeCodeSequence = [item]
    write_object(path, made)
    return masks


def change(path: Path, **values: str) -> None:
    dataset = pydicom.dcmread(path)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


def read(argument: MaskArgument, scan: DicomScan, grid: Grid | None = None) -> Segmentation:
    return read_masks([argument], grid or scan.volume.grid, series=scan.series)


def refusal(argument: MaskArgument, scan: DicomScan, grid: Grid | None = None) -> str:
    with pytest.raises(InputError) as caught:
        read(argument, scan, grid)
    message = str(caught.value)
    assert "\n" not in message and "DOE" not in message
    return message


def test_our_own_segmentation_gives_the_same_masks(scan: DicomScan, tmp_path: Path) -> None:
    """Through the whole loading of a study, whose axes are turned to RAS+ and back."""
    path = tmp_path / "seg.dcm"
    masks = write(path, scan)
    study = load_study(tmp_path / "ct", [path])
    np.testing.assert_array_equal(to_native(study, study.masks).array, masks.array)
    assert study.masks.sources == dict.fromkeys(masks.present, "seg.dcm")


def test_segments_are_known_by_code_then_label_then_description_then_the_codes_words(
    scan: DicomScan, tmp_path: Path
) -> None:
    kidney = Code("SCT", "64033007", "Kidney")
    masks = write(
        tmp_path / "seg.dcm",
        scan,
        [
            (Code("SCT", "69748006", "Thyroid"), "liver", ""),
            (kidney, "kidney_left", "lung"),
            (Code("99X", "1", "Esophagus"), "Segment 3", "drawn by hand"),
        ],
    )
    given = read(tmp_path / "seg.dcm", scan)
    assert given.masks.present == ("abdomen", "esophagus", "thyroid") and given.warnings == ()
    for region, name in (("thyroid", "heart"), ("abdomen", "lung"), ("esophagus", "trachea and bronchie")):
        np.testing.assert_array_equal(given.masks.mask(region), masks.mask(name))


def test_segments_of_one_region_are_united_and_others_listed(scan: DicomScan, tmp_path: Path) -> None:
    names = [(None, "rib_left_1", ""), (None, "", "left rib 2"), (Code("99X", "2", "Tumour"), "tumour", "")]
    masks = write(tmp_path / "seg.dcm", scan, names)
    given = read(tmp_path / "seg.dcm", scan)
    np.testing.assert_array_equal(given.masks.mask("bone"), masks.mask("heart") | masks.mask("lung"))
    assert given.warnings == ("seg.dcm: not used, since no region is known for these segments: 3 (tumour)",)


def test_a_segmentation_without_regions_is_refused(scan: DicomScan, tmp_path: Path) -> None:
    write(tmp_path / "seg.dcm", scan, [(None, f"lesion {n}", "") for n in range(3)])
    assert "expected segments of regions, found 1 (lesion 0), 2 (lesion 1)" in refusal(tmp_path / "seg.dcm", scan)


def test_a_segmentation_given_for_one_region(scan: DicomScan, tmp_path: Path) -> None:
    masks = write(tmp_path / "seg.dcm", scan)
    given = read(f"breast={tmp_path / 'seg.dcm'}", scan)
    np.testing.assert_array_equal(given.masks.mask("breast"), masks.array != 0)
    assert given.warnings == (
        "seg.dcm: all of its segments (1 (heart), 2 (lung), 3 (trachea and bronchie)) are taken as breast",
    )


def test_another_grid_is_resampled_by_its_place(scan: DicomScan, tmp_path: Path) -> None:
    """Drawn on a coronal series of the same scan."""
    datasets = make_series(
        block(size=SIZE), CORONAL, spacing=(2.0, 0.7), step=0.8, origin=(-30, 20, -383), series_uid="2.25.3"
    )
    other = read_dicom(save(tmp_path / "other", datasets))
    masks = write(tmp_path / "seg.dcm", other)
    given = read(tmp_path / "seg.dcm", scan)
    expected = resample(reorient(masks, scan.volume.grid.orientation), scan.volume.grid)
    assert expected.array.any()
    np.testing.assert_array_equal(given.masks.array, expected.array)


def test_another_frame_of_reference_is_refused(scan: DicomScan, tmp_path: Path) -> None:
    write(tmp_path / "seg.dcm", scan)
    change(tmp_path / "seg.dcm", FrameOfReferenceUID="2.25.1234")
    assert "another frame of reference" in refusal(tmp_path / "seg.dcm", scan)


def test_another_patient_is_refused_without_a_word_about_the_patients(scan: DicomScan, tmp_path: Path) -> None:
    write(tmp_path / "seg.dcm", scan)
    change(tmp_path / "seg.dcm", PatientID="DOE^JANE")
    assert "another patient" in refusal(tmp_path / "seg.dcm", scan)
    change(tmp_path / "seg.dcm", PatientID="")
    assert read(tmp_path / "seg.dcm", scan).masks.present


def test_a_segmentation_beside_a_ct_that_is_no_dicom_is_taken_by_its_place(scan: DicomScan, tmp_path: Path) -> None:
    masks = write(tmp_path / "seg.dcm", scan)
    write_volume(tmp_path / "ct.nii.gz", scan.volume)
    study = load_study(tmp_path / "ct.nii.gz", [tmp_path / "seg.dcm"])
    np.testing.assert_array_equal(to_native(study, study.masks).array, masks.array)


def test_a_segmentation_that_lies_elsewhere_is_refused(scan: DicomScan, tmp_path: Path) -> None:
    write(tmp_path / "seg.dcm", scan)
    affine = scan.volume.affine.copy()
    affine[:3, 3] += 500
    assert "lie elsewhere than the CT" in refusal(tmp_path / "seg.dcm", scan, Grid(SIZE, affine))


def test_a_ct_slice_is_no_mask(scan: DicomScan, tmp_path: Path) -> None:
    slice_ = next((tmp_path / "ct").iterdir())
    assert "expected a DICOM segmentation, found CT Image Storage" in refusal(slice_, scan)
