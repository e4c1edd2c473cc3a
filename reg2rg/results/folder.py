"""The output folder of one report: everything in it, or no folder."""

from pathlib import Path
from typing import Any

from reg2rg.files import staged_folder, write_json
from reg2rg.nifti import write_region_masks
from reg2rg.report import Report
from reg2rg.results.report_html import report_to_html
from reg2rg.results.report_json import write_report_json
from reg2rg.results.report_markdown import report_to_markdown
from reg2rg.volume import RegionMasks, Study

RESULT_FILES = ("report.json", "report.md", "report.html", "regions.nii.gz", "run.json")


def write_results(
    out: Path, report: Report, study: Study, native_masks: RegionMasks, run: dict[str, Any], force: bool = False
) -> None:
    """Writes `RESULT_FILES` into the folder `out`.

    Args:
        out: the folder; created, or refused if it holds something and `force` is false.
        report: the report.
        study: the study in canonical space, for the pictures.
        native_masks: the masks on the CT's own grid.
        run: the run record.
        force: replace what is there.

    Raises:
        InputError: if `out` cannot be written.
    """
    with staged_folder(out, force) as folder:
        write_report_json(folder / "report.json", report)
        (folder / "report.md").write_text(report_to_markdown(report), encoding="utf-8")
        html = report_to_html(report, study.volume, study.masks)
        (folder / "report.html").write_text(html, encoding="utf-8")
        write_region_masks(folder / "regions.nii.gz", native_masks)
        write_json(folder / "run.json", run)
