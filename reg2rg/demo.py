"""The main job on a phantom: truth and report side by side."""

import shutil
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from reg2rg.errors import InputError
from reg2rg.files import check_free, staged_folder
from reg2rg.nifti import write_labels, write_volume
from reg2rg.phantom.report import read_findings
from reg2rg.phantom.world import Phantom, make_phantom
from reg2rg.report import DISCLAIMER, Report
from reg2rg.results.folder import write_results
from reg2rg.scan import ScanOptions, make_results


@dataclass(frozen=True)
class Demo:
    """A reported phantom.

    Attributes:
        truth: what is drawn, as a radiologist would write it, region to text.
        report: what the model wrote.
    """

    truth: dict[str, str]
    report: Report

    def to_text(self, width: int | None = None) -> str:
        """Region, truth and report in three columns."""
        width = max(60, width or min(120, shutil.get_terminal_size().columns))
        first = 1 + max(len(name) for name in (*self.truth, "region"))
        column = (width - first - 2) // 2
        lines = [*textwrap.wrap(f"{DISCLAIMER} {self.report.model.notice}".strip(), width), ""]
        lines += [f"{'region':<{first}}{'drawn in the phantom':<{column}}  written by the model", "-" * width]
        for region in self.report.regions:
            name = [region.name] if region.agrees else [region.name, f"(as {region.recognized_as})"]
            cells = (name, textwrap.wrap(self.truth[region.name], column), textwrap.wrap(region.text, column))
            for row in range(max(map(len, cells))):
                left, truth, text = (cell[row] if row < len(cell) else "" for cell in cells)
                lines.append(f"{left:<{first}}{truth:<{column}}  {text}".rstrip())
            lines.append("")
        lines.append(f"{self.report.recognition}.")
        lines += textwrap.wrap(self._hits_and_misses(), width)
        lines += [f"Warning: {warning}" for warning in self.report.warnings]
        return "\n".join(lines)

    def _hits_and_misses(self) -> str:
        """Which kinds of findings are stated where they are drawn; sides and sizes are for the reader to compare."""
        drawn = _kinds(self.truth)
        stated = _kinds({region.name: region.text for region in self.report.regions})
        missed, added = (
            ", ".join(f"{name} ({region})" for region, name in sorted(some)) or "nothing"
            for some in (drawn - stated, stated - drawn)
        )
        return (
            f"{len(drawn & stated)} of {len(drawn)} kinds of findings stated where they are drawn. Missed: {missed}. "
            f"Stated, but not drawn: {added}. Sides, sizes and degrees are not compared here."
        )


def _kinds(texts: Mapping[str, str]) -> set[tuple[str, str]]:
    """Region and kind of each finding that the texts of the regions state."""
    return {(region, finding.abnormality) for region, text in texts.items() for finding in read_findings(text, region)}


def run_demo(out: Path, seed: int, model: str, device: str = "auto", force: bool = False) -> Demo:
    """Makes a phantom, writes it as files, and reports those files as one's own scan would be.

    Args:
        out: folder for the report, and for the phantom's CT and masks in ``phantom/``.
        seed: which phantom.
        model: a shipped model's name or a folder.
        device: auto, cpu or cuda.
        force: replace what is in `out`.

    Raises:
        InputError: if the folder, the model or the seed cannot be used.
    """
    if seed < 0:
        raise InputError(f"--seed: expected 0 or more, got {seed}")
    check_free(out, force)
    phantom = make_phantom(seed)
    with staged_folder(out, force) as folder:
        _write_phantom(phantom, folder / "phantom")
        options = ScanOptions(masks=(str(folder / "phantom" / "masks"),), model=model, device=device)
        results = make_results(folder / "phantom" / "ct.nii.gz", options)
        # The folder is renamed into place at the end: say the place, not the staging.
        place = str(out / "phantom" / "ct.nii.gz")
        masks = [str(out / "phantom" / "masks")]
        run = {**results.run, "command": "demo", "settings": {**results.run["settings"], "masks": masks, "seed": seed}}
        run["input"] = {**run["input"], "source": place}
        results = replace(results, report=replace(results.report, source=place), run=run)
        write_results(folder, results)
    return Demo(phantom.study.reference, results.report)


def _write_phantom(phantom: Phantom, folder: Path) -> None:
    affine = phantom.study.volume.affine
    (folder / "masks").mkdir(parents=True)
    write_volume(folder / "ct.nii.gz", phantom.study.volume)
    for name in phantom.study.masks.present:
        write_labels(folder / "masks" / f"{name}.nii.gz", phantom.study.masks.mask(name).astype("uint8"), affine)
