"""What can be wrong with the bronchi in the lungs: thick walls, wide lumina."""

from itertools import pairwise

import numpy as np

from reg2rg.phantom.abnormalities.placing import LungPoints, choose_lobe, is_free, lung_box, lung_points, occupy_lung
from reg2rg.phantom.finding import AMOUNTS, Finding
from reg2rg.phantom.organs import AIR, AIRWAY_WALL, LOBES, Chest
from reg2rg.phantom.shapes import Tube

REGION = "trachea and bronchie"
_VISIBLE_WALL = 0.3  # share of wall that lifts a voxel of lung by 250 HU

# Walls against normal ones of about 1 mm, and the share of the bronchi that have them, by amount.
WALL_MM = {"small": 2.0, "moderate": 2.5, "large": 3.0}
THICKENED_SHARE = {"small": 0.35, "moderate": 0.65, "large": 1.0}

# Bronchi wider than the artery beside them, which do not taper and are seen within 10 mm of the pleura (Naidich et al.,
# J Comput Assist Tomogr 1982): a lumen of 6 to 10 mm where 2 to 3 mm is normal, and how many of them. The amount is
# both, as in the score of Bhalla et al. (Radiology 1991).
LUMEN_RADIUS_MM = {"small": (3.0, 3.4), "moderate": (3.7, 4.2), "large": (4.5, 5.0)}
WIDENED_WALL_MM = 1.8
WIDENED_COUNT = {"small": 3, "moderate": 6, "large": 14}


def draw_peribronchial_thickening(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """Walls two to three times as thick, of some or all bronchi in both lungs; their lumina stay as they are.

    They lie in the sleeve that the mask of the airways has in everybody: the mask does not tell the label.
    """
    canvas = chest.canvas
    amount = AMOUNTS[rng.integers(3)]
    wall_mm = np.float32(WALL_MM[amount])
    chosen = rng.random(len(chest.airways)) < THICKENED_SHARE[amount]
    tubes = [branch.tube for branch, is_thick in zip(chest.airways, chosen, strict=True) if is_thick]
    box = lung_box(chest)
    reach = float(wall_mm) + canvas.voxel_mm
    to_lumen = canvas.distance_to(tubes, box, reach)
    inside = canvas.coverage(chest.lung_mm[box.slices]) * is_free(canvas, box)
    wall = canvas.coverage(to_lumen - wall_mm) * inside * (1 - canvas.coverage(to_lumen))
    canvas.blend(wall, AIRWAY_WALL, box)
    is_lesion = (wall >= _VISIBLE_WALL) & canvas.region_mask(REGION)[box.slices]
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
        tubes = tubes or _wide_bronchi(chest, rng, points.of_lobe(lobe), lobe, amount, stretch)
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
    chest: Chest, rng: np.random.Generator, own: LungPoints, lobe: int, amount: str, stretch: float
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
        if any(np.linalg.norm(end - other) < 13 * k for other in ends):
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
        radius = rng.uniform(*LUMEN_RADIUS_MM[amount])
        corners = [(float(a), float(b), float(c)) for a, b, c in course]
        tubes += [Tube(a, b, radius, radius) for a, b in pairwise(corners)]
        ends.append(end)
        if len(ends) == WIDENED_COUNT[amount]:
            break
    return tubes
