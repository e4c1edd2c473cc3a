"""The lung as a packing of polygonal cells: walls between them are septa, patches of them make a mosaic."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from reg2rg.phantom.canvas import Canvas
from reg2rg.phantom.shapes import rotation_about
from reg2rg.volume import Box

_REACH_MM = 400.0  # cells are numbered this far from the carina; no lung is larger


@dataclass(frozen=True, eq=False)
class Lobules:
    """Cells that fill the lungs, at the voxels that were asked for.

    Attributes:
        wall_mm: distance to the nearest wall between two cells.
        cell: number of the cell that holds each voxel's centre.
        count: numbers run from 0 to below this.
    """

    wall_mm: Float[np.ndarray, "voxel"]
    cell: Int[np.ndarray, "voxel"]
    count: int


def pack_lobules(
    canvas: Canvas, box: Box, where: Bool[np.ndarray, "x y z"], rng: np.random.Generator, width_mm: float
) -> Lobules:
    """Cells `width_mm` wide: truncated octahedra (the Voronoi cells of a body-centred lattice), turned and warped.

    A point belongs to the nearer of two cubic lattices, shifted by half an edge along each axis. With a and b the
    offsets to the nearest point of either, in edges, |a| <= |b|, the walls are (b^2 - a^2) / sqrt(3) and
    1/2 - max |a_i| edges away.
    """
    turn = rotation_about(0, rng.uniform(15, 75)) @ rotation_about(2, rng.uniform(15, 75))
    phases = rng.uniform(0, 2 * np.pi, size=(3, 2))
    wave = 2.6 * width_mm  # of the warp, whose slope stays below a half, so that cells differ and none folds
    axes = canvas.axes_mm(box)
    warped = [
        (
            axes[i]
            + np.float32(0.14 * width_mm)
            * (
                np.sin(axes[(i + 1) % 3] * (2 * np.pi / wave) + phases[i, 0])
                + np.sin(axes[(i + 2) % 3] * (2 * np.pi / (1.37 * wave)) + phases[i, 1])
            ).astype(np.float32)
        )[where]
        for i in range(3)
    ]
    per_axis = int(2 * _REACH_MM / width_mm) + 3
    squares, largest, numbers = [], [], []
    for lattice, shift in enumerate((0.0, 0.5)):
        places = [
            sum(np.float32(e) * w for e, w in zip(d, warped, strict=True)) - np.float32(shift) for d in turn / width_mm
        ]
        nodes = [np.rint(place) for place in places]
        x, y, z = (np.abs(place - node) for place, node in zip(places, nodes, strict=True))
        squares.append(x * x + y * y + z * z)
        largest.append(np.maximum(np.maximum(x, y), z))
        i, j, k = (node.astype(np.int32) + per_axis // 2 for node in nodes)
        numbers.append(((lattice * per_axis + i) * per_axis + j) * per_axis + k)
    first = squares[0] <= squares[1]
    wall = np.minimum(np.abs(squares[1] - squares[0]) / np.float32(3**0.5), 0.5 - np.where(first, *largest))
    return Lobules(np.float32(width_mm) * wall, np.where(first, *numbers), 2 * per_axis**3)
