"""How lesions outside the lungs are painted: HU, lesion mask and region mask in one step, and where there is room."""

import numpy as np
from jaxtyping import Bool, Float

from reg2rg.phantom.canvas import Canvas
from reg2rg.phantom.organs import Chest
from reg2rg.phantom.shapes import Point, Shape
from reg2rg.volume import Box


def paint(
    canvas: Canvas,
    coverage: Float[np.ndarray, "x y z"],
    hu: float | Float[np.ndarray, "..."],
    lesion: int,
    box: Box,
    region: str | None,
    visible: float = 0.5,
) -> bool:
    """Mixes a lesion into the voxels of a box, and adds those covered by at least `visible` to lesion and region.

    Voxels of lesions that were drawn earlier stay theirs. A lesion smaller than a voxel is marked where it covers most.

    Returns:
        Whether anything was painted.
    """
    others = canvas.lesions[box.slices] & np.uint32(0xFFFFFFFF ^ (1 << lesion))
    coverage = np.where(others == 0, coverage, np.float32(0))
    most = float(coverage.max(initial=0.0))
    if most < 0.05:
        return False
    canvas.blend(coverage, hu, box)
    mask = coverage >= min(visible, most)
    if region is not None:
        canvas.mark_region(region, mask, box)
    canvas.mark_lesion(lesion, mask, box)
    return True


def cover(canvas: Canvas, parts: tuple[Shape, ...], margin_mm: float = 0.0) -> tuple[Float[np.ndarray, "x y z"], Box]:
    """Share of each voxel that any of some solids fills, and the box of these voxels; an empty box outside the grid."""
    boxes = [box for part in parts if (box := canvas.box_of(part, margin_mm)) is not None]
    if not boxes:
        return np.zeros((0, 0, 0), np.float32), Box((0, 0, 0), (0, 0, 0))
    low = np.min([box.start_xyz for box in boxes], axis=0).tolist()
    high = np.max([box.stop_xyz for box in boxes], axis=0).tolist()
    whole = Box((low[0], low[1], low[2]), (high[0], high[1], high[2]))
    coverage = np.zeros(whole.size_xyz, np.float32)
    for part in parts:
        box = canvas.box_of(part, margin_mm)
        if box is not None:
            at = tuple(slice(a - o, b - o) for a, b, o in zip(box.start_xyz, box.stop_xyz, low, strict=True))
            np.maximum(coverage[at], canvas.coverage_of(part, box), out=coverage[at])
    return coverage, whole


def find_room(
    chest: Chest, rng: np.random.Generator, allowed: Bool[np.ndarray, "x y z"], radius_mm: float
) -> Point | None:
    """A point that lies, with its surroundings, in the allowed voxels; None if a few hundred tries find none."""
    canvas = chest.canvas
    voxels = np.argwhere(allowed)
    if not len(voxels):
        return None
    tried = voxels[rng.integers(len(voxels), size=300)] + rng.uniform(-0.5, 0.5, (300, 3))
    points = tried * canvas.grid.spacing_mm + canvas.grid.affine[:3, 3]
    around = radius_mm * _DIRECTIONS
    nearby = (points[:, None] + around[None]).reshape(-1, 3)
    fits = canvas.sample(allowed, nearby, outside=0.0).reshape(len(points), -1).all(axis=1)
    if not fits.any():
        return None
    x, y, z = points[np.argmax(fits)].tolist()
    return x, y, z


_DIRECTIONS = np.array(
    [(0.0, 0.0, 0.0)]
    + [
        tuple(np.array((i, j, k)) / np.linalg.norm((i, j, k)))
        for i in (-1, 0, 1)
        for j in (-1, 0, 1)
        for k in (-1, 0, 1)
        if (i, j, k) != (0, 0, 0)
    ]
)
