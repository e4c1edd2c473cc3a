"""What can be wrong with the esophagus."""

import numpy as np

from reg2rg.phantom.abnormalities.placing import NEIGHBORHOOD_MM, take_from_lung
from reg2rg.phantom.finding import Finding
from reg2rg.phantom.organs import AIR, STOMACH_CONTENT, STOMACH_WALL, Chest, esophagus_tubes, great_vessels
from reg2rg.phantom.shapes import Ellipsoid

_AIR_SHARE = 0.6  # of the sacs that hold air above the fluid


def draw_hiatal_hernia(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """Stomach above the diaphragm: a sac of 30 to 65 mm around the hiatus with fluid, in most with air in front of it.

    It pushes lung, fat and abdomen aside; heart, aorta, airways and bones stay free of it.
    """
    canvas = chest.canvas
    size = int(rng.integers(30, 66))
    detail = "air-filled" if rng.random() < _AIR_SHARE else "fluid-filled"
    hiatus = esophagus_tubes(chest.anatomy)[1].end_mm
    center = (hiatus[0], hiatus[1] + 0.15 * size, hiatus[2] + 0.45 * size)
    sac = Ellipsoid(center, (0.5 * size, 0.42 * size, 0.46 * size))
    box = canvas.box_of(sac, NEIGHBORHOOD_MM)
    if box is None:
        return ()
    x, y, z = canvas.axes_mm(box)
    organs = ("heart", "bone")
    is_free = ~np.any([canvas.region_mask(organ)[box.slices] for organ in organs], axis=0)
    distance = np.maximum(sac.distance_mm(x, y, z), -great_vessels(chest.anatomy)["aorta"].distance_mm(x, y, z))
    coverage = canvas.coverage(distance) * is_free
    canvas.blend(coverage, STOMACH_WALL, box)
    is_air = (y > center[1] + 0.1 * size) & (detail == "air-filled")
    content = np.where(is_air, np.float32(AIR), np.float32(STOMACH_CONTENT))
    canvas.blend(canvas.coverage(distance + np.float32(5.0)) * is_free, content, box)
    take_from_lung(chest, np.where(is_free, distance, np.maximum(distance, np.float32(1))), box)
    is_sac = coverage >= 0.5
    for pushed_aside in ("abdomen", "lung", "mediastinum", "pleura", "trachea and bronchie"):
        canvas.unmark_region(pushed_aside, is_sac, box)
    canvas.mark_region("esophagus", is_sac, box)
    canvas.mark_lesion(first_lesion, is_sac, box)
    return (Finding("Hiatal hernia", "esophagus", size_mm=size, detail=detail, lesion=first_lesion),)
