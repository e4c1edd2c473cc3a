"""The written structured report: everything the report says, as another library reads it, and valid DICOM."""

from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from highdicom.sr import (
    ComprehensiveSR,
    MeasurementReport,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
    srread,
)
from objects import MODEL, SIZE, assert_valid, random_masks, read_series
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from scanner import SERIES, block, make_enhanced, make_series

from reg2rg.codes import abnormality_code, region_code
from reg2rg.dicom.derived import write_object
from reg2rg.report import DISCLAIMER, RegionReport, Report, Sentence
from reg2rg.results.dicom_seg import make_segmentation, to_dicom
from reg2rg.results.dicom_sr import make_structured_report
from reg2rg.volume import DicomSeries

BOX = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
NODULE = Sentence("A nodule of ≥ 4.5 mm.", ("Lung nodule", "Peribronchial thickening"))


@pytest.fixture
def report() -> Report:
    return Report(
        study_id="study",
        source="/home/doe/ct",
        spacing_mm=(1.0, 1.0, 1.0),
        size_xyz=SIZE,
        orientation="LPS",
        model=replace(MODEL, name="/home/doe/my model", notice="Knows phantoms only."),
        regions=(
            RegionReport(0, "lung", "lung", (NODULE, Sentence("Clear.", ())), 4000.12345, BOX, 5),
            RegionReport(1, "heart", None, (), 600.0, BOX, 4, "heart.nii.gz", ("its volume is odd",)),
            RegionReport(2, "trachea and bronchie", "bone", (Sentence("Patent."),), 60.0, BOX, 9),
            RegionReport(3, "thyroid", "thyroid", (Sentence("Normal."),), 20.0, BOX, 8),
        ),
        other={"other": "No fracture."},
        warnings=("Odd scan.",),
        seconds={"read": 1.0},
    )


def make(report: Report, series: DicomSeries) -> tuple[Dataset, ComprehensiveSR]:
    segmentation = make_segmentation(series, random_masks(series.grid), report.model)
    return segmentation, make_structured_report(report, series, segmentation)


def write(report: Report, folder: Path, datasets: list[Dataset]) -> tuple[Dataset, ComprehensiveSR, Path]:
    segmentation, document = make(report, read_series(folder, datasets))
    write_object(folder / "sr.dcm", document)
    return segmentation, srread(folder / "sr.dcm"), folder / "sr.dcm"


def texts(items: list[Dataset], concept: str) -> list[str]:
    return [i.TextValue for i in items if i.ValueType == "TEXT" and i.ConceptNameCodeSequence[0].CodeMeaning == concept]


def present(group: VolumetricROIMeasurementsAndQualitativeEvaluations) -> list[str]:
    """Codes of what the group says is present."""
    return [item.name.value for item in group.get_qualitative_evaluations() if item.value.meaning == "Present"]


def test_each_region_is_a_group_with_segment_volume_text_and_findings(report: Report, tmp_path: Path) -> None:
    segmentation, document, path = write(report, tmp_path, make_series(block(size=SIZE)))
    assert_valid(path)
    content = document.content
    assert isinstance(content, MeasurementReport)
    groups = {group.tracking_identifier: group for group in content.get_volumetric_roi_measurement_groups()}
    assert list(groups) == ["lung", "heart", "trachea and bronchie"]
    numbers = {segment.SegmentLabel: segment.SegmentNumber for segment in segmentation.SegmentSequence}
    uids = {segment.SegmentLabel: segment.TrackingUID for segment in segmentation.SegmentSequence}
    volumes = {region.name: round(region.volume_ml, 3) for region in report.regions}
    for name, group in groups.items():
        code = to_dicom(region_code(name))
        assert group.finding_type == code and group.finding_sites[0].value == code
        assert group.tracking_uid == uids[name]
        segment = group.referenced_segment
        assert segment.referenced_sop_instance_uid == segmentation.SOPInstanceUID
        assert segment.referenced_segment_numbers == [numbers[name]]
        (volume,) = group.get_measurements()
        assert (volume.name, volume.value) == (Code("118565006", "SCT", "Volume"), volumes[name])
        assert volume.unit == Code("mL", "UCUM", "milliliter")
    lung = groups["lung"]
    assert present(lung) == [abnormality_code(name).value for name in ("Lung nodule", "Peribronchial thickening")]
    assert texts(lung[0].ContentSequence, "Findings") == ["A nodule of ≥ 4.5 mm. Clear."]
    named = [item.ContentSequence for item in lung[0].ContentSequence if "ContentSequence" in item]
    assert [texts(children, "Comment") for children in named] == [["Lung nodule"], ["Peribronchial thickening"]]
    assert texts(groups["heart"][0].ContentSequence, "Findings") == []
    assert texts(groups["heart"][0].ContentSequence, "Comment") == [
        "The model wrote nothing about this region.",
        "Doubtful mask: its volume is odd.",
    ]
    airways = groups["trachea and bronchie"]
    assert texts(airways[0].ContentSequence, "Comment") == ["The model took this region for: bone."]
    assert present(airways) == []


def test_a_region_without_a_segment_keeps_its_text(report: Report, tmp_path: Path) -> None:
    _, document, _ = write(report, tmp_path, make_series(block(size=SIZE)))
    (group,) = document.content.get_image_measurement_groups()
    assert group.tracking_identifier == "thyroid"
    assert texts(group[0].ContentSequence, "Findings") == ["Normal."]


def test_it_says_who_wrote_it_and_that_nobody_has_read_it(report: Report, tmp_path: Path) -> None:
    _, document, path = write(report, tmp_path, make_series(block(size=SIZE)))
    assert (document.VerificationFlag, document.CompletionFlag, document.PreliminaryFlag) == (
        "UNVERIFIED",
        "COMPLETE",
        "PRELIMINARY",
    )
    (observer,) = document.content.get_observer_contexts()
    device = observer.observer_identifying_attributes
    assert (observer.observer_type.meaning, device.name, device.manufacturer_name) == ("Device", "reg2rg", "reg2rg")
    assert (device.model_name, device.serial_number) == ("my model", "a" * 64)
    for group in document.content.get_volumetric_roi_measurement_groups():
        items = group[0].ContentSequence
        assert texts(items, "Algorithm Name") == ["reg2rg, model my model"]
        assert texts(items, "Algorithm Version") == ["0.1.0"]
    evaluations = document.ContentSequence[-1]
    assert evaluations.ConceptNameCodeSequence[0].CodeMeaning == "Qualitative Evaluations"
    assert texts(evaluations.ContentSequence, "Comment") == [DISCLAIMER, "Knows phantoms only.", "Odd scan."]
    assert texts(evaluations.ContentSequence, "Findings") == ["other: No fracture."]
    assert b"/home/doe" not in path.read_bytes()
    assert document.PatientID == "DOE^JOHN"


@pytest.mark.parametrize("is_multi_frame", [False, True])
def test_the_evidence_is_the_series_and_the_segmentation(report: Report, tmp_path: Path, is_multi_frame: bool) -> None:
    datasets = make_series(block(size=SIZE))
    datasets = [make_enhanced(datasets)] if is_multi_frame else datasets
    segmentation, _, path = write(report, tmp_path, datasets)
    assert_valid(path)
    (study,) = pydicom.dcmread(path).CurrentRequestedProcedureEvidenceSequence
    evidence = {
        series.SeriesInstanceUID: {
            (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) for item in series.ReferencedSOPSequence
        }
        for series in study.ReferencedSeriesSequence
    }
    assert evidence == {
        SERIES: {(dataset.SOPClassUID, dataset.SOPInstanceUID) for dataset in datasets},
        segmentation.SeriesInstanceUID: {(segmentation.SOPClassUID, segmentation.SOPInstanceUID)},
    }


def test_an_equal_report_is_the_same_object_however_long_it_took(report: Report, tmp_path: Path) -> None:
    series = read_series(tmp_path, make_series(block(size=SIZE)))
    _, first = make(report, series)
    _, later = make(replace(report, seconds={"read": 2.0}, source="elsewhere"), series)
    _, other = make(replace(report, warnings=()), series)
    assert first.SOPInstanceUID == later.SOPInstanceUID != other.SOPInstanceUID
    assert first.SeriesInstanceUID == later.SeriesInstanceUID == other.SeriesInstanceUID
