"""TotalSegmentator (Wasserthal et al., Radiology: AI 2023), run as a program, as a segmenter of all ten regions.

Its task ``total`` draws most of them; airways, breasts, body cavities and effusions come from four further tasks, one
run each. Which structure belongs to which region stands in the tables of `structures`.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt16

from reg2rg.errors import InputError
from reg2rg.geometry import reorient, resample
from reg2rg.nifti import read_labels, write_volume
from reg2rg.segment.program import NAME, VARIABLE, find_program, program_version, run_task
from reg2rg.segment.segmentation import Segmentation
from reg2rg.segment.structures import complete, find_structure, paint, total_names
from reg2rg.volume import Grid, RegionMasks, Volume

FURTHER_TASKS = ("lung_vessels", "breasts", "trunk_cavities", "pleural_pericard_effusion")
"""Tasks beside ``total``: airways, breasts, cavities of abdomen, thorax and mediastinum, and effusions."""


def segment(volume: Volume) -> Segmentation:
    """Draws what TotalSegmentator finds in a canonical (RAS+) chest CT in HU.

    A further task that fails, needs a licence or is unknown to the installed version leaves a warning, and the regions
    without what it would have drawn.

    Raises:
        InputError: if the program is missing, its task ``total`` fails, or no region is in what it drew.
    """
    program = find_program()
    if program is None:
        raise InputError(
            f"{NAME} was not found: install it in an environment of its own (pip install {NAME}) and put it on PATH, "
            f"or set {VARIABLE} to the program; or choose another --segmenter"
        )
    warnings = []
    with tempfile.TemporaryDirectory(prefix="reg2rg-") as name:
        folder = Path(name)
        write_volume(folder / "ct.nii.gz", volume)
        bits = _draw(program, "total", folder, volume.grid)
        for task in FURTHER_TASKS:
            try:
                bits |= _draw(program, task, folder, volume.grid)
            except InputError as error:
                warnings.append(f"{error}: the regions were drawn without it")
    masks = complete(RegionMasks(bits, volume.affine))
    if not masks.present:
        raise InputError(f"{NAME} found no region in this CT: expected a chest CT in HU; give region masks (--masks)")
    source = f"segmenter:totalsegmentator {program_version(program)}"
    return Segmentation(replace(masks, sources=dict.fromkeys(masks.present, source)), tuple(warnings))


def _draw(program: str, task: str, folder: Path, grid: Grid) -> UInt16[np.ndarray, "x y z"]:
    """The bits of one task's structures on the CT's grid."""
    out = folder / f"{task}.nii.gz"
    run_task(program, task, folder / "ct.nii.gz", out)
    try:
        labels = read_labels(out)
    except InputError as error:
        raise InputError(f"{NAME}, task {task}, wrote a file that cannot be read ({error})") from error
    names = labels.names or (total_names() if task == "total" else {})
    if not names:
        raise InputError(f"{NAME}, task {task}, wrote labels without names")
    masks = paint(labels, {label: find_structure(called) for label, called in names.items()})
    array: UInt16[np.ndarray, "x y z"] = resample(reorient(masks, grid.orientation), grid).array
    return array
