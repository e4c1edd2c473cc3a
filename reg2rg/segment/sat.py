"""Masks of SAT (Segment Anything by Text, Zhao et al. 2023), the paper's segmenter: which voxels they lie on.

SAT writes a folder ``seg_<scan>`` with a file for each structure, named in its own words (`sat.csv`), and an affine
that is the identity: the files do not say where they lie. Their voxels are those of SAT's own loader: the CT in RAS+ at
1 x 1 x 3 mm, interpolated linearly, cut to the box of what is denser than water (above 0 HU). `seen_grid` works that
grid out again from the CT, and is believed only if its size is exactly that of the masks.
"""

from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped

from reg2rg.errors import InputError
from reg2rg.geometry import mask_box
from reg2rg.regions import normalize_name
from reg2rg.segment.structures import SAT_TABLE, PaintedLabels, read_table
from reg2rg.volume import Grid, RegionMasks, Volume

PLACED = (
    "the masks of SAT do not say where they lie: they were placed as its loader cuts the CT (RAS+, 1 x 1 x 3 mm, the "
    "box of what is above 0 HU); look at the pictures to check it"
)

_SPACING_MM = (1.0, 1.0, 3.0)
_WATER_HU = 0


def is_name(name: str) -> bool:
    """Whether SAT has a structure of this name; several of them may be the same region ("thyroid", "thyroid gland")."""
    return normalize_name(name) in _names()


@cache
def _names() -> frozenset[str]:
    return frozenset(normalize_name(row["name"]) for row in read_table(SAT_TABLE))


def lacks_position(masks: Grid, ct: Grid) -> bool:
    """Whether masks carry the identity as affine, and the CT does not."""
    return np.array_equal(masks.affine, np.eye(4)) and not np.array_equal(ct.affine, np.eye(4))


def seen_grid(volume: Volume, size_xyz: tuple[int, int, int], path: Path) -> Grid:
    """The grid on which SAT saw this CT.

    Args:
        volume: the CT in HU, in canonical space (RAS+).
        size_xyz: of the masks; what it has to be is the box, or the whole CT if SAT was run without its cut.
        path: of the masks, for the message.

    Raises:
        InputError: if neither has that size.
    """
    hu: Float[np.ndarray, "x y z"] = volume.array.astype(np.float32)
    scale = np.eye(4)
    for axis, spacing_mm in enumerate(_SPACING_MM):
        step = spacing_mm / volume.grid.spacing_mm[axis]
        last = hu.shape[axis] - 1
        positions = np.minimum(np.arange(int(np.rint(last / step + 1))) * step, last)
        hu = _interpolate(hu, positions, axis)
        scale[axis, axis] = step
    box = mask_box(hu > _WATER_HU)
    start = np.eye(4)
    if box is not None and box.size_xyz == size_xyz:
        start[:3, 3] = box.start_xyz
    elif hu.shape != size_xyz:
        cut = box.size_xyz if box else (0, 0, 0)
        raise InputError(
            f"{path}: the mask does not say where it lies (its affine is the identity), and its size {size_xyz} is not "
            f"that of this CT as SAT sees it, {cut}; expected masks of the same scan, written with the CT's affine"
        )
    return Grid(size_xyz, volume.affine @ scale @ start)


def place(masks: RegionMasks | PaintedLabels, grid: Grid, path: Path) -> RegionMasks | PaintedLabels:
    """The masks with the affine of the grid on which SAT saw the CT.

    Raises:
        InputError: if they are of another size.
    """
    if masks.grid.size_xyz != grid.size_xyz:
        raise InputError(
            f"{path}: expected {grid.size_xyz} voxels as the other masks have, found {masks.grid.size_xyz}"
        )
    return masks.moved(masks.array, grid.affine)


def _interpolate(
    array: Float[np.ndarray, "x y z"], positions: Shaped[np.ndarray, " new"], axis: int
) -> Float[np.ndarray, "new_x new_y new_z"]:
    """Linear interpolation along one axis, at positions between 0 and the last voxel."""
    lower = np.minimum(positions.astype(int), max(0, array.shape[axis] - 2))
    upper = np.minimum(lower + 1, array.shape[axis] - 1)
    weight = (positions - lower).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    return array.take(lower, axis) * (1 - weight) + array.take(upper, axis) * weight
