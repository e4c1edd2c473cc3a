"""What can be wrong between the lungs, and what is put there."""

from itertools import pairwise

import numpy as np

from reg2rg.phantom.finding import Finding
from reg2rg.phantom.organs import Chest
from reg2rg.phantom.shapes import Ellipsoid, Shape, Tube

METAL_HU = 2800.0
_VISIBLE_METAL = 0.15  # share of metal that lifts a voxel of soft tissue by 400 HU


def draw_medical_material(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """A port or a pacemaker: a metal case under the skin of one side, its lead through the vena cava to the heart.

    Of the lesion, the lead within the chest joins the mediastinum's mask; the case lies in the chest wall.
    """
    canvas, anatomy = chest.canvas, chest.anatomy
    k = anatomy.scale
    side = "right" if rng.random() < 0.5 else "left"
    sign = 1.0 if side == "right" else -1.0
    front = anatomy.front_mm - anatomy.fat_mm - 2 * k
    case = Ellipsoid((sign * 62 * k, front - 12 * k, 0.55 * anatomy.apex_mm), (17 * k, 6 * k, 16 * k))
    course = [
        case.center_mm,
        (sign * 48 * k, 0.45 * front, anatomy.apex_mm + 6 * k),
        (sign * 14 * k, 20 * k, anatomy.apex_mm - 4 * k),
        (24 * k, 16 * k, 55 * k),
        (24 * k, 14 * k, 0.0),
        (22 * k, 12 * k, -42 * k),
    ]
    lead = [Tube(a, b, 1.6, 1.6) for a, b in pairwise(course)]
    parts: tuple[Shape, ...] = (case, *lead)
    for part in parts:
        box = canvas.box_of(part)
        if box is None:
            continue
        coverage = canvas.coverage_of(part, box)
        canvas.blend(coverage, METAL_HU, box)
        mask = coverage >= _VISIBLE_METAL
        if part in lead[1:]:
            canvas.mark_region("mediastinum", mask, box)
        canvas.mark_lesion(first_lesion, mask, box)
    return (Finding("Medical material", "mediastinum", side, lesion=first_lesion),)
