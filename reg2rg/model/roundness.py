"""How round what is bright is: a nodule is, a vessel is not."""

from collections.abc import Sequence
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

_AXES = [way for way in product((-1, 0, 1), repeat=3) if way > (0, 0, 0)]
"""Thirteen lines through a voxel: along its faces, edges and corners, one of the two ways of each."""
_SMOOTHED_AT_MOST = 2
_TOGETHER = 4
"""Crops at a time: for all of a training batch the system clears fresh memory at each step, three times the work."""


@torch.no_grad()
def roundness(crops: Float[Tensor, "crop x y z"], radii: Sequence[int]) -> Float[Tensor, "crop radius x y z"]:
    """How much brighter than its surroundings each voxel is, whichever line through it one follows.

    The middle, less the darker of the two points at a radius to either side, along the brightest of thirteen lines: a
    vessel goes on along its own line, a ball ends along all. What eigenvalues of the Hessian tell in the enhancement
    filters of Li, Sone and Doi (Medical Physics 2003), told by comparing, which noise disturbs less. It is no function
    to be learned through: no gradient passes.

    Args:
        crops: one channel.
        radii: in voxels, from 2 on, growing. At 2 the middle is smoothed once, from 3 on twice; the points at its sides
            once less.
    """
    return torch.cat([_roundness(few, radii) for few in crops.split(_TOGETHER)])


def _roundness(crops: Float[Tensor, "crop x y z"], radii: Sequence[int]) -> Float[Tensor, "crop radius x y z"]:
    ends, middle, smoothed = crops[:, None], crops[:, None], 0
    found = []
    for radius in radii:
        while smoothed < min(radius - 1, _SMOOTHED_AT_MOST):
            ends, middle, smoothed = middle, _smooth(middle), smoothed + 1
        found.append(middle - _brightest_line(ends, radius))
    return torch.cat(found, dim=1)


def _brightest_line(ends: Float[Tensor, "crop 1 x y z"], radius: int) -> Float[Tensor, "crop 1 x y z"]:
    x, y, z = ends.shape[2:]
    padded = functional.pad(ends, [radius] * 6, mode="replicate")
    brightest: Tensor | None = None
    for way in _AXES:
        reach = radius / sum(step**2 for step in way) ** 0.5
        a, b, c = (round(step * reach) for step in way)
        one, other = (
            padded[..., i : i + x, j : j + y, k : k + z]
            for i, j, k in ((radius + a, radius + b, radius + c), (radius - a, radius - b, radius - c))
        )
        darker = torch.minimum(one, other)
        brightest = darker if brightest is None else torch.maximum(brightest, darker, out=brightest)
    assert brightest is not None
    return brightest


def _smooth(grid: Float[Tensor, "crop 1 x y z"]) -> Float[Tensor, "crop 1 x y z"]:
    """A quarter, a half and a quarter along each axis; beyond the edge the edge goes on."""
    for axis in (2, 3, 4):
        length = grid.shape[axis]
        first, last = grid.narrow(axis, 0, 1), grid.narrow(axis, length - 1, 1)
        wide = torch.cat([first, grid, last], dim=axis)
        grid = 0.5 * grid + 0.25 * (wide.narrow(axis, 0, length) + wide.narrow(axis, 2, length))
    return grid
