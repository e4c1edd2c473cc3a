"""The organs of one person drawn on a canvas, with the ten region masks, before anything is wrong with them.

`draw_chest` works from outside in: skin, muscles, ribs, lungs, mediastinum, heart, abdomen. It gives back a Chest: the
canvas, and the fields that abnormalities are placed by.

Region masks follow RadGenome-ChestCT: the pleura is a thin shell along the lung's surface and overlaps it, lung
vessels belong to the lung, the airways to `trachea and bronchie`, the great vessels to the mediastinum.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from reg2rg.phantom.body import Anatomy
from reg2rg.phantom.canvas import Canvas
from reg2rg.phantom.shapes import Ellipsoid, Tube, Union, rotation_about
from reg2rg.phantom.vessels import Branch, grow_tree
from reg2rg.volume import Box, Grid

# HU of tissues without contrast. Unless said otherwise: Bushberg et al., The Essential Physics of Medical Imaging,
# 3rd ed. 2012, ch. 10; Prokop and Galanski, Spiral and Multislice CT of the Body, 2003.
AIR = -1000.0
FAT = -100.0
MUSCLE = 50.0
BLOOD = 42.0
MYOCARDIUM = 52.0
WATER = 5.0
CARTILAGE = 110.0
DISC = 80.0
CORTEX = 700.0  # diluted by partial volume to 300 to 500 in ribs
GLAND = 30.0  # breast
THYROID = 105.0  # iodine of its own
ESOPHAGUS = 35.0
AIRWAY_WALL = 30.0
LIVER = 58.0
SPLEEN = 48.0
KIDNEY = 32.0
STOMACH_WALL = 40.0
STOMACH_CONTENT = 15.0
LUNG_FRONT = -880.0  # full inspiration, supine: denser towards the back
LUNG_BACK = -815.0
LUNG_VESSEL = 40.0

LOBES = (("right", "upper lobe"), ("right", "middle lobe"), ("right", "lower lobe"),
         ("left", "upper lobe"), ("left", "lower lobe"))  # fmt: skip
_WALL_EXPONENT = 2.3  # of the superellipse that the thorax is in cross-section
_PLEURA_MM = 2.0
_VERTEBRA_PITCH_MM = 23.0  # from disc to disc
_DISC_MM = 6.0
_RIB_PITCH_MM = 24.0
_RIB_SLOPE = 0.55  # mm down per mm to the front
_SLEEVE_MM = 3.0  # around the lumina of the bronchi in the lung: their mask holds it, healthy or not
HEART_FAT_SHARE = 0.04  # of the heart's width: the fat that parts it from everything else, some 1.4 voxels
_FEWEST_BRONCHI = 4  # of a lobe


@dataclass(frozen=True, eq=False)
class Chest:
    """A drawn person, and what abnormalities are placed by.

    Attributes:
        anatomy: the person.
        canvas: the voxels.
        heart: the heart as a solid.
        pleural_mm: signed distance to the surface of the pleural cavity, negative inside.
        lung_mm: the same for the lungs, that is without heart, vessels and spine.
        airways: the bronchi in the lungs.
    """

    anatomy: Anatomy
    canvas: Canvas
    heart: Union
    pleural_mm: Float[np.ndarray, "x y z"]
    lung_mm: Float[np.ndarray, "x y z"]
    airways: tuple[Branch, ...]

    def lobe(
        self, x: Float[np.ndarray, "..."], y: Float[np.ndarray, "..."], z: Float[np.ndarray, "..."]
    ) -> UInt8[np.ndarray, "..."]:
        """Index into LOBES of points in mm: planes stand for the fissures (oblique, and horizontal on the right)."""
        return lobe_at(self.anatomy, x, y, z)


def draw_chest(anatomy: Anatomy, grid: Grid, rng: np.random.Generator) -> Chest:
    """Draws a healthy person on a grid.

    Args:
        anatomy: the person.
        grid: axis-aligned RAS+ voxels.
        rng: source of the branching of vessels and bronchi and of the lungs' texture.
    """
    canvas = Canvas(grid)
    _draw_skin_and_muscle(canvas, anatomy)
    cavity_mm = _cavity_distance(canvas, anatomy)
    floor_mm = _floor_distance(canvas, anatomy)
    _draw_arms(canvas, anatomy)
    _draw_ribs(canvas, anatomy, cavity_mm)
    inside = canvas.coverage(cavity_mm + _PLEURA_MM)
    canvas.blend(inside, FAT, canvas.whole)
    _draw_abdomen(canvas, anatomy, cavity_mm, floor_mm)
    _draw_spine(canvas, anatomy)
    _draw_breasts(canvas, anatomy, cavity_mm)

    heart = anatomy.heart_union()
    pleural_mm = np.maximum(np.maximum(cavity_mm + _PLEURA_MM, floor_mm), _mediastinum_distance(canvas, anatomy))
    lung_mm = _lung_distance(canvas, anatomy, pleural_mm, heart)
    lung = canvas.coverage(lung_mm)
    canvas.blend(lung, _parenchyma_hu(canvas, anatomy, rng), canvas.whole)
    canvas.mark_region("lung", lung >= 0.5)
    canvas.mark_region("pleura", np.abs(lung_mm) < pleura_shell_mm(canvas))

    _draw_lung_vessels(canvas, anatomy, lung_mm, rng)
    _draw_great_vessels(canvas, anatomy)
    _draw_esophagus(canvas, anatomy)
    airways = _draw_airways(canvas, anatomy, lung_mm, rng)
    _draw_heart(canvas, anatomy, heart)
    between = _mediastinum_mask(canvas, anatomy, cavity_mm, floor_mm, lung_mm)
    canvas.mark_region("mediastinum", between & ~canvas.region_mask("heart"))
    _draw_shoulders_and_sternum(canvas, anatomy)
    _draw_thyroid(canvas, anatomy)
    return Chest(anatomy, canvas, heart, pleural_mm, lung_mm, airways)


def lobe_at(
    anatomy: Anatomy, x: Float[np.ndarray, "..."], y: Float[np.ndarray, "..."], z: Float[np.ndarray, "..."]
) -> UInt8[np.ndarray, "..."]:
    """See Chest.lobe."""
    k = anatomy.scale
    is_lower = z < -10 * k - 0.95 * y
    is_middle = (x > 0) & ~is_lower & (z < -14 * k)
    right = np.where(is_lower, 2, np.where(is_middle, 1, 0))
    return np.where(x > 0, right, np.where(is_lower, 4, 3)).astype(np.uint8)


def great_vessels(anatomy: Anatomy) -> dict[str, Union]:
    """Aorta, pulmonary arteries and superior vena cava as solids.

    Diameters: ascending aorta 32, descending 25, pulmonary trunk 26, vena cava 18 mm at a thorax of 280 mm.
    """
    k = anatomy.scale
    spine = _spine_y(anatomy) / k
    arch = [(-2, 22, -32), (8, 26, 10), (2, 22, 38), (-12, 4, 46), (-26, -18, 38)]
    descending = [(-26, -18, 38), (-24, spine + 22, 5), (-20, spine + 24, -150), (-8, spine + 26, -300)]
    return {
        "aorta": Union((*_tubes(arch, 16, 14, k), *_tubes(descending, 13, 11, k))),
        "pulmonary artery": Union(
            (
                *_tubes([(-14, 34, -40), (-18, 26, -12)], 13, 13, k),
                *_tubes([(-18, 26, -12), (10, 6, -14), (40, -4, -24)], 11, 8, k),
                *_tubes([(-18, 26, -12), (-34, 2, -8), (-44, -8, -20)], 11, 8, k),
            )
        ),
        "vena cava": Union(tuple(_tubes([(24, 16, 70), (24, 14, 0), (22, 12, -45)], 9, 9, k))),
    }


def pleura_shell_mm(canvas: Canvas) -> float:
    """Half the thickness of the pleura's mask."""
    return max(2.5, 0.55 * canvas.voxel_mm)


def lung_hu(anatomy: Anatomy, y: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Mean of lung tissue at a depth: gravity makes it denser towards the back."""
    share = np.clip(y / anatomy.thorax_depth_mm + 0.5, 0, 1)
    return LUNG_BACK + (LUNG_FRONT - LUNG_BACK) * share


def blood_hu(anatomy: Anatomy) -> float:
    """Blood in the great vessels, with the contrast medium if any."""
    return BLOOD + anatomy.contrast_hu


def liver_hu(anatomy: Anatomy) -> float:
    """Liver tissue; it takes up less contrast medium than the blood."""
    return LIVER + 0.25 * anatomy.contrast_hu


def vertebra_mm(anatomy: Anatomy, level: int) -> tuple[float, float]:
    """z of the lower and the upper end plate of a thoracic vertebra; the carina lies before the disc T4/T5.

    >>> from reg2rg.phantom.body import sample_anatomy
    >>> vertebra_mm(sample_anatomy(np.random.default_rng(1), False), 4)[0] > 0
    True
    """
    top = (5 - level) * _VERTEBRA_PITCH_MM
    return (top - _VERTEBRA_PITCH_MM + _DISC_MM / 2) * anatomy.scale, (top - _DISC_MM / 2) * anatomy.scale


def rib_mm(anatomy: Anatomy, side: float, rib: int, y: float) -> tuple[float, float, float]:
    """A point in the middle of a rib: of the side (1 right, -1 left) and the depth; ribs count from the top one, 0."""
    k = anatomy.scale
    z = 0.9 * anatomy.apex_mm - rib * _RIB_PITCH_MM * k - _RIB_SLOPE * (y + anatomy.thorax_depth_mm / 2)
    half_width, half_depth, shift = (size.item() for size in _cavity_size(anatomy, np.array([z])))
    share = 1 - abs((y + shift) / (half_depth + 5 * k)) ** _WALL_EXPONENT
    return side * (half_width + 5 * k) * max(share, 0.0) ** (1 / _WALL_EXPONENT), y, z


def _cavity_size(
    anatomy: Anatomy, z: Float[np.ndarray, "..."]
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Half the width and half the depth of the thorax at a height, and how far its middle lies behind y = 0."""
    k = anatomy.scale
    rise = np.clip((z + 70 * k) / (anatomy.apex_mm + 70 * k), 0, 0.995)
    half_width = anatomy.thorax_width_mm / 2 * np.sqrt(1 - rise**2.6)
    half_depth = anatomy.thorax_depth_mm / 2 * np.sqrt(1 - rise**3.4)
    return half_width, half_depth, 10 * k * rise


def _cavity_distance(canvas: Canvas, anatomy: Anatomy) -> Float[np.ndarray, "x y z"]:
    """Distance to the inner wall of the thorax (and of the upper abdomen): a superellipse that narrows to the apex."""
    x, y, z = canvas.axes_mm()
    half_width, half_depth, shift = _cavity_size(anatomy, z)
    distance = _superellipse_distance(x, y + shift, half_width, half_depth)
    return np.maximum(distance, z - anatomy.apex_mm)


def _floor_distance(canvas: Canvas, anatomy: Anatomy) -> Float[np.ndarray, "x y z"]:
    """Distance to the diaphragm, negative above it: two domes."""
    x, y, z = canvas.axes_mm()
    half_width, half_depth = anatomy.thorax_width_mm / 2, anatomy.thorax_depth_mm / 2
    domes = []
    for side, top in ((1, anatomy.dome_right_mm), (-1, anatomy.dome_left_mm)):
        away = ((x - side * 0.48 * half_width) / (0.62 * half_width)) ** 2 + ((y - 0.12 * half_depth) / half_depth) ** 2
        domes.append(top - 52 * anatomy.scale * away)
    floor = np.maximum(*domes)
    steepness = np.sqrt(1 + sum(slope**2 for slope in np.gradient(floor[:, :, 0], *canvas.grid.spacing_mm[:2])))
    return (floor - z) / steepness[:, :, None].astype(np.float32)


def _mediastinum_distance(canvas: Canvas, anatomy: Anatomy) -> Float[np.ndarray, "x y 1"]:
    """Distance to the mediastinum's sides, positive within it: narrow behind the sternum, wide before the spine."""
    x, y, _ = canvas.axes_mm()
    half_depth = anatomy.thorax_depth_mm / 2
    narrow = 1 / (1 + np.exp(-(y - 0.5 * half_depth) / (6 * anatomy.scale)))
    half_width = anatomy.mediastinum_mm * (1 - 0.75 * narrow)
    return half_width - np.abs(x)


def _lung_distance(
    canvas: Canvas, anatomy: Anatomy, pleural_mm: Float[np.ndarray, "x y z"], heart: Union
) -> Float[np.ndarray, "x y z"]:
    """Distance to the lungs' surface: the pleural cavity less heart, spine and descending aorta."""
    lung_mm = pleural_mm.copy()
    edge_mm = 3 * max(canvas.grid.spacing_mm)
    box = canvas.box_of(_spine_tube(anatomy), 2.0 + anatomy.kyphosis_mm + edge_mm)
    if box is not None:
        x, y, z = canvas.axes_mm(box)
        distance = np.float32(17 * anatomy.scale + 2) - np.sqrt(x**2 + (y - anatomy.spine_mm(z)) ** 2)
        np.maximum(lung_mm[box.slices], distance, out=lung_mm[box.slices])
    for solid, margin_mm in ((heart, anatomy.heart_fat_mm), (great_vessels(anatomy)["aorta"], 2.0)):
        box = canvas.box_of(solid, margin_mm + edge_mm)
        if box is not None:
            distance = margin_mm - solid.distance_mm(*canvas.axes_mm(box))
            np.maximum(lung_mm[box.slices], distance, out=lung_mm[box.slices])
    return lung_mm


def _mediastinum_mask(
    canvas: Canvas,
    anatomy: Anatomy,
    cavity_mm: Float[np.ndarray, "x y z"],
    floor_mm: Float[np.ndarray, "x y z"],
    lung_mm: Float[np.ndarray, "x y z"],
) -> np.ndarray:
    """Between the lungs, from the first rib to the diaphragm, without the heart, whose size its box would tell."""
    x, y, z = canvas.axes_mm()
    k = anatomy.scale
    within = (np.abs(x) < 52 * k) & (z < anatomy.apex_mm - 5 * k) & (y > _spine_y(anatomy) + 16 * k)
    above_heart_or_behind = (z > -25 * k) | (y < _spine_y(anatomy) + 48 * k)
    between = within & above_heart_or_behind & (cavity_mm < -_PLEURA_MM) & (lung_mm > 0)
    aorta = great_vessels(anatomy)["aorta"]
    box = canvas.box_of(aorta)
    if box is not None:
        between[box.slices] |= aorta.distance_mm(*canvas.axes_mm(box)) < 0
    return between & (floor_mm < 0)


def _parenchyma_hu(canvas: Canvas, anatomy: Anatomy, rng: np.random.Generator) -> Float[np.ndarray, "x y z"]:
    """Lung tissue: the gradient of gravity, and a texture of 15 mm grain."""
    _, y, _ = canvas.axes_mm()
    level = rng.uniform(-25, 25)
    return (lung_hu(anatomy, y) + np.float32(level) + 14 * smooth_noise(canvas, 15.0, rng)).astype(np.float32)


def smooth_noise(
    canvas: Canvas, grain_mm: float, rng: np.random.Generator, box: Box | None = None
) -> Float[np.ndarray, "x y z"]:
    """Random numbers of mean 0 and variance about 1 on a lattice of `grain_mm`, joined linearly; seeded by place.

    The lattice is drawn in mm and covers any body, so that another grid shows the same texture.
    """
    reach_mm = 320.0
    count = int(2 * reach_mm / grain_mm) + 2
    field = rng.standard_normal((count, count, count), dtype=np.float32)
    for axis, coordinates in enumerate(canvas.axes_mm(box)):
        place = np.clip((coordinates.ravel() + reach_mm) / grain_mm, 0, count - 1.001)
        low = place.astype(int)
        share = (place - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        field = np.take(field, low, axis) * (1 - share) + np.take(field, low + 1, axis) * share
    return field * np.float32(1.8)  # linear joining leaves (2/3)^1.5 = 0.54 of the deviation on average


def _draw_skin_and_muscle(canvas: Canvas, anatomy: Anatomy) -> None:
    x, y, z = canvas.axes_mm()
    k = anatomy.scale
    neck = np.clip((z - anatomy.apex_mm + 10 * k) / (70 * k), 0, 1)
    half_width = anatomy.half_width_mm * (1 - 0.45 * neck**1.5)
    back = anatomy.back_mm + anatomy.kyphosis_mm - anatomy.bulge_mm(z)
    half_depth = (anatomy.front_mm - back) / 2 * (1 - 0.25 * neck)
    middle = (anatomy.front_mm + back) / 2
    skin_mm = _superellipse_distance(x, y - middle, half_width, half_depth)
    canvas.blend(canvas.coverage(skin_mm), FAT, canvas.whole)
    canvas.blend(canvas.coverage(skin_mm + np.float32(anatomy.fat_mm)), MUSCLE, canvas.whole)


def _draw_ribs(canvas: Canvas, anatomy: Anatomy, cavity_mm: Float[np.ndarray, "x y z"]) -> None:
    """Twelve pairs as slanting bands in the wall, 24 mm apart, ending as cartilage in front."""
    x, y, z = canvas.axes_mm()
    k = anatomy.scale
    half_depth = anatomy.thorax_depth_mm / 2
    pitch = _RIB_PITCH_MM * k
    level = (z - 0.9 * anatomy.apex_mm + _RIB_SLOPE * (y + half_depth)) / pitch
    off_center_mm = np.abs(level - np.rint(level)) * (0.88 * pitch) - 6.5 * k
    in_wall_mm = np.abs(cavity_mm - 5 * k) - 4 * k
    distance = np.maximum(off_center_mm, in_wall_mm)
    distance = np.maximum(distance, np.float32(14 * k) - np.abs(x) + np.where(y > 0, np.float32(8 * k), 0))
    distance = np.maximum(distance, z - np.float32(0.96 * anatomy.apex_mm))
    coverage = canvas.coverage(distance)
    is_bone = y < 0.72 * half_depth
    grains = 0.5 + 0.5 * np.sin(x / 5) * np.sin(z / 4)  # calcium comes in grains
    cartilage = (CARTILAGE + anatomy.cartilage_calcium_hu * grains).astype(np.float32)
    hu = np.where(is_bone, np.float32(0.45 * CORTEX + 0.3 * anatomy.bone_hu), cartilage)
    canvas.blend(coverage, hu, canvas.whole)
    canvas.mark_region("bone", (coverage >= 0.5) & is_bone)


def _draw_spine(canvas: Canvas, anatomy: Anatomy) -> None:
    """Vertebral bodies with a cortex, discs every 23 mm, the canal behind, arches and spinous processes."""
    k = anatomy.scale
    column = _spine_tube(anatomy)
    box = canvas.box_of(column, 45 * k + anatomy.kyphosis_mm)
    if box is None:
        return
    x, y, z = canvas.axes_mm(box)
    y0 = anatomy.spine_mm(z)
    pitch = _VERTEBRA_PITCH_MM * k
    phase_mm = np.abs(z / pitch - np.rint(z / pitch)) * pitch  # 0 in the middle of a disc
    body_mm = vertebral_body_distance(anatomy, x, y, z)
    canal_mm = np.sqrt(x**2 + (y - (y0 - 23 * k)) ** 2) - 9 * k
    arch_mm = np.maximum(np.sqrt(x**2 + (y - (y0 - 23 * k)) ** 2) - 14 * k, 5 * k - phase_mm)
    process_mm = np.maximum(
        np.maximum(np.abs(x) - 3.5 * k, np.abs(y - (y0 - 46 * k)) - 14 * k), (6 * k - phase_mm) * 0.9
    )
    transverse_mm = np.maximum(
        np.maximum(np.abs(y - (y0 - 22 * k)) - 5 * k, np.abs(x) - 32 * k), (7.5 * k - phase_mm) * 0.9
    )
    hard_mm = np.minimum(np.minimum(arch_mm, process_mm), transverse_mm)
    is_disc = phase_mm < _DISC_MM / 2 * k
    body_hu = np.where(is_disc, DISC, np.where(body_mm > -2.5 * k, 0.5 * CORTEX, anatomy.bone_hu)).astype(np.float32)
    hard = canvas.coverage(hard_mm)
    canvas.blend(hard, 0.5 * CORTEX, box)
    body = canvas.coverage(body_mm + np.zeros_like(z))
    canvas.blend(body, body_hu, box)
    canal = canvas.coverage(canal_mm + np.zeros_like(z))
    canvas.blend(canal, 25.0, box)
    canvas.mark_region("bone", ((hard >= 0.5) | (body >= 0.5)) & (canal < 0.5), box)


def vertebral_body_distance(
    anatomy: Anatomy, x: Float[np.ndarray, "x 1 1"], y: Float[np.ndarray, "1 y 1"], z: Float[np.ndarray, "1 1 z"]
) -> Float[np.ndarray, "x y z"]:
    """In-plane distance to the side of the vertebral bodies (and discs), negative inside."""
    return np.sqrt(x**2 + ((y - anatomy.spine_mm(z)) / 0.85) ** 2) - np.float32(17 * anatomy.scale)


def _draw_arms(canvas: Canvas, anatomy: Anatomy) -> None:
    """Arms beside the chest: fat, muscle and the humerus; in no region."""
    if not anatomy.has_arms_down:
        return
    k = anatomy.scale
    for side in (-1.0, 1.0):
        x = side * (anatomy.half_width_mm + 50 * k)
        for radius, hu in ((46 * k, FAT), (40 * k, MUSCLE), (11 * k, 0.9 * CORTEX), (6 * k, 0.0)):
            canvas.draw(Tube((x, -25 * k, -500.0), (x, -25 * k, 0.95 * anatomy.apex_mm), radius, radius), hu)


def _draw_shoulders_and_sternum(canvas: Canvas, anatomy: Anatomy) -> None:
    k = anatomy.scale
    front = anatomy.thorax_depth_mm / 2 + 4 * k
    bone = 0.45 * CORTEX
    canvas.draw(Ellipsoid((0.0, front - 6 * k, 22 * k), (24 * k, 7 * k, 42 * k)), 0.8 * bone, "bone")
    canvas.draw(Ellipsoid((0.0, front, -45 * k), (15 * k, 6 * k, 55 * k)), 0.8 * bone, "bone")
    for side in (-1.0, 1.0):
        clavicle = Tube(
            (side * 22 * k, 0.55 * front, anatomy.apex_mm - 22 * k),
            (side * 125 * k, 0.1 * front, anatomy.apex_mm + 8 * k),
            6.5 * k,
            6.5 * k,
        )
        canvas.draw(clavicle, bone, "bone")
        blade = Ellipsoid(
            (side * 92 * k, -0.86 * front - 10 * k, 0.4 * anatomy.apex_mm),
            (42 * k, 4.5 * k, 62 * k),
            rotation_about(2, side * 30),
        )
        canvas.draw(blade, 0.7 * bone, "bone")


def _draw_breasts(canvas: Canvas, anatomy: Anatomy, cavity_mm: Float[np.ndarray, "x y z"]) -> None:
    """Fat with glandular tissue in it, standing out from the wall; a thin layer in men."""
    k = anatomy.scale
    out = anatomy.breast_mm
    for side in (-1.0, 1.0):
        sunk = 0.1 * anatomy.thorax_depth_mm
        center = (side * 0.25 * anatomy.thorax_width_mm, anatomy.front_mm - sunk, -30 * k)
        breast = Ellipsoid(center, (56 * k, out + sunk, 52 * k))
        box = canvas.box_of(breast)
        if box is None:
            continue
        coverage = canvas.coverage_of(breast, box)
        in_front = cavity_mm[box.slices] > 0
        is_free = in_front & (canvas.hu[box.slices] < 0.5 * FAT)  # muscle and ribs stay
        canvas.blend(coverage * is_free, FAT, box)
        canvas.mark_region("breast", (coverage >= 0.5) & is_free, box)
        if anatomy.sex == "female":
            gland_center = (center[0], anatomy.front_mm + 0.35 * out, center[2])
            canvas.draw(Ellipsoid(gland_center, (24 * k, 0.32 * out, 22 * k)), GLAND)
            canvas.draw(Tube(gland_center, (center[0], anatomy.front_mm + 0.8 * out, center[2]), 7 * k, 3 * k), GLAND)


def _draw_abdomen(
    canvas: Canvas,
    anatomy: Anatomy,
    cavity_mm: Float[np.ndarray, "x y z"],
    floor_mm: Float[np.ndarray, "x y z"],
) -> None:
    """Liver, spleen, stomach and kidneys in fat, all of it under the diaphragm and inside the wall."""
    k = anatomy.scale
    inside_mm = np.maximum(cavity_mm + 4, -floor_mm)
    canvas.mark_region("abdomen", inside_mm < 0)
    right, left = anatomy.dome_right_mm, anatomy.dome_left_mm
    organs = (
        (Ellipsoid((78 * k, 8 * k, right - 62 * k), (92 * k, 100 * k, 82 * k)), liver_hu(anatomy)),
        (Ellipsoid((0.0, 40 * k, right - 62 * k), (80 * k, 42 * k, 46 * k)), liver_hu(anatomy)),
        (Ellipsoid((-98 * k, -38 * k, left - 52 * k), (30 * k, 48 * k, 52 * k)), SPLEEN + 0.4 * anatomy.contrast_hu),
        (Ellipsoid((58 * k, -52 * k, right - 150 * k), (27 * k, 24 * k, 52 * k)), KIDNEY + 0.7 * anatomy.contrast_hu),
        (Ellipsoid((-58 * k, -52 * k, left - 125 * k), (27 * k, 24 * k, 52 * k)), KIDNEY + 0.7 * anatomy.contrast_hu),
    )
    for shape, hu in organs:
        box = canvas.box_of(shape)
        if box is not None:
            distance = np.maximum(shape.distance_mm(*canvas.axes_mm(box)), inside_mm[box.slices] + 3)
            canvas.blend(canvas.coverage(distance), hu, box)
    stomach = Ellipsoid((-62 * k, 24 * k, left - 52 * k), (46 * k, 42 * k, 42 * k))
    box = canvas.box_of(stomach)
    if box is not None:
        _, y, _ = canvas.axes_mm(box)
        distance = np.maximum(stomach.distance_mm(*canvas.axes_mm(box)), inside_mm[box.slices] + 4)
        canvas.blend(canvas.coverage(distance), STOMACH_WALL, box)
        bubble = np.where(y > 40 * k, np.float32(AIR), np.float32(STOMACH_CONTENT))  # air rises to the front
        canvas.blend(canvas.coverage(distance + 4 * k), bubble, box)


def _draw_lung_vessels(
    canvas: Canvas, anatomy: Anatomy, lung_mm: Float[np.ndarray, "x y z"], rng: np.random.Generator
) -> None:
    for side in (-1.0, 1.0):
        for branch in _grow_in_lung(canvas, anatomy, lung_mm, rng, side, 10, 40.0, 4.8, 5):
            canvas.draw_thin(branch.tube, LUNG_VESSEL + anatomy.contrast_hu)


def _draw_airways(
    canvas: Canvas, anatomy: Anatomy, lung_mm: Float[np.ndarray, "x y z"], rng: np.random.Generator
) -> tuple[Branch, ...]:
    """Trachea, main bronchi and four generations in the lungs: a wall of soft tissue, air inside."""
    k = anatomy.scale
    region = "trachea and bronchie"
    main = [
        *_tubes([(0, 0, 200), (0, -6, 60), (0, -12, 0)], 8.5, 8.5, k),
        *_tubes([(0, -12, 0), (32, -14, -26)], 7, 6, k),
        *_tubes([(0, -12, 0), (-40, -16, -30)], 6.2, 5, k),
    ]
    branches = tuple(
        branch for side in (-1.0, 1.0) for branch in _grow_in_lung(canvas, anatomy, lung_mm, rng, side, 5, 26.0, 3.4, 3)
    )
    branches += _bronchi_of_bare_lobes(canvas, anatomy, lung_mm, rng, branches)
    for branch in branches:
        canvas.draw_thin(branch.tube.grown(_bronchial_wall_mm(branch.tube)), AIRWAY_WALL, region)
    for branch in branches:
        canvas.draw_thin(branch.tube, AIR)
    reach_mm = _SLEEVE_MM + canvas.voxel_mm
    to_lumen = canvas.distance_to((branch.tube for branch in branches), canvas.whole, reach_mm)
    canvas.mark_region(region, (to_lumen <= _SLEEVE_MM) & (lung_mm <= 0))
    for tube in main:
        canvas.draw(tube.grown(_bronchial_wall_mm(tube)), AIRWAY_WALL, region)
    for tube in main:
        canvas.draw(tube, AIR)
    return branches


def _bronchial_wall_mm(tube: Tube) -> float:
    return max(1.0, 0.2 * tube.start_radius_mm)


def _grow_in_lung(
    canvas: Canvas,
    anatomy: Anatomy,
    lung_mm: Float[np.ndarray, "x y z"],
    rng: np.random.Generator,
    side: float,
    stems: int,
    length_mm: float,
    radius_mm: float,
    generations: int,
) -> tuple[Branch, ...]:
    k = anatomy.scale
    root = _root_in_lung(canvas, anatomy, lung_mm, side)
    directions = rng.standard_normal((stems, 3)) * (0.5, 0.7, 0.8)
    turns = 2 * np.pi * (np.arange(stems) + rng.uniform()) / stems
    directions += np.stack([np.full(stems, side * 0.9), 0.9 * np.cos(turns), 1.3 * np.sin(turns)], axis=1)

    def is_inside(points_mm: Float[np.ndarray, "point 3"]) -> Bool[np.ndarray, "point"]:
        return canvas.sample(lung_mm, points_mm, outside=1.0) < -3

    return grow_tree(rng, root, directions, length_mm * k, radius_mm * k, generations, is_inside)


def _root_in_lung(
    canvas: Canvas, anatomy: Anatomy, lung_mm: Float[np.ndarray, "x y z"], side: float
) -> Float[np.ndarray, "3"]:
    """Where vessels and bronchi enter a lung: at the hilum, or at the nearest lung beside and above a large heart."""
    k = anatomy.scale
    hilum = k * np.array([side * 38, -12, -24])
    outward, frontward, upward = side * np.arange(0, 9), np.arange(-5, 3), np.arange(-1, 9)
    steps = 6.0 * k * np.stack(np.meshgrid(outward, frontward, upward, indexing="ij"), -1).reshape(-1, 3)
    steps = steps[np.argsort(np.linalg.norm(steps, axis=1), kind="stable")]
    fits = canvas.sample(lung_mm, hilum + steps, outside=np.inf) < -4
    return hilum + steps[np.argmax(fits)]


def _bronchi_of_bare_lobes(
    canvas: Canvas,
    anatomy: Anatomy,
    lung_mm: Float[np.ndarray, "x y z"],
    rng: np.random.Generator,
    branches: tuple[Branch, ...],
) -> tuple[Branch, ...]:
    """Bronchi for lobes that the trees from the hila do not reach, as below a large heart: from the lobe's near end."""
    k = anatomy.scale
    half_width, half_depth = anatomy.thorax_width_mm / 2, anatomy.thorax_depth_mm / 2
    low = (-half_width, -half_depth, anatomy.dome_left_mm - 40 * k)
    points = rng.uniform(low, (half_width, half_depth, anatomy.apex_mm), size=(3000, 3))
    points = points[canvas.sample(lung_mm, points, outside=np.inf) < -6]
    ends = np.array([branch.tube.end_mm for branch in branches]).reshape(-1, 3)
    lobe_of_end, lobe_of_point = (lobe_at(anatomy, *at.T) for at in (ends, points))
    grown: list[Branch] = []

    def is_inside(points_mm: Float[np.ndarray, "point 3"]) -> Bool[np.ndarray, "point"]:
        return canvas.sample(lung_mm, points_mm, outside=1.0) < -3

    for lobe, (side, _) in enumerate(LOBES):
        own = points[lobe_of_point == lobe]
        if (lobe_of_end == lobe).sum() >= _FEWEST_BRONCHI or not len(own):
            continue
        hilum = k * np.array([38 if side == "right" else -38, -12, -24])
        root = own[np.argmin(np.linalg.norm(own - hilum, axis=1))]
        directions = own.mean(axis=0) - root + 12 * k * rng.standard_normal((4, 3))
        grown += grow_tree(rng, root, directions, 22.0 * k, 2.9 * k, 3, is_inside)
    return tuple(grown)


def _draw_great_vessels(canvas: Canvas, anatomy: Anatomy) -> None:
    for vessel in great_vessels(anatomy).values():
        for tube in vessel.parts:
            canvas.draw(tube, blood_hu(anatomy))


def _draw_esophagus(canvas: Canvas, anatomy: Anatomy) -> None:
    """From the neck behind the trachea and the heart to the stomach, with a little air in it."""
    for tube in esophagus_tubes(anatomy):
        canvas.draw(tube, ESOPHAGUS, "esophagus")
        canvas.draw(Tube(tube.start_mm, tube.end_mm, 1.2, 1.2), -300.0, "esophagus")


def esophagus_tubes(anatomy: Anatomy) -> tuple[Tube, ...]:
    """The esophagus as three pieces; the second ends at the hiatus of the diaphragm."""
    k = anatomy.scale
    before_spine = _spine_y(anatomy) / k + 30
    hiatus = (anatomy.dome_left_mm - 18 * k) / k
    course = [(-4, -17, 200), (-4, -26, 20), (-8, before_spine, hiatus), (-40, before_spine + 30, hiatus - 22)]
    return tuple(_tubes(course, 7.5, 7.5, k))


def _draw_heart(canvas: Canvas, anatomy: Anatomy, heart: Union) -> None:
    """Heart muscle and, slightly less dense, the blood in it; every length grows with the heart.

    A layer of fat parts it from its neighbours: what they are would tell from the heart's edge how far it reaches.
    """
    fat_mm = HEART_FAT_SHARE * anatomy.heart_width_mm
    box = canvas.box_of(heart, fat_mm + canvas.voxel_mm)
    if box is None:
        return
    distance = heart.distance_mm(*canvas.axes_mm(box))
    fat = canvas.coverage(distance - np.float32(fat_mm))
    canvas.blend(fat, FAT, box)
    for pushed_aside in ("abdomen", "esophagus", "trachea and bronchie", "bone"):
        canvas.unmark_region(pushed_aside, fat >= 0.5, box)
    coverage = canvas.coverage(distance)
    canvas.blend(coverage, MYOCARDIUM + 0.3 * anatomy.contrast_hu, box)
    for part in heart.parts:
        assert isinstance(part, Ellipsoid)
        a, b, c = part.radii_mm
        chamber = Ellipsoid(part.center_mm, (0.74 * a, 0.62 * b, 0.62 * c), part.rotation)
        canvas.draw(chamber, blood_hu(anatomy) - 4)
    canvas.mark_region("heart", coverage >= 0.5, box)


def _draw_thyroid(canvas: Canvas, anatomy: Anatomy) -> None:
    k = anatomy.scale
    level = anatomy.apex_mm + 24 * k
    hu = thyroid_hu(anatomy)
    for side in (-1.0, 1.0):
        canvas.draw(thyroid_lobe(anatomy, side), hu, "thyroid")
    isthmus = Tube((-12 * k, 12 * k, level - 6 * k), (12 * k, 12 * k, level - 6 * k), 4 * k, 4 * k)
    canvas.draw(isthmus, hu, "thyroid")


def thyroid_hu(anatomy: Anatomy) -> float:
    """The gland, which holds iodine and takes up more with a contrast medium."""
    return THYROID + 0.4 * anatomy.contrast_hu


def thyroid_lobe(anatomy: Anatomy, side: float) -> Ellipsoid:
    """One lobe of the gland: 1 is the right one, -1 the left one."""
    k = anatomy.scale
    return Ellipsoid((side * 17 * k, 2 * k, anatomy.apex_mm + 24 * k), (9 * k, 10 * k, 22 * k))


def _spine_y(anatomy: Anatomy) -> float:
    """y of the middle of the vertebral bodies where the back does not bulge."""
    return -0.74 * anatomy.thorax_depth_mm / 2


def _spine_tube(anatomy: Anatomy) -> Tube:
    y = _spine_y(anatomy)
    return Tube((0.0, y, -600.0), (0.0, y, 600.0), 17 * anatomy.scale, 17 * anatomy.scale)


def _tubes(course: Sequence[tuple[float, float, float]], first_mm: float, last_mm: float, scale: float) -> list[Tube]:
    """Tubes along a course whose points and radii are given for a thorax of 280 mm."""
    points = [(x * scale, y * scale, z * scale) for x, y, z in course]
    radii = np.linspace(first_mm * scale, last_mm * scale, len(points))
    return [Tube(points[i], points[i + 1], float(radii[i]), float(radii[i + 1])) for i in range(len(points) - 1)]


def _superellipse_distance(
    x: Float[np.ndarray, "x 1 1"],
    y: Float[np.ndarray, "1 y zy"],
    half_width: Float[np.ndarray, "1 1 z"],
    half_depth: Float[np.ndarray, "1 1 z"],
) -> Float[np.ndarray, "x y z"]:
    """In-plane distance to |x / half_width|^p + |y / half_depth|^p = 1, to first order, negative inside.

    With s the sum on the left: (sqrt(s) - 1) over the length of its gradient.
    """
    p = _WALL_EXPONENT
    along_x, along_y = np.abs(x) / half_width, np.abs(y) / half_depth
    powered_x, powered_y = along_x ** (p - 1), along_y ** (p - 1)
    total = powered_x * along_x + powered_y * along_y
    slope = np.sqrt((powered_x / half_width) ** 2 + (powered_y / half_depth) ** 2)
    return (total - np.sqrt(total)) / np.maximum(np.float32(p / 2) * slope, np.float32(1e-6))
