"""The output folder of one report: everything in it, or no folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reg2rg.files import write_json, write_record
from reg2rg.nifti import write_region_masks
from reg2rg.report import Report
from reg2rg.results.fhir import report_to_fhir
from reg2rg.results.picture import draw_report
from reg2rg.results.report_html import report_to_html
from reg2rg.results.report_json import write_report_json
from reg2rg.results.report_markdown import report_to_markdown
from reg2rg.results.report_pdf import report_to_pdf
from reg2rg.volume import RegionMasks, Study

RESULT_FILES = ("report.json", "report.md", "report.html", "report.pdf", "fhir.json", "regions.nii.gz", "run.json")


@dataclass(frozen=True, eq=False)
class Results:
    """Everything there is to write about one report.

    Attributes:
        report: the report.
        study: the study in canonical space, for the pictures.
        native_masks: the masks on the CT's own grid.
        run: the run record.
    """

    report: Report
    study: Study
    native_masks: RegionMasks
    run: dict[str, Any]


def write_results(folder: Path, results: Results) -> None:
    """Writes `RESULT_FILES`, and ``dicom/`` of a study from DICOM, into a folder that exists.

    Stage it (`files.staged_folder`) to have all or none.
    """
    report, study = results.report, results.study
    write_report_json(folder / "report.json", report)
    (folder / "report.md").write_text(report_to_markdown(report), encoding="utf-8")
    pictures = draw_report(report, study.volume, study.masks)
    (folder / "report.html").write_text(report_to_html(report, pictures), encoding="utf-8")
    pdf = report_to_pdf(report, pictures, study.series)
    (folder / "report.pdf").write_bytes(pdf)
    write_json(folder / "fhir.json", report_to_fhir(report, pdf, study.series))
    write_region_masks(folder / "regions.nii.gz", results.native_masks)
    _write_dicom_objects(folder / "dicom", results, pdf)
    write_record(folder, results.run)


def _write_dicom_objects(folder: Path, results: Results, pdf: bytes) -> None:
    """Writes them if the study came from DICOM to which they can refer; if it cannot, `load_study` has said so."""
    series = results.study.series
    if series is None:
        return
    from reg2rg.dicom.derived import why_no_objects  # without pydicom there is no series either

    if not why_no_objects(series):
        from reg2rg.results.dicom_objects import write_dicom_objects

        write_dicom_objects(folder, results.report, series, results.native_masks, pdf)
