"""What an object that is derived from a series takes over from it."""

from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import EncapsulatedPDFStorage, SegmentationStorage
from scanner import SERIES, STUDY, block, make_series, save

from reg2rg.dicom.derived import can_be_referred_to, derive_object, derived_uid, write_object
from reg2rg.dicom.read import read_dicom
from reg2rg.report import ModelSource
from reg2rg.volume import DicomSeries

MODEL = ModelSource("phantom", "a" * 64, "0.1.0")


def read_series(folder: Path, **header: object) -> DicomSeries:
    """The record of a series whose slices all have these values."""
    datasets = make_series(block())
    for dataset in datasets:
        for keyword, value in header.items():
            setattr(dataset, keyword, value)
    return read_dicom(save(folder / "ct", datasets)).series


def written(series: DicomSeries, path: Path, content: bytes = b"content") -> pydicom.FileDataset:
    write_object(path, derive_object(series, MODEL, EncapsulatedPDFStorage, content))
    return pydicom.dcmread(path)


def test_patient_and_study_are_the_sources(tmp_path: Path) -> None:
    series = read_series(
        tmp_path,
        SpecificCharacterSet=["", "ISO 2022 IR 87"],
        PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう",
        StudyDate="20200229",
        AccessionNumber="A1",
        PatientWeight="70.5",
        InstitutionName="not taken over",
    )
    derived = written(series, tmp_path / "derived.dcm")
    assert str(derived.PatientName) == "Yamada^Tarou=山田^太郎=やまだ^たろう"
    assert (derived.PatientID, derived.PatientBirthDate, derived.PatientSex) == ("DOE^JOHN", "19700101", "")
    assert (derived.StudyDate, derived.AccessionNumber, derived.PatientWeight) == ("20200229", "A1", 70.5)
    assert (derived.StudyInstanceUID, derived.StudyTime) == (STUDY, "")
    assert "InstitutionName" not in derived and "Rows" not in derived
    assert (derived.Manufacturer, derived.SoftwareVersions, derived.DeviceSerialNumber) == ("reg2rg", "0.1.0", "a" * 64)


def test_equal_input_gives_equal_bytes_and_anything_else_another_object(tmp_path: Path) -> None:
    series = read_series(tmp_path)
    first, second = written(series, tmp_path / "1.dcm"), written(series, tmp_path / "2.dcm")
    assert (tmp_path / "1.dcm").read_bytes() == (tmp_path / "2.dcm").read_bytes()
    other = written(series, tmp_path / "3.dcm", b"another content")
    assert first.SeriesInstanceUID == second.SeriesInstanceUID == other.SeriesInstanceUID
    assert first.SOPInstanceUID == second.SOPInstanceUID != other.SOPInstanceUID
    uids = {
        derived_uid(series, MODEL, SegmentationStorage),
        derived_uid(series, MODEL, EncapsulatedPDFStorage),
        derived_uid(series, replace(MODEL, sha256="b" * 64), EncapsulatedPDFStorage),
        derived_uid(series, replace(MODEL, version="0.2.0"), EncapsulatedPDFStorage),
        derived_uid(replace(series, series_uid="2.25.3"), MODEL, EncapsulatedPDFStorage),
    }
    assert len(uids) == 5 and SERIES not in uids
    assert all(uid.startswith("2.25.") and len(uid) <= 64 for uid in uids)


@pytest.mark.parametrize(("keyword", "raw"), [("PatientWeight", b"heavy "), ("PatientAge", b"\xff\xff\xff\xff")])
def test_senseless_values_do_not_stop_a_report(tmp_path: Path, keyword: str, raw: bytes) -> None:
    datasets = make_series(block())
    for dataset in datasets:
        setattr(dataset, keyword, "123.45" if keyword == "PatientWeight" else "012Y")
    folder = save(tmp_path / "ct", datasets)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes().replace(b"123.45", raw).replace(b"012Y", raw))
    derived = written(read_dicom(folder).series, tmp_path / "derived.dcm")
    assert derived.PatientID == "DOE^JOHN"
    assert keyword == "PatientAge" or keyword not in derived


def test_a_series_without_uids_cannot_be_referred_to(tmp_path: Path) -> None:
    series = read_series(tmp_path)
    assert can_be_referred_to(series)
    assert not can_be_referred_to(replace(series, study_uid=""))
    for uid in ("1.2.x", "1..2", ".", "1." + "2" * 63, "1.2\n"):
        assert not can_be_referred_to(replace(series, series_uid=uid))
    assert not can_be_referred_to(replace(series, slices=(replace(series.slices[0], sop_instance_uid=""),)))
    assert not can_be_referred_to(replace(series, slices=(replace(series.slices[0], sop_class_uid=""),)))


def test_a_models_name_is_written_in_plain_letters(tmp_path: Path) -> None:
    model = replace(MODEL, name="моё\\" + "x" * 80)
    derived = derive_object(read_series(tmp_path), model, EncapsulatedPDFStorage, b"")
    assert derived.ManufacturerModelName == "????" + "x" * 60
