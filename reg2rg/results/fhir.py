"""``fhir.json``: the report as a FHIR R4 (4.0.1) Bundle that stands alone: all references lead into it, report.pdf too.

A DiagnosticReport with one Observation per region, the Device that wrote it, and, of DICOM, the ImagingStudy; all are
preliminary. Codes carry no ``display``, which must be one of the code system's own phrases, but ``text`` with the
program's names. There is no time in it: the same report gives the same resources.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from datetime import date
from html import escape
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from reg2rg.codes import CHEST_CT_REPORT, FINDINGS, PRESENT, VOLUME, Code, abnormality_code, region_code
from reg2rg.dicom.identity import StudyIdentity, identify
from reg2rg.report import DISCLAIMER, ModelSource, RegionReport, Report
from reg2rg.results.report_json import report_to_json
from reg2rg.volume import DicomSeries

Json = dict[str, Any]

_SYSTEMS = {
    "SCT": "http://snomed.info/sct",
    "LN": "http://loinc.org",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
}
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"
_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
_MAX_OID = 64  # characters of a UID (PS3.5, section 9.1)
# What neither a FHIR string nor XHTML may hold: controls and lone surrogates (XML 1.0, section 2.2).
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def report_to_fhir(report: Report, pdf: bytes, series: DicomSeries | None = None) -> Json:
    """The Bundle.

    Args:
        report: the report.
        pdf: the same as a document.
        series: the DICOM objects it was made from; None if there are none.
    """
    said = report_to_json(report)
    del said["seconds"], said["study"]["source"]
    names = _Names(json.dumps([said, series.series_uid if series else None], sort_keys=True))
    identity = identify(series) if series else None
    device = _device(names, report.model)
    study = _imaging_study(names, series, identity) if series and identity and _is_oid(series.study_uid) else None
    context = _context(identity, device, study)
    observations = [
        *(_observe(names, region, context) for region in report.regions),
        *(_observe_other(names, k, title, text, context) for k, (title, text) in enumerate(report.other.items())),
    ]
    resources = [
        _diagnostic_report(names, report, pdf, context, study, observations),
        *observations,
        *([study] if study else []),
        device,
    ]
    return {
        "resourceType": "Bundle",
        "id": names.id_of("bundle"),
        "type": "collection",
        "entry": [{"fullUrl": f"urn:uuid:{resource['id']}", "resource": resource} for resource in resources],
    }


class _Names:
    """Identifiers that follow from what a report says (UUIDs of version 5, RFC 9562)."""

    def __init__(self, seed: str) -> None:
        self.seed = hashlib.sha256(seed.encode("utf-8", "surrogatepass")).hexdigest()

    def id_of(self, role: str) -> str:
        """The identifier of the resource with this role."""
        return str(uuid5(NAMESPACE_OID, f"{self.seed} {role}"))


def _diagnostic_report(
    names: _Names, report: Report, pdf: bytes, context: Json, study: Json | None, observations: list[Json]
) -> Json:
    # A text about a region that was taken for another may be about that one: its codes stay with its observation.
    stated = [name for region in report.regions if region.agrees for name in _stated(region)]
    said = [DISCLAIMER, report.model.notice, *report.warnings, report.text]
    resource: Json = {
        "resourceType": "DiagnosticReport",
        "id": names.id_of("report"),
        "text": _narrative(f"Report of {report.study_id}", said),
        "status": "preliminary",
        "category": [_concept("Radiology", {"system": f"{_TERMINOLOGY}v2-0074", "code": "RAD"})],
        "code": _coded(CHEST_CT_REPORT, "Chest CT report"),
        **{key: value for key, value in context.items() if key in ("subject", "effectiveDateTime")},
        "result": [_reference(observation) for observation in observations],
        "conclusion": _text(report.text),
        "conclusionCode": [_coded(abnormality_code(name), name) for name in dict.fromkeys(stated)],
        "presentedForm": [
            {
                "contentType": "application/pdf",
                "data": _base64(pdf),
                "size": len(pdf),
                "hash": _base64(hashlib.sha1(pdf, usedforsecurity=False).digest()),
                "title": "report.pdf",
            }
        ],
    }
    if study:
        resource["imagingStudy"] = [_reference(study)]
    return _without_empty(resource)


def _observe(names: _Names, region: RegionReport, context: Json) -> Json:
    """What is said about a region, and how large it is."""
    notes = [DISCLAIMER]
    if region.text and not region.agrees:
        notes.append(f"The model took this region for: {region.taken_for}.")
    notes += [f"Doubtful mask: {doubt}." for doubt in region.mask_doubts]
    volume = {
        "value": round(region.volume_ml, 3),
        "unit": "mL",
        "system": "http://unitsofmeasure.org",
        "code": "mL",
    }
    present = _coded(PRESENT, "Present")
    return _without_empty(
        {
            **_observation(names.id_of(f"region {region.name}"), region.name, region.text, notes, context),
            "bodySite": _coded(region_code(region.name), region.name),
            "component": [
                {"code": _coded(VOLUME, "Volume of the mask"), "valueQuantity": volume},
                *(
                    {"code": _coded(abnormality_code(name), name), "valueCodeableConcept": present}
                    for name in _stated(region)
                ),
            ],
        }
    )


def _observe_other(names: _Names, index: int, title: str, text: str, context: Json) -> Json:
    """Text that belongs to no region."""
    return _without_empty(_observation(names.id_of(f"other {index}"), title, text, [DISCLAIMER], context))


def _observation(identifier: str, title: str, text: str, notes: list[str], context: Json) -> Json:
    silent = "The model wrote nothing about this region."
    said: Json = {"valueString": _text(text)}
    if not _text(text):
        unknown = {"system": f"{_TERMINOLOGY}data-absent-reason", "code": "unknown"}
        said = {"dataAbsentReason": _concept(silent, unknown)}
    return {
        "resourceType": "Observation",
        "id": identifier,
        "text": _narrative(title, [text or silent, *notes]),
        "status": "preliminary",
        "category": [_concept("Imaging", {"system": f"{_TERMINOLOGY}observation-category", "code": "imaging"})],
        "code": _coded(FINDINGS, f"Findings: {title}"),
        **context,
        **said,
        "note": [{"text": _text(note)} for note in notes],
    }


def _imaging_study(names: _Names, series: DicomSeries, identity: StudyIdentity) -> Json:
    """The study with the one series that was read."""
    identifiers: list[Json] = [{"system": "urn:dicom:uid", "value": f"urn:oid:{series.study_uid}"}]
    if accession := _text(identity.accession_number):
        kind = _concept("Accession number", {"system": f"{_TERMINOLOGY}v2-0203", "code": "ACSN"})
        identifiers.append({"type": kind, "value": accession})
    ct = {"system": _SYSTEMS["DCM"], "code": "CT"}
    read = {"uid": series.series_uid, "modality": ct, "numberOfInstances": len(_objects(series))}
    return _without_empty(
        {
            "resourceType": "ImagingStudy",
            "id": names.id_of("study"),
            "text": _narrative("CT", [f"Study {series.study_uid}, series {series.series_uid}."]),
            "identifier": identifiers,
            "status": "available",
            "modality": [ct],
            "subject": _subject(identity) or {"type": "Patient", "display": "not stated in the DICOM header"},
            "started": _date(identity.study_date),
            "description": _text(identity.study_description),
            "series": [read] if _is_oid(series.series_uid) else [],
        }
    )


def _device(names: _Names, model: ModelSource) -> Json:
    return _without_empty(
        {
            "resourceType": "Device",
            "id": names.id_of("device"),
            "text": _narrative(f"reg2rg {model.version}, model {model.short_name}", [DISCLAIMER, model.notice]),
            "status": "active",
            "manufacturer": "reg2rg",
            "serialNumber": _text(model.sha256),
            "deviceName": [{"name": _text(model.short_name), "type": "model-name"}],
            "type": {"text": "Software that writes a report of a chest CT"},
            "version": [
                {"type": {"text": "program"}, "value": _text(model.version)},
                {"type": {"text": "SHA-256 of the model's weights"}, "value": _text(model.sha256)},
            ],
            "note": [{"text": _text(note)} for note in (DISCLAIMER, model.notice) if note],
        }
    )


def _context(identity: StudyIdentity | None, device: Json, study: Json | None) -> Json:
    """Of whom, when, by what and from what all observations are."""
    return _without_empty(
        {
            "subject": _subject(identity) if identity else {},
            "effectiveDateTime": _date(identity.study_date) if identity else "",
            "device": _reference(device),
            "derivedFrom": [_reference(study)] if study else [],
        }
    )


def _subject(identity: StudyIdentity) -> Json:
    """The patient by the ID that the hospital gave; there is no resource of the patient in the Bundle."""
    if not _text(identity.patient_id):
        return {}
    identifier: Json = {"value": _text(identity.patient_id)}
    if _text(identity.issuer):
        identifier["assigner"] = {"display": _text(identity.issuer)}
    return {"type": "Patient", "identifier": identifier}


def _stated(region: RegionReport) -> tuple[str, ...]:
    """Abnormalities that the region's sentences state as present, each once."""
    return tuple(dict.fromkeys(name for sentence in region.sentences for name in sentence.abnormalities or ()))


def _objects(series: DicomSeries) -> set[str]:
    return {slice_.sop_instance_uid for slice_ in series.slices}


def _is_oid(uid: str) -> bool:
    return len(uid) <= _MAX_OID and _OID.fullmatch(uid) is not None


def _date(dicom_date: str) -> str:
    """A date as FHIR writes it; empty for what is no date.

    >>> _date("20200229"), _date("20200230")
    ('2020-02-29', '')
    """
    try:
        year, month, day = int(dicom_date[:4]), int(dicom_date[4:6]), int(dicom_date[6:8])
        return date(year, month, day).isoformat() if len(dicom_date) == 8 else ""
    except ValueError:
        return ""


def _coded(code: Code, text: str) -> Json:
    return _concept(text, {"system": _SYSTEMS[code.scheme], "code": code.value})


def _concept(text: str, coding: Json) -> Json:
    return {"coding": [coding], "text": _text(text)}


def _reference(resource: Json) -> Json:
    return {"reference": f"urn:uuid:{resource['id']}", "type": resource["resourceType"]}


def _narrative(title: str, paragraphs: Iterable[str]) -> Json:
    """A resource's text for people; XHTML, whose paragraphs are the program's own words or escaped."""
    body = "".join(f"<p>{escape(_text(paragraph))}</p>" for paragraph in paragraphs if _text(paragraph))
    heading = f"<p><b>{escape(_text(title))}</b></p>"
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{heading}{body}</div>'}


def _text(text: str) -> str:
    """Text as a FHIR string may be: no controls, no blanks around it."""
    return _FORBIDDEN.sub("\ufffd", text).strip()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _without_empty(value: Json) -> Json:
    """Without what is empty: FHIR knows no empty strings, lists or objects."""
    return {key: part for key, part in value.items() if part not in ("", [], {})}
