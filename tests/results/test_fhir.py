"""fhir.json: valid R4, every reference leads to a resource, and it says what the report says.

The models of fhir.resources are of R4B, in which the resources used here are as in R4 (HL7, "R4B explanation").
"""

import base64
import hashlib
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from fhir.resources.R4B.bundle import Bundle

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.regions import REGION_NAMES
from reg2rg.report import DISCLAIMER, ModelSource, RegionReport, Report, Sentence
from reg2rg.results.fhir import report_to_fhir
from reg2rg.volume import DicomSeries, DicomSlice, Grid

BOX = ((0.0, 0.0, 0.0), (10.0, 20.0, 30.0))
PDF = b"%PDF-1.4 not really"
XHTML = "{http://www.w3.org/1999/xhtml}"
Json = dict[str, Any]


def region(index: int, name: str, **more: Any) -> RegionReport:
    sentences = (Sentence(f"Text on <{name}> & more.", ()),)
    whole = {"recognized_as": name, "sentences": sentences, "volume_ml": 4000.1234, "mask_source": "x"}
    return RegionReport(**{"index": index, "name": name, "box_mm": BOX, "label": index, **whole, **more})


@pytest.fixture
def report() -> Report:
    nodule = (Sentence("A nodule.", ("Lung nodule", "Lung opacity")), Sentence("Another.", ("Lung nodule",)))
    return Report(
        study_id="study & co",
        source="/somewhere/secret/ct.nii.gz",
        spacing_mm=(1.5, 1.5, 3.0),
        size_xyz=(10, 11, 12),
        orientation="LPS",
        model=ModelSource("phantom", "a" * 64, "0.1.0", "Knows phantoms only."),
        regions=(
            region(0, "lung", sentences=nodule, recognized_as="pleura"),
            region(1, "heart", sentences=(), recognized_as=None, mask_doubts=("its volume is <odd>",)),
        ),
        other={"other": "No fracture."},
        warnings=("Odd <scan>.",),
        seconds={"read": 0.25},
    )


@pytest.fixture
def series() -> DicomSeries:
    header = {
        "00100020": {"vr": "LO", "Value": ["P1"]},
        "00100021": {"vr": "LO", "Value": ["Hospital"]},
        "00080050": {"vr": "SH", "Value": ["A1"]},
        "00080020": {"vr": "DA", "Value": ["20200229"]},
        "00081030": {"vr": "LO", "Value": ["Thorax"]},
    }
    slices = tuple(DicomSlice("1.2.840.10008.5.1.4.1.1.2", f"2.25.9.{k}", 0, (0.0, 0.0, 2.0 * k)) for k in range(3))
    return DicomSeries("2.25.1", "2.25.2", "2.25.3", slices, Grid((1, 1, 3), np.eye(4)), header)


def resources(bundle: Json, kind: str) -> list[Json]:
    return [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == kind]


def walk(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in a resource with the name of its element."""
    yield key, value
    if isinstance(value, dict):
        for name, part in value.items():
            yield from walk(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from walk(part, key)


def check(bundle: Json) -> None:
    """What HL7's definitions ask for, in words and invariants."""
    Bundle.model_validate(bundle)
    full_urls = [entry["fullUrl"] for entry in bundle["entry"]]
    assert len(set(full_urls)) == len(full_urls)  # bdl-7
    kinds = {}
    for entry in bundle["entry"]:
        resource = entry["resource"]
        assert entry["fullUrl"] == f"urn:uuid:{UUID(resource['id'])}"
        kinds[entry["fullUrl"]] = resource["resourceType"]
        assert resource["text"]["status"] == "generated"  # dom-6: a narrative, for people
        narrative = ElementTree.fromstring(resource["text"]["div"])
        assert narrative.tag == f"{XHTML}div"
        assert {node.tag for node in narrative.iter()} <= {f"{XHTML}{tag}" for tag in ("div", "p", "b")}  # txt-1
        assert "".join(narrative.itertext()).strip()  # txt-2
    for key, value in walk(bundle):
        assert value not in ("", [], {}, None), key  # ele-1
        if key == "id":
            assert re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", value)
        if key == "reference":
            assert value in kinds
        if isinstance(value, dict) and "reference" in value:
            assert value["type"] == kinds[value["reference"]]
        if isinstance(value, str):
            assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]", value) and value == value.strip()
    for observation in resources(bundle, "Observation"):
        assert ("dataAbsentReason" in observation) != ("valueString" in observation)  # obs-6
        own = {(coding["system"], coding["code"]) for coding in observation["code"]["coding"]}
        for component in observation.get("component", []):  # obs-7
            assert not own & {(coding["system"], coding["code"]) for coding in component["code"]["coding"]}


def test_it_says_what_the_report_says(report: Report, series: DicomSeries) -> None:
    bundle = report_to_fhir(report, PDF, series)
    check(bundle)
    (diagnostic,) = resources(bundle, "DiagnosticReport")
    assert diagnostic["status"] == "preliminary"
    assert diagnostic["code"]["coding"] == [{"system": "http://loinc.org", "code": "24627-2"}]
    assert diagnostic["category"][0]["coding"][0]["code"] == "RAD"
    assert diagnostic["conclusion"] == report.text == "A nodule. Another. No fracture."
    for part in (DISCLAIMER, "Knows phantoms only.", "Odd &lt;scan&gt;.", "study &amp; co"):
        assert part in diagnostic["text"]["div"]
    lung, heart, other = resources(bundle, "Observation")
    assert [r["reference"] for r in diagnostic["result"]] == [f"urn:uuid:{o['id']}" for o in (lung, heart, other)]
    assert lung["valueString"] == "A nodule. Another."
    assert lung["bodySite"] == {"coding": [{"system": "http://snomed.info/sct", "code": "39607008"}], "text": "lung"}
    volume, nodule, opacity = lung["component"]
    assert volume["valueQuantity"] == {
        "value": 4000.123, "unit": "mL", "system": "http://unitsofmeasure.org", "code": "mL",
    }  # fmt: skip
    assert (nodule["code"]["text"], opacity["code"]["text"]) == ("Lung nodule", "Lung opacity")
    assert nodule["valueCodeableConcept"]["coding"][0]["code"] == "52101004"
    assert [note["text"] for note in lung["note"]] == [DISCLAIMER, "The model took this region for: pleura."]
    assert heart["dataAbsentReason"]["coding"][0]["code"] == "unknown"
    assert heart["note"][1]["text"] == "Doubtful mask: its volume is <odd>."
    assert (other["valueString"], other["code"]["text"]) == ("No fracture.", "Findings: other")
    assert "secret" not in str(bundle)


def test_only_of_recognized_regions_are_codes_concluded(report: Report) -> None:
    lung, heart = report.regions
    (diagnostic,) = resources(report_to_fhir(report, PDF), "DiagnosticReport")
    assert "conclusionCode" not in diagnostic, "taken for the pleura, of which the text may speak"
    recognized = replace(report, regions=(replace(lung, recognized_as="lung"), heart))
    (diagnostic,) = resources(report_to_fhir(recognized, PDF), "DiagnosticReport")
    assert [concept["text"] for concept in diagnostic["conclusionCode"]] == ["Lung nodule", "Lung opacity"]
    nameless = replace(report, regions=(replace(lung, recognized_as=None), heart))
    observation = resources(report_to_fhir(nameless, PDF), "Observation")[0]
    assert observation["note"][1]["text"] == "The model took this region for: nothing."


def test_the_program_and_its_model_are_named(report: Report) -> None:
    (device,) = resources(report_to_fhir(report, PDF), "Device")
    assert [version["value"] for version in device["version"]] == ["0.1.0", "a" * 64]
    assert [note["text"] for note in device["note"]] == [DISCLAIMER, "Knows phantoms only."]
    bundle = report_to_fhir(replace(report, model=replace(report.model, notice="")), PDF)
    check(bundle)


def test_the_document_is_inside(report: Report) -> None:
    (form,) = resources(report_to_fhir(report, PDF), "DiagnosticReport")[0]["presentedForm"]
    assert base64.b64decode(form["data"]) == PDF
    assert (form["contentType"], form["size"]) == ("application/pdf", len(PDF))
    assert base64.b64decode(form["hash"]) == hashlib.sha1(PDF).digest()


def test_dicom_is_referred_to_by_its_identifiers(report: Report, series: DicomSeries) -> None:
    bundle = report_to_fhir(report, PDF, series)
    (study,) = resources(bundle, "ImagingStudy")
    assert study["identifier"][0] == {"system": "urn:dicom:uid", "value": "urn:oid:2.25.1"}
    assert study["identifier"][1]["value"] == "A1"
    assert (study["started"], study["description"]) == ("2020-02-29", "Thorax")
    assert (study["series"][0]["uid"], study["series"][0]["numberOfInstances"]) == ("2.25.2", 3)
    patient = {"type": "Patient", "identifier": {"value": "P1", "assigner": {"display": "Hospital"}}}
    observed = [*resources(bundle, "Observation"), *resources(bundle, "DiagnosticReport")]
    assert all(resource["subject"] == patient for resource in (study, *observed))
    assert all(resource["effectiveDateTime"] == "2020-02-29" for resource in observed)
    assert resources(bundle, "Patient") == []


def test_without_dicom_there_is_no_study_and_no_patient(report: Report) -> None:
    bundle = report_to_fhir(report, PDF)
    check(bundle)
    assert resources(bundle, "ImagingStudy") == []
    assert not any(key == "subject" for key, _ in walk(bundle))


@pytest.mark.parametrize("study_uid", ["2.25.1", "", "1.02.3", "9.9", "text"])
def test_headers_that_say_nothing_or_nonsense(report: Report, series: DicomSeries, study_uid: str) -> None:
    nonsense = {"00080020": {"vr": "DA", "Value": ["no date!"]}, "00100020": {"vr": "LO", "Value": [" \x07"]}}
    for header in ({}, {"00100020": {"vr": "LO"}}, nonsense):
        bundle = report_to_fhir(report, PDF, replace(series, study_uid=study_uid, series_uid="", header=header))
        check(bundle)
        assert len(resources(bundle, "ImagingStudy")) == (study_uid == "2.25.1")
        assert not any(key in ("started", "effectiveDateTime") for key, _ in walk(bundle))


def test_every_region_and_abnormality_has_its_code(report: Report) -> None:
    stated = (Sentence("Everything.", ABNORMALITY_NAMES),)
    regions = tuple(region(k, name, sentences=stated) for k, name in enumerate(REGION_NAMES))
    bundle = report_to_fhir(replace(report, regions=regions), PDF)
    check(bundle)
    observations = resources(bundle, "Observation")[:-1]
    assert len({str(observation["bodySite"]["coding"]) for observation in observations}) == len(REGION_NAMES)
    assert all(len(observation["component"]) == 1 + len(ABNORMALITY_NAMES) for observation in observations)


def test_texts_of_any_kind_are_valid(report: Report, series: DicomSeries) -> None:
    odd = " \x00<script>alert('1')</script>\ud800 ]]> &amp; \u202e 山 "
    bundle = report_to_fhir(
        replace(
            report,
            study_id=odd,
            regions=(region(0, "lung", sentences=(Sentence(odd),), recognized_as=odd, mask_doubts=(odd,)),),
            other={odd: odd, "nothing": " "},
            warnings=(odd, ""),
            model=ModelSource(odd, "a" * 64, "0.1.0", odd),
        ),
        PDF,
        replace(series, header={tag: {"vr": "LO", "Value": [odd]} for tag in series.header}),
    )
    check(bundle)
    assert "<script>" not in "".join(str(value) for key, value in walk(bundle) if key == "div")


def test_equal_reports_give_equal_bundles(report: Report, series: DicomSeries) -> None:
    bundle = report_to_fhir(report, PDF, series)
    assert report_to_fhir(replace(report, seconds={}, source="elsewhere"), PDF, series) == bundle
    ids = {entry["fullUrl"] for entry in bundle["entry"]}
    for other in (
        report_to_fhir(replace(report, warnings=()), PDF, series),
        report_to_fhir(report, PDF, replace(series, series_uid="2.25.7")),
        report_to_fhir(replace(report, model=replace(report.model, sha256="b" * 64)), PDF, series),
    ):
        assert not ids & {entry["fullUrl"] for entry in other["entry"]}
