"""Effusions: free fluid in the pleura and in the pericardium."""

import numpy as np

from reg2rg.phantom.abnormalities.placing import NEIGHBORHOOD_MM, replace_lung, take_from_lung
from reg2rg.phantom.finding import AMOUNTS, Finding
from reg2rg.phantom.organs import FAT, HEART_FAT_SHARE, Chest, pleura_shell_mm
from reg2rg.phantom.shapes import Ellipsoid, Union

# Transudates about 12, exudates about 17 (Abramowitz et al., AJR 2009).
EFFUSION_HU = (2.0, 22.0)

# Depth of the fluid over the depth of the pleural cavity: a quarter and a half divide small, moderate and large
# (Moy et al., Chest 2013); gaps are left, so that the truth is beyond dispute.
EFFUSION_SHARE = {"small": (0.10, 0.21), "moderate": (0.29, 0.45), "large": (0.56, 0.75)}


def draw_pericardial_effusion(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """Fluid of even thickness at the heart's sides and below it; it joins the heart's mask.

    It grows with the heart in every way, as the heart's fat does, or it would tell how large the heart is: 5 to 14 % of
    its width thick, 6 to 22 mm; in front of the heart, behind and above it thinner than the fat that is there in
    everybody, so that nothing cuts into it; and with fat of its own around it.
    """
    canvas = chest.canvas
    width = chest.anatomy.heart_width_mm
    thickness = round(rng.uniform(0.05, 0.14) * width)
    hu = rng.uniform(*EFFUSION_HU)
    sac = Union(tuple(part.grown(thickness) for part in chest.heart.parts if isinstance(part, Ellipsoid)))
    box = canvas.box_of(sac, NEIGHBORHOOD_MM)
    if box is None:
        return ()
    x, y, z = canvas.axes_mm(box)
    fat = np.float32(HEART_FAT_SHARE * width)
    (_, back, _), (_, front, top) = chest.heart.bounds_mm()
    room = np.maximum(np.maximum(y - np.float32(front), np.float32(back) - y), z - np.float32(top))
    to_sac, in_heart = sac.distance_mm(x, y, z), -chest.heart.distance_mm(x, y, z)
    distance = np.maximum(np.maximum(to_sac, room - fat / 2), in_heart)
    around = np.maximum(np.maximum(to_sac, room) - fat, in_heart)
    canvas.blend(canvas.coverage(around), FAT, box)
    fluid = canvas.coverage(distance)
    canvas.blend(fluid, hu, box)
    take_from_lung(chest, around, box)
    is_fluid = fluid >= 0.5
    canvas.mark_region("pleura", np.abs(around) < pleura_shell_mm(canvas) * (chest.lung_mm[box.slices] < 0), box)
    for pushed_aside in ("abdomen", "bone", "esophagus", "lung", "mediastinum", "pleura", "trachea and bronchie"):
        canvas.unmark_region(pushed_aside, canvas.coverage(around) >= 0.5, box)
    canvas.mark_region("heart", is_fluid, box)
    canvas.mark_lesion(first_lesion, is_fluid, box)
    return (Finding("Pericardial effusion", "heart", size_mm=thickness, lesion=first_lesion),)


def draw_pleural_effusion(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """Free fluid on one side or both, settled at the back of a lying patient, climbing at the wall as a crescent."""
    draw = rng.random()
    sides = ("right", "left") if draw < 0.35 else ("right",) if draw < 0.7 else ("left",)
    findings = []
    for index, side in enumerate(sides, first_lesion):
        amount = AMOUNTS[rng.integers(3)]
        depth = _fill_pleura(chest, side, amount, rng, index)
        findings.append(Finding("Pleural effusion", "pleura", side, size_mm=depth, amount=amount, lesion=index))
    return tuple(findings)


def _fill_pleura(chest: Chest, side: str, amount: str, rng: np.random.Generator, lesion: int) -> int:
    """Draws the fluid of one side; how deep it is above the diaphragm, to 5 mm, as it is reported."""
    canvas, anatomy = chest.canvas, chest.anatomy
    depth = rng.uniform(*EFFUSION_SHARE[amount]) * anatomy.thorax_depth_mm
    hu = rng.uniform(*EFFUSION_HU)
    top = anatomy.apex_mm * {"small": 0.2, "moderate": 0.6, "large": 1.0}[amount]
    x, y, z = canvas.axes_mm()
    height = np.clip((top - z) / (top - anatomy.dome_right_mm), 0, 1) ** 0.6
    climb = 0.3 * depth * np.exp(np.clip(chest.pleural_mm / 10, -8, 0))
    level = -anatomy.thorax_depth_mm / 2 + height * (depth + climb)
    distance = np.maximum(y - level, -x if side == "right" else x)
    fluid = replace_lung(chest, canvas.coverage(distance), hu, canvas.whole)
    canvas.unmark_region("lung", fluid >= 0.5)
    take_from_lung(chest, distance, canvas.whole)
    canvas.mark_region("pleura", fluid >= 0.5)
    canvas.mark_lesion(lesion, fluid >= 0.5)
    return 5 * round(depth / 5)
