"""Bones and vessels full of contrast agent, drawn in a block of tissue between two lungs."""

from dataclasses import dataclass

import numpy as np
import pytest

from reg2rg.segment.bones import find_bones
from reg2rg.segment.spine import locate_spine
from reg2rg.segment.thorax import hull_slices

SPACING_MM = (2.0, 2.0, 2.0)
SIZE = (100, 80, 30)
X, Y = np.meshgrid(np.arange(SIZE[0]) * 2.0, np.arange(SIZE[1]) * 2.0, indexing="ij")
MIDDLE_MM, BACK_MM = 99.0, 30.0


def rod(in_slice: np.ndarray, bottom: int = 0, top: int = SIZE[2]) -> np.ndarray:
    """What an axial slice shows, from one slice to another."""
    mask = np.zeros(SIZE, bool)
    mask[:, :, bottom:top] = in_slice[:, :, None]
    return mask


def disk(x_mm: float, y_mm: float, radius_mm: float) -> np.ndarray:
    return np.hypot(X - MIDDLE_MM - x_mm, Y - BACK_MM - y_mm) <= radius_mm


LUNGS = rod((np.abs(X - MIDDLE_MM) > 32) & (np.abs(X - MIDDLE_MM) < 80) & (Y >= BACK_MM) & (Y < 140))
VERTEBRA, MARROW = rod(disk(0, 18, 16)), rod(disk(0, 18, 13), 3, 27)
RIB = rod((np.abs(X - MIDDLE_MM + 88) < 3) & (np.abs(Y - 80) < 20), 10, 15)
SPECK = rod((np.abs(X - MIDDLE_MM - 90) < 3) & (np.abs(Y - 80) < 5), 10, 13)  # 3 x 4 x 3 voxels of 8 mm3
AORTA = rod(disk(-24, 46, 12))  # half of it in the spine's zone
HEART = rod(disk(4, 90, 22))


@dataclass(frozen=True)
class Chest:
    hu: np.ndarray
    bones: np.ndarray


@pytest.fixture(scope="module")
def chest() -> Chest:
    hu = np.full(SIZE, 40.0)
    for mask, value in ((LUNGS, -850), (AORTA, 350), (HEART, 300), (VERTEBRA, 400), (MARROW, 120)):
        hu[mask] = value
    hu[RIB] = hu[SPECK] = 500
    hu = (hu + np.random.default_rng(9).normal(0, 15, SIZE)).astype(np.float32)
    thorax = hull_slices(LUNGS)
    body = np.ones(SIZE, bool)
    spine = locate_spine(LUNGS, thorax, SPACING_MM)
    return Chest(hu, find_bones(hu, body, LUNGS, thorax, spine, SPACING_MM))


def bones_of(mask: np.ndarray) -> np.ndarray:
    """What is found of a mask of 600 HU."""
    hu = np.full(SIZE, 40.0, np.float32)
    hu[LUNGS], hu[mask] = -850, 600
    thorax = hull_slices(LUNGS)
    spine = locate_spine(LUNGS, thorax, SPACING_MM)
    return find_bones(hu, np.ones(SIZE, bool), LUNGS, thorax, spine, SPACING_MM)


def share(found: np.ndarray, of: np.ndarray) -> float:
    return np.count_nonzero(found & of) / np.count_nonzero(of)


def test_bones_are_found_with_their_marrow(chest: Chest) -> None:
    assert share(chest.bones, VERTEBRA) > 0.97
    assert share(chest.bones, MARROW) == 1
    assert share(chest.bones, RIB) == 1


def test_contrast_in_vessels_is_no_bone(chest: Chest) -> None:
    assert (chest.hu[AORTA] > 160).all() and (chest.hu[HEART] > 160).all()
    assert share(chest.bones, AORTA) < 0.02
    assert share(chest.bones, HEART) == 0


def test_specks_lungs_and_tissue_are_no_bone(chest: Chest) -> None:
    assert not (chest.bones & (SPECK | LUNGS)).any()
    assert share(chest.bones, ~(VERTEBRA | RIB)) < 0.002


def test_a_bone_outside_of_the_body_is_none(chest: Chest) -> None:
    body = np.ones(SIZE, bool)
    body[RIB] = False
    thorax = hull_slices(LUNGS)
    bones = find_bones(chest.hu, body, LUNGS, thorax, locate_spine(LUNGS, thorax, SPACING_MM), SPACING_MM)
    assert not (bones & RIB).any() and share(bones, VERTEBRA) > 0.97


def test_what_bone_encloses_is_filled_unless_it_is_larger_than_marrow() -> None:
    ring, hole = rod(disk(0, -2, 12) & ~disk(0, -2, 9)), rod(disk(0, -2, 9))  # an arch and its canal
    around = rod((np.abs(X - MIDDLE_MM) > 94) | (Y < 6) | (Y > 150))  # bone on all sides, as no bone is
    bones = bones_of(ring | around)
    assert share(bones, ring | hole) == 1 and share(bones, around) == 1
    assert share(bones, rod(disk(0, 60, 20))) == 0


def test_a_crack_of_a_vertebra_does_not_keep_its_marrow_from_being_filled() -> None:
    crack = rod(X == 100)  # one voxel wide
    marrow = disk(0, 18, 9)
    shell = rod(disk(0, 18, 16) & ~marrow) & ~crack
    assert share(bones_of(shell), rod(marrow, 3, 27)) == 1


def test_bone_at_the_border_of_the_thorax_is_whole() -> None:
    sternum = rod((np.abs(X - MIDDLE_MM) < 16) & (Y >= 138) & (Y < 152))  # the lungs' front is at 138 mm
    assert (sternum & hull_slices(LUNGS)).any()
    assert share(bones_of(sternum), sternum) == 1
