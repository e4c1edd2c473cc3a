"""The report on a terminal."""

import shutil
import textwrap

from reg2rg.report import DISCLAIMER, Report


def report_to_text(report: Report, width: int | None = None) -> str:
    """Region by region, wrapped to the terminal; a region that was taken for another says so."""
    width = width or min(100, shutil.get_terminal_size().columns)
    lines = [f"{report.study_id}", *textwrap.wrap(f"{DISCLAIMER} {report.model.notice}".strip(), width), ""]
    for region in report.regions:
        verdict = "" if region.agrees else f"  [taken for: {region.taken_for}]"
        doubtful = "  [doubtful mask]" if region.mask_doubts else ""
        lines.append(f"{region.name}{verdict}{doubtful}")
        lines += textwrap.wrap(region.text or "(nothing)", width, initial_indent="    ", subsequent_indent="    ")
    for title, text in report.other.items():
        lines += [title, *textwrap.wrap(text, width, initial_indent="    ", subsequent_indent="    ")]
    lines += ["", f"{report.recognition}."]
    for warning in report.warnings:
        lines += ["", *textwrap.wrap(f"Warning: {warning}", width)]
    return "\n".join(lines)
