"""report.pdf: what must be said on each page, letters of all kinds, texts of any length, equal bytes."""

import io
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pypdf
import pytest

from reg2rg.phantom.world import Phantom
from reg2rg.report import DISCLAIMER, ModelSource, RegionReport, Report, Sentence
from reg2rg.results.picture import ReportPictures, draw_report
from reg2rg.results.report_pdf import report_to_pdf
from reg2rg.volume import DicomSeries, Grid

BOX = ((0.0, 0.0, 0.0), (10.0, 20.0, 30.0))


@pytest.fixture(scope="module")
def report() -> Report:
    sentences = (Sentence("A nodule of 4.5 mm <b> & more.", ("Lung nodule",)), Sentence("No effusion.", ()))
    return Report(
        study_id="valid_1_a_1",
        source="/somewhere/secret/valid_1_a_1.nii.gz",
        spacing_mm=(0.75, 0.75, 3.0),
        size_xyz=(10, 11, 12),
        orientation="LPS",
        model=ModelSource("phantom", "4f" * 32, "0.1.0", "Knows phantoms only."),
        regions=(
            RegionReport(0, "lung", "lung", sentences, 4000, BOX, 5, "lung.nii.gz"),
            RegionReport(1, "heart", None, (), 600, BOX, 4, "", ("its volume is <odd>",)),
        ),
        other={"other": "No fracture."},
        warnings=("Odd <scan>.",),
        seconds={"read": 0.25},
    )


@pytest.fixture(scope="module")
def pictures(report: Report, phantom_study: Phantom) -> ReportPictures:
    study = phantom_study.study
    return draw_report(report, study.volume, study.masks)


def pages(pdf: bytes) -> list[str]:
    """The text of each page, with single blanks."""
    return [" ".join(page.extract_text().split()) for page in pypdf.PdfReader(io.BytesIO(pdf)).pages]


def test_it_says_what_the_report_says(report: Report, pictures: ReportPictures) -> None:
    (page,) = pages(report_to_pdf(report, pictures))
    for part in (
        "Report of valid_1_a_1",
        "10 × 11 × 12 voxels at 0.75 × 0.75 × 3 mm, stored LPS",
        "Recognition 1 of 2 regions recognized as what their masks show",
        "Lung nodule (lung)",
        "Odd <scan>.",
        "Lung ✓ recognized",
        "A nodule of 4.5 mm <b> & more. No effusion.",
        "region 5 · 4000 ml · mask from lung.nii.gz",
        "Heart taken for: nothing",
        "The model wrote nothing about this region.",
        "Doubtful mask: its volume is <odd>",
        "other no region No fracture.",
    ):
        assert part in page
    assert "secret" not in page


def test_every_page_says_that_it_is_unverified_and_by_whom(report: Report, pictures: ReportPictures) -> None:
    many = replace(report, warnings=tuple(f"Warning {k}." for k in range(150)))
    texts = pages(report_to_pdf(many, pictures))
    assert len(texts) == 3
    for number, page in enumerate(texts, start=1):
        assert DISCLAIMER in page
        assert "Knows phantoms only." in page
        assert f"page {number} of 3" in page
        assert "reg2rg 0.1.0 · model phantom" in page and f"model SHA-256 {'4f' * 32}" in page


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("naïve Łódź ≤ 3 µm × Ω Жук ✓ ệ", "naïve Łódź ≤ 3 µm × Ω Жук ✓ ệ"),
        ("山 한", "[U+5C71] [U+D55C]"),
        ("a\x00b\ud800c\u202ed🫁", "a[U+0000]b[U+D800]c"),
        ("<para>&nbsp;</para><img src='/etc/passwd'/>", "<para>&nbsp;</para><img src='/etc/passwd'/>"),
    ],
)
def test_letters_come_out_or_their_code_points_do(
    report: Report, pictures: ReportPictures, text: str, printed: str
) -> None:
    everywhere = replace(
        report,
        study_id=text,
        regions=(replace(report.regions[0], sentences=(Sentence(text, (text,)),), mask_source=text),),
        other={text: text},
        warnings=(text,),
    )
    page = " ".join(pages(report_to_pdf(everywhere, pictures)))
    assert page.count(printed) >= 7


@pytest.mark.parametrize("unit", ["word ", "unbroken"])
def test_texts_of_any_length_flow_over_pages(report: Report, pictures: ReportPictures, unit: str) -> None:
    text = unit * 1000
    long = replace(
        report,
        study_id=unit * 30,
        regions=(replace(report.regions[0], sentences=(Sentence(text),), mask_doubts=(text,)), report.regions[1]),
        other={"other": text},
        warnings=(text,),
    )
    header = {"00100020": {"vr": "LO", "Value": [text]}}
    series = DicomSeries("2.25.1", "2.25.2", "2.25.3", (), Grid((1, 1, 1), np.eye(4)), header)
    together = "".join(pages(report_to_pdf(long, pictures, series))).replace(" ", "")
    assert together.count(unit.strip()) >= 5 * 1000 + 30
    assert together.count("takenfor:nothing") == 1


def test_sentences_that_nobody_read_are_not_called_normal(report: Report, pictures: ReportPictures) -> None:
    unread = replace(report.regions[0], sentences=(Sentence("A nodule."),))
    assert "Abnormalities not coded" in pages(report_to_pdf(replace(report, regions=(unread,)), pictures))[0]
    normal = replace(report.regions[0], sentences=(Sentence("Clear.", ()),))
    first, *_ = pages(report_to_pdf(replace(report, regions=(normal,)), pictures))
    assert "Abnormalities none of the 18 stated" in first


def test_abnormalities_of_a_region_that_was_not_recognized_are_marked(report: Report, pictures: ReportPictures) -> None:
    taken = replace(report.regions[0], recognized_as="pleura")
    assert "Lung nodule (lung, not recognized)" in pages(report_to_pdf(replace(report, regions=(taken,)), pictures))[0]


def test_dicom_names_the_study_without_the_patients_name(report: Report, pictures: ReportPictures) -> None:
    header = {
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "DOE^JOHN"}]},
        "00100020": {"vr": "LO", "Value": ["P1"]},
        "00100021": {"vr": "LO", "Value": ["Hospital"]},
        "00080020": {"vr": "DA", "Value": ["20200229"]},
    }
    series = DicomSeries("2.25.1", "2.25.2", "2.25.3", (), Grid((1, 1, 1), np.eye(4)), header)
    (page,) = pages(report_to_pdf(report, pictures, series))
    assert "Patient ID P1 (Hospital) Study date 2020-02-29 Study UID 2.25.1 CT 10" in page
    assert "DOE" not in page and "Accession" not in page


def test_equal_reports_give_equal_bytes(report: Report, pictures: ReportPictures) -> None:
    pdf = report_to_pdf(report, pictures)
    assert report_to_pdf(replace(report, seconds={"read": 9.0}, source="elsewhere"), pictures) == pdf
    assert report_to_pdf(replace(report, warnings=()), pictures) != pdf
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    assert reader.metadata is not None and reader.metadata.creation_date is not None
    assert reader.metadata.creation_date.year == 2000
    assert (reader.metadata.title, reader.metadata.subject) == ("Report of valid_1_a_1", DISCLAIMER)


def test_every_font_in_use_is_embedded(report: Report, pictures: ReportPictures) -> None:
    page = pypdf.PdfReader(io.BytesIO(report_to_pdf(report, pictures))).pages[0]
    contents = page.get_contents()
    assert contents is not None
    used = set(re.findall(rb"(/\S+) \S+ Tf", contents.get_data()))
    assert len(used) >= 2
    for name in used:
        assert "/FontFile2" in page["/Resources"]["/Font"][name.decode()]["/FontDescriptor"]


def test_help_and_reading_need_no_reportlab() -> None:
    code = "import sys, reg2rg.cli, reg2rg.load; reg2rg.cli.main(['models']); assert 'reportlab' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
