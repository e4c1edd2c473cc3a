"""What can be wrong between the lungs, and what is put there."""

from itertools import pairwise

import numpy as np
from jaxtyping import Float

from reg2rg.phantom.abnormalities.painting import cover, paint
from reg2rg.phantom.abnormalities.placing import NEIGHBORHOOD_MM, take_from_lung
from reg2rg.phantom.finding import KINDS, SIDES, Finding
from reg2rg.phantom.organs import Chest
from reg2rg.phantom.shapes import Ellipsoid, Point, Tube, rotation_about

METAL_HU = 2800.0
CATHETER_HU = 1500.0  # plastic made opaque with barium or platinum
SEPTUM_HU = 250.0  # silicone in the middle of a port
NODE_HU = (35.0, 60.0)
_VISIBLE_HU = 300.0
_ROOM = 0.7  # share of a node that its neighbours must leave


def draw_medical_material(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """A case under the skin of one side, and its line through the vena cava.

    A port is a small ring of metal whose catheter ends in the vena cava; a pacemaker is a large solid case whose lead
    goes on to the tip of the right ventricle. Of the lesion, the line joins the mediastinum's mask up to the heart.
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
    course: list[Point] = [
        (sign * 48 * k, 0.45 * front, anatomy.apex_mm + 6 * k),
        (sign * 14 * k, 20 * k, anatomy.apex_mm - 4 * k),
        (24 * k, 16 * k, 55 * k),
        (24 * k, 14 * k, 0.0),
    ]
    if not is_port:
        course += [(22 * k, 12 * k, -40 * k), _right_ventricle_tip(chest)]
    radius, hu = (2.0, CATHETER_HU) if is_port else (1.9, METAL_HU)
    case_hu: Float[np.ndarray, "x y z"] | float = METAL_HU
    coverage, box = cover(canvas, (case,))
    if is_port and coverage.size:
        septum = canvas.coverage_of(Ellipsoid(center, (6 * k, 7 * k, 6 * k)), box)
        case_hu = METAL_HU + septum * np.float32(SEPTUM_HU - METAL_HU)
    drawn = bool(coverage.size) and paint(canvas, coverage, case_hu, first_lesion, box, None)

    coverage, box = cover(canvas, tuple(Tube(a, b, radius, radius) for a, b in pairwise([center, *course])))
    _, y, _ = canvas.axes_mm(box)
    in_case = y > 0.45 * front
    in_heart = canvas.region_mask("heart")[box.slices]
    for here, region in ((in_case | in_heart, None), (~in_case & ~in_heart, "mediastinum")):
        drawn |= paint(canvas, coverage * here, hu, first_lesion, box, region, _VISIBLE_HU / hu)
    if not drawn:
        return ()
    return (Finding("Medical material", "mediastinum", side, detail=detail, lesion=first_lesion),)


def draw_lymphadenopathy(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """One to three enlarged nodes, each at a station of its own; they push the pleura aside and widen the mediastinum.

    The size is the short axis in the axial plane; above 10 mm a node is enlarged (Fleischner glossary, 2008).
    """
    number = int(rng.choice([1, 2, 3], p=[0.55, 0.3, 0.15]))
    findings: list[Finding] = []
    for station in rng.permutation(KINDS["Lymphadenopathy"].details).tolist():
        size = int(rng.integers(11, 31))
        hu = rng.uniform(*NODE_HU)
        node = _node(chest, station, size / 2, rng)
        # Where a large heart or its fluid is in the way, the station lies higher.
        lifts = (0.0,) if station == "subcarinal" else (0.0, 12.0, 24.0, 36.0)
        for lift in lifts if len(findings) < number else ():
            x, y, z = node.center_mm
            lifted = Ellipsoid((x, y, z + lift * chest.anatomy.scale), node.radii_mm, node.rotation)
            if _draw_node(chest, lifted, hu, first_lesion + len(findings)):
                index = first_lesion + len(findings)
                findings.append(Finding("Lymphadenopathy", "mediastinum", size_mm=size, detail=station, lesion=index))
                break
    return tuple(findings)


def _draw_node(chest: Chest, node: Ellipsoid, hu: float, lesion: int) -> bool:
    """Draws a node if its neighbours leave it room."""
    canvas = chest.canvas
    box = canvas.box_of(node, NEIGHBORHOOD_MM)
    coverage, inner = cover(canvas, (node,))
    if box is None or not coverage.size:
        return False
    organs = ("trachea and bronchie", "heart", "esophagus", "bone")
    is_free = ~np.any([canvas.region_mask(organ)[inner.slices] for organ in organs], axis=0)
    if (coverage * is_free).sum() < _ROOM * coverage.sum():
        return False
    if not paint(canvas, coverage * is_free, hu, lesion, inner, "mediastinum"):
        return False
    take_from_lung(chest, node.distance_mm(*canvas.axes_mm(box)), box)
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


def _right_ventricle_tip(chest: Chest) -> Point:
    """In the front lower part of the ventricles, short of the apex."""
    ventricles = chest.heart.parts[0]
    assert isinstance(ventricles, Ellipsoid) and ventricles.rotation is not None
    tip = np.array(ventricles.center_mm) + ventricles.rotation @ (np.array(ventricles.radii_mm) * (-0.5, 0.3, -0.5))
    x, y, z = (float(value) for value in tip)
    return x, y, z
