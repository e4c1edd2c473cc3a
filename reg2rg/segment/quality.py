"""Whether region masks can be what they say they are: size, side, pieces, borders, overlap.

The checks find masks of another organ, another patient, a flipped or cut-off scan. They are wide on purpose: a mask
that passes may still be poor, and one that is doubted may be a rare patient. They look at masks alone, not at HU.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import generate_binary_structure, label

from reg2rg.segment.morphology import shrink
from reg2rg.volume import Grid, RegionMasks

VOLUMES_ML: dict[str, tuple[float, float]] = {
    "abdomen": (20, 25000),
    "bone": (300, 9500),
    "breast": (5, 8000),
    "esophagus": (4, 500),
    "heart": (250, 3000),
    "lung": (800, 10000),
    "mediastinum": (50, 4000),
    "pleura": (20, 7000),
    "thyroid": (2, 400),
    "trachea and bronchie": (10, 400),
}
"""Smallest and largest plausible volume in adults; ``docs/REGIONS.md`` says where each comes from."""

_PIECES: dict[str, int] = {
    "breast": 2,
    "esophagus": 2,
    "heart": 1,
    "lung": 2,
    "mediastinum": 1,
    "thyroid": 2,
    "trachea and bronchie": 3,
}
"""In how many pieces a region may be (thin tubes break on coarse voxels); the others have many."""

_PIECES_SHARE = 0.8  # of a mask that its pieces hold at least
_APART_MM = 8.0  # blocks of this size without a voxel of the mask part its pieces: thin ones break on coarse voxels

_WHOLE = ("heart", "lung")  # what a chest CT shows whole
_CUT_CM2 = 2.0  # of a region's section at a border of the scan, from which on it is cut off

_MIDLINE = (
    "bone",
    "trachea and bronchie",
    "mediastinum",
    "esophagus",
)  # the first with a mask says where the middle is
_SMALLER_LUNG = 0.1  # of the lungs' volume that lies on either side at least
_HEART_TO_THE_RIGHT_MM = 5.0  # of the middle, at most

_HEART_IN_LUNG = 0.1  # of the heart, at most


def find_doubts(masks: RegionMasks) -> dict[str, tuple[str, ...]]:
    """What is implausible about masks in canonical space (RAS+), by region; regions without a doubt are absent.

    >>> tiny = np.pad(np.ones((10, 10, 10), bool), 1)
    >>> find_doubts(RegionMasks.from_masks({"thyroid": tiny}, np.eye(4)))
    {'thyroid': ('its volume is 1 ml, expected 2 to 400 ml in an adult',)}
    """
    found: dict[str, list[str]] = {}
    for name in masks.present:
        mask = masks.mask(name)
        cut_cm2 = _cut_cm2(mask, masks.grid)
        found[name] = [*_doubt_volume(name, masks.volume_ml(name), cut_cm2 > 0), *_doubt_pieces(name, mask, masks.grid)]
        if name in _WHOLE and cut_cm2 >= _CUT_CM2:
            found[name].append(f"the scan cuts it off, over {cut_cm2:.0f} cm2")
    _doubt_sides(masks, found)
    if "heart" in found and "lung" in found:
        heart = masks.mask("heart")
        share = np.count_nonzero(heart & masks.mask("lung")) / np.count_nonzero(heart)
        if share > _HEART_IN_LUNG:
            found["heart"].append(f"{share:.0%} of it lies in the lung")
    return {name: tuple(doubts) for name, doubts in found.items() if doubts}


def _doubt_volume(name: str, volume_ml: float, is_cut: bool) -> Iterator[str]:
    """Of a region that the scan cuts off only the largest volume is checked."""
    smallest, largest = VOLUMES_ML[name]
    if volume_ml > largest or (volume_ml < smallest and not is_cut):
        yield f"its volume is {volume_ml:.3g} ml, expected {smallest:g} to {largest:g} ml in an adult"


def _cut_cm2(mask: Bool[np.ndarray, "x y z"], grid: Grid) -> float:
    """The largest section of a mask with one of the six borders of its grid."""
    face_cm2 = [grid.voxel_ml * 10 / spacing_mm for spacing_mm in grid.spacing_mm]
    faces = [(axis, index) for axis in range(3) for index in (0, -1)]
    return max(float(np.count_nonzero(np.take(mask, index, axis))) * face_cm2[axis] for axis, index in faces)


def _doubt_pieces(name: str, mask: Bool[np.ndarray, "x y z"], grid: Grid) -> Iterator[str]:
    pieces = _PIECES.get(name)
    if pieces is None:
        return
    x, y, z = (max(1, round(_APART_MM / spacing_mm)) for spacing_mm in grid.spacing_mm)
    filled = shrink(mask, (x, y, z))
    labels, _ = label(filled > 0, generate_binary_structure(3, 3))
    sizes = np.sort(np.bincount(labels.ravel(), weights=filled.ravel())[1:])[::-1]
    share = float(sizes[:pieces].sum() / sizes.sum())
    if share < _PIECES_SHARE:
        largest = "the largest holds" if pieces == 1 else f"the largest {pieces} hold"
        yield f"it lies in {len(sizes)} pieces, of which {largest} {share:.0%}"


def _doubt_sides(masks: RegionMasks, found: dict[str, list[str]]) -> None:
    """Adds what is on the wrong side of the middle: +x is the patient's right."""
    reference = next((name for name in _MIDLINE if name in found), None)
    if reference is None:
        return
    middle_mm = float(np.mean(_right_mm(masks, reference)))
    if "lung" in found:
        right = float(np.mean(_right_mm(masks, "lung") > middle_mm))
        if min(right, 1 - right) < _SMALLER_LUNG:
            side = "left" if right < _SMALLER_LUNG else "right"
            found["lung"].append(f"{max(right, 1 - right):.0%} of it lies on the patient's {side}: one lung is missing")
    if "heart" in found and float(np.mean(_right_mm(masks, "heart"))) > middle_mm + _HEART_TO_THE_RIGHT_MM:
        found["heart"].append("it lies in the right half of the chest: left and right may be exchanged")


def _right_mm(masks: RegionMasks, name: str) -> Float[np.ndarray, " voxel"]:
    """How far to the right each voxel of a region lies, in mm."""
    places: Float[np.ndarray, " voxel"] = np.argwhere(masks.mask(name)) @ masks.affine[0, :3] + masks.affine[0, 3]
    return places
