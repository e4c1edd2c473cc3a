"""Fluid or cells in the air spaces: consolidation, which drowns the vessels, and ground glass, which does not."""

import numpy as np
from jaxtyping import Float

from reg2rg.phantom.abnormalities.placing import (
    NEIGHBORHOOD_MM,
    fill_lung,
    is_free,
    lung_points,
    occupy_lung,
    place_in_lung,
)
from reg2rg.phantom.finding import AMOUNTS, Finding
from reg2rg.phantom.organs import AIR, LOBES, Chest, smooth_noise
from reg2rg.phantom.shapes import Ellipsoid, Tube, point_of, rotation_about
from reg2rg.volume import Box

# Soft tissue, vessels drowned, and a haze through which they show (Fleischner glossary, Hansell et al., Radiology
# 2008). Ground glass reads -750 to -300 HU (Lynch et al., Radiology 2018); here it is a share of soft tissue mixed
# into lung of -850 HU, which makes about -620 to -500.
CONSOLIDATION_HU = (10.0, 50.0)
OPACITY_SHARE = (0.26, 0.40)
OPACITY_PATCHES = {"small": (1, (12.5, 15.0)), "moderate": (2, (19.0, 22.0)), "large": (3, (26.0, 30.0))}
"""Number of patches, and radius in mm."""
TISSUE_HU = 30.0
_HAZE_MM = 8.0  # how slowly ground glass fades at its edge


def draw_consolidation(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """An airless part of one lobe with a ragged edge, in which the bronchi stay open, some of them wide."""
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
    for tube in _open_bronchi(chest, rng, np.array(patch.center_mm), radius):
        canvas.draw_thin(tube, AIR)
    np.copyto(canvas.hu[box.slices], before, where=airless == 0)  # bronchi that leave the patch are there already
    side, lobe_name = LOBES[lobe]
    return (Finding("Consolidation", "lung", side, lobe_name, amount=amount, lesion=first_lesion),)


def draw_lung_opacity(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """One to three patches of ground glass, 25 to 60 mm wide, in one lobe: hazy at the edge, vessels show through."""
    canvas = chest.canvas
    amount = AMOUNTS[rng.integers(3)]
    number, radii = OPACITY_PATCHES[amount]
    radius = chest.anatomy.scale * rng.uniform(*radii)
    share = np.float32(rng.uniform(*OPACITY_SHARE))
    lobe, patch, box, distance = _ragged_patch(chest, rng, radius, margin_mm=(number - 1) * 2.0 * radius, depth=0.7)
    own = lung_points(chest, rng).of_lobe(lobe)
    from_first = np.linalg.norm(own.mm - patch.center_mm, axis=1)
    fits = np.flatnonzero((from_first > 1.5 * radius) & (from_first < 2.6 * radius) & (own.depth_mm > 0.4 * radius))
    for index in fits[:: max(fits.size // max(number - 1, 1), 1)][: number - 1]:
        x, y, z = own.mm[index].tolist()
        a, b, c = radius * rng.uniform(0.8, 1.1, size=3)
        np.minimum(distance, Ellipsoid((x, y, z), (a, b, c)).distance_mm(*canvas.axes_mm(box)), out=distance)
    here = (chest.lobe(*canvas.axes_mm(box)) == lobe) & is_free(canvas, box)
    haze = np.clip(0.5 - distance / np.float32(_HAZE_MM), 0, 1) * canvas.coverage(chest.lung_mm[box.slices]) * here
    is_airway = (canvas.hu[box.slices] < -940) & canvas.region_mask("trachea and bronchie")[box.slices]
    canvas.blend(share * haze * ~is_airway, TISSUE_HU, box)
    canvas.mark_lesion(first_lesion, (haze >= 0.5) & ~is_airway, box)
    occupy_lung(chest, np.where(here, distance, np.maximum(distance, np.float32(1))), box)
    side, lobe_name = LOBES[lobe]
    return (Finding("Lung opacity", "lung", side, lobe_name, amount=amount, lesion=first_lesion),)


def _ragged_patch(
    chest: Chest, rng: np.random.Generator, radius_mm: float, margin_mm: float = 0.0, depth: float = 0.4
) -> tuple[int, Ellipsoid, Box, Float[np.ndarray, "x y z"]]:
    """A place for a patch: lobe (index into LOBES), smooth outline, box with margin, distance to the ragged outline."""
    lobe, center = place_in_lung(chest, rng, depth * radius_mm)
    a, b, c = radius_mm * rng.uniform(0.8, 1.2, size=3)
    patch = Ellipsoid(center, (a, b, c), rotation_about(2, rng.uniform(0, 180)))
    box = chest.canvas.box_of(patch, margin_mm=margin_mm + 0.4 * radius_mm + NEIGHBORHOOD_MM)
    assert box is not None, "a lesion was placed outside the scan"
    ragged = 0.16 * radius_mm * smooth_noise(chest.canvas, max(12.0, 0.45 * radius_mm), rng, box)
    return lobe, patch, box, patch.distance_mm(*chest.canvas.axes_mm(box)) + ragged


def _open_bronchi(
    chest: Chest, rng: np.random.Generator, center_mm: Float[np.ndarray, "3"], radius_mm: float
) -> list[Tube]:
    """A bronchus from the hilum's side through the patch, which forks: lumina of 3 to 6 mm, as segmental ones have."""
    k = chest.anatomy.scale
    hilum = np.array([38.0 if center_mm[0] > 0 else -38.0, -12.0, -24.0]) * k
    way = center_mm - hilum
    way /= max(float(np.linalg.norm(way)), 1e-3)
    start, fork = center_mm - 1.1 * radius_mm * way, center_mm - 0.45 * radius_mm * way
    wide = rng.uniform(0.9, 1.1) * min(max(0.09 * radius_mm, 1.6), 2.8)
    tubes = [Tube(point_of(start), point_of(fork), wide, 0.9 * wide)]
    for _ in range(2 if radius_mm < 22 else 3):
        aim = fork + radius_mm * (1.1 * way + 0.55 * rng.standard_normal(3))
        tubes.append(Tube(point_of(fork), point_of(aim), 0.9 * wide, 0.65 * wide))
    return tubes
