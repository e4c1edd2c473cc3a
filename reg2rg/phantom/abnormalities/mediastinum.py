"""What can be wrong between the lungs, and what is put there."""

from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

from reg2rg.phantom.abnormalities.painting import cover, paint
from reg2rg.phantom.abnormalities.placing import NEIGHBORHOOD_MM, take_from_lung
from reg2rg.phantom.finding import KINDS, SIDES, Finding
from reg2rg.phantom.organs import HEART_FAT_SHARE, Chest, great_vessels
from reg2rg.phantom.shapes import Ellipsoid, Point, Tube, point_of, rotation_about

METAL_HU = 2800.0
CATHETER_HU = 1500.0  # plastic made opaque with barium or platinum
SEPTUM_HU = 250.0  # silicone in the middle of a port
NODE_HU = (35.0, 60.0)
_VISIBLE_HU = 300.0
_LEAD_SHARE = 0.014  # radius of a lead in the heart, of its width: some 1.9 mm
SHORT_AXIS_MM = (12, 30)
_ROOM = 0.7  # share of a node that its neighbours must leave
_AMPLE = 0.9  # share with which a place is taken without looking on
_IN_LUNG = 0.4  # share of a node that may lie where lung was
_STEP_MM = 5.0
_REACH_STEPS = {
    "paratracheal": ((-1, 4), (-4, 4), (-5, 9)),
    "prevascular": ((-5, 3), (-2, 4), (-4, 10)),
    "subcarinal": ((-3, 4), (-4, 1), (-7, 1)),
}
"""How far a node may lie from the middle of its station, in steps to the right, to the front and up."""
_BALL = np.stack(np.meshgrid(*[np.linspace(-0.85, 0.85, 5)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
_BALL = _BALL[np.linalg.norm(_BALL, axis=1) <= 1]


def draw_medical_material(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """A case under the skin of one side, and its line through the vena cava.

    A port is a small ring of metal whose catheter ends in the vena cava; a pacemaker is a large solid case whose lead
    goes on to the tip of the right ventricle. No region's mask changes: it would tell the label, and the side. The side
    is seen in the mediastinum, where the line comes down 20 mm on its own side before it crosses to the vena cava. In
    the heart, course and thickness of the lead grow with the heart: it would tell how large the heart is.
    """
    canvas, anatomy = chest.canvas, chest.anatomy
    k = anatomy.scale
    detail = KINDS["Medical material"].details[rng.integers(2)]
    side = SIDES[rng.integers(2)]
    sign = 1.0 if side == "right" else -1.0
    front = anatomy.front_mm - anatomy.fat_mm - 2 * k
    center = (sign * 62 * k, front - 12 * k, 0.55 * anatomy.apex_mm)
    is_port = detail == "port"
    case = Ellipsoid(center, (11 * k, 6 * k, 11 * k) if is_port else (20 * k, 5.5 * k, 17 * k))
    lateral = anatomy.mediastinum_mm - 7 * k
    course: list[Point] = [
        (sign * 46 * k, 0.45 * front, anatomy.apex_mm + 6 * k),
        (sign * 24 * k, 20 * k, anatomy.apex_mm),
        (sign * lateral, 19 * k, anatomy.apex_mm - 26 * k),
        (24 * k, 17 * k, anatomy.apex_mm - 40 * k),
        (24 * k, 14 * k, 0.0),
    ]
    radius, hu = (2.0, CATHETER_HU) if is_port else (1.9, METAL_HU)
    case_hu: Float[np.ndarray, "x y z"] | float = METAL_HU
    coverage, box = cover(canvas, (case,))
    if is_port and coverage.size:
        septum = canvas.coverage_of(Ellipsoid(center, (6 * k, 7 * k, 6 * k)), box)
        case_hu = METAL_HU + septum * np.float32(SEPTUM_HU - METAL_HU)
    drawn = bool(coverage.size) and paint(canvas, coverage, case_hu, first_lesion, box, None)

    coverage, box = cover(canvas, tuple(Tube(a, b, radius, radius) for a, b in pairwise([center, *course])))
    from_heart = chest.heart.distance_mm(*canvas.axes_mm(box)) - 2 * HEART_FAT_SHARE * anatomy.heart_width_mm
    coverage *= from_heart > 0
    drawn |= bool(coverage.size) and paint(canvas, coverage, hu, first_lesion, box, None, _VISIBLE_HU / hu)
    if not is_port:
        coverage, box = cover(canvas, (_lead_in_heart(chest),))
        drawn |= bool(coverage.size) and paint(canvas, coverage, hu, first_lesion, box, None, _VISIBLE_HU / hu)
    if not drawn:
        return ()
    return (Finding("Medical material", "mediastinum", side, detail=detail, lesion=first_lesion),)


def draw_lymphadenopathy(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """One to three enlarged nodes, each at a station of its own; they push the pleura aside and widen the mediastinum.

    The size is the short axis in the axial plane; above 10 mm a node is enlarged (Fleischner glossary, 2008). A voxel
    of fat parts a node from the great vessels. One node is always drawn, at the station with most room if all have
    little.
    """
    number = int(rng.choice([1, 2, 3], p=[0.55, 0.3, 0.15]))
    blocked = _blocked(chest)
    drawn: list[tuple[str, int, float, Ellipsoid]] = []
    second_best: list[tuple[float, tuple[str, int, float, Ellipsoid]]] = []
    for station in rng.permutation(KINDS["Lymphadenopathy"].details).tolist():
        size = int(rng.integers(SHORT_AXIS_MM[0], SHORT_AXIS_MM[1] + 1))
        hu = rng.uniform(*NODE_HU)
        node, room = _place_node(chest, station, _node(chest, station, size / 2, rng), blocked)
        if len(drawn) < number and room >= _ROOM:
            drawn.append((station, size, hu, node))
            _block(chest, node, blocked)
        small = _node(chest, station, SHORT_AXIS_MM[0] / 2, rng)
        small, room = _place_node(chest, station, small, blocked)
        second_best.append((room, (station, SHORT_AXIS_MM[0], hu, small)))
    drawn = drawn or [max(second_best, key=lambda option: option[0])[1]]
    findings: list[Finding] = []
    for station, size, hu, node in drawn:
        index = first_lesion + len(findings)
        if _draw_node(chest, node, hu, index):
            findings.append(Finding("Lymphadenopathy", "mediastinum", size_mm=size, detail=station, lesion=index))
    return tuple(findings)


def _blocked(chest: Chest) -> Bool[np.ndarray, "x y z"]:
    """Where no node can lie: in organs, in other lesions, and within a voxel of the great vessels."""
    canvas = chest.canvas
    organs = ("trachea and bronchie", "heart", "esophagus", "bone")
    blocked = (canvas.lesions != 0) | np.any([canvas.region_mask(organ) for organ in organs], axis=0)
    blocked &= (chest.lung_mm > 0) | canvas.region_mask("heart")  # bronchi in the lung are pushed aside with it
    for vessel in great_vessels(chest.anatomy).values():
        box = canvas.box_of(vessel, 2 * canvas.voxel_mm)
        if box is not None:
            blocked[box.slices] |= vessel.distance_mm(*canvas.axes_mm(box)) < canvas.voxel_mm
    return blocked


def _block(chest: Chest, node: Ellipsoid, blocked: Bool[np.ndarray, "x y z"]) -> None:
    box = chest.canvas.box_of(node, 2 * chest.canvas.voxel_mm)
    if box is not None:
        blocked[box.slices] |= node.distance_mm(*chest.canvas.axes_mm(box)) < chest.canvas.voxel_mm


def _place_node(
    chest: Chest, station: str, node: Ellipsoid, blocked: Bool[np.ndarray, "x y z"]
) -> tuple[Ellipsoid, float]:
    """The node moved along its station to where it has room, no farther than needed, and its share that is free."""
    k = chest.anatomy.scale
    along = [k * _STEP_MM * np.arange(low, high + 1) for low, high in _REACH_STEPS[station]]
    steps = np.stack(np.meshgrid(*along, indexing="ij"), axis=-1).reshape(-1, 3)
    steps = steps[np.argsort(np.linalg.norm(steps, axis=1), kind="stable")]
    centers = np.array(node.center_mm) + steps
    within = _BALL * node.radii_mm
    points = (centers[:, None] + within[None]).reshape(-1, 3)
    is_free = (chest.canvas.sample(blocked, points, outside=1.0) == 0).reshape(len(centers), -1)
    in_lung = (chest.canvas.sample(chest.lung_mm, points, outside=0.0) < 0).reshape(len(centers), -1)
    room = is_free.mean(axis=1)
    fits = np.flatnonzero((room >= _AMPLE) & (in_lung.mean(axis=1) <= _IN_LUNG))
    best = int(fits[0] if fits.size else np.argmax(room - 0.3 * in_lung.mean(axis=1)))
    x, y, z = centers[best].tolist()
    return Ellipsoid((x, y, z), node.radii_mm, node.rotation), float(room[best])


def _draw_node(chest: Chest, node: Ellipsoid, hu: float, lesion: int) -> bool:
    canvas = chest.canvas
    box = canvas.box_of(node, NEIGHBORHOOD_MM)
    coverage, inner = cover(canvas, (node,))
    if box is None or not coverage.size:
        return False
    is_free = ~_blocked(chest)
    if not paint(canvas, coverage * is_free[inner.slices], hu, lesion, inner, "mediastinum"):
        return False
    distance = node.distance_mm(*canvas.axes_mm(box))
    take_from_lung(chest, np.where(is_free[box.slices], distance, np.maximum(distance, np.float32(1))), box)
    is_node = (canvas.lesions[box.slices] & np.uint32(1 << lesion)) != 0
    canvas.unmark_region("lung", is_node, box)
    canvas.unmark_region("trachea and bronchie", is_node, box)
    return True


def _node(chest: Chest, station: str, radius: float, rng: np.random.Generator) -> Ellipsoid:
    """An oval beside the airway or the aorta: to the right of the trachea, before the aorta, under the carina."""
    k = chest.anatomy.scale
    if station == "paratracheal":
        center = (10 * k + 1.05 * radius, -8 * k + 0.2 * radius, rng.uniform(26, 44) * k)
        radii = (radius, 1.25 * radius, 1.35 * radius)
    elif station == "prevascular":
        center = (rng.uniform(-10, 0) * k, 38 * k + radius, rng.uniform(14, 30) * k)
        radii = (1.3 * radius, radius, 1.2 * radius)
    else:
        center = (-2 * k, -14 * k, -11 * k - 0.8 * radius)
        radii = (1.3 * radius, radius, radius)
    return Ellipsoid(center, radii, rotation_about(2, rng.uniform(-10, 10)))


def _lead_in_heart(chest: Chest) -> Tube:
    """From the roof of the atria to the front lower part of the ventricles, short of the apex."""
    ventricles, atria = chest.heart.parts[:2]
    assert isinstance(ventricles, Ellipsoid) and ventricles.rotation is not None and isinstance(atria, Ellipsoid)
    roof = np.array(atria.center_mm) + np.array(atria.radii_mm) * (0.3, 0.2, 1.1)
    tip = np.array(ventricles.center_mm) + ventricles.rotation @ (np.array(ventricles.radii_mm) * (-0.5, 0.3, -0.5))
    radius = _LEAD_SHARE * chest.anatomy.heart_width_mm
    return Tube(point_of(roof), point_of(tip), radius, radius)
