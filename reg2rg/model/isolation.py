"""How alone what is bright stands: a nodule does, a vessel does not."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

_LEVELS = 255
_SMOOTHED_AT_MOST = 2
_WHOLE_WINDOW = (
    4.0  # told for a difference of the whole window: differences are smaller than the other channels' values
)
_DIAGONAL_WITHIN = 0.3  # of the radius, in voxels, for a point between two axes to count as on the sphere


@torch.no_grad()
def isolation(
    crops: Float[Tensor, "crop x y z"],
    radii: Sequence[int],
    window: tuple[float, float] = (-1.0, 1.0),
    out: Float[Tensor, "crop radius x y z"] | None = None,
) -> Float[Tensor, "crop radius x y z"]:
    """How much brighter each voxel is than the brightest point of a sphere around it; 0 where it is not.

    A vessel leaves the sphere somewhere, a ball inside it does not, and where vessels cross or bend one of them does.
    It is a top-hat with a ring: the original less its dilation by a sphere (Serra, Image Analysis and Mathematical
    Morphology, 1982, on both). It is no function to be learned through: no gradient passes.

    Args:
        crops: one channel; beyond its edges each goes on as it ends.
        radii: of the spheres, in voxels, from 2 on, growing. At 2 the middle is smoothed once, from 3 on twice.
        window: values are clipped to it, and rounded to 255 levels of it.
        out: where to write; None for fresh memory.

    Returns:
        a channel for each radius; a difference of the whole window is 4.
    """
    found = crops.new_empty(len(crops), len(radii), *crops.shape[1:]) if out is None else out
    frame = _Frame(crops.shape[1:], margin=max(radii) + _SMOOTHED_AT_MOST, device=crops.device)
    for crop, channels in zip(crops, found, strict=True):
        frame.fill(crop, window)
        for channel, radius in zip(channels, radii, strict=True):
            channel.copy_(frame.isolation(radius)).mul_(_WHOLE_WINDOW / _LEVELS)
    return found.clamp_(min=0)


def run_middles(radius: int) -> list[tuple[int, int]]:
    """A sphere as runs of three voxels along an axis: where their middles are on the plane across that axis.

    On both other axes, and between these where that is about as far. With the runs of all three axes 30, 66 and 66
    points at radii of 2, 3 and 4; no way out of the sphere passes all of them by two voxels.

    >>> run_middles(2)
    [(2, 0), (-2, 0), (0, 2), (0, -2)]
    """
    middles = [(radius, 0), (-radius, 0), (0, radius), (0, -radius)]
    part = round(radius / 2**0.5)
    if abs(part * 2**0.5 - radius) < _DIAGONAL_WITHIN:
        middles += [(across, along) for across in (part, -part) for along in (part, -part)]
    return middles


class _Frame:
    """One crop in levels, with a margin, in memory that is used again: fresh memory would cost as much as the work.

    All is held as one row of voxels, in which a step to any side is a step along the row.
    """

    def __init__(self, size_xyz: Sequence[int], margin: int, device: torch.device) -> None:
        self._margin = margin
        self._shape = tuple(size + 2 * margin for size in size_xyz)
        self._strides = (self._shape[1] * self._shape[2], self._shape[2], 1)
        count = self._shape[0] * self._strides[0]
        self._values = torch.empty(*size_xyz, device=device)
        self._smoothed = torch.empty(1 + _SMOOTHED_AT_MOST, count, dtype=torch.uint8, device=device)
        self._brightest, self._run = torch.zeros(2, count, dtype=torch.uint8, device=device)
        self._sums = torch.empty(2, count, dtype=torch.int16, device=device)

    def fill(self, crop: Float[Tensor, "x y z"], window: tuple[float, float]) -> None:
        """Takes over a crop, and smooths it."""
        low, high = window
        torch.clamp(crop, low, high, out=self._values)
        self._values.sub_(low).mul_(_LEVELS / (high - low)).round_()
        grid = self._smoothed[0].view(self._shape)
        self._inner(grid).copy_(self._values)
        for axis, size in enumerate(self._shape):
            inner = size - 2 * self._margin
            for outside, edge in ((0, self._margin), (self._margin + inner, self._margin + inner - 1)):
                grid.narrow(axis, outside, self._margin).copy_(grid.narrow(axis, edge, 1))
        for less, more in zip(self._smoothed[:-1], self._smoothed[1:], strict=True):
            self._smooth(less, more)

    def isolation(self, radius: int) -> Tensor:
        """Of each voxel, in levels; negative where it is darker than its sphere."""
        brightest, run, plain = self._brightest.zero_(), self._run, self._smoothed[0]
        for axis, stride in enumerate(self._strides):
            run.copy_(plain)
            for step in (stride, -stride):
                _raise(run, plain, step)
            one, other = (stride for place, stride in enumerate(self._strides) if place != axis)
            for across, along in run_middles(radius):
                _raise(brightest, run, across * one + along * other)
        middle = self._smoothed[min(radius - 1, _SMOOTHED_AT_MOST)]
        return self._inner(self._sums[0].copy_(middle).sub_(brightest).view(self._shape))

    def _smooth(self, less: Tensor, more: Tensor) -> None:
        """A quarter, a half and a quarter along each axis, rounded each time."""
        values, sums = self._sums
        values.copy_(less)
        for stride in self._strides:
            torch.add(values, values, out=sums)
            sums[stride:] += values[:-stride]
            sums[:-stride] += values[stride:]
            sums.add_(2).bitwise_right_shift_(2)
            values, sums = sums, values
        more.copy_(values)

    def _inner(self, grid: Tensor) -> Tensor:
        x, y, z = (slice(self._margin, size - self._margin) for size in self._shape)
        return grid[x, y, z]


def _raise(row: Tensor, other: Tensor, step: int) -> None:
    """Each value to that of the other row, so many steps on, where that is larger."""
    count = len(row) - abs(step)
    own, theirs = max(0, -step), max(0, step)
    raised = row[own : own + count]
    torch.maximum(raised, other[theirs : theirs + count], out=raised)
