"""DICOM segmentations read as masks: what was written comes back, whoever wrote it, and damage is refused in a line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from highdicom.content import AlgorithmIdentificationSequence
from highdicom.seg import Segmentation, SegmentDescription
from objects import MODEL, SIZE, random_masks, read_series
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code as DicomCode
from pydicom.uid import RLELossless
from scanner import AXIAL, CORONAL, SAGITTAL, block, make_enhanced, make_series, save

from reg2rg.codes import ANATOMICAL_STRUCTURE, Code
from reg2rg.dicom.derived import write_object
from reg2rg.dicom.read import read_dicom
from reg2rg.dicom.segmentation import Segment, read_segmentation
from reg2rg.errors import InputError
from reg2rg.geometry import resample
from reg2rg.regions import get_region
from reg2rg.results.dicom_seg import make_segmentation, to_acquired, to_dicom
from reg2rg.volume import RegionMasks

HEART, CARDIAC_RT = DicomCode("80891009", "SCT", "Heart"), DicomCode("T-32000", "SRT", "Heart")


def read_regions(path: Path) -> RegionMasks:
    """The regions of a segmentation whose segments have the regions' codes, on its own grid."""
    segmentation = read_segmentation(path)
    return segmentation.paint({segment.number: get_region(segment.region).bit for segment in segmentation.segments})


def foreign(folder: Path, array: np.ndarray, kind: str, **more: Any) -> Path:
    """A segmentation of the axial test series as another program writes it: a segment for each value or channel."""
    datasets = make_series(block(size=SIZE))
    save(folder / "ct", datasets)
    for dataset in datasets:
        dataset.AccessionNumber = dataset.StudyID = dataset.StudyDate = dataset.StudyTime = dataset.PatientSex = ""
    count = array.shape[3] if array.ndim == 4 else int(array.max())
    algorithm = AlgorithmIdentificationSequence("other", DicomCode("123110", "DCM", "Artificial Intelligence"), "1")
    segments = [
        SegmentDescription(number, f"part {number}", to_dicom(ANATOMICAL_STRUCTURE), HEART, "AUTOMATIC", algorithm)
        for number in range(1, count + 1)
    ]
    made = Segmentation(datasets, array, kind, segments, "2.25.50", 5, "2.25.51", 1, "other", "other", "1", "1", **more)
    made.save_as(folder / "seg.dcm", enforce_file_format=True)
    return folder / "seg.dcm"


def frames(seed: int = 0) -> np.ndarray:
    """A boolean voxel field in the order of stored frames: slice, row, column."""
    columns, rows, slices = SIZE
    return np.random.default_rng(seed).random((slices, rows, columns)) > 0.5


@pytest.mark.parametrize("orientation", [AXIAL, (1, 0, 0, 0, -1, 0), CORONAL, SAGITTAL, (0.8, 0.6, 0, -0.6, 0.8, 0)])
def test_what_we_write_comes_back_bit_for_bit(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    series = read_series(tmp_path, make_series(block(size=SIZE), orientation))
    masks = random_masks(series.grid)
    write_object(tmp_path / "seg.dcm", make_segmentation(series, masks, MODEL))
    read = read_regions(tmp_path / "seg.dcm")
    assert read.array.shape[2] == SIZE[2] - 2, "the empty slices at both ends are not stored"
    np.testing.assert_array_equal(resample(read, series.grid).array, masks.array)


def test_frames_of_enhanced_and_of_tilted_series_come_back(tmp_path: Path) -> None:
    datasets = make_series(block(size=SIZE), step=(0.0, 1.0, 2.5))
    for name, series in {
        "enhanced": read_series(tmp_path / "e", [make_enhanced(make_series(block(size=SIZE)))]),
        "tilted": read_series(tmp_path / "t", datasets),
    }.items():
        masks = random_masks(series.grid)
        write_object(tmp_path / f"{name}.dcm", make_segmentation(series, masks, MODEL))
        read = read_regions(tmp_path / f"{name}.dcm")
        np.testing.assert_array_equal(resample(read, series.grid).array, masks.array)


def test_places_that_the_scanner_rounded_come_back(tmp_path: Path) -> None:
    datasets = make_series(block(size=SIZE), step=0.6666)
    for dataset in datasets:
        dataset.ImagePositionPatient = [round(float(value), 1) for value in dataset.ImagePositionPatient]
    scan = read_dicom(save(tmp_path / "ct", datasets))
    masks = random_masks(scan.series.grid)
    write_object(tmp_path / "seg.dcm", make_segmentation(scan.series, to_acquired(scan.series, masks), MODEL))
    read = read_regions(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(resample(read, scan.volume.grid).array, masks.array)


def test_slices_that_lie_apart_are_not_joined(tmp_path: Path) -> None:
    """Frames on every third slice: the step is what the file says, not the gap."""
    series = read_series(tmp_path, make_series(block(size=SIZE)))
    mask = np.ones(SIZE, bool)
    mask[:, :, [0, 2, 3, 5, 6]] = False
    masks = RegionMasks.from_masks({"lung": mask}, series.grid.affine)
    write_object(tmp_path / "seg.dcm", make_segmentation(series, masks, MODEL))
    read = read_regions(tmp_path / "seg.dcm")
    assert read.array.any(axis=(0, 1)).tolist() == [True, False, False, True, False, False, True]
    np.testing.assert_array_equal(resample(read, series.grid).array, masks.array)


def test_a_single_slice_is_as_thick_as_it_says(tmp_path: Path) -> None:
    series = read_series(tmp_path, make_series(block(size=SIZE)))
    mask = np.zeros(SIZE, bool)
    mask[2:5, 1:4, 4] = True
    masks = RegionMasks.from_masks({"lung": mask}, series.grid.affine)
    write_object(tmp_path / "seg.dcm", make_segmentation(series, masks, MODEL))
    read = read_regions(tmp_path / "seg.dcm")
    assert read.grid.spacing_mm == pytest.approx((0.7, 0.8, 2.5))
    np.testing.assert_array_equal(resample(read, series.grid).array, masks.array)


@pytest.mark.parametrize("is_packed", [False, True])
def test_fractions_belong_from_a_half_on(tmp_path: Path, is_packed: bool) -> None:
    fractions = np.random.default_rng(0).integers(0, 201, (SIZE[2], SIZE[1], SIZE[0])) / 200
    path = foreign(tmp_path, fractions[..., None], "FRACTIONAL", max_fractional_value=200)
    if is_packed:
        packed = pydicom.dcmread(path)
        packed.compress(RLELossless, encoding_plugin="pydicom")
        packed.save_as(path)
    read = read_segmentation(path)
    assert read.kind == "FRACTIONAL"
    np.testing.assert_array_equal(read.paint({1: 16}).array.transpose(2, 1, 0) == 16, fractions >= 0.5)


def test_label_maps_are_segments_by_value(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4, (SIZE[2], SIZE[1], SIZE[0])).astype(np.uint8)
    read = read_segmentation(foreign(tmp_path, values, "LABELMAP"))
    assert read.kind == "LABELMAP" and [segment.number for segment in read.segments] == [1, 2, 3]
    painted = read.paint({1: 16, 3: 32}).array.transpose(2, 1, 0)
    np.testing.assert_array_equal(painted, np.choose(values, [0, 16, 0, 32]))


def test_segments_that_overlap_and_parts_of_one_region(tmp_path: Path) -> None:
    stack = np.stack([frames(1), frames(2)], axis=-1).astype(np.uint8)
    read = read_segmentation(foreign(tmp_path, stack, "BINARY"))
    np.testing.assert_array_equal(read.paint({1: 1, 2: 2}).array.transpose(2, 1, 0), stack @ [1, 2])
    np.testing.assert_array_equal(read.paint({1: 4, 2: 4}).array.transpose(2, 1, 0) > 0, stack.any(axis=-1))
    assert not read.paint({}).array.any()


def test_a_segment_says_what_it_is(tmp_path: Path) -> None:
    path = foreign(tmp_path, frames()[..., None].astype(np.uint8), "BINARY")
    read = read_segmentation(path)
    assert read.segments == (Segment(1, "part 1", "", Code("SCT", "80891009", "Heart")),)
    assert read.segments[0].region == "heart"
    assert (read.frame_of_reference_uid, read.patient_id) == ("2.25.1.9", "DOE^JOHN")
    older = Segment(1, "", "", Code(CARDIAC_RT.scheme_designator, CARDIAC_RT.value, "Heart"))
    assert older.region == "heart"
    assert (
        Segment(1, "", "", Code("SCT", "64033007", "Kidney")).region
        == Segment(1, "heart", "", Code("", "", "")).region
        == ""
    )


Change = Callable[[Dataset], object]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda seg: setattr(seg, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"), "found CT Image Storage"),
        (lambda seg: setattr(seg, "SOPClassUID", "1.2.3\n4"), "expected a DICOM segmentation"),
        (lambda seg: setattr(seg, "SegmentationType", "OTHER"), "found 'OTHER'"),
        (lambda seg: setattr(seg, "NumberOfFrames", 3), "and 8 places"),
        (lambda seg: setattr(seg, "NumberOfFrames", 10**9), "and 8 places"),
        (lambda seg: setattr(seg, "Rows", 0), "0 x 9 pixels"),
        (lambda seg: delattr(seg, "Columns"), "senseless"),
        (lambda seg: delattr(seg, "PixelData"), "no pixels behind it"),
        (lambda seg: setattr(seg, "PixelData", seg.PixelData[:10]), "damaged or cut off"),
        (lambda seg: setattr(seg, "Rows", 60), "damaged or cut off"),
        (lambda seg: delattr(seg.SegmentSequence[0], "SegmentNumber"), "senseless"),
        (lambda seg: delattr(seg.PerFrameFunctionalGroupsSequence[2], "PlanePositionSequence"), "ImagePositionPatient"),
        (lambda seg: move(seg, 2, 0.5), "do not lie at equal steps"),
        (lambda seg: move(seg, 2, 1e300), "too far apart"),
        (lambda seg: move(seg, 7, 1e12), "too far apart"),
        (lambda seg: turn(seg, 2), "differ in orientation"),
        (lambda seg: delattr(seg.SharedFunctionalGroupsSequence[0], "PixelMeasuresSequence"), "PixelSpacing"),
    ],
)
def test_damage_is_refused_in_one_line(tmp_path: Path, change: Change, reason: str) -> None:
    path = foreign(tmp_path, frames()[..., None].astype(np.uint8), "BINARY")
    seg = pydicom.dcmread(path)
    with pydicom.config.disable_value_validation():
        change(seg)
        seg.save_as(path)
    with pytest.raises(InputError) as caught:
        read_segmentation(path).paint({1: 16})
    message = str(caught.value)
    assert reason in message and str(path) in message
    assert "\n" not in message and "DOE" not in message


def move(seg: Dataset, frame: int, by_mm: float) -> None:
    plane = seg.PerFrameFunctionalGroupsSequence[frame].PlanePositionSequence[0]
    x, y, z = plane.ImagePositionPatient
    plane.ImagePositionPatient = [x, y, z + by_mm]


def turn(seg: Dataset, frame: int) -> None:
    item = Dataset()
    item.ImageOrientationPatient = [0, 1, 0, 1, 0, 0]
    seg.PerFrameFunctionalGroupsSequence[frame].PlaneOrientationSequence = [item]


@pytest.mark.parametrize("content", [b"", b"no DICOM at all", b"\0" * 128 + b"DICM" + b"\xff" * 500])
def test_what_is_no_dicom_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "seg.dcm"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"seg\.dcm"):
        read_segmentation(path)


def test_a_file_that_was_cut_off_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    path = foreign(tmp_path, frames()[..., None].astype(np.uint8), "BINARY")
    whole = path.read_bytes()
    for end in range(200, len(whole) - 64, 97):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError):
            read_segmentation(path).paint({1: 16})


def test_bytes_that_were_changed_are_read_or_refused(tmp_path: Path) -> None:
    path = foreign(tmp_path, frames()[..., None].astype(np.uint8), "BINARY")
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(100):
        damaged = bytearray(whole)
        for place in rng.integers(132, len(damaged), 4):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read_segmentation(path).paint({1: 16})
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 10
