"""dicom/report_pdf.dcm: the document as it was, of the right patient and study, accepted by a validator."""

from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from objects import MODEL, assert_valid, read_series
from pydicom.uid import CTImageStorage, EncapsulatedPDFStorage, EnhancedCTImageStorage
from scanner import SERIES, STUDY, block, make_enhanced, make_series

from reg2rg.dicom.derived import write_object
from reg2rg.results.dicom_pdf import encapsulate_pdf
from reg2rg.volume import DicomSeries

PDF = b"%PDF-1.4 odd"


@pytest.fixture
def series(tmp_path: Path) -> DicomSeries:
    datasets = make_series(block())
    for dataset in datasets:
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.PatientName, dataset.PatientSex = "Müller^Jörg", "M"
        dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20200229", "101500", "S1"
    return read_series(tmp_path, datasets)


def written(series: DicomSeries, path: Path, pdf: bytes = PDF) -> pydicom.FileDataset:
    write_object(path, encapsulate_pdf(pdf, series, MODEL))
    return pydicom.dcmread(path)


@pytest.mark.parametrize("pdf", [PDF, PDF + b"!"])
def test_the_document_comes_out_as_it_went_in(series: DicomSeries, tmp_path: Path, pdf: bytes) -> None:
    read = written(series, tmp_path / "report.dcm", pdf)
    assert read.SOPClassUID == EncapsulatedPDFStorage
    assert len(read.EncapsulatedDocument) % 2 == 0
    assert read.EncapsulatedDocument[: read.EncapsulatedDocumentLength] == pdf


def test_it_belongs_to_the_patient_the_study_and_the_slices(series: DicomSeries, tmp_path: Path) -> None:
    read = written(series, tmp_path / "report.dcm")
    assert (str(read.PatientName), read.PatientID, read.StudyDate) == ("Müller^Jörg", "DOE^JOHN", "20200229")
    assert read.StudyInstanceUID == STUDY
    sources = [(str(s.ReferencedSOPClassUID), str(s.ReferencedSOPInstanceUID)) for s in read.SourceInstanceSequence]
    assert sorted(sources) == [(CTImageStorage, f"{SERIES}.{k + 1}") for k in range(7)]
    assert (read.VerificationFlag, read.BurnedInAnnotation, read.Modality) == ("UNVERIFIED", "YES", "DOC")
    assert (read.ConceptNameCodeSequence[0].CodeValue, "unverified" in read.DocumentTitle) == ("24627-2", True)


def test_a_multi_frame_object_is_one_source(tmp_path: Path) -> None:
    enhanced = read_series(tmp_path, [make_enhanced(make_series(block()))])
    read = written(enhanced, tmp_path / "report.dcm")
    assert [s.ReferencedSOPClassUID for s in read.SourceInstanceSequence] == [EnhancedCTImageStorage]


def test_the_same_report_is_the_same_object(series: DicomSeries, tmp_path: Path) -> None:
    first, second = written(series, tmp_path / "1.dcm"), written(series, tmp_path / "2.dcm", PDF + b"!")
    written(series, tmp_path / "3.dcm")
    assert (tmp_path / "1.dcm").read_bytes() == (tmp_path / "3.dcm").read_bytes()
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID == second.SeriesInstanceUID != SERIES


@pytest.mark.parametrize("header", ["whole", "empty"])
def test_a_validator_accepts_it(series: DicomSeries, tmp_path: Path, header: str) -> None:
    written(series if header == "whole" else replace(series, header={}), tmp_path / "report.dcm")
    assert_valid(tmp_path / "report.dcm")
