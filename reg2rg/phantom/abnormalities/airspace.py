"""Fluid or cells in the air spaces: consolidation, which drowns the vessels, and ground glass, which does not."""

import numpy as np
from jaxtyping import Float

from reg2rg.phantom.abnormalities.placing import (
    NEIGHBORHOOD_MM,
    fill_lung,
    is_free,
    occupy_lung,
    place_in_lung,
)
from reg2rg.phantom.finding import AMOUNTS, Finding
from reg2rg.phantom.organs import AIR, LOBES, Chest, smooth_noise
from reg2rg.phantom.shapes import Ellipsoid, rotation_about
from reg2rg.volume import Box

# Soft tissue, vessels drowned, and a haze through which they show (Fleischner glossary, Hansell et al., Radiology
# 2008). Ground glass reads -750 to -300 HU (Lynch et al., Radiology 2018); here it is a share of soft tissue mixed
# into lung of -850 HU, which makes about -640 to -480.
CONSOLIDATION_HU = (20.0, 50.0)
OPACITY_SHARE = (0.25, 0.42)
TISSUE_HU = 30.0
_HAZE_MM = 8.0  # how slowly ground glass fades at its edge


def draw_consolidation(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """An airless part of one lobe with a ragged edge, in which the bronchi stay open."""
    canvas = chest.canvas
    amount = AMOUNTS[rng.integers(3)]
    radius = chest.anatomy.scale * rng.uniform(*{"small": (14, 19), "moderate": (26, 34), "large": (46, 62)}[amount])
    hu = rng.uniform(*CONSOLIDATION_HU)
    lobe, patch, box, distance = _ragged_patch(chest, rng, radius)
    before = canvas.hu[box.slices].copy()
    airless = fill_lung(chest, distance, box, hu, lobe, first_lesion)
    for branch in chest.airways:
        if patch.distance_mm(*(np.full((1, 1, 1), c, np.float32) for c in branch.tube.start_mm)).item() < 0:
            canvas.draw_thin(branch.tube, AIR)
    np.copyto(canvas.hu[box.slices], before, where=airless == 0)  # bronchi that leave the patch are there already
    side, lobe_name = LOBES[lobe]
    return (Finding("Consolidation", "lung", side, lobe_name, amount=amount, lesion=first_lesion),)


def draw_lung_opacity(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """A patch of ground glass, 22 to 75 mm wide, in one lobe: hazy at its edge, vessels and bronchi seen through it."""
    canvas = chest.canvas
    amount = AMOUNTS[rng.integers(3)]
    radius = chest.anatomy.scale * rng.uniform(*{"small": (11, 14), "moderate": (19, 23), "large": (30, 38)}[amount])
    share = np.float32(rng.uniform(*OPACITY_SHARE))
    lobe, _, box, distance = _ragged_patch(chest, rng, radius)
    here = (chest.lobe(*canvas.axes_mm(box)) == lobe) & is_free(canvas, box)
    haze = np.clip(0.5 - distance / np.float32(_HAZE_MM), 0, 1) * canvas.coverage(chest.lung_mm[box.slices]) * here
    is_airway = (canvas.hu[box.slices] < -940) & canvas.region_mask("trachea and bronchie")[box.slices]
    canvas.blend(share * haze * ~is_airway, TISSUE_HU, box)
    canvas.mark_lesion(first_lesion, (haze >= 0.5) & ~is_airway, box)
    occupy_lung(chest, np.where(here, distance, np.maximum(distance, np.float32(1))), box)
    side, lobe_name = LOBES[lobe]
    return (Finding("Lung opacity", "lung", side, lobe_name, amount=amount, lesion=first_lesion),)


def _ragged_patch(
    chest: Chest, rng: np.random.Generator, radius_mm: float
) -> tuple[int, Ellipsoid, Box, Float[np.ndarray, "x y z"]]:
    """A place for a patch: lobe (index into LOBES), smooth outline, box with margin, distance to the ragged outline."""
    lobe, center = place_in_lung(chest, rng, 0.4 * radius_mm)
    a, b, c = radius_mm * rng.uniform(0.8, 1.2, size=3)
    patch = Ellipsoid(center, (a, b, c), rotation_about(2, rng.uniform(0, 180)))
    box = chest.canvas.box_of(patch, margin_mm=0.4 * radius_mm + NEIGHBORHOOD_MM)
    assert box is not None, "a lesion was placed outside the scan"
    ragged = 0.16 * radius_mm * smooth_noise(chest.canvas, max(12.0, 0.45 * radius_mm), rng, box)
    return lobe, patch, box, patch.distance_mm(*chest.canvas.axes_mm(box)) + ragged
