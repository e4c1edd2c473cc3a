import numpy as np
import pytest

from reg2rg.phantom.shapes import Ellipsoid, Tube, Union, rotation_about

STEP = 0.5


def lattice(reach: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    line = np.arange(-reach, reach, STEP, dtype=np.float32) + STEP / 2
    return line[:, None, None], line[None, :, None], line[None, None, :]


@pytest.mark.parametrize("rotation", [None, rotation_about(2, 30), rotation_about(1, -50) @ rotation_about(0, 20)])
def test_ellipsoid_has_the_volume_of_the_formula(rotation: np.ndarray | None) -> None:
    shape = Ellipsoid((1.0, -2.0, 0.5), (9.0, 6.0, 4.0), rotation)
    inside = shape.distance_mm(*lattice(13)) < 0
    assert inside.sum() * STEP**3 == pytest.approx(4 / 3 * np.pi * 9 * 6 * 4, rel=0.01)


def test_tube_has_the_volume_of_the_formula() -> None:
    inside = Tube((0.0, -5.0, 0.0), (0.0, 5.0, 0.0), 3.0, 3.0).distance_mm(*lattice(10)) < 0
    assert inside.sum() * STEP**3 == pytest.approx(np.pi * 9 * 10 + 4 / 3 * np.pi * 27, rel=0.01)


@pytest.mark.parametrize(
    "shape",
    [
        Ellipsoid((1.0, -2.0, 0.5), (9.0, 6.0, 4.0), rotation_about(2, 30)),
        Tube((-4.0, 1.0, 0.0), (3.0, -5.0, 6.0), 3.0, 1.0),
        Union((Ellipsoid((-4.0, 0.0, 0.0), (3.0, 3.0, 3.0)), Tube((0.0, 0.0, 0.0), (6.0, 0.0, 0.0), 1.0, 1.0))),
    ],
)
def test_bounds_hold_the_solid_and_are_tight(shape: Ellipsoid | Tube | Union) -> None:
    axes = lattice(12)
    low, high = shape.bounds_mm()
    inside = np.argwhere(shape.distance_mm(*axes) < 0)
    for axis in range(3):
        line = axes[axis].ravel()
        first, last = line[inside[:, axis].min()], line[inside[:, axis].max()]
        assert low[axis] <= first
        assert last <= high[axis]
        if not isinstance(shape, Tube):  # a tube's box takes the wider end for both
            assert first - low[axis] < 2 * STEP and high[axis] - last < 2 * STEP


def test_union_is_where_either_is() -> None:
    a, b = Ellipsoid((-3.0, 0.0, 0.0), (4.0, 4.0, 4.0)), Ellipsoid((3.0, 0.0, 0.0), (5.0, 5.0, 5.0))
    axes = lattice(10)
    either = (a.distance_mm(*axes) < 0) | (b.distance_mm(*axes) < 0)
    assert (either == (Union((a, b)).distance_mm(*axes) < 0)).all()


def test_center_of_an_ellipsoid_is_inside() -> None:
    center = tuple(np.zeros((1, 1, 1), np.float32) for _ in range(3))
    assert Ellipsoid((0.0, 0.0, 0.0), (9.0, 6.0, 4.0)).distance_mm(*center).item() == -4.0
