"""The lung as a packing of polygonal cells: walls between them are septa, patches of them make a mosaic."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from reg2rg.phantom.canvas import Canvas
from reg2rg.phantom.shapes import rotation_about
from reg2rg.volume import Box

_REACH_MM = 400.0  # cells are numbered this far from the carina; no lung is larger


@dataclass(frozen=True, eq=False)
class Lobules:
    """Cells on a box of voxels.

    Attributes:
        wall_mm: distance to the nearest wall between two cells.
        cell: number of the cell that holds each voxel's centre.
        count: numbers run from 0 to below this.
    """

    wall_mm: Float[np.ndarray, "x y z"]
    cell: Int[np.ndarray, "x y z"]
    count: int


def pack_lobules(canvas: Canvas, box: Box, rng: np.random.Generator, width_mm: float) -> Lobules:
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
        axes[i]
        + np.float32(0.14 * width_mm)
        * (
            np.sin(axes[(i + 1) % 3] * (2 * np.pi / wave) + phases[i, 0])
            + np.sin(axes[(i + 2) % 3] * (2 * np.pi / (1.37 * wave)) + phases[i, 1])
        ).astype(np.float32)
        for i in range(3)
    ]
    per_axis = int(2 * _REACH_MM / width_mm) + 3
    squares: list[Float[np.ndarray, "x y z"]] = []
    largest: list[Float[np.ndarray, "x y z"]] = []
    numbers: list[Int[np.ndarray, "x y z"]] = []
    for lattice, shift in enumerate((0.0, 0.5)):
        square, most, number = np.float32(0), np.float32(0), np.int32(lattice)
        for direction in turn / width_mm:
            place = sum(np.float32(e) * w for e, w in zip(direction, warped, strict=True)) - np.float32(shift)
            node = np.rint(place)
            offset = np.abs(place - node)
            square, most = square + offset * offset, np.maximum(most, offset)
            number = number * np.int32(per_axis) + node.astype(np.int32) + np.int32(per_axis // 2)
        squares.append(square)
        largest.append(most)
        numbers.append(number)
    first = squares[0] <= squares[1]
    wall = np.minimum(np.abs(squares[1] - squares[0]) / np.float32(3**0.5), 0.5 - np.where(first, *largest))
    return Lobules(np.float32(width_mm) * wall, np.where(first, *numbers), 2 * per_axis**3)
