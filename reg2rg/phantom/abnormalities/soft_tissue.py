"""Masses outside the chest's cavity: of the liver, the thyroid and the breasts."""

import numpy as np

from reg2rg.phantom.abnormalities.painting import cover, find_room, paint
from reg2rg.phantom.finding import SIDES, Finding
from reg2rg.phantom.organs import Chest, liver_hu, thyroid_hu, thyroid_lobe
from reg2rg.phantom.shapes import Ellipsoid, rotation_about

# Water-like below 20 HU, hypodense solid above (Berland et al., JACR 2010); solid ones with necrosis lie around 20.
LIVER_CYST_HU, LIVER_HYPODENSE_HU = (0.0, 8.0), (19.0, 26.0)
# Of hydatid cysts 20 to 30 % have a calcified wall, which looks like a ring (Polat et al., RadioGraphics 2003).
_CALCIFIED_WALL_HU, _CALCIFIED_WALL_MM = (250.0, 500.0), 2.5
_LIVER_SHARE = {"cystic": 0.45, "calcified": 0.2, "hypodense": 0.35}
_CANTLIE_MM = 18.0  # the plane between the liver's right and left lobe, to the right of the middle
THYROID_CYST_HU, THYROID_HYPODENSE_HU = (5.0, 20.0), (30.0, 60.0)
BREAST_MASS_HU = (50.0, 80.0)  # gland is 30
_LIVER_MM, _THYROID_MM, _BREAST_MM = (12, 50), (6, 30), (12, 40)
_LEAST_MM = 8  # where there is no room for more


def draw_liver_lesion(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """A cyst, some with a calcified wall, or a hypodense ball of 12 to 50 mm; smaller where little liver is seen."""
    canvas, anatomy = chest.canvas, chest.anatomy
    size = int(rng.integers(_LIVER_MM[0], _LIVER_MM[1] + 1))
    detail = str(rng.choice(list(_LIVER_SHARE), p=list(_LIVER_SHARE.values())))
    is_cyst = detail != "hypodense"
    hu, wall_hu = rng.uniform(*(LIVER_CYST_HU if is_cyst else LIVER_HYPODENSE_HU)), rng.uniform(*_CALCIFIED_WALL_HU)
    liver = canvas.region_mask("abdomen") & (np.abs(canvas.hu - np.float32(liver_hu(anatomy))) < 4)
    liver[:, :, canvas.axes_mm()[2].ravel() < anatomy.dome_right_mm - 140 * anatomy.scale] = False
    center = None
    while center is None and size >= _LEAST_MM:
        center = find_room(chest, rng, liver, size / 2 + 0.5 * canvas.voxel_mm)
        size = size if center is not None else int(0.8 * size)
    if center is None:
        return ()
    ball = Ellipsoid(center, (size / 2, size / 2, size / 2))
    coverage, box = cover(canvas, (ball,))
    if detail == "calcified":
        inner = canvas.coverage_of(ball.grown(-_CALCIFIED_WALL_MM), box)
        hu = wall_hu + inner / np.maximum(coverage, np.float32(1e-3)) * np.float32(hu - wall_hu)
    if not paint(canvas, coverage, hu, first_lesion, box, "abdomen"):
        return ()
    side = "right" if center[0] > _CANTLIE_MM * anatomy.scale else "left"
    return (Finding("Liver lesion", "abdomen", side, size_mm=size, detail=detail, lesion=first_lesion),)


def draw_thyroid_nodule(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """A hypodense or cystic ball of 6 to 30 mm in one lobe; the lobe widens around a large one."""
    canvas, anatomy = chest.canvas, chest.anatomy
    k = anatomy.scale
    side = SIDES[rng.integers(2)]
    sign = 1.0 if side == "right" else -1.0
    size = _log_uniform(rng, *_THYROID_MM)
    hu = rng.uniform(*(THYROID_CYST_HU if rng.random() < 0.3 else THYROID_HYPODENSE_HU))
    x, y, z = thyroid_lobe(anatomy, sign).center_mm
    radius = size / 2
    out = max(radius - 6.5 * k, 0.0)  # a large one grows away from the trachea
    highest = anatomy.scan_top_mm - radius - canvas.voxel_mm
    center = (x + sign * out, y + 0.5 * out, min(z + rng.uniform(-7, 7) * k, highest))
    if highest < z - 18 * k:  # the scan begins below the gland
        return ()
    nodule = Ellipsoid(center, (radius, radius, radius))
    coverage, box = cover(canvas, (nodule.grown(2.5),))
    if not coverage.size:
        return ()
    is_free = ~(canvas.region_mask("trachea and bronchie") | canvas.region_mask("esophagus"))[box.slices]
    inner = canvas.coverage_of(nodule, box)
    hus = thyroid_hu(anatomy) + inner / np.maximum(coverage, np.float32(1e-3)) * np.float32(hu - thyroid_hu(anatomy))
    # Around a small nodule there is gland already: only what sticks out of it is new.
    is_gland = canvas.region_mask("thyroid")[box.slices]
    covered = np.where(is_gland, inner, coverage) * is_free
    if not paint(canvas, covered, np.where(is_gland, np.float32(hu), hus), first_lesion, box, "thyroid"):
        return ()
    return (Finding("Thyroid nodule", "thyroid", side, size_mm=size, lesion=first_lesion),)


def draw_breast_mass(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """A dense, slightly oval mass of 12 to 40 mm in the fat of a woman's breast; smaller where the breast is small."""
    canvas, anatomy = chest.canvas, chest.anatomy
    side = SIDES[rng.integers(2)]
    size = _log_uniform(rng, *_BREAST_MM)
    hu = rng.uniform(*BREAST_MASS_HU)
    if anatomy.sex == "male":
        return ()
    x, _, _ = canvas.axes_mm()
    breast = canvas.region_mask("breast") & ((x > 0) if side == "right" else (x < 0))
    fat = breast & (canvas.hu < -60)
    center = None
    while center is None and size >= _LEAST_MM:
        center = find_room(chest, rng, fat, 0.5 * size)
        if center is None and size > 14:  # a large one may take in the gland
            center = find_room(chest, rng, breast, 0.5 * size)
        size = size if center is not None else int(0.85 * size)
    if center is None:
        return ()
    radii = (size / 2, size / 2 * rng.uniform(0.8, 1), size / 2 * rng.uniform(0.8, 1))
    mass = Ellipsoid(center, radii, rotation_about(2, rng.uniform(0, 180)))
    coverage, box = cover(canvas, (mass,))
    coverage *= breast[box.slices]
    if not paint(canvas, coverage, hu, first_lesion, box, "breast"):
        return ()
    return (Finding("Breast mass", "breast", side, size_mm=size, lesion=first_lesion),)


def _log_uniform(rng: np.random.Generator, low_mm: int, high_mm: int) -> int:
    """A size in whole mm, small ones more often."""
    return round(float(np.exp(rng.uniform(np.log(low_mm), np.log(high_mm)))))
