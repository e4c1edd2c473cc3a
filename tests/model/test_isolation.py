"""Balls against rods, planes and steps; the fast way against a voxel at a time."""

from functools import cache
from itertools import product

import numpy as np
import pytest
import torch

from reg2rg.model.isolation import isolation

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
def test_a_ball_stands_alone_and_nothing_else_does(radius: float) -> None:
    of_ball = isolation(field("ball", radius), RADII, (-1, 0))
    assert of_ball.shape == (1, 3, 16, 20, 24)
    assert of_ball[0, :, 8, 10, 12].max() > 1, "in its middle, a quarter of the window and more"
    for other in ("rod", "plane"):
        inside = isolation(field(other, radius), RADII, (-1, 0))[0, :, 8, 10, 12]
        assert inside.max() < 0.2, other
    assert (isolation(torch.full((2, 8, 8, 8), 0.3), RADII) == 0).all()


def test_where_vessels_meet_is_not_alone() -> None:
    corner = field("rod", 1.5)[0]
    corner[:, :, :11] = -1  # a rod along z that begins at the middle, and one along x that does, too
    corner[7:, 9:12, 11:14] = 0
    assert corner[8, 10, 12] == 0
    assert isolation(corner[None], RADII, (-1, 0))[0, :, 8, 10, 12].max() == 0


def test_it_is_what_it_says_voxel_by_voxel() -> None:
    torch.manual_seed(0)
    crops = 2 * torch.rand(2, 5, 6, 7) - 1
    alone = isolation(crops, RADII, (-0.5, 0.75))
    for crop, image in enumerate(crops.numpy()):
        levels = np.round((np.clip(image, -0.5, 0.75) + 0.5) * np.float32(255 / 1.25)).astype(int)
        smoothed = [np.pad(levels, 6, mode="edge")]
        for _ in range(2):
            level = smoothed[-1]
            for axis in range(3):
                level = (np.roll(level, 1, axis) + 2 * level + np.roll(level, -1, axis) + 2) // 4
            smoothed.append(level)
        for channel, radius in enumerate(RADII):
            middle = smoothed[min(radius - 1, 2)]
            for voxel in product(range(5), range(6), range(7)):
                place = np.array(voxel) + 6
                brightest = max(smoothed[0][tuple(place + point)] for point in sphere_points(radius))
                expected = max(0, middle[tuple(place)] - brightest) * 4 / 255
                assert alone[crop, channel][voxel].item() == pytest.approx(expected, abs=1e-5)


@cache
def sphere_points(radius: int) -> set[tuple[int, int, int]]:
    """Whole points about as far away as the radius: on an axis, or between two, and their neighbours across."""
    points = set()
    for axis, step in product(range(3), (-1, 0, 1)):
        for across, along in product(range(-radius, radius + 1), repeat=2):
            on_axis = 0 in (across, along) and abs(across + along) == radius
            between = abs(across) == abs(along) and abs(np.hypot(across, along) - radius) < 0.3
            if on_axis or between:
                point = [across, along]
                point.insert(axis, step)
                points.add(tuple(point))
    return points


def test_no_way_out_of_a_sphere_is_far_from_its_points() -> None:
    directions = np.random.default_rng(0).normal(size=(2000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for radius, count in zip(RADII, (30, 66, 66), strict=True):
        points = np.array(sorted(sphere_points(radius)))
        assert len(points) == count
        distances = np.linalg.norm(points, axis=1)
        assert distances.min() >= radius - 0.2 and distances.max() <= radius + 0.4
        cosine = (directions @ points.T / distances).max(axis=1)
        away = distances.mean() * np.sin(np.arccos(cosine)).max()
        assert away < 2, f"{away:.2f} voxels at a radius of {radius}"


def test_radii_may_leave_some_out_and_crops_do_not_see_each_other() -> None:
    crops = torch.randn(3, 8, 8, 8)
    whole = isolation(crops, RADII)
    assert torch.equal(isolation(crops, (2, 4)), whole[:, [0, 2]])
    assert torch.equal(isolation(crops[1:2], RADII), whole[1:2])
    assert isolation(crops[:0], RADII).shape == (0, 3, 8, 8, 8)
    assert not isolation(torch.randn(1, 8, 8, 8, requires_grad=True), RADII).requires_grad


def test_it_is_written_where_it_is_wanted() -> None:
    crops, memory = torch.randn(2, 8, 8, 8), torch.full((2, 5, 8, 8, 8), 7.0)
    isolation(crops, RADII, out=memory[:, 1:4])
    assert torch.equal(memory[:, 1:4], isolation(crops, RADII))
    assert (memory[:, [0, 4]] == 7).all()
