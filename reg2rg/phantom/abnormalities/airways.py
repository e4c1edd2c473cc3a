"""What can be wrong with the bronchi in the lungs: thick walls, wide lumina."""

from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

from reg2rg.phantom.abnormalities.placing import LungPoints, choose_lobe, is_free, lung_box, lung_points, occupy_lung
from reg2rg.phantom.finding import AMOUNTS, Finding
from reg2rg.phantom.organs import AIR, AIRWAY_WALL, LOBES, Chest
from reg2rg.phantom.shapes import Tube
from reg2rg.phantom.vessels import Branch, grow_tree

REGION = "trachea and bronchie"
_FEWEST = 12  # bronchi of a lung; with less, thick walls could not be seen
_VISIBLE_WALL = 0.3  # share of wall that lifts a voxel of lung by 250 HU

# Walls against normal ones of about 1 mm, and the share of the bronchi that have them, by amount.
WALL_MM = {"small": 2.0, "moderate": 2.6, "large": 3.0}
THICKENED_SHARE = {"small": 0.55, "moderate": 0.8, "large": 1.0}

# Bronchi wider than the artery beside them, which do not taper and are seen within 10 mm of the pleura (Naidich et al.,
# J Comput Assist Tomogr 1982): a lumen of 6 to 10 mm where 2 to 3 mm is normal, and how many of them.
LUMEN_RADIUS_MM = (3.0, 4.8)
WIDENED_WALL_MM = 1.8
WIDENED_COUNT = {"small": 3, "moderate": 7, "large": 14}


def draw_peribronchial_thickening(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """Walls two to three times as thick, of some or all bronchi in both lungs; their lumina stay as they are."""
    canvas = chest.canvas
    amount = AMOUNTS[rng.integers(3)]
    wall_mm = np.float32(WALL_MM[amount])
    chosen = rng.random(len(chest.airways)) < THICKENED_SHARE[amount]
    tubes = [branch.tube for branch, is_thick in zip(chest.airways, chosen, strict=True) if is_thick]
    extra = [branch.tube for side in ("right", "left") for branch in _missing_bronchi(chest, rng, side)]
    box = lung_box(chest)
    reach = float(wall_mm) + canvas.voxel_mm
    to_old, to_new = canvas.distance_to(tubes, box, reach), canvas.distance_to(extra, box, reach)
    inside = canvas.coverage(chest.lung_mm[box.slices]) * is_free(canvas, box)
    outer = canvas.coverage(np.minimum(to_old, to_new) - wall_mm) * inside
    wall = outer * (1 - canvas.coverage(to_old))
    canvas.blend(wall, AIRWAY_WALL, box)
    new_lumen = canvas.coverage(to_new) * inside
    canvas.blend(new_lumen, AIR, box)
    is_lesion = (wall >= _VISIBLE_WALL) | (new_lumen >= 0.5)
    canvas.mark_region(REGION, is_lesion | (outer >= 0.5), box)
    canvas.mark_lesion(first_lesion, is_lesion, box)
    if not is_lesion.any():
        return ()  # no aerated lung is left: nothing to be seen, nothing to be said
    return (Finding("Peribronchial thickening", REGION, amount=amount, lesion=first_lesion),)


def draw_bronchiectasis(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """Wide bronchi with thick walls in one lobe: cylinders from near the hilum almost to the pleura."""
    canvas = chest.canvas
    amount = AMOUNTS[rng.integers(3)]
    points = lung_points(chest, rng)
    lobe = choose_lobe(points, rng, (0.15, 0.2, 0.25, 0.15, 0.25))
    side, lobe_name = LOBES[lobe]
    tubes: list[Tube] = []
    for stretch in (1.0, 0.5, 0.25):  # shorter where fluid or a large heart leaves little room
        tubes = tubes or _wide_bronchi(chest, rng, points.of_lobe(lobe), lobe, WIDENED_COUNT[amount], stretch)
    box = lung_box(chest)
    to_lumen = canvas.distance_to(tubes, box, 10.0)
    lung = canvas.coverage(chest.lung_mm[box.slices])
    outer = canvas.coverage(to_lumen - np.float32(WIDENED_WALL_MM)) * lung
    canvas.blend(outer, AIRWAY_WALL, box)
    canvas.blend(canvas.coverage(to_lumen) * lung, AIR, box)
    canvas.mark_region(REGION, outer >= 0.5, box)
    canvas.mark_lesion(first_lesion, outer >= 0.5, box)
    occupy_lung(chest, to_lumen - np.float32(WIDENED_WALL_MM), box)
    if not (outer >= 0.5).any():
        return ()  # no aerated lung is left
    return (Finding("Bronchiectasis", REGION, side, lobe_name, amount=amount, lesion=first_lesion),)


def _wide_bronchi(
    chest: Chest, rng: np.random.Generator, own: LungPoints, lobe: int, count: int, stretch: float
) -> list[Tube]:
    """Slightly bent cylinders of one lobe that end below the pleura and run towards the hilum, apart at their ends."""
    k = chest.anatomy.scale
    x = 38 * k if LOBES[lobe][0] == "right" else -38 * k
    hilum = np.array([x, -12 * k, -24 * k])
    outer = own.mm[(own.depth_mm > 9) & (own.depth_mm < 18)]
    outer = outer if len(outer) and stretch == 1 else own.mm
    if not len(outer):
        return []
    first = outer[rng.integers(len(outer))]
    nearest = outer[np.argsort(np.linalg.norm(outer - first, axis=1))]
    ends: list[np.ndarray] = []
    tubes: list[Tube] = []
    for end in nearest:
        if any(np.linalg.norm(end - other) < 15 * k for other in ends):
            continue
        to_hilum = hilum - end
        length = stretch * min(k * rng.uniform(38, 60), 0.75 * float(np.linalg.norm(to_hilum)))
        bend = rng.standard_normal(3) * 2.5 * k
        shares = np.linspace(0, 1, 4)[:, None]
        course = end + shares * length * to_hilum / np.linalg.norm(to_hilum) + 4 * shares * (1 - shares) * bend
        within = -chest.canvas.sample(chest.lung_mm, course, outside=np.inf) > 5 * stretch
        within &= chest.lobe(*course.T) == lobe
        if not within[:3].all():
            continue
        course = course[: 3 + int(within[3])]
        radius = rng.uniform(*LUMEN_RADIUS_MM)
        corners = [(float(a), float(b), float(c)) for a, b, c in course]
        tubes += [Tube(a, b, radius, radius) for a, b in pairwise(corners)]
        ends.append(end)
        if len(ends) == count:
            break
    return tubes


def _missing_bronchi(chest: Chest, rng: np.random.Generator, side: str) -> tuple[Branch, ...]:
    """Bronchi for a lung that has few, as beside a large heart or above fluid: a tree from nearest to its hilum."""
    canvas, k = chest.canvas, chest.anatomy.scale
    sign = 1.0 if side == "right" else -1.0
    points = lung_points(chest, rng)
    own = points.mm[(points.mm[:, 0] * sign > 0) & (points.depth_mm > 7)]
    ends = np.array([branch.tube.end_mm for branch in chest.airways]).reshape(-1, 3)
    seen = (ends[:, 0] * sign > 0) & (canvas.sample(chest.lung_mm, ends, outside=np.inf) < 0)
    if seen.sum() >= _FEWEST or len(own) < 20:
        return ()
    root = own[np.argmin(np.linalg.norm(own - (sign * 38 * k, -12 * k, -24 * k), axis=1))]
    aims = own[rng.choice(len(own), size=6, replace=False)]
    directions = aims - root + rng.standard_normal((6, 3))

    def is_inside(points_mm: Float[np.ndarray, "point 3"]) -> Bool[np.ndarray, "point"]:
        return canvas.sample(chest.lung_mm, points_mm, outside=1.0) < -4

    return grow_tree(rng, root, directions, 26.0 * k, 2.8 * k, 3, is_inside)
