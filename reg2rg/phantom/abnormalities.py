"""What can be wrong with a phantom: one drawer per abnormality, each with known truth.

A drawer takes a drawn Chest, changes its voxels, marks the lesion's voxels and says what it did as findings. Names are
those of `reg2rg.abnormalities`; `DRAWERS` is the list of what this world can draw, in the order of drawing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from reg2rg.phantom.organs import AIR, LOBES, STOMACH_CONTENT, STOMACH_WALL, Chest, esophagus_tubes, smooth_noise
from reg2rg.phantom.shapes import Ellipsoid, Shape, Tube, Union, rotation_about
from reg2rg.volume import Box

AMOUNTS = ("small", "moderate", "large")

# HU of lesions. Effusions: transudates about 12, exudates about 17 (Abramowitz et al., AJR 2009); emphysema: below
# -950 (Gevenois et al., AJRCCM 1996); consolidation: soft tissue, vessels drowned (Fleischner glossary, 2008).
EFFUSION_HU = (2.0, 22.0)
CONSOLIDATION_HU = (20.0, 50.0)
NODULE_HU = {"solid": (10.0, 60.0), "calcified": (300.0, 600.0), "ground glass": (-600.0, -480.0)}
EMPHYSEMA_HU = -985.0
METAL_HU = 2800.0
_VISIBLE_METAL = 0.15  # share of metal that lifts a voxel of soft tissue by 400 HU

_NEIGHBORHOOD_MM = 40.0  # wider than half the largest lesion that is placed by depth below the lung's surface


@dataclass(frozen=True)
class Finding:
    """One lesion as a report can state it; None where nothing is stated.

    Attributes:
        abnormality: a name of `reg2rg.abnormalities`.
        region: the region under which it is reported.
        side: ``left``, ``right``, or None.
        lobe: ``upper lobe``, ``middle lobe``, ``lower lobe``, or None.
        size_mm: greatest diameter or thickness in whole mm, or None.
        amount: ``small``, ``moderate``, ``large``, or None.
        lesion: the lesion's bit in the study's lesion field; findings are compared without it.
    """

    abnormality: str
    region: str
    side: str | None = None
    lobe: str | None = None
    size_mm: int | None = None
    amount: str | None = None
    lesion: int | None = field(default=None, compare=False)


Drawer = Callable[[Chest, np.random.Generator, int], tuple[Finding, ...]]


def draw_cardiomegaly(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """States that the heart is too large: the body was sampled so, and only its cardiothoracic ratio tells."""
    chest.canvas.mark_lesion(first_lesion, chest.canvas.region_mask("heart"))
    return (Finding("Cardiomegaly", "heart", lesion=first_lesion),)


def draw_pericardial_effusion(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """Fluid of even thickness (6 to 22 mm) around the heart, inside the thorax; it joins the heart's mask."""
    canvas = chest.canvas
    thickness = int(rng.integers(6, 23))
    hu = rng.uniform(*EFFUSION_HU)
    sac = Union(tuple(part.grown(thickness) for part in chest.heart.parts if isinstance(part, Ellipsoid)))
    box = canvas.box_of(sac, _NEIGHBORHOOD_MM)
    if box is None:
        return ()
    x, y, z = canvas.axes_mm(box)
    distance = np.maximum(sac.distance_mm(x, y, z), y - np.float32(chest.anatomy.thorax_depth_mm / 2 - 3))
    distance = np.maximum(distance, -chest.heart.distance_mm(x, y, z))
    fluid = canvas.coverage(distance)
    canvas.blend(fluid, hu, box)
    _take_from_lung(chest, distance, box)
    canvas.mark_region("heart", fluid >= 0.5, box)
    canvas.unmark_region("abdomen", fluid >= 0.5, box)
    canvas.mark_lesion(first_lesion, fluid >= 0.5, box)
    return (Finding("Pericardial effusion", "heart", size_mm=thickness, lesion=first_lesion),)


def draw_pleural_effusion(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """Free fluid on one side or both, settled at the back of a lying patient, climbing at the wall as a crescent."""
    draw = rng.random()
    sides = ("right", "left") if draw < 0.35 else ("right",) if draw < 0.7 else ("left",)
    findings = []
    for index, side in enumerate(sides, first_lesion):
        amount = AMOUNTS[rng.integers(3)]
        _fill_pleura(chest, side, amount, rng, index)
        findings.append(Finding("Pleural effusion", "pleura", side, amount=amount, lesion=index))
    return tuple(findings)


# Depth of the fluid over the depth of the pleural cavity: a quarter and a half divide small, moderate and large
# (Moy et al., Chest 2013); gaps are left, so that the truth is beyond dispute.
EFFUSION_SHARE = {"small": (0.10, 0.21), "moderate": (0.29, 0.45), "large": (0.56, 0.75)}


def _fill_pleura(chest: Chest, side: str, amount: str, rng: np.random.Generator, lesion: int) -> None:
    canvas, anatomy = chest.canvas, chest.anatomy
    depth = rng.uniform(*EFFUSION_SHARE[amount]) * anatomy.thorax_depth_mm
    hu = rng.uniform(*EFFUSION_HU)
    top = anatomy.apex_mm * {"small": 0.2, "moderate": 0.6, "large": 1.0}[amount]
    x, y, z = canvas.axes_mm()
    height = np.clip((top - z) / (top - anatomy.dome_right_mm), 0, 1) ** 0.6
    climb = 0.3 * depth * np.exp(np.clip(chest.pleural_mm / 10, -8, 0))
    level = -anatomy.thorax_depth_mm / 2 + height * (depth + climb)
    distance = np.maximum(np.maximum(y - level, chest.lung_mm), -x if side == "right" else x)
    fluid = canvas.coverage(distance)
    canvas.blend(fluid, hu, canvas.whole)
    _take_from_lung(chest, distance, canvas.whole)
    canvas.mark_region("pleura", fluid >= 0.5)
    canvas.mark_lesion(lesion, fluid >= 0.5)


def draw_hiatal_hernia(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """Stomach above the diaphragm: a sac of 30 to 65 mm around the hiatus with fluid, and air in front of it."""
    canvas = chest.canvas
    size = int(rng.integers(30, 66))
    hiatus = esophagus_tubes(chest.anatomy)[1].end_mm
    center = (hiatus[0], hiatus[1] + 0.15 * size, hiatus[2] + 0.45 * size)
    sac = Ellipsoid(center, (0.5 * size, 0.42 * size, 0.46 * size))
    box = canvas.box_of(sac, _NEIGHBORHOOD_MM)
    if box is None:
        return ()
    x, y, z = canvas.axes_mm(box)
    coverage = canvas.coverage_of(sac, box)
    canvas.blend(coverage, STOMACH_WALL, box)
    content = np.where(y > center[1] + 0.1 * size, np.float32(AIR), np.float32(STOMACH_CONTENT))
    canvas.blend(canvas.coverage_of(sac.grown(-5.0), box), content, box)
    _take_from_lung(chest, sac.distance_mm(x, y, z), box)
    canvas.mark_region("esophagus", coverage >= 0.5, box)
    canvas.mark_lesion(first_lesion, coverage >= 0.5, box)
    return (Finding("Hiatal hernia", "esophagus", size_mm=size, lesion=first_lesion),)


def draw_emphysema(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """Holes without walls, 8 to 20 mm wide, in both lungs, denser towards the top; more of them with the amount.

    About 7, 18 and 35 % of the lung above the carina are lost, and less below.
    """
    canvas, k = chest.canvas, chest.anatomy.scale
    amount = AMOUNTS[rng.integers(3)]
    threshold = {"small": 1.25, "moderate": 0.8, "large": 0.35}[amount]
    _, _, z = canvas.axes_mm()
    below = np.clip(-z / (60 * k), 0, None)
    noise = smooth_noise(canvas, 9.0, rng)
    holes = np.clip(6 * (noise - np.float32(threshold) - below) + np.float32(0.5), 0, 1)
    holes *= canvas.coverage(chest.lung_mm + 1)
    canvas.blend(holes, EMPHYSEMA_HU, canvas.whole)
    canvas.mark_lesion(first_lesion, holes >= 0.5)
    return (Finding("Emphysema", "lung", amount=amount, lesion=first_lesion),)


def draw_consolidation(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """An airless part of one lobe with a ragged edge, in which the bronchi stay open."""
    canvas, k = chest.canvas, chest.anatomy.scale
    amount = AMOUNTS[rng.integers(3)]
    radius = k * rng.uniform(*{"small": (14, 19), "moderate": (26, 34), "large": (46, 62)}[amount])
    hu = rng.uniform(*CONSOLIDATION_HU)
    lobe_index, center = _place_in_lung(chest, rng, 0.4 * radius)
    side, lobe = LOBES[lobe_index]
    radii = (radius * rng.uniform(0.8, 1.2), radius * rng.uniform(0.8, 1.2), radius * rng.uniform(0.8, 1.2))
    patch = Ellipsoid(center, radii, rotation_about(2, rng.uniform(0, 180)))
    box = canvas.box_of(patch, margin_mm=0.4 * radius + _NEIGHBORHOOD_MM)
    assert box is not None, "a lesion was placed outside the scan"
    x, y, z = canvas.axes_mm(box)
    ragged = 0.16 * radius * smooth_noise(canvas, max(9.0, 0.4 * radius), rng, box)
    distance = np.maximum(patch.distance_mm(x, y, z) + ragged, chest.lung_mm[box.slices])
    in_lobe = chest.lobe(x, y, z) == lobe_index
    airless = canvas.coverage(distance) * in_lobe
    before = canvas.hu[box.slices].copy()
    canvas.blend(airless, hu, box)
    for branch in chest.airways:
        if patch.distance_mm(*(np.full((1, 1, 1), c, np.float32) for c in branch.tube.start_mm)).item() < 0:
            canvas.draw_thin(branch.tube, AIR)
    np.copyto(canvas.hu[box.slices], before, where=airless == 0)  # bronchi that leave the patch are there already
    canvas.mark_lesion(first_lesion, airless >= 0.5, box)
    return (Finding("Consolidation", "lung", side, lobe, amount=amount, lesion=first_lesion),)


def draw_lung_nodules(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """One to three balls of 3 to 30 mm inside the lungs, each a finding; most are solid."""
    canvas = chest.canvas
    findings = []
    for index in range(first_lesion, first_lesion + int(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1]))):
        size = round(np.exp(rng.uniform(np.log(3), np.log(30))))
        kind = str(rng.choice(list(NODULE_HU), p=[0.75, 0.12, 0.13]))
        hu = rng.uniform(*NODULE_HU[kind])
        lobe_index, center = _place_in_lung(chest, rng, size / 2 + canvas.voxel_mm)
        side, lobe = LOBES[lobe_index]
        ball = Ellipsoid(center, (size / 2, size / 2, size / 2))
        box = canvas.box_of(ball)
        assert box is not None, "a nodule was placed outside the scan"
        coverage = canvas.coverage_of(ball, box)
        canvas.blend(coverage, hu, box)
        canvas.mark_lesion(index, coverage >= min(0.5, float(coverage.max())), box)
        findings.append(Finding("Lung nodule", "lung", side, lobe, size_mm=size, lesion=index))
    return tuple(findings)


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


DRAWERS: dict[str, Drawer] = {
    "Cardiomegaly": draw_cardiomegaly,
    "Pericardial effusion": draw_pericardial_effusion,
    "Pleural effusion": draw_pleural_effusion,
    "Hiatal hernia": draw_hiatal_hernia,
    "Emphysema": draw_emphysema,
    "Consolidation": draw_consolidation,
    "Lung nodule": draw_lung_nodules,
    "Medical material": draw_medical_material,
}


def _take_from_lung(chest: Chest, distance_mm: Float[np.ndarray, "x y z"], box: Box) -> None:
    """What fills a part of the lung makes it no lung any more: for its mask, and for what is placed later.

    The box reaches beyond the filled part, so that later lesions know how far away it is.
    """
    chest.canvas.unmark_region("lung", distance_mm <= 0, box)
    lung_mm = chest.lung_mm[box.slices]
    np.maximum(lung_mm, -distance_mm, out=lung_mm)


def _place_in_lung(chest: Chest, rng: np.random.Generator, depth_mm: float) -> tuple[int, tuple[float, float, float]]:
    """A lobe, as an index into LOBES, and a point of it at least `depth_mm` below the lung's surface.

    Every lobe that has room is as likely as any other. If none has, the deepest point tried is taken.
    """
    anatomy = chest.anatomy
    half_width, half_depth = anatomy.thorax_width_mm / 2, anatomy.thorax_depth_mm / 2
    low = (-half_width, -half_depth, anatomy.dome_left_mm - 60 * anatomy.scale)
    points = rng.uniform(low, (half_width, half_depth, anatomy.apex_mm), size=(6000, 3))
    depths = -chest.canvas.sample(chest.lung_mm, points, outside=np.inf)
    lobes = chest.lobe(*points.T)
    for lobe in rng.permutation(len(LOBES)).tolist():
        fits = np.flatnonzero((lobes == lobe) & (depths >= depth_mm))
        if fits.size:
            break
    index = fits[0] if fits.size else np.argmax(depths)
    x, y, z = points[index].tolist()
    return int(lobes[index]), (x, y, z)
