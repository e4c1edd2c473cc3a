"""A healthy chest on a coarse grid, and what one drawer makes of it: for tests of the phantom's abnormalities."""

from copy import deepcopy
from functools import cache

import numpy as np

from reg2rg.phantom.abnormalities import DRAWERS
from reg2rg.phantom.body import sample_anatomy
from reg2rg.phantom.finding import Finding
from reg2rg.phantom.organs import Chest, draw_chest
from reg2rg.volume import Grid

VOXEL_MM = 3.5


@cache
def healthy() -> Chest:
    """A woman without contrast medium and without anything wrong; not to be drawn on."""
    anatomy = sample_anatomy(np.random.default_rng(8), enlarged_heart=False)
    assert anatomy.sex == "female" and anatomy.contrast_hu == 0
    affine = np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0])
    affine[:3, 3] = (-190, -165, -200)
    return draw_chest(anatomy, Grid((108, 92, 106), affine), np.random.default_rng(9))


def draw(name: str, seed: int, first_lesion: int = 0) -> tuple[Chest, tuple[Finding, ...]]:
    """One abnormality in the same person, without acquisition."""
    chest = deepcopy(healthy())
    return chest, DRAWERS[name](chest, np.random.default_rng(seed), first_lesion)


def lesion_of(chest: Chest, finding: Finding) -> np.ndarray:
    """The voxels of one finding's lesion."""
    return (chest.canvas.lesions >> np.uint32(finding.lesion)) & np.uint32(1) != 0
