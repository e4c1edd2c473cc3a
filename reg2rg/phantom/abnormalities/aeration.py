"""Too much air or too little of it over both lungs: emphysema, mosaic attenuation."""

import numpy as np

from reg2rg.phantom.abnormalities.airspace import TISSUE_HU
from reg2rg.phantom.abnormalities.lobules import pack_lobules
from reg2rg.phantom.abnormalities.placing import is_free, lung_box
from reg2rg.phantom.finding import AMOUNTS, Finding
from reg2rg.phantom.organs import LUNG_BACK, LUNG_FRONT, Chest, smooth_noise

# Emphysema: below -950 HU (Gevenois et al., AJRCCM 1996). Share of the lung above the carina that is lost: by the
# CT index, from 6 % mild, from 14 % severe (Lynch et al., Radiology 2018); here further apart, so as to be told.
# Centrilobular holes are a few mm wide and mostly in the upper lobes (Fleischner glossary, 2008).
EMPHYSEMA_HU = -990.0
EMPHYSEMA_SHARE = {"small": 0.12, "moderate": 0.27, "large": 0.50}
_HOLE_MM = 5.0  # grain of the noise whose peaks are the holes

# Mosaic attenuation: lighter and darker lobules side by side (Fleischner glossary, 2008).
MOSAIC_HU = {"small": 95.0, "moderate": 135.0, "large": 185.0}
MOSAIC_SHARE = {"small": 0.25, "moderate": 0.45, "large": 0.65}
_MOSAIC_MM = 36.0


def draw_emphysema(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """Holes without walls, 3 to 8 mm wide, in both lungs, few below the hilum; more of them with the amount."""
    canvas, k = chest.canvas, chest.anatomy.scale
    amount = AMOUNTS[rng.integers(3)]
    box = lung_box(chest)
    lung_mm = chest.lung_mm[box.slices]
    _, _, z = canvas.axes_mm(box)
    noise = smooth_noise(canvas, _HOLE_MM, rng, box)
    is_upper = (lung_mm < 0) & (z > 0)
    threshold = np.quantile(noise[is_upper][::3], 1 - EMPHYSEMA_SHARE[amount]) if is_upper.any() else 1.0
    below = np.clip(-z / (45 * k), 0, None)
    holes = np.clip(20 * (noise - np.float32(threshold) - below) + np.float32(0.5), 0, 1)
    holes *= canvas.coverage(lung_mm + 1) * is_free(canvas, box)
    canvas.blend(holes, EMPHYSEMA_HU, box)
    canvas.mark_lesion(first_lesion, holes >= 0.5, box)
    return (Finding("Emphysema", "lung", amount=amount, lesion=first_lesion),)


def draw_mosaic_attenuation(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """Patches of lobules that are lighter than their neighbours, with sharp straight edges, in both lungs.

    The lighter patches are the lesion; the rest stays as it is. The amount is their contrast and their share.
    """
    canvas = chest.canvas
    amount = AMOUNTS[rng.integers(3)]
    box = lung_box(chest)
    patches = canvas.coverage(chest.lung_mm[box.slices]) * is_free(canvas, box)
    here = patches > 0
    lobules = pack_lobules(canvas, box, here, rng, _MOSAIC_MM)
    patches[here] *= (rng.random(lobules.count, dtype=np.float32) < MOSAIC_SHARE[amount])[lobules.cell]
    filled = MOSAIC_HU[amount] / (TISSUE_HU - (LUNG_FRONT + LUNG_BACK) / 2)
    canvas.blend(np.float32(filled) * patches, TISSUE_HU, box)
    canvas.mark_lesion(first_lesion, patches >= 0.5, box)
    return (Finding("Mosaic attenuation pattern", "lung", amount=amount, lesion=first_lesion),)
