"""DICOM gives the voxels that SimpleITK finds, at the same millimetres; what makes no even volume is refused."""

import logging
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import gdcm
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from scanner import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    SECRET,
    SERIES,
    SIZE,
    STUDY,
    assert_same_places,
    block,
    from_simpleitk,
    make_enhanced,
    make_series,
    read_by_simpleitk,
    save,
)

from reg2rg.dicom.read import read_dicom
from reg2rg.errors import InputError
from reg2rg.geometry import reorient

OBLIQUE = (0.96, 0.28, 0.0, -0.224, 0.768, 0.6)


def refused(folder: Path, match: str) -> None:
    """The reader says it in one line that names the folder and nothing about the patient."""
    with pytest.raises(InputError, match=match) as caught:
        read_dicom(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder}: ")
    assert "\n" not in message
    assert SECRET not in message and "DOE" not in message and "19700101" not in message


@pytest.mark.parametrize(
    ("orientation", "axes"),
    [
        (AXIAL, "LPS"),
        (CORONAL, "LIP"),
        (SAGITTAL, "PIR"),
        (OBLIQUE, "LPS"),
        ((-1, 0, 0, 0, 1, 0), "RPI"),
        ((-1, 0, 0, 0, -1, 0), "RAS"),
        ((0, 1, 0, 1, 0, 0), "PLI"),
    ],
)
@pytest.mark.parametrize("step", [2.5, -2.5])
def test_each_orientation_is_where_simpleitk_sees_it(
    tmp_path: Path, orientation: tuple[float, ...], axes: str, step: float
) -> None:
    datasets = make_series(block(), orientation, step=step)
    folder = save(tmp_path / "ct", datasets)
    scan = read_dicom(folder)
    assert scan.volume.array.dtype == np.int16
    assert scan.volume.array.shape == SIZE
    assert scan.volume.grid.orientation == axes
    np.testing.assert_allclose(scan.volume.grid.spacing_mm, (0.7, 0.8, 2.5), atol=1e-9)
    assert_same_places(scan.volume, read_by_simpleitk(datasets, folder))
    assert_same_places(reorient(scan.volume), read_by_simpleitk(datasets, folder))
    assert scan.remarks == ()


def test_one_voxel_worked_out_by_hand(tmp_path: Path) -> None:
    """Column 3 of row 2 of slice 1 of an axial series lies 3 x 0.7 mm to the left, 2 x 0.8 mm to the back."""
    hu = block()
    volume = read_dicom(save(tmp_path / "ct", make_series(hu))).volume
    np.testing.assert_allclose(volume.affine @ [3, 2, 1, 1], [30 - 3 * 0.7, -21 - 2 * 0.8, -400 + 2.5, 1])
    assert volume.array[3, 2, 1] == hu[3, 2, 1]


def test_the_real_series_is_what_simpleitk_reads(shared: Path) -> None:
    folder = shared / "ct/dicom_series"
    scan = read_dicom(folder)
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    positions = {path: pydicom.dcmread(path, stop_before_pixels=True) for path in folder.glob("*.dcm")}
    reader.SetFileNames([str(path) for path in sorted(positions, key=lambda p: positions[p].ImagePositionPatient[2])])
    oracle = from_simpleitk(reader.Execute())
    np.testing.assert_array_equal(scan.volume.array, oracle.array)
    np.testing.assert_allclose(scan.volume.affine, oracle.affine, atol=1e-9)
    assert scan.volume.grid.spacing_mm[2] == 2.0, "SliceThickness says 3"


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless]
)
def test_each_transfer_syntax_gives_the_same_voxels(tmp_path: Path, syntax: UID) -> None:
    hu = block(size=(36, 33, 3))  # JPEG 2000 wants at least 32
    datasets = make_series(hu)
    for dataset in datasets:
        if syntax.is_compressed and syntax.is_encapsulated:
            dataset.compress(syntax, generate_instance_uid=False)
        else:
            dataset.file_meta.TransferSyntaxUID = syntax
    np.testing.assert_array_equal(read_dicom(save(tmp_path / "ct", datasets)).volume.array, hu)


def test_big_endian_gives_the_same_voxels(tmp_path: Path) -> None:
    hu = block()
    datasets = make_series(hu)
    for dataset in datasets:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
        dataset["PixelData"].VR = "OW"
    folder = tmp_path / "ct"
    folder.mkdir()
    for k, dataset in enumerate(datasets):
        pydicom.dcmwrite(folder / f"{k}", dataset, implicit_vr=False, little_endian=False, enforce_file_format=True)
    np.testing.assert_array_equal(read_dicom(folder).volume.array, hu)


@pytest.mark.parametrize("syntax", ["JPEGLosslessProcess14_1", "JPEGLosslessProcess14", "JPEGLSLossless"])
@pytest.mark.parametrize("is_signed", [False, True])
def test_what_gdcm_compressed_gives_the_same_voxels(tmp_path: Path, syntax: str, is_signed: bool) -> None:
    """JPEG lossless is what most scanners with compression send."""
    hu = block()
    datasets = make_series(hu)
    if is_signed:
        for k, dataset in enumerate(datasets):
            dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 1, 16, 15
            dataset.RescaleIntercept = "0"
            dataset.PixelData = hu[:, :, k].T.astype("<i2").tobytes()
    folder = save(tmp_path / "plain", datasets)
    (tmp_path / "packed").mkdir()
    for path in folder.iterdir():
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(tmp_path / "packed" / path.name))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
    assert pydicom.dcmread(tmp_path / "packed/IM0000").file_meta.TransferSyntaxUID.is_compressed
    np.testing.assert_array_equal(read_dicom(tmp_path / "packed").volume.array, hu)


def test_files_without_preamble_are_read(tmp_path: Path) -> None:
    hu = block()
    (tmp_path / "ct").mkdir()
    for k, dataset in enumerate(make_series(hu)):
        del dataset.file_meta
        pydicom.dcmwrite(tmp_path / f"ct/{k}", dataset, implicit_vr=True, little_endian=True)
        assert (tmp_path / f"ct/{k}").read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(read_dicom(tmp_path / "ct").volume.array, hu)


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, OBLIQUE])
def test_enhanced_ct_is_read_frame_by_frame(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    datasets = make_series(block(), orientation)
    shuffled = [datasets[k] for k in (3, 0, 6, 1, 5, 2, 4)]
    folder = save(tmp_path / "enhanced", [make_enhanced(shuffled)])
    scan = read_dicom(folder / "IM0000")
    plain = read_dicom(save(tmp_path / "plain", datasets))
    np.testing.assert_array_equal(scan.volume.array, plain.volume.array)
    np.testing.assert_allclose(scan.volume.affine, plain.volume.affine, atol=1e-9)
    assert [s.frame_index for s in scan.series.slices] == [1, 3, 5, 0, 6, 4, 2]
    assert {s.sop_instance_uid for s in scan.series.slices} == {"2.25.77"}


def test_sorted_enhanced_ct_is_where_simpleitk_sees_it(tmp_path: Path) -> None:
    folder = save(tmp_path / "enhanced", [make_enhanced(make_series(block(), OBLIQUE))])
    assert_same_places(read_dicom(folder).volume, read_by_simpleitk([Dataset()], folder))


def test_a_frames_own_values_win_over_the_shared_ones(tmp_path: Path) -> None:
    hu = block()
    whole = make_enhanced(make_series(hu))
    shared = whole.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
    own = deepcopy(shared)
    own.RescaleIntercept = "-1000"
    whole.PerFrameFunctionalGroupsSequence[2].PixelValueTransformationSequence = [own]
    array = read_dicom(save(tmp_path / "ct", [whole])).volume.array
    np.testing.assert_array_equal(array[:, :, 2], hu[:, :, 2] + 24)
    np.testing.assert_array_equal(array[:, :, 3], hu[:, :, 3])


def test_slope_and_intercept_are_those_of_each_slice(tmp_path: Path) -> None:
    datasets = make_series(block())
    datasets[1].RescaleSlope, datasets[1].RescaleIntercept = "2", "-8192"
    folder = save(tmp_path / "ct", datasets)
    volume = read_dicom(folder).volume
    np.testing.assert_array_equal(volume.array[:, :, 1], (block()[:, :, 1].astype(int) + 1024) * 2 - 8192)
    np.testing.assert_array_equal(volume.array[:, :, 2], block()[:, :, 2])
    assert volume.array.dtype == np.int16
    datasets[1].RescaleSlope = "0.5"
    volume = read_dicom(save(tmp_path / "ct", datasets)).volume
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array[:, :, 1], (block()[:, :, 1].astype(int) + 1024) * 0.5 - 8192)
    np.testing.assert_array_equal(volume.array[:, :, 2], block()[:, :, 2])


def test_hu_that_do_not_fit_int16_are_kept(tmp_path: Path) -> None:
    datasets = make_series(block())
    datasets[3].RescaleSlope = "20"
    volume = read_dicom(save(tmp_path / "ct", datasets)).volume
    assert volume.array.dtype == np.int32
    np.testing.assert_array_equal(volume.array[:, :, 3], (block()[:, :, 3].astype(int) + 1024) * 20 - 1024)


def test_unused_high_bits_are_no_part_of_the_value(tmp_path: Path) -> None:
    """12 bits signed, the other four bits zero: -5 is stored as 0x0FFB."""
    hu = (block() % 2000 - 1000).astype(np.int16)
    datasets = make_series(hu)
    for k, dataset in enumerate(datasets):
        dataset.PixelRepresentation, dataset.RescaleIntercept = 1, "0"
        dataset.PixelData = (hu[:, :, k].T.astype("<i2").view("<u2") & 0x0FFF).tobytes()
    np.testing.assert_array_equal(read_dicom(save(tmp_path / "ct", datasets)).volume.array, hu)


def test_padding_is_air_outside(tmp_path: Path) -> None:
    hu = np.full(SIZE, 40, np.int16)
    hu[0, 0], hu[1, 0], hu[2, 0] = 976, 977, 978  # stored as 2000, 2001, 2002
    datasets = make_series(hu)
    for dataset in datasets:
        dataset.add_new(0x00280120, "US", 2000)
    array = read_dicom(save(tmp_path / "ct", datasets)).volume.array
    assert array[:4, 0, 0].tolist() == [-1024, 977, 978, 40]
    for dataset in datasets:
        dataset.add_new(0x00280121, "US", 2001)
    array = read_dicom(save(tmp_path / "ct", datasets)).volume.array
    assert array[:4, 0, 0].tolist() == [-1024, -1024, 978, 40]


def test_slices_know_their_objects(tmp_path: Path) -> None:
    """The volume's k-th slice is the k-th object, also where numbers and positions run against each other."""
    scan = read_dicom(save(tmp_path / "ct", make_series(block(), step=-2.5)))
    series = scan.series
    assert (series.study_uid, series.series_uid, series.frame_of_reference_uid) == (STUDY, SERIES, f"{STUDY}.9")
    assert [s.sop_instance_uid for s in series.slices] == [f"{SERIES}.{k}" for k in range(7, 0, -1)]
    assert {s.frame_index for s in series.slices} == {0}
    np.testing.assert_array_equal(scan.volume.array[:, :, 0], block()[:, :, 6])
    assert series.grid.matches(scan.volume.grid)


def test_rounded_positions_are_even(tmp_path: Path) -> None:
    datasets = make_series(block(), step=0.625)
    for dataset in datasets:
        dataset.ImagePositionPatient = [-30, 21, round(float(dataset.ImagePositionPatient[2]), 1)]
    volume = read_dicom(save(tmp_path / "ct", datasets)).volume
    np.testing.assert_allclose(volume.grid.spacing_mm[2], 0.625, atol=0.02)


@pytest.mark.parametrize(("slide_y", "step_z"), [(1.0, 2.5), (-0.7, 2.5), (1.0, -2.5)])
def test_gantry_tilt_is_taken_out(tmp_path: Path, slide_y: float, step_z: float) -> None:
    """A scene that is linear in mm is interpolated exactly: each voxel then has the HU of its place."""
    hu = np.zeros(SIZE, np.int16)
    datasets = make_series(hu, step=(0.0, slide_y, step_z), spacing=(0.5, 1.0))

    def scene(lps: np.ndarray) -> np.ndarray:
        return 20 * lps[..., 0] + 10 * lps[..., 1] + 4 * lps[..., 2]

    row, column = np.mgrid[: SIZE[1], : SIZE[0]]
    for dataset in datasets:
        origin = np.array([float(value) for value in dataset.ImagePositionPatient])
        places = origin + np.stack([column * 1.0, row * 0.5, column * 0.0], axis=-1)
        dataset.RescaleIntercept = "-8192"
        dataset.PixelData = (np.rint(scene(places)) + 8192).astype("<u2").tobytes()
        dataset.BitsStored, dataset.HighBit = 16, 15
    scan = read_dicom(save(tmp_path / "ct", datasets))
    volume = scan.volume
    tilt = np.degrees(np.arctan(abs(slide_y) / 2.5))
    assert scan.remarks == (f"the gantry was tilted by {tilt:.1f} degrees; the slices were shifted to undo it",)
    assert not volume.grid.matches(scan.series.grid)
    axes = volume.affine[:3, :3] / volume.grid.spacing_mm
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(volume.grid.spacing_mm, (1.0, 0.5, 2.5))
    assert volume.array.dtype == np.int16
    index = np.indices(volume.array.shape).reshape(3, -1)
    ras = (volume.affine @ np.vstack([index, np.ones(index.shape[1])]))[:3]
    lps = (ras * [[-1], [-1], [1]]).T
    # Which places lie within the slices as acquired; the others are outside of the scan.
    inside = np.linalg.solve(scan.series.grid.affine, np.vstack([ras, np.ones(ras.shape[1])]))[:3].T
    is_inside = ((inside > -1e-6) & (inside < np.array(SIZE) - 1 + 1e-6)).all(axis=1)
    assert is_inside.sum() > 0.9 * np.prod((SIZE[0], SIZE[1] - 1, SIZE[2]))
    found = volume.array.reshape(-1)
    np.testing.assert_allclose(found[is_inside], scene(lps)[is_inside], atol=1.01)
    is_far = ((inside < -1 - 1e-6) | (inside > np.array(SIZE) + 1e-6)).any(axis=1)
    assert is_far.any() and (found[is_far] == -1024).all()


def test_steeper_than_any_gantry_is_refused(tmp_path: Path) -> None:
    refused(save(tmp_path / "ct", make_series(block(), step=(0.0, 5.0, 2.5))), "slide sideways by 63 degrees")


def test_identical_slices_are_used_once(tmp_path: Path) -> None:
    datasets = make_series(block())
    folder = save(tmp_path / "ct", datasets)
    save(tmp_path / "ct/again", datasets[2:5])
    scan = read_dicom(folder)
    np.testing.assert_array_equal(scan.volume.array, block())
    assert scan.remarks == ("3 slices were stored more than once and used once",)


def test_of_two_acquisitions_the_one_with_more_slices_is_taken(tmp_path: Path) -> None:
    folder = save(tmp_path / "ct", make_series(block(1)[:, :, :5]))
    second = make_series(block(2))
    for dataset in second:
        dataset.AcquisitionNumber = 2
        dataset.SOPInstanceUID += ".2"
    scan = read_dicom(save(folder, second, "other"))
    np.testing.assert_array_equal(scan.volume.array, block(2))
    assert "2 acquisitions of the same place; took number 2" in scan.remarks[0]


def test_pydicom_keeps_its_remarks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    datasets = make_series(block())
    for dataset in datasets:
        dataset.AcquisitionNumber = 12345678
    folder = save(tmp_path / "ct", datasets)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes().replace(b"12345678", SECRET.encode()).replace(b"19700101", b"no date!"))
    caplog.clear()
    recwarn.clear()
    with caplog.at_level(logging.DEBUG):
        np.testing.assert_array_equal(read_dicom(folder).volume.array, block())
    assert caplog.text == "" and not recwarn.list


def one_slice(datasets: list[Dataset]) -> list[Dataset]:
    return datasets[:1]


def two_slices(datasets: list[Dataset]) -> list[Dataset]:
    return datasets[:2]


def gap(datasets: list[Dataset]) -> list[Dataset]:
    return datasets[:3] + datasets[4:]


def gap_at_the_end(datasets: list[Dataset]) -> list[Dataset]:
    return datasets[:5] + datasets[6:]


def uneven(datasets: list[Dataset]) -> list[Dataset]:
    datasets[3].ImagePositionPatient = [-30, 21, -400 + 3 * 2.5 + 0.6]
    return datasets


def shifted(datasets: list[Dataset]) -> list[Dataset]:
    datasets[3].ImagePositionPatient = [-25, 21, -400 + 3 * 2.5]
    return datasets


def other_size(datasets: list[Dataset]) -> list[Dataset]:
    return datasets[:6] + make_series(block(size=(8, 10, 7)))[6:]


def other_spacing(datasets: list[Dataset]) -> list[Dataset]:
    datasets[6].PixelSpacing = [0.8, 0.75]
    return datasets


def other_orientation(datasets: list[Dataset]) -> list[Dataset]:
    datasets[6].ImageOrientationPatient = list(CORONAL)
    return datasets


def other_frame_of_reference(datasets: list[Dataset]) -> list[Dataset]:
    datasets[6].FrameOfReferenceUID = "2.25.99"
    return datasets


def two_phases(datasets: list[Dataset]) -> list[Dataset]:
    other = make_series(block(5))
    for dataset in other:
        dataset.SOPInstanceUID += ".2"
    return datasets + other


def changed(keyword: str, value: object) -> Callable[[list[Dataset]], list[Dataset]]:
    def change(datasets: list[Dataset]) -> list[Dataset]:
        setattr(datasets[2], keyword, value)
        return datasets

    return change


def without(keyword: str) -> Callable[[list[Dataset]], list[Dataset]]:
    def change(datasets: list[Dataset]) -> list[Dataset]:
        delattr(datasets[2], keyword)
        return datasets

    return change


def localizers_only(datasets: list[Dataset]) -> list[Dataset]:
    for dataset in datasets:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    return datasets


def uniform(_: list[Dataset]) -> list[Dataset]:
    return make_series(np.full(SIZE, 7, np.int16))


def video(datasets: list[Dataset]) -> list[Dataset]:
    for dataset in datasets:
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.file_meta.TransferSyntaxUID = MPEG2MPML
    return datasets


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (one_slice, "expected a series of at least 3 slices, found 1"),
        (two_slices, "expected a series of at least 3 slices, found 2"),
        (
            gap,
            r"slices are missing between \(-30, 21, -395\) mm and \(-30, 21, -390\) mm: 5 mm where others are 2.5 mm",
        ),
        (gap_at_the_end, r"missing between \(-30, 21, -390\) mm and \(-30, 21, -385\) mm"),
        (uneven, "expected slices at equal steps, found 1.9 to 3.1 mm"),
        (shifted, r"the slice at \(-25, 21, -392.5\) mm is shifted"),
        (other_size, "mixes sizes: IM.* has 10 x 12 pixels, IM.* 10 x 8|mixes sizes: IM.* has 10 x 8 pixels"),
        (other_spacing, "mixes pixel spacings"),
        (other_orientation, "mixes orientations"),
        (other_frame_of_reference, "2 frames of reference"),
        (two_phases, "several different slices lie at .* more than one phase or reconstruction"),
        (changed("RescaleSlope", "0"), "RescaleSlope of 0 .* give no HU"),
        (changed("RescaleIntercept", "1e9"), "RescaleIntercept of 1e\\+09 give no HU"),
        (without("RescaleIntercept"), "expected 1 numbers as RescaleIntercept, found none"),
        (without("RescaleSlope"), "expected 1 numbers as RescaleSlope, found none"),
        (without("ImagePositionPatient"), "expected 3 numbers as ImagePositionPatient, found none"),
        (without("ImageOrientationPatient"), "expected 6 numbers as ImageOrientationPatient, found none"),
        (without("PixelSpacing"), "expected 2 numbers as PixelSpacing, found none"),
        (without("PixelData"), "no pixels behind it"),
        (changed("PixelSpacing", [0, 0.7]), "expected a PixelSpacing in mm, found"),
        (changed("ImagePositionPatient", [1, 2]), "expected 3 numbers as ImagePositionPatient, found 2 values"),
        (changed("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]), "not two directions at right angles"),
        (changed("ImageOrientationPatient", [0, 0, 0, 0, 0, 0]), "not two directions at right angles"),
        (changed("PixelData", b"\0" * 10), "pixels are damaged or cut off"),
        (changed("Rows", 65535), "mixes sizes"),
        (localizers_only, "only localizers"),
        (uniform, "all voxels have the value 7"),
        (video, "cannot decode the transfer syntax MPEG2 .*pip install 'reg2rg"),
    ],
)
def test_what_makes_no_even_volume_is_refused(
    tmp_path: Path, change: Callable[[list[Dataset]], list[Dataset]], match: str
) -> None:
    refused(save(tmp_path / "ct", change(make_series(block()))), match)


def test_a_header_that_promises_too_many_voxels_is_refused(tmp_path: Path) -> None:
    datasets = make_series(block())
    for dataset in datasets:
        dataset.Rows = dataset.Columns = 65535
    refused(save(tmp_path / "ct", datasets), "expected at most 1073741824 voxels")
    whole = make_enhanced(make_series(block()))
    whole.NumberOfFrames = 2**31 - 1
    refused(save(tmp_path / "whole", [whole]), "expected at most 1073741824 voxels")


def test_frames_without_a_place_are_refused(tmp_path: Path) -> None:
    whole = make_enhanced(make_series(block()))
    del whole.PerFrameFunctionalGroupsSequence
    refused(save(tmp_path / "ct", [whole]), "expected 3 numbers as ImagePositionPatient, found none")


def test_cut_off_pixels_are_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "ct", make_series(block()))
    path = folder / "IM0003"
    path.write_bytes(path.read_bytes()[:-60])
    refused(folder, "IM0003: the (pixels are|file is) damaged or cut off")


def test_a_header_that_is_cut_off_is_left_out_and_said(tmp_path: Path) -> None:
    folder = save(tmp_path / "ct", make_series(block()))
    (folder / "broken").write_bytes((folder / "IM0003").read_bytes()[:150])
    scan = read_dicom(folder)
    np.testing.assert_array_equal(scan.volume.array, block())
    assert any("broken" in remark for remark in scan.remarks) or scan.remarks == ()
