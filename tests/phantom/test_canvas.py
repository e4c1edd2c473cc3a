import numpy as np
import pytest

from reg2rg.phantom.canvas import Canvas
from reg2rg.phantom.shapes import Ellipsoid, Tube, Union
from reg2rg.volume import Box, Grid


def make_canvas(spacing_mm: float = 4.0, size: int = 16) -> Canvas:
    affine = np.diag([spacing_mm] * 3 + [1.0])
    affine[:3, 3] = -spacing_mm * (size - 1) / 2
    canvas = Canvas(Grid((size, size, size), affine))
    canvas.hu[...] = 0
    return canvas


@pytest.mark.parametrize("diameter", [3, 6, 10, 20])
@pytest.mark.parametrize("shift", [0.0, 1.3])
def test_a_ball_fills_its_own_volume_even_below_a_voxel(diameter: int, shift: float) -> None:
    canvas = make_canvas()
    canvas.draw(Ellipsoid((shift, shift, 0.0), (diameter / 2,) * 3), 1.0)
    assert canvas.hu.sum() * 64 == pytest.approx(np.pi / 6 * diameter**3, rel=0.15 if diameter == 3 else 0.05)


def test_a_thin_tube_keeps_its_cross_section() -> None:
    canvas = make_canvas()
    canvas.draw_thin(Tube((0.7, 0.3, -60.0), (0.7, 0.3, 60.0), 1.0, 1.0), 1.0)
    assert canvas.hu[:, :, 8].sum() * 16 == pytest.approx(np.pi, rel=0.1)


def test_region_and_lesion_bits_do_not_disturb_each_other() -> None:
    canvas = make_canvas(size=4)
    half = np.zeros((4, 4, 4), bool)
    half[:2] = True
    canvas.mark_region("lung", half)
    canvas.mark_region("pleura", np.ones((1, 1, 1), bool), Box((3, 3, 3), (4, 4, 4)))
    canvas.mark_lesion(31, half)
    assert (canvas.region_mask("lung") == half).all()
    assert canvas.region_mask("pleura").sum() == 1
    canvas.unmark_region("lung", half)
    assert not canvas.region_mask("lung").any() and canvas.region_mask("pleura").any()
    assert (canvas.lesions[:2] == 1 << 31).all() and not canvas.lesions[2:].any()


def test_axes_are_millimetres_of_the_voxel_centres_and_their_parts() -> None:
    canvas = make_canvas(spacing_mm=2.0, size=4)
    x, y, z = canvas.axes_mm(Box((1, 0, 2), (3, 4, 3)))
    assert x.ravel().tolist() == [-1.0, 1.0] and y.shape == (1, 4, 1) and z.ravel().tolist() == [1.0]
    x, _, z = canvas.axes_mm(Box((1, 0, 2), (3, 4, 3)), subsamples=2)
    assert x.ravel().tolist() == [-1.5, -0.5, 0.5, 1.5] and z.ravel().tolist() == [0.5, 1.5]


def test_what_lies_outside_the_grid_is_not_drawn() -> None:
    canvas = make_canvas()
    outside = Ellipsoid((500.0, 0.0, 0.0), (5.0, 5.0, 5.0))
    assert canvas.box_of(outside) is None
    canvas.draw(outside, 1.0, "lung")
    assert not canvas.hu.any() and not canvas.regions.any()


def test_sample_takes_the_nearest_voxel() -> None:
    canvas = make_canvas(spacing_mm=2.0, size=4)
    canvas.hu[3, 0, 0] = 7
    points = np.array([[2.9, -3.2, -2.6], [100.0, 0.0, 0.0]])
    assert canvas.sample(canvas.hu, points, outside=-1.0).tolist() == [7.0, -1.0]


def test_distance_to_many_solids_is_that_of_their_union_as_far_as_it_reaches() -> None:
    canvas = make_canvas()
    solids = (Ellipsoid((-8.0, 0.0, 4.0), (5.0, 5.0, 5.0)), Tube((0.0, 0.0, 0.0), (20.0, 9.0, 0.0), 3.0, 3.0))
    box = Box((3, 2, 4), (16, 14, 12))
    distance = Union(solids).distance_mm(*canvas.axes_mm(box))
    assert canvas.distance_to(solids, box, 6.0) == pytest.approx(np.minimum(distance, 6.0), abs=1e-4)
    assert (canvas.distance_to([], box, 6.0) == 6.0).all()
