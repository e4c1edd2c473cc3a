"""The folder dicom/: whatever the header holds, all objects are written, and nothing of it is told."""

import logging
import warnings
from pathlib import Path

import pydicom
import pytest
from objects import MODEL, SIZE, random_masks, read_series
from pydicom.uid import EncapsulatedPDFStorage
from scanner import block, make_series

from reg2rg.dicom.derived import derived_uid
from reg2rg.report import RegionReport, Report, Sentence
from reg2rg.results.dicom_objects import write_dicom_objects
from reg2rg.volume import DicomSeries

BOX = ((0.0, 0.0, 0.0), (10.0, 20.0, 30.0))
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
