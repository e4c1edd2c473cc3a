"""The space between two block-shaped lungs, with what belongs to the heart left out."""

import numpy as np
import pytest

from reg2rg.segment.mediastinum import find_mediastinum
from reg2rg.segment.spine import Spine, locate_spine
from reg2rg.segment.thorax import hull_slices

SPACING_MM = (4.0, 5.0, 6.0)
SIZE = (60, 40, 40)
CARINA_Z = 24
HEART_TOP_Z = 20  # the carina is at 144 mm, the heart begins 25 mm below: at 119 mm, between slices 19 and 20
AHEAD = 30  # voxels of the lungs from back to front, 150 mm


@pytest.fixture(scope="module")
def parts() -> tuple[np.ndarray, np.ndarray, np.ndarray, Spine]:
    """Lungs from slice 2 to 37, small in the lowest three; their hulls; a vertebra; the spine."""
    lungs = np.zeros(SIZE, bool)
    for x in (slice(8, 22), slice(38, 52)):
        lungs[x, 4 : 4 + AHEAD, 2:38] = True
        lungs[x, 14:, 2:5] = False
    bones = np.zeros(SIZE, bool)
    bones[25:35, 4:15] = True
    thorax = hull_slices(lungs)
    return lungs, thorax, bones, locate_spine(lungs, thorax, SPACING_MM)


def test_between_the_lungs(parts: tuple[np.ndarray, np.ndarray, np.ndarray, Spine]) -> None:
    lungs, thorax, bones, spine = parts
    mediastinum = find_mediastinum(lungs, thorax, bones, CARINA_Z, spine, SPACING_MM)
    assert not (mediastinum & (lungs | bones | ~thorax)).any()
    assert not mediastinum[:, :, :5].any(), "small slices below surround the abdomen"
    between = slice(22, 38)
    assert mediastinum[between, 15 : 4 + AHEAD, HEART_TOP_Z:38].all(), "all of it above the heart"
    assert mediastinum[between, 15 : 4 + 15, 5:HEART_TOP_Z].all(), "below, what is behind the heart"
    assert not mediastinum[between, 4 + 16 :, :HEART_TOP_Z].any(), "the heart, from 78 mm ahead of the lungs' backs"
    assert not mediastinum[:, : 4 + 6].any(), "muscles and ribs behind, up to 28 mm"


def test_the_carina_is_guessed_where_no_airway_shows_it(
    parts: tuple[np.ndarray, np.ndarray, np.ndarray, Spine],
) -> None:
    lungs, thorax, bones, spine = parts
    guessed = find_mediastinum(lungs, thorax, bones, None, spine, SPACING_MM)
    share = round(38 - 0.35 * 36)  # of the lungs' height, from above
    known = find_mediastinum(lungs, thorax, bones, share, spine, SPACING_MM)
    np.testing.assert_array_equal(guessed, known)
    assert (guessed != find_mediastinum(lungs, thorax, bones, share + 2, spine, SPACING_MM)).any()


def test_pieces_that_hang_alone_are_left_out(parts: tuple[np.ndarray, np.ndarray, np.ndarray, Spine]) -> None:
    lungs, thorax, bones, spine = parts
    shut = bones.copy()
    shut[:, :, 30] = True
    mediastinum = find_mediastinum(lungs, thorax, shut, CARINA_Z, spine, SPACING_MM)
    assert mediastinum[:, :, :30].any() and not mediastinum[:, :, 30:].any()


def test_nothing_between(parts: tuple[np.ndarray, np.ndarray, np.ndarray, Spine]) -> None:
    lungs, _, bones, spine = parts
    assert not find_mediastinum(lungs, lungs, bones, CARINA_Z, spine, SPACING_MM).any()
