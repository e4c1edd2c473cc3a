"""Masks to make DICOM objects of, and the judge of what was made."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from scanner import save

from reg2rg.dicom.read import read_dicom
from reg2rg.report import ModelSource
from reg2rg.volume import DicomSeries, Grid, RegionMasks

MODEL = ModelSource("phantom", "a" * 64, "0.1.0")
SIZE = (9, 7, 8)
"""Columns, rows and slices: a frame has 63 pixels, which do not fill whole bytes."""


def random_masks(grid: Grid) -> RegionMasks:
    """Three regions, overlapping, without any symmetry, and absent from a slice at both ends and within."""
    rng = np.random.default_rng(0)
    masks = {name: rng.random(grid.size_xyz) > 0.6 for name in ("heart", "lung", "trachea and bronchie")}
    for mask in masks.values():
        mask[:, :, [0, 3, -1]] = False
    masks["heart"][:, :, 5] = False
    sources = {"heart": "heart.nii.gz", "lung": "segmenter:threshold"}
    return RegionMasks.from_masks(masks, grid.affine, sources | {"trachea and bronchie": "segmenter:program 2.4"})


def read_series(folder: Path, datasets: Sequence[Dataset]) -> DicomSeries:
    return read_dicom(save(folder / "ct", datasets)).series


def assert_valid(path: Path) -> None:
    """No error of dciodvfy, and no warning but that the tests' series lack what a DICOMDIR wants."""
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("needs dciodvfy (Debian's package dicom3tools)")
    said = subprocess.run([program, "-new", str(path)], capture_output=True, text=True, check=False).stderr
    remarks = [line for line in said.splitlines() if line.startswith(("Error", "Warning"))]
    assert [line for line in remarks if "needed to build DICOMDIR" not in line] == []
