"""The truth beside a phantom dataset, read back: findings and lesions of each study."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from reg2rg.nifti import read_labels, stem
from reg2rg.phantom.finding import Finding


def is_phantom_dataset(path: Path) -> bool:
    """Whether the dataset in this folder was written by ``reg2rg phantom``."""
    return _truth_folder(path).is_dir()


def read_truth(path: Path, split: str) -> dict[str, tuple[Finding, ...]]:
    """Findings by study id (the volume's name without its ending); a study without findings has none.

    Args:
        path: the folder that holds ``dataset/``.
        split: ``train`` or ``valid``.
    """
    findings: defaultdict[str, tuple[Finding, ...]] = defaultdict(tuple)
    for line in (_truth_folder(path) / f"{split}_findings.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        findings[stem(Path(row.pop("study")))] += (Finding(**row),)
    return findings


def read_lesions(path: Path, split: str, study_id: str) -> Integer[np.ndarray, "x y z"]:
    """The study's lesion field: bit k of a voxel says whether it belongs to the finding with ``lesion`` k."""
    return read_labels(_truth_folder(path) / f"{split}_lesions" / f"{study_id}.nii.gz").array


def _truth_folder(path: Path) -> Path:
    return path / "dataset" / "phantom_truth"
