"""The folder ``dicom/`` of a study from DICOM, whatever its header holds; none of one without objects to refer to."""

import json
import logging
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from highdicom.sr import srread
from objects import MODEL, SIZE, assert_valid, random_masks, read_series
from pydicom.uid import EncapsulatedPDFStorage
from scanner import block, make_series, save

from reg2rg.dicom.derived import derived_uid
from reg2rg.dicom.read import read_dicom
from reg2rg.load import load_study, read_scan, to_native
from reg2rg.nifti import write_region_masks, write_volume
from reg2rg.regions import get_region
from reg2rg.report import RegionReport, Report, Sentence
from reg2rg.results.dicom_objects import write_dicom_objects
from reg2rg.results.dicom_seg import to_acquired
from reg2rg.results.folder import Results, write_results
from reg2rg.volume import DicomSeries, RegionMasks

BOX = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
REPORT = Report(
    "study", "ct", (1.0, 1.0, 1.0), SIZE, "LPS", MODEL,
    (RegionReport(0, "heart", "heart", (Sentence("Clear.", ()),), 600.0, BOX, 4),),
)  # fmt: skip
ODD_VALUES = {
    "StudyDate": "no date!",
    "PatientBirthDate": "1970.01.01",
    "PatientSex": "male",
    "PatientID": "77" * 50,
    "PatientAge": "old",
    "PatientName": "A=B=C=D=E^^^^^^^^",
    "AccessionNumber": "line\nbreak\ttoo long for its kind",
    "StudyDescription": "\u00e9\u4eba",
    "TimezoneOffsetFromUTC": "UTC",
}


def save_without(keyword: str, folder: Path) -> Path:
    """The series, and something taken out of its files afterwards."""
    save(folder, make_series(block(size=SIZE)))
    for path in folder.iterdir():
        slice_ = pydicom.dcmread(path)
        delattr(slice_, keyword)
        slice_.save_as(path)
    return folder


def results(scan: Path, folder: Path) -> Results:
    """A report on a scan with masks of heart and lung."""
    array = np.zeros(SIZE, np.uint16)
    array[1:4, 2:6, 1:5] = get_region("heart").bit
    array[2:8, 1:5, 2:7] |= get_region("lung").bit
    write_region_masks(folder / "masks.nii.gz", RegionMasks(array, read_scan(scan)[0].affine))
    study = load_study(scan, [folder / "masks.nii.gz"])
    regions = tuple(
        RegionReport(k, name, name, (Sentence("Normal."),), study.masks.volume_ml(name), BOX, get_region(name).index)
        for k, name in enumerate(study.masks.present)
    )
    grid = study.native_grid
    report = Report("study", "source", grid.spacing_mm, grid.size_xyz, grid.orientation, MODEL, regions)
    return Results(report, study, to_native(study, study.masks), {"command": "report"})


def test_a_study_from_dicom_leaves_valid_objects_that_its_record_lists(tmp_path: Path) -> None:
    datasets = make_series(block(size=SIZE))
    made = results(save(tmp_path / "ct", datasets), tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    write_results(out, made)
    names = ["report_pdf.dcm", "report_sr.dcm", "segmentation.dcm"]
    assert sorted(path.name for path in (out / "dicom").iterdir()) == names
    assert {f"dicom/{name}" for name in names} <= json.loads((out / "run.json").read_text())["files"].keys()
    for name in names:
        assert_valid(out / "dicom" / name)
        assert pydicom.dcmread(out / "dicom" / name).StudyInstanceUID == datasets[0].StudyInstanceUID


def test_the_segmentation_holds_the_very_masks_of_regions_nii(tmp_path: Path) -> None:
    scan = save(tmp_path / "ct", make_series(block(size=SIZE)))
    (tmp_path / "out").mkdir()
    write_results(tmp_path / "out", results(scan, tmp_path))
    again = load_study(scan, [tmp_path / "out/dicom/segmentation.dcm"])
    stored = nib.load(tmp_path / "out/regions.nii.gz")
    np.testing.assert_array_equal(to_native(again, again.masks).array, np.asarray(stored.dataobj))


@pytest.mark.parametrize(
    ("keyword", "obstacle"),
    [
        ("SOPInstanceUID", "objects would name them (SOPInstanceUID)"),
        ("StudyInstanceUID", "objects would name them (StudyInstanceUID)"),
        ("SeriesInstanceUID", "objects would name them (SeriesInstanceUID)"),
        ("FrameOfReferenceUID", "no frame of reference"),
    ],
)
def test_without_uids_a_warning_and_no_objects(tmp_path: Path, keyword: str, obstacle: str) -> None:
    made = results(save_without(keyword, tmp_path / "ct"), tmp_path)
    assert_no_objects(made, obstacle, tmp_path)


def test_without_highdicom_a_warning_and_no_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reg2rg.dicom.derived.find_spec", lambda name: None)
    made = results(save(tmp_path / "ct", make_series(block(size=SIZE))), tmp_path)
    assert_no_objects(made, "pip install 'reg2rg[dicom]'", tmp_path)


def test_a_study_that_is_no_dicom_has_no_objects_and_no_warning_of_them(tmp_path: Path) -> None:
    volume, _, _ = read_scan(save(tmp_path / "ct", make_series(block(size=SIZE))))
    write_volume(tmp_path / "ct.nii.gz", volume)
    made = results(tmp_path / "ct.nii.gz", tmp_path)
    (tmp_path / "out").mkdir()
    write_results(tmp_path / "out", made)
    assert not (tmp_path / "out/dicom").exists()
    assert not any("DICOM" in warning for warning in made.study.warnings)


def assert_no_objects(made: Results, obstacle: str, folder: Path) -> None:
    (warning,) = [warning for warning in made.study.warnings if "no DICOM objects are written" in warning]
    assert obstacle in warning and "\n" not in warning
    (folder / "out").mkdir()
    write_results(folder / "out", made)
    assert (folder / "out/report.json").is_file() and not (folder / "out/dicom").exists()


def odd_series(folder: Path) -> DicomSeries:
    datasets = make_series(block(size=SIZE))
    for dataset in datasets:
        dataset.SpecificCharacterSet = "ISO_IR 192"
        for keyword, value in ODD_VALUES.items():
            setattr(dataset, keyword, value)
    return read_series(folder, datasets)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of writing the series itself
def test_odd_values_are_taken_over_in_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    series = odd_series(tmp_path)
    assert {"no date!", "77" * 50} <= {str(element.get("Value", [""])[0]) for element in series.header.values()}
    caplog.clear()
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings():
        warnings.simplefilter("error")
        write_dicom_objects(tmp_path / "dicom", REPORT, series, random_masks(series.grid), b"%PDF")
    told = ("no date!", "77" * 50, "1970.01.01", "too long for its kind", "A=B=C")
    assert [value for value in told if value in caplog.text] == []
    for name in ("segmentation.dcm", "report_sr.dcm", "report_pdf.dcm"):
        written = pydicom.dcmread(tmp_path / "dicom" / name)
        assert (written.PatientID, written.StudyDate) == ("77" * 50, "no date!")
        assert written.StudyInstanceUID == series.study_uid


def test_objects_of_a_report_are_series_of_their_own(tmp_path: Path) -> None:
    series = read_series(tmp_path, make_series(block(size=SIZE)))
    write_dicom_objects(tmp_path / "dicom", REPORT, series, random_masks(series.grid), b"%PDF")
    written = [pydicom.dcmread(path) for path in sorted((tmp_path / "dicom").iterdir())]
    assert len({str(one.SeriesInstanceUID) for one in written} | {series.series_uid}) == 4
    assert len({one.SeriesNumber for one in written}) == 3
    assert written[0].SeriesInstanceUID == derived_uid(series, MODEL, EncapsulatedPDFStorage)
    assert {one.Manufacturer for one in written} == {"reg2rg"}


def test_masks_where_nothing_was_scanned_leave_a_report_without_a_segmentation(tmp_path: Path) -> None:
    """A corner of the upright volume that a tilted gantry's slices do not reach."""
    scan = read_dicom(save(tmp_path / "ct", make_series(block(size=SIZE), step=(0.0, 1.6, 2.5))))
    array = np.zeros(scan.volume.grid.size_xyz, np.uint16)
    array[2:5, -2:, 0] = get_region("heart").bit
    masks = RegionMasks(array, scan.volume.affine)
    assert not to_acquired(scan.series, masks).present
    write_dicom_objects(tmp_path / "dicom", REPORT, scan.series, masks, b"%PDF")
    assert sorted(path.name for path in (tmp_path / "dicom").iterdir()) == ["report_pdf.dcm", "report_sr.dcm"]
    assert_valid(tmp_path / "dicom/report_sr.dcm")
    (group,) = srread(tmp_path / "dicom/report_sr.dcm").content.get_image_measurement_groups()
    assert group.tracking_identifier == "heart"
