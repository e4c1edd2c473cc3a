"""Balls against rods, planes and steps; the fast way against a voxel at a time."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy import ndimage

from reg2rg.model.roundness import roundness

RADII = (2, 3, 4)


def field(shape: str, radius: float) -> torch.Tensor:
    """Lung at -1 with something at 0 around the middle of a crop of 16 x 20 x 24 voxels, in the shares of a voxel."""
    x, y, z = (np.arange(size) - size // 2 for size in (16, 20, 24))
    distance = {
        "ball": lambda: np.sqrt(x[:, None, None] ** 2 + y[:, None] ** 2 + z**2),
        "rod": lambda: np.sqrt(x[:, None, None] ** 2 + y[:, None] ** 2 + 0 * z),
        "plane": lambda: np.abs(x[:, None, None] + 0 * y[:, None] + 0 * z),
    }[shape]()
    return torch.from_numpy(np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32) - 1)[None]


@pytest.mark.parametrize("radius", [1.25, 2.0, 3.0])
def test_a_ball_is_round_and_nothing_else_is(radius: float) -> None:
    of_ball = roundness(field("ball", radius), RADII)
    assert of_ball.shape == (1, 3, 16, 20, 24)
    assert of_ball[0, :, 8, 10, 12].max() > 0.25, "in its middle"
    for other in ("rod", "plane"):
        inside = roundness(field(other, radius), RADII)[0, :, 8, 10, 12]
        assert inside.max() < 0.05, other
    assert roundness(torch.full((2, 8, 8, 8), 0.3), RADII).abs().max() < 1e-6


def test_it_is_what_it_says_voxel_by_voxel() -> None:
    torch.manual_seed(0)
    crops = torch.randn(2, 5, 6, 7)
    found = roundness(crops, RADII)
    ways = [np.array(way) for way in product((-1, 0, 1), repeat=3) if way > (0, 0, 0)]
    for crop, image in enumerate(crops.numpy()):
        smoothed = [image]
        for _ in range(2):
            for axis in range(3):
                image = ndimage.convolve1d(image, [0.25, 0.5, 0.25], axis=axis, mode="nearest")
            smoothed.append(image)
        for channel, radius in enumerate(RADII):
            times = min(radius - 1, 2)
            ends, middle = smoothed[times - 1], smoothed[times]
            for voxel in product(range(5), range(6), range(7)):
                lines = []
                for way in ways:
                    step = np.round(radius * way / np.linalg.norm(way)).astype(int)
                    sides = [np.clip(np.array(voxel) + sign * step, 0, np.array(ends.shape) - 1) for sign in (1, -1)]
                    lines.append(min(ends[tuple(side)] for side in sides))
                expected = middle[voxel] - max(lines)
                assert found[crop, channel][voxel].item() == pytest.approx(expected, abs=1e-5)


def test_radii_may_leave_some_out() -> None:
    crops = torch.randn(1, 8, 8, 8)
    torch.testing.assert_close(roundness(crops, (2, 4)), roundness(crops, RADII)[:, [0, 2]])


def test_no_gradient_passes() -> None:
    assert not roundness(torch.randn(1, 8, 8, 8, requires_grad=True), RADII).requires_grad
