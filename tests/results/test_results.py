"""Every output of a report, from one report with everything odd in it."""

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pydicom
import pytest
from PIL import Image

from reg2rg.dicom.read import read_dicom
from reg2rg.geometry import reorient
from reg2rg.intensity import SOFT_TISSUE_WINDOW
from reg2rg.nifti import read_region_masks
from reg2rg.phantom.dicom import write_dicom_series
from reg2rg.phantom.world import Phantom
from reg2rg.regions import get_region
from reg2rg.report import DISCLAIMER, ModelSource, RegionReport, Report, Sentence, split_sentences
from reg2rg.results.folder import RESULT_FILES, Results, write_results
from reg2rg.results.picture import center_index, draw_report, slice_picture, to_data_url
from reg2rg.results.report_html import report_to_html
from reg2rg.results.report_json import report_schema, report_to_json
from reg2rg.results.report_markdown import report_to_markdown
from reg2rg.results.report_text import report_to_text
from reg2rg.volume import RegionMasks, Volume

BOX = ((0.0, 0.0, 0.0), (10.0, 20.0, 30.0))


@pytest.fixture
def report() -> Report:
    lung = RegionReport(
        0,
        "lung",
        "pleura",
        (Sentence("A nodule of 4.5 mm <b>.", ("Lung nodule",)), Sentence("Clear.", ())),
        4000,
        BOX,
        5,
    )
    heart = RegionReport(1, "heart", None, (), 600, BOX, 4, "heart.nii.gz", ("its volume is <odd>",))
    return Report(
        study_id="study & co",
        source="ct.nii.gz",
        spacing_mm=(1.5, 1.5, 3.0),
        size_xyz=(10, 11, 12),
        orientation="LPS",
        model=ModelSource("phantom", "a" * 64, "0.1.0", "Knows phantoms only."),
        regions=(lung, heart),
        other={"other": "No fracture."},
        generated="The region 0 is pleura: ...",
        warnings=("Odd <scan>.",),
        seconds={"read": 0.25},
    )


def test_json_keeps_to_its_schema(report: Report) -> None:
    value = report_to_json(report)
    schema = report_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(value, schema)
    assert value["regions"][0]["recognized_as"] == "pleura"
    assert value["regions"][0]["agrees"] is False
    assert [region["mask_doubts"] for region in value["regions"]] == [[], ["its volume is <odd>"]]
    for region in value["regions"]:
        del region["mask_doubts"]
    jsonschema.validate(value, schema)  # reports of earlier versions do not have it
    assert value["regions"][0]["sentences"][0]["abnormalities"] == ["Lung nodule"]
    assert value["report"] == "A nodule of 4.5 mm <b>. Clear. No fracture."
    assert value["recognition_accuracy"] == 0
    for key in schema["required"]:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({name: part for name, part in value.items() if name != key}, schema)


@pytest.mark.parametrize("write", [report_to_markdown, lambda report: " ".join(report_to_text(report, 200).split())])
def test_texts_say_what_must_be_said(report: Report, write) -> None:  # type: ignore[no-untyped-def]
    text = write(report)
    for part in (DISCLAIMER, "Knows phantoms only.", "A nodule of 4.5 mm", "pleura", "No fracture.", "Odd <scan>."):
        assert part in text
    assert "nothing" in text


def test_page_is_self_contained_and_escaped(report: Report, phantom_study: Phantom) -> None:
    study = phantom_study.study
    page = report_to_html(report, draw_report(report, study.volume, study.masks))
    assert DISCLAIMER in page
    assert "study &amp; co" in page
    assert "Odd &lt;scan&gt;." in page
    assert "4.5 mm &lt;b&gt;." in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert page.count("<img") == 2 * 3
    assert page.count('class="sentence abnormal"') == 1
    assert "taken for: pleura" in page
    assert page.count('class="doubtful"') == 2 and "Doubtful mask: its volume is &lt;odd&gt;" in page


def test_a_doubtful_mask_is_marked(report: Report) -> None:
    assert "**Doubtful mask:** its volume is <odd>" in report_to_markdown(report)
    assert re.findall(r"^(\w+).*\[doubtful mask\]$", report_to_text(report), re.MULTILINE) == ["heart"]


def test_pictures_hang_in_radiological_convention() -> None:
    """A bright voxel at the patient's left front top appears right, up, up."""
    array = np.full((20, 20, 20), -1000, np.int16)
    array[2, 17, 17] = 1000  # left (x grows to the right), anterior, superior
    volume = Volume(array, np.eye(4))
    masks = RegionMasks(np.zeros(array.shape, np.uint16), np.eye(4))
    spots = {}
    for plane, index in (("axial", 17), ("coronal", 17), ("sagittal", 2)):
        picture = np.asarray(
            slice_picture(volume, masks, plane, index, (), SOFT_TISSUE_WINDOW, 200).convert("L")
        ).copy()
        picture[90:120, :16] = picture[90:120, -16:] = 0  # the letters at the sides
        row, column = np.unravel_index(picture.argmax(), picture.shape)
        spots[plane] = (row < 100, column < 100)
    assert spots == {"axial": (True, False), "coronal": (True, False), "sagittal": (True, True)}


def test_a_region_that_the_scan_cuts_off_is_not_shown_in_its_last_slice() -> None:
    bits = np.zeros((9, 9, 20), np.uint16)
    for z in range(10):  # wider and wider down to the scan's end, as the abdomen is
        bits[: 9 - z // 5, :, z] = 1 << get_region("abdomen").index
    bits[4, 4, 12:15] = 1 << get_region("heart").index
    masks = RegionMasks(np.asfortranarray(bits), np.eye(4))
    assert center_index(masks, "abdomen") == (4, 4, 4)
    assert center_index(masks, "heart") == (4, 4, 13)


def test_pictures_keep_millimetre_proportions_and_show_outlines(phantom_study: Phantom) -> None:
    study = phantom_study.study
    _, y, _ = center_index(study.masks, "heart")
    picture = slice_picture(study.volume, study.masks, "coronal", y, ("heart",), SOFT_TISSUE_WINDOW, 300)
    size, spacing = study.volume.grid.size_xyz, study.volume.grid.spacing_mm
    assert picture.width / picture.height == pytest.approx(size[0] * spacing[0] / (size[2] * spacing[2]), rel=0.01)
    assert (np.asarray(picture) == get_region("heart").color_rgb).all(axis=-1).sum() > 50
    url = to_data_url(picture)
    assert Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).size == picture.size


def test_folder_is_whole_and_masks_come_back(report: Report, phantom_study: Phantom, tmp_path: Path) -> None:
    study = phantom_study.study
    write_results(tmp_path, Results(report, study, study.masks, {"command": "report"}))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(RESULT_FILES)
    assert json.loads((tmp_path / "report.json").read_text()) == report_to_json(report)
    masks = read_region_masks(tmp_path / "regions.nii.gz")
    assert masks is not None
    np.testing.assert_array_equal(masks.array, study.masks.array)


def test_a_study_of_dicom_leaves_dicom(report: Report, phantom_study: Phantom, tmp_path: Path) -> None:
    write_dicom_series(tmp_path / "ct", reorient(phantom_study.study.volume, "LPS"), 3, "patient-77")
    study = replace(phantom_study.study, series=read_dicom(tmp_path / "ct").series)
    out = tmp_path / "out"
    out.mkdir()
    write_results(out, Results(report, study, reorient(study.masks, "LPS"), {"command": "report"}))
    assert {path.name for path in (out / "dicom").iterdir()} == {"segmentation.dcm", "report_sr.dcm", "report_pdf.dcm"}
    pdf = (out / "report.pdf").read_bytes()
    encapsulated = pydicom.dcmread(out / "dicom/report_pdf.dcm")
    assert encapsulated.EncapsulatedDocument[: encapsulated.EncapsulatedDocumentLength] == pdf
    bundle = json.loads((out / "fhir.json").read_text("utf-8"))
    diagnostic = bundle["entry"][0]["resource"]
    assert base64.b64decode(diagnostic["presentedForm"][0]["data"]) == pdf
    assert diagnostic["subject"]["identifier"]["value"] == "patient-77"
    for name in ("report.html", "report.md", "report.json", "run.json"):
        assert "patient-77" not in (out / name).read_text("utf-8")


def test_report_properties(report: Report) -> None:
    assert not report.regions[1].agrees
    right = replace(report.regions[0], recognized_as="lung")
    assert replace(report, regions=(right, report.regions[1])).recognition_accuracy == 0.5
    assert split_sentences(" One.  Two? Three! 4.5 mm. ") == ("One.", "Two?", "Three!", "4.5 mm.")
    assert split_sentences("") == ()
