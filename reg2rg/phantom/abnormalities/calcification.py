"""Calcium in the walls of arteries: of the thoracic aorta and of the coronary arteries."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from reg2rg.phantom.abnormalities.painting import cover, paint
from reg2rg.phantom.finding import AMOUNTS, KINDS, Finding
from reg2rg.phantom.organs import Chest, blood_hu, great_vessels
from reg2rg.phantom.shapes import Ellipsoid, Point, Shape, Tube, Union

# Plaques score from 130 HU (Agatston et al., JACC 1990); dense ones reach 1000 HU. In a bright vessel only those well
# above the blood are seen.
_LOWEST_PLAQUE_HU, _HIGHEST_PLAQUE_HU = {"mediastinum": 600.0, "heart": 700.0}, 1000.0
_ABOVE_BLOOD_HU = 500.0
_VISIBLE_HU = 60.0

_AORTIC_PLAQUES = {"small": (2, (8.0, 12.0)), "moderate": (4, (14.0, 19.0)), "large": (10, (24.0, 34.0))}
"""Number in each part of the aorta, and length in mm."""
_CORONARY_PLAQUES = {"small": (1, (0.16, 0.22)), "moderate": (2, (0.20, 0.26)), "large": (3, (0.33, 0.37))}
"""Number in each artery, and length as a share of the artery's course."""
_CORONARY_SHARE = {"small": 0.024, "moderate": 0.029, "large": 0.030}
"""Thickness as a share of the heart's width: 3 to 4 mm in a heart of normal size."""

# Courses over the ventricles as directions in the heart's own frame: x away from the apex, y to the front, z up. The
# anterior descending follows the groove from the base to the apex, the others the groove between atria and ventricles.
_COURSES = {
    "left anterior descending": ((0.35, 0.55, 0.70), (-0.35, 0.80, 0.45), (-0.9, 0.40, 0.0)),
    "right": ((0.55, 0.75, 0.25), (0.45, 0.80, -0.45), (0.30, 0.30, -0.90)),
    "circumflex": ((0.25, 0.15, 0.95), (0.05, -0.60, 0.80), (-0.1, -0.95, 0.1)),
}


def draw_arterial_calcification(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """Plaques 3 to 4 mm thick along and around the wall of the arch, of the descending aorta, or of both.

    Where others left no room in the part that was drawn, they lie in the other one.
    """
    details = KINDS["Arterial wall calcification"].details
    detail = details[rng.choice(3, p=[0.35, 0.25, 0.4])]
    amount = AMOUNTS[rng.integers(3)]
    number, lengths = _AORTIC_PLAQUES[amount]
    arch, descending = (1, 2, 3), (4, 5)  # pieces of the aorta above the root, which lies in the heart
    aorta = great_vessels(chest.anatomy)["aorta"]
    airways = chest.canvas.region_mask("trachea and bronchie")

    def is_blocked(points: Float[np.ndarray, "point 3"], margin_mm: float) -> bool:
        # By the solid heart, not by its mask and fluid: without an effusion, plaques stay where they were.
        in_heart = _distances(chest.heart, points).min() < margin_mm
        return bool(in_heart or chest.canvas.sample(airways, points, outside=1.0).any())

    parts = {details[0]: (arch,), details[1]: (descending,), details[2]: (arch, descending)}
    for choice in (detail, *(other for other in details[:2] if other != detail)):
        plaques = [
            tube
            for tubes in parts[choice]
            for index in range(number)
            for tube in _aortic_plaque(aorta, is_blocked, rng, tubes, index / number, rng.uniform(*lengths))
        ]
        if _paint_plaques(chest, rng, plaques, first_lesion, "mediastinum"):
            return (
                Finding(
                    "Arterial wall calcification", "mediastinum", amount=amount, detail=choice, lesion=first_lesion
                ),
            )
    return ()


def draw_coronary_calcification(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """Plaques along one coronary artery or all three, just under the heart's surface; they scale with the heart."""
    details = KINDS["Coronary artery wall calcification"].details
    detail = details[rng.choice(4, p=[0.4, 0.15, 0.15, 0.3])]
    amount = AMOUNTS[rng.integers(3)]
    number, lengths = _CORONARY_PLAQUES[amount]
    arteries = tuple(_COURSES) if detail == "three-vessel" else (detail,)
    plaques = [
        tube
        for artery in arteries
        for index in range(number)
        for tube in _coronary_plaque(
            chest, artery, (index + rng.uniform(0.1, 0.3)) / number, rng.uniform(*lengths), _CORONARY_SHARE[amount]
        )
    ]
    if not _paint_plaques(chest, rng, plaques, first_lesion, "heart"):
        return ()
    return (Finding("Coronary artery wall calcification", "heart", amount=amount, detail=detail, lesion=first_lesion),)


def _paint_plaques(chest: Chest, rng: np.random.Generator, plaques: list[Tube], lesion: int, region: str) -> bool:
    canvas = chest.canvas
    lowest = max(_LOWEST_PLAQUE_HU[region], blood_hu(chest.anatomy) + _ABOVE_BLOOD_HU)
    hu = rng.uniform(lowest, _HIGHEST_PLAQUE_HU)
    if not plaques:
        return False
    coverage, box = cover(canvas, tuple(plaques))
    # Heart and airways are drawn over the aorta where they touch it; and a plaque of the heart stays in it.
    in_heart = canvas.region_mask("heart")[box.slices]
    coverage *= in_heart if region == "heart" else ~in_heart
    coverage *= ~canvas.region_mask("trachea and bronchie")[box.slices]
    return paint(canvas, coverage, hu, lesion, box, region, _VISIBLE_HU / (hu - blood_hu(chest.anatomy)))


def _aortic_plaque(
    aorta: Union,
    is_blocked: Callable[[Float[np.ndarray, "point 3"], float], bool],
    rng: np.random.Generator,
    tubes: tuple[int, ...],
    place: float,
    length_mm: float,
) -> list[Tube]:
    """An arc in the wall, around or along the vessel, at a share `place` of these pieces of the aorta or beyond.

    Shorter where no place for the whole of it is found; none where there is no place at all.
    """
    thickness = rng.uniform(1.5, 2.0)
    for attempt in range(90):
        spread = 0.2 if attempt < 30 else 1.0  # a large heart can cover a whole piece
        margin_mm = 14.0 if attempt < 60 else 3.0  # fluid may lie around the heart
        length_mm = length_mm if attempt < 60 else max(0.93 * length_mm, 6.0)
        piece = min(int((place + rng.uniform(0, spread)) * len(tubes)), len(tubes) - 1)
        tube = aorta.parts[tubes[piece]]
        assert isinstance(tube, Tube)
        start, end = np.array(tube.start_mm), np.array(tube.end_mm)
        # Of the last piece, which reaches the abdomen, only what lies above the diaphragm.
        share = rng.uniform(0.05, 0.6 if piece == len(tubes) - 1 and len(tubes) == 2 else 0.95)
        radius = tube.start_radius_mm + share * (tube.end_radius_mm - tube.start_radius_mm) - thickness
        axis = (end - start) / np.linalg.norm(end - start)
        across = np.cross(axis, (0.31, 0.9, 0.3))
        across /= np.linalg.norm(across)
        angles = np.full(4, rng.uniform(0, 2 * np.pi))
        along = np.zeros(4)
        if rng.random() < 0.6:
            angles = angles + np.linspace(-0.5, 0.5, 4) * length_mm / radius
        else:
            along = np.linspace(-0.5, 0.5, 4) * length_mm
        sideways = np.outer(np.cos(angles), across) + np.outer(np.sin(angles), np.cross(axis, across))
        points = start + share * (end - start) + np.outer(along, axis) + radius * sideways
        depth = -_distances(aorta, points)
        if depth.max() < 2 * thickness + 1.5 and depth.min() > 0 and not is_blocked(points, margin_mm):
            # In the wall, not where two pieces meet, nor where heart or airways are drawn over the aorta.
            return _chain(points, thickness)
    return []


def _coronary_plaque(chest: Chest, artery: str, place: float, share: float, thick: float) -> list[Tube]:
    """A piece of an artery from the share `place` of its course, a voxel under the heart's surface."""
    heart, width = chest.heart, chest.anatomy.heart_width_mm
    thickness = 0.5 * thick * width
    ventricles = heart.parts[0]
    assert isinstance(ventricles, Ellipsoid) and ventricles.rotation is not None
    course = np.array(_COURSES[artery])
    at = np.clip(np.linspace(place, place + share, 4), 0, 1) * (len(course) - 1)
    low = np.minimum(at.astype(int), len(course) - 2)
    local = course[low] + (at - low)[:, None] * (course[low + 1] - course[low])
    local /= np.linalg.norm(local, axis=1, keepdims=True)
    ways = (local * ventricles.radii_mm) @ ventricles.rotation.T
    reach = np.linspace(0.75, 1.6, 60)
    points = np.array(ventricles.center_mm) + reach[:, None, None] * ways[None]  # reach, point, axis
    depth = -_distances(heart, points.reshape(-1, 3)).reshape(points.shape[:2])
    deep = depth > thickness + 0.7 * chest.canvas.voxel_mm
    last = len(reach) - 1 - np.argmax(deep[::-1], axis=0)
    return _chain(points[last, np.arange(points.shape[1])], thickness)


def _distances(shape: Shape, points: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, " point"]:
    x, y, z = points.astype(np.float32).T[:, :, None, None]
    return shape.distance_mm(x, y, z)[:, 0, 0]


def _chain(points: Float[np.ndarray, "point 3"], radius_mm: float) -> list[Tube]:
    corners: list[Point] = [(float(x), float(y), float(z)) for x, y, z in points]
    return [Tube(a, b, radius_mm, radius_mm) for a, b in pairwise(corners)]
