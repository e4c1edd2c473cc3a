"""The written segmentation: the same voxels at the same places, by readers that are not ours, and valid DICOM."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from objects import MODEL, SIZE, assert_valid, random_masks, read_series
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage
from scanner import AXIAL, CORONAL, SAGITTAL, SERIES, STUDY, block, from_simpleitk, make_enhanced, make_series, save

from reg2rg.codes import region_code
from reg2rg.dicom.derived import write_object
from reg2rg.dicom.read import read_dicom
from reg2rg.results.dicom_seg import make_segmentation, to_acquired
from reg2rg.volume import DicomSeries, RegionMasks

OBLIQUE = (0.96, 0.28, 0, -0.28 * 0.8, 0.96 * 0.8, 0.6)
ORIENTATIONS = {"axial": AXIAL, "feet first": (1, 0, 0, 0, -1, 0), "coronal": CORONAL, "sagittal": SAGITTAL}
ORIENTATIONS["oblique"] = OBLIQUE


def write(folder: Path, series: DicomSeries, masks: RegionMasks) -> Path:
    write_object(folder / "seg.dcm", make_segmentation(series, masks, MODEL))
    return folder / "seg.dcm"


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_another_program_reads_the_same_voxels_at_the_same_places(tmp_path: Path, orientation: str) -> None:
    """dcmqi's segimage2itkimage, and SimpleITK for what it writes."""
    dcmqi = pytest.importorskip("dcmqi")
    series = read_series(tmp_path, make_series(block(size=SIZE), ORIENTATIONS[orientation]))
    masks = random_masks(series.grid)
    path = write(tmp_path, series, masks)
    program = Path(dcmqi.__file__).with_name("bin") / "segimage2itkimage"
    command = [program, "-t", "nrrd", "--inputDICOM", path, "--outputDirectory", tmp_path]
    subprocess.run(command, capture_output=True, check=True)
    segments = json.loads((tmp_path / "meta.json").read_text())["segmentAttributes"]
    assert [segment["SegmentLabel"] for (segment,) in segments] == list(masks.present)
    for number, name in enumerate(masks.present, start=1):
        seen = from_simpleitk(sitk.ReadImage(str(tmp_path / f"{number}.nrrd")))
        index = np.argwhere(seen.array > 0)
        voxels = np.linalg.solve(series.grid.affine, seen.affine @ np.column_stack([index, np.ones(len(index))]).T)[
            :3
        ].T
        np.testing.assert_allclose(voxels, np.rint(voxels), atol=1e-4)
        found = np.zeros(SIZE, bool)
        found[tuple(np.rint(voxels).astype(int).T)] = True
        np.testing.assert_array_equal(found, masks.mask(name))


def test_highdicom_reads_the_same_voxels_by_source_image(tmp_path: Path) -> None:
    series = read_series(tmp_path, make_series(block(size=SIZE), SAGITTAL))
    masks = random_masks(series.grid)
    segmentation = highdicom.seg.segread(write(tmp_path, series, masks))
    uids = [slice_.sop_instance_uid for slice_ in series.slices]
    seen = segmentation.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    for number, name in enumerate(masks.present):
        np.testing.assert_array_equal(seen[..., number].transpose(2, 1, 0) > 0, masks.mask(name))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_it_is_valid_dicom_that_names_what_it_was_made_from(tmp_path: Path, orientation: str) -> None:
    datasets = make_series(block(size=SIZE), ORIENTATIONS[orientation])
    for dataset in datasets:
        dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20200229", "101112", "7"
    series = read_series(tmp_path, datasets)
    path = write(tmp_path, series, random_masks(series.grid))
    assert_valid(path)
    written = pydicom.dcmread(path)
    positions = {dataset.SOPInstanceUID: list(dataset.ImagePositionPatient) for dataset in datasets}
    assert {
        item.ReferencedSOPInstanceUID for item in written.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    } == (positions.keys())
    assert written.ReferencedSeriesSequence[0].SeriesInstanceUID == SERIES
    for frame in written.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert source.ReferencedSOPClassUID == CTImageStorage and "ReferencedFrameNumber" not in source
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(position, positions[source.ReferencedSOPInstanceUID], atol=1e-7)
    assert (written.StudyInstanceUID, written.FrameOfReferenceUID) == (STUDY, f"{STUDY}.9")
    assert (written.PatientID, written.StudyDate, written.StudyID) == ("DOE^JOHN", "20200229", "7")
    assert written.SeriesInstanceUID != SERIES and written.SegmentsOverlap == "YES"


def test_segments_say_what_they_show_and_who_drew_them(tmp_path: Path) -> None:
    series = read_series(tmp_path, make_series(block(size=SIZE)))
    written = pydicom.dcmread(write(tmp_path, series, random_masks(series.grid)))
    said = [
        (
            segment.SegmentLabel,
            segment.SegmentedPropertyTypeCodeSequence[0].CodeValue,
            segment.SegmentAlgorithmType,
            segment.SegmentAlgorithmName,
            segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion,
            segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmFamilyCodeSequence[0].CodeMeaning,
        )
        for segment in written.SegmentSequence
    ]
    assert said == [
        ("heart", region_code("heart").value, "SEMIAUTOMATIC", "given as a file", "0.1.0", "Manual Processing"),
        ("lung", region_code("lung").value, "AUTOMATIC", "threshold", "0.1.0", "Morphological Operations"),
        ("trachea and bronchie", "110726009", "AUTOMATIC", "program", "2.4", "Artificial Intelligence"),
    ]


def test_frames_of_a_multi_frame_source_are_named_by_number(tmp_path: Path) -> None:
    datasets = make_series(block(size=SIZE))
    whole = make_enhanced(datasets[::-1])
    series = read_series(tmp_path, [whole])
    path = write(tmp_path, series, random_masks(series.grid))
    assert_valid(path)
    written = pydicom.dcmread(path)
    (instance,) = written.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert (instance.ReferencedSOPInstanceUID, instance.ReferencedSOPClassUID) == ("2.25.77", EnhancedCTImageStorage)
    positions = [
        group.PlanePositionSequence[0].ImagePositionPatient for group in whole.PerFrameFunctionalGroupsSequence
    ]
    for frame in written.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert source.ReferencedSOPInstanceUID == "2.25.77"
        assert frame.PlanePositionSequence[0].ImagePositionPatient == positions[source.ReferencedFrameNumber - 1]


def test_masks_on_upright_voxels_go_back_to_the_tilted_slices(tmp_path: Path) -> None:
    """A shift of whole pixels per slice, so that no voxel is lost between the grids."""
    datasets = make_series(block(size=SIZE), spacing=(0.8, 0.7), step=(0.0, 1.6, 2.5))
    scan = read_dicom(save(tmp_path / "ct", datasets))
    series = scan.series
    assert not scan.volume.grid.matches(series.grid)
    acquired = random_masks(series.grid)
    upright = np.zeros(scan.volume.grid.size_xyz, np.uint16)
    index = np.indices(SIZE).reshape(3, -1)
    places = series.grid.affine @ np.vstack([index, np.ones(index.shape[1])])
    x, y, z = np.rint(np.linalg.solve(scan.volume.affine, places)[:3]).astype(int)
    upright[x, y, z] = acquired.array.reshape(-1)
    back = to_acquired(series, RegionMasks(upright, scan.volume.affine, acquired.sources))
    np.testing.assert_array_equal(back.array, acquired.array)
    path = write(tmp_path, series, back)
    assert_valid(path)
    written = pydicom.dcmread(path)
    positions = {dataset.SOPInstanceUID: list(dataset.ImagePositionPatient) for dataset in datasets}
    for frame in written.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert list(frame.PlanePositionSequence[0].ImagePositionPatient) == positions[source]


def test_equal_masks_give_an_equal_object_and_others_another(tmp_path: Path) -> None:
    series = read_series(tmp_path, make_series(block(size=SIZE)))
    masks = random_masks(series.grid)
    first, second = make_segmentation(series, masks, MODEL), make_segmentation(series, masks, MODEL)
    creation = (
        "InstanceCreationDate InstanceCreationTime ContentDate ContentTime ContributingEquipmentSequence"
    ).split()
    for one in (first, second):
        for keyword in creation:
            del one[keyword]
    assert Dataset(first) == Dataset(second)
    other = make_segmentation(series, replace(masks, array=masks.array.copy()[::-1]), MODEL)
    assert other.SeriesInstanceUID == first.SeriesInstanceUID
    assert other.SOPInstanceUID != first.SOPInstanceUID
    renamed = replace(masks, sources=masks.sources | {"heart": "another name of the file.nii.gz"})
    assert make_segmentation(series, renamed, MODEL).SOPInstanceUID == first.SOPInstanceUID
    redrawn = replace(masks, sources=masks.sources | {"heart": "segmenter:threshold"})
    assert make_segmentation(series, redrawn, MODEL).SOPInstanceUID != first.SOPInstanceUID
    newer = make_segmentation(series, masks, replace(MODEL, version="0.2.0"))
    assert newer.SeriesInstanceUID != first.SeriesInstanceUID


def test_values_of_the_patient_that_are_not_allowed_are_copied_and_never_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    datasets = make_series(block(size=SIZE))
    for dataset in datasets:
        dataset.PatientSex, dataset.PatientName = "W", "Müller 1^2^3^4^5^6"
        dataset.SpecificCharacterSet = "ISO_IR 100"
    series = read_series(tmp_path, datasets)
    with caplog.at_level("DEBUG"):
        written = pydicom.dcmread(write(tmp_path, series, random_masks(series.grid)))
    assert (written.PatientSex, written.SpecificCharacterSet) == ("W", "ISO_IR 192")
    assert str(written.PatientName).startswith("Müller") and "Müller" not in caplog.text
