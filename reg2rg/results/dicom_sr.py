"""``dicom/report_sr.dcm``: the report as a DICOM measurement report (PS3.16, TID 1500), unverified.

Each region is a measurement group (TID 1411): its segment in ``segmentation.dcm``, its volume, its text, and each
abnormality that the text states as a coded evaluation with the value "Present". What the reader must know stands in the
document, too: disclaimer, the model's notice and all warnings.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    ComprehensiveSR,
    ContainerContentItem,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceSeriesForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import ComprehensiveSRStorage

from reg2rg.codes import ANATOMICAL_STRUCTURE, PRESENT, VOLUME, abnormality_code, region_code
from reg2rg.dicom.derived import derived_uid, patient_and_study
from reg2rg.report import DISCLAIMER, ModelSource, RegionReport, Report
from reg2rg.results.dicom_seg import to_dicom, tracking_uid, unnamed_header
from reg2rg.results.report_json import report_to_json
from reg2rg.volume import DicomSeries

SERIES_NUMBER = 9002
_CONTAINS = RelationshipTypeValues.CONTAINS
_CHEST_CT = Code("169069000", "SCT", "Computed tomography of chest")
_DEVICE = Code("121007", "DCM", "Device")  # CID 270
_VOLUME = to_dicom(VOLUME)
_MILLILITER = Code("mL", "UCUM", "milliliter")
_PRESENT = to_dicom(PRESENT)
_COMMENT = Code("121106", "DCM", "Comment")
_FINDINGS = Code("121070", "DCM", "Findings")
_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")  # TID 1500, row 12


def make_structured_report(report: Report, series: DicomSeries, segmentation: Dataset | None) -> ComprehensiveSR:
    """The document.

    It is complete (the program adds nothing to it), unverified and preliminary: a person has yet to read it (PS3.3,
    section C.17.2).

    Args:
        report: the report.
        series: where the CT came from; `can_be_referred_to`.
        segmentation: from `dicom_seg.make_segmentation`; a region without a segment there has none here.
    """
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=_observer(series, report.model)),
        procedure_reported=_CHEST_CT,
        imaging_measurements=[
            _measure(region, report.model, series, _reference(region.name, series, segmentation))
            for region in report.regions
        ],
    )
    content[0].ContentSequence.append(_say(report))
    document = ComprehensiveSR(
        evidence=list(_evidence(series, segmentation)),
        content=content[0],
        series_instance_uid=derived_uid(series, report.model, ComprehensiveSRStorage),
        series_number=SERIES_NUMBER,
        sop_instance_uid=derived_uid(series, report.model, ComprehensiveSRStorage, _digest(report, segmentation)),
        instance_number=1,
        manufacturer="reg2rg",
        manufacturer_model_name="reg2rg",
        software_versions=report.model.version,
        device_serial_number=report.model.sha256,
        series_description="reg2rg report, unverified",
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    document.update(patient_and_study(series))
    return document


def _measure(
    region: RegionReport, model: ModelSource, series: DicomSeries, segment: ReferencedSegment | None
) -> MeasurementsAndQualitativeEvaluations | VolumetricROIMeasurementsAndQualitativeEvaluations:
    """The measurement group of a region: of TID 1411 with its segment, or of TID 1501 without."""
    code = to_dicom(region_code(region.name))
    common: dict[str, Any] = {
        "tracking_identifier": TrackingIdentifier(tracking_uid(series, model, region.name), region.name),
        "finding_category": to_dicom(ANATOMICAL_STRUCTURE),
        "finding_type": code,
        "finding_sites": [FindingSite(code)],
        "algorithm_id": _algorithm(model),
        "measurements": [Measurement(_VOLUME, round(region.volume_ml, 3), _MILLILITER)],
    }
    group: MeasurementsAndQualitativeEvaluations | VolumetricROIMeasurementsAndQualitativeEvaluations
    if segment is None:
        group = MeasurementsAndQualitativeEvaluations(**common)
    else:
        group = VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_segment=segment, **common)
    group[0].ContentSequence.extend(_evaluate(region))
    return group


def _reference(region: str, series: DicomSeries, segmentation: Dataset | None) -> ReferencedSegment | None:
    """The segment of a region; None if it has none."""
    segments = segmentation.SegmentSequence if segmentation is not None else []
    number = next((int(segment.SegmentNumber) for segment in segments if segment.SegmentLabel == region), None)
    if segmentation is None or number is None:
        return None
    return ReferencedSegment(
        sop_class_uid=segmentation.SOPClassUID,
        sop_instance_uid=segmentation.SOPInstanceUID,
        segment_number=number,
        source_series=SourceSeriesForSegmentation(series.series_uid),
    )


def _evaluate(region: RegionReport) -> Iterator[TextContentItem | CodeContentItem]:
    """A region's text, its coded abnormalities, and what must be said of the two."""
    if region.text:
        yield TextContentItem(_FINDINGS, region.text, _CONTAINS)
    stated = [name for sentence in region.sentences for name in sentence.abnormalities or ()]
    for name in dict.fromkeys(stated):
        item = CodeContentItem(to_dicom(abnormality_code(name)), _PRESENT, _CONTAINS)
        # Some codes say less than the name.
        item.ContentSequence = ContentSequence([_comment(name, RelationshipTypeValues.HAS_PROPERTIES)])
        yield item
    if not region.text:
        yield _comment("The model wrote nothing about this region.")
    elif not region.agrees:
        yield _comment(f"The model took this region for: {region.taken_for}.")
    for doubt in region.mask_doubts:
        yield _comment(f"Doubtful mask: {doubt}.")


def _say(report: Report) -> ContainerContentItem:
    """What is to be said of the whole report, and text that belongs to no region."""
    container = ContainerContentItem(_EVALUATIONS, relationship_type=_CONTAINS)
    texts = [DISCLAIMER, report.model.notice, *report.warnings]
    container.ContentSequence = ContentSequence([_comment(text) for text in texts if text])
    for title, text in report.other.items():
        container.ContentSequence.append(TextContentItem(_FINDINGS, f"{title}: {text}", _CONTAINS))
    return container


def _comment(text: str, relationship: RelationshipTypeValues = _CONTAINS) -> TextContentItem:
    return TextContentItem(_COMMENT, text, relationship)


def _observer(series: DicomSeries, model: ModelSource) -> ObserverContext:
    device = DeviceObserverIdentifyingAttributes(
        uid=derived_uid(series, model, "device"),
        name="reg2rg",
        manufacturer_name="reg2rg",
        model_name=model.short_name,
        serial_number=model.sha256,
    )
    return ObserverContext(CodedConcept.from_code(_DEVICE), device)


def _algorithm(model: ModelSource) -> AlgorithmIdentification:
    return AlgorithmIdentification(
        name=f"reg2rg, model {model.short_name}",
        version=model.version,
        parameters=[f"sha256 of the weights: {model.sha256}"],
    )


def _digest(report: Report, segmentation: Dataset | None) -> str:
    """Of all that the document says; not of how long it took, nor of where the CT lay."""
    said = report_to_json(report)
    del said["seconds"], said["study"]["source"]
    content = json.dumps([said, segmentation.SOPInstanceUID if segmentation is not None else ""], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _evidence(series: DicomSeries, segmentation: Dataset | None) -> Iterator[Dataset]:
    """The objects from which the document was made, each once."""
    objects = {slice_.sop_instance_uid: slice_.sop_class_uid for slice_ in series.slices}
    for uid, class_uid in objects.items():
        header = unnamed_header(series, series.series_uid)
        header.SOPClassUID, header.SOPInstanceUID = class_uid, uid
        yield header
    if segmentation is not None:
        header = unnamed_header(series, segmentation.SeriesInstanceUID)
        header.SOPClassUID, header.SOPInstanceUID = segmentation.SOPClassUID, segmentation.SOPInstanceUID
        yield header
