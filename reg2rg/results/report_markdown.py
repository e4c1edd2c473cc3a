"""``report.md``: the report to read in a terminal or a repository."""

from reg2rg.report import DISCLAIMER, Report


def report_to_markdown(report: Report) -> str:
    """The report with its regions in prompt order, each with what the model recognized it as."""
    size = " x ".join(str(n) for n in report.size_xyz)
    spacing = " x ".join(f"{mm:.4g}" for mm in report.spacing_mm)
    lines = [f"# Report of {report.study_id}", "", f"> {DISCLAIMER}"]
    if report.model.notice:
        lines += [">", f"> {report.model.notice}"]
    lines += ["", f"CT of {size} voxels at {spacing} mm ({report.orientation}); model `{report.model.name}`; "]
    lines[-1] += f"{report.recognition}."
    if report.warnings:
        lines += ["", "## Warnings", "", *(f"- {warning}" for warning in report.warnings)]
    lines += [""]
    for region in report.regions:
        lines += [f"## {region.name}", "", region.text or "*The model wrote nothing about this region.*", ""]
        recognition = "as its mask says" if region.agrees else "**not what its mask shows**"
        lines += [f"<sub>region {region.label}, {region.volume_ml:.0f} ml, mask from {region.mask_source}; "]
        lines[-1] += f"recognized as {region.taken_for}: {recognition}</sub>"
        if region.mask_doubts:
            lines += ["", f"**Doubtful mask:** {'; '.join(region.mask_doubts)}"]
        lines += [""]
    for title, text in report.other.items():
        lines += [f"## {title} (no region)", "", text or "*Nothing.*", ""]
    return "\n".join(lines)
