"""What stage vision asks of a phantom's crops: names, abnormalities with their attributes, lesions, places."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Integer

from reg2rg.data.crops import CropStore
from reg2rg.data.store import StudyStore, digest_of
from reg2rg.nifti import stem
from reg2rg.phantom.finding import KINDS, Finding
from reg2rg.phantom.truth import read_lesions, read_truth
from reg2rg.preprocess import StudyCrops, area_resize, as_floats
from reg2rg.regions import REGION_NAMES
from reg2rg.train.questions import ATTRIBUTES, KIND_NAMES, answers_of, kinds_known
from reg2rg.volume import Box

CELLS = 2
"""Cells of a patch along each axis: lesions are asked for cell by cell, finer than patches."""

_FORMAT = 1  # raise it when the targets of the same crops change
_MIN_SHARE = 0.1  # of a lesion in a cell, or of a cell in a lesion, for the cell to be called a lesion's


@dataclass(frozen=True, eq=False)
class VisionTargets:
    """What one study's crops should tell; row 0 is the whole image, then the regions in crop order.

    Attributes:
        names: index of each region (the image has none).
        present: for each kind of finding whether the study has it.
        attributes: for each of `ATTRIBUTES` whether one of the study's findings has it.
        known: whether the kind belongs to that crop's region, or the crop is the image.
        places: log share of the image's grid, center and extent of each region's mask.
        lesion_rows, lesion_kinds: crop and kind of each lesion's cells.
        lesion_cells: which cells of the crop's patches the lesion is in.
    """

    names: Integer[np.ndarray, " region"]
    present: Float32[np.ndarray, " kind"]
    attributes: Float32[np.ndarray, " attribute"]
    known: Float32[np.ndarray, "crop kind"]
    places: Float32[np.ndarray, "region place"]
    lesion_rows: Integer[np.ndarray, " lesion"]
    lesion_kinds: Integer[np.ndarray, " lesion"]
    lesion_cells: Integer[np.ndarray, "lesion patch cell"]


class TargetStore(StudyStore):
    """Targets of the studies of a crop store.

    Args:
        crops: whose crops.
        root: the phantom dataset's folder, for the drawn truth.
        patches_xyz: patches of a crop along each axis.
    """

    def __init__(self, crops: CropStore, root: Path, patches_xyz: tuple[int, int, int]) -> None:
        split = crops.dataset.split
        settings = {"format": _FORMAT, "patches": patches_xyz, "attributes": ATTRIBUTES, "cells": CELLS}
        super().__init__(crops.folder.parent / f"targets-{digest_of(settings)}" / split, crops.keys)
        self.patches_xyz = patches_xyz
        self._crops, self._root, self._split = crops, root, split
        self._truth = read_truth(root, split)

    def __getitem__(self, index: int) -> VisionTargets:
        stored = self.arrays(index)
        return VisionTargets(**{field.name: stored[field.name] for field in fields(VisionTargets)})

    def usual_cells(self, studies: int = 300) -> Float32[np.ndarray, " kind"]:
        """How many cells of a kind's own region hold that kind in a study: the mean over the first studies."""
        cells, regions = np.zeros(len(KINDS)), np.zeros(len(KINDS))
        for index in range(min(studies, len(self))):
            targets = self[index]
            regions += targets.known[1:].sum(axis=0)
            of_region = targets.lesion_rows > 0
            counts = targets.lesion_cells[of_region].sum(axis=(1, 2))
            np.add.at(cells, targets.lesion_kinds[of_region], counts)
        return (cells / np.maximum(regions, 1)).astype(np.float32)

    def _source(self, number: int) -> str:
        return self._crops.fingerprint(number)

    def _compute(self, number: int) -> dict[str, np.ndarray]:
        key = stem(Path(self._crops.keys[number]))
        lesions = read_lesions(self._root, self._split, key)
        return vars(targets_of(self._crops[number], self._truth[key], lesions, self.patches_xyz))


def targets_of(
    crops: StudyCrops,
    findings: Sequence[Finding],
    lesion_bits: Integer[np.ndarray, "x y z"],
    patches_xyz: tuple[int, int, int],
) -> VisionTargets:
    """The targets of one study.

    Args:
        crops: its crops.
        findings: the drawn truth.
        lesion_bits: the lesions on the study's grid; bit k is the finding with ``lesion`` k.
        patches_xyz: patches of a crop along each axis.
    """
    boxes = (crops.image_box, *crops.boxes)
    names = (None, *crops.regions)
    answers = answers_of(findings)
    rows, kinds, cells = [], [], []
    for finding in findings:
        kind = KIND_NAMES.index(finding.abnormality)
        lesion = (lesion_bits >> (finding.lesion or 0)) & 1 != 0
        for row, name in enumerate(names):
            if name in (None, finding.region):
                rows.append(row)
                kinds.append(kind)
                cells.append(_cells_of(lesion, boxes[row], patches_xyz))
    patches = int(np.prod(patches_xyz))
    return VisionTargets(
        names=np.array([REGION_NAMES.index(name) for name in crops.regions]),
        present=answers.present,
        attributes=answers.attributes,
        known=kinds_known(names),
        places=np.stack([_place(mask) for mask in as_floats(crops.masks)]),
        lesion_rows=np.array(rows, np.int64),
        lesion_kinds=np.array(kinds, np.int64),
        lesion_cells=np.array(cells, np.uint8).reshape(-1, patches, CELLS**3),
    )


def _cells_of(lesion: np.ndarray, box: Box, patches_xyz: tuple[int, int, int]) -> Integer[np.ndarray, "patch cell"]:
    inside = lesion[box.slices]
    x, y, z = patches_xyz
    voxels = np.count_nonzero(inside)
    if voxels == 0:
        return np.zeros((x * y * z, CELLS**3), np.uint8)
    of_cell = area_resize(inside, (x * CELLS, y * CELLS, z * CELLS))
    of_lesion = of_cell * (inside.size / of_cell.size) / voxels
    hit = (of_cell >= _MIN_SHARE) | (of_lesion >= _MIN_SHARE)
    by_patch = hit.reshape(x, CELLS, y, CELLS, z, CELLS).transpose(0, 2, 4, 1, 3, 5)
    return by_patch.reshape(x * y * z, CELLS**3).astype(np.uint8)


def _place(mask: Float32[np.ndarray, "x y z"]) -> Float32[np.ndarray, " place"]:
    numbers = [np.log10(mask.mean() + 1e-5)]
    for axis in range(3):
        profile = mask.sum(axis=tuple(a for a in range(3) if a != axis))
        position = np.linspace(-1, 1, profile.size)
        center = (profile * position).sum() / profile.sum()
        numbers += [center, np.sqrt((profile * (position - center) ** 2).sum() / profile.sum())]
    return np.array(numbers, np.float32)
