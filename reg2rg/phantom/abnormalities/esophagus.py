"""What can be wrong with the esophagus."""

import numpy as np

from reg2rg.phantom.abnormalities.placing import NEIGHBORHOOD_MM, take_from_lung
from reg2rg.phantom.finding import Finding
from reg2rg.phantom.organs import AIR, STOMACH_CONTENT, STOMACH_WALL, Chest, esophagus_tubes
from reg2rg.phantom.shapes import Ellipsoid


def draw_hiatal_hernia(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """Stomach above the diaphragm: a sac of 30 to 65 mm around the hiatus with fluid, and air in front of it."""
    canvas = chest.canvas
    size = int(rng.integers(30, 66))
    hiatus = esophagus_tubes(chest.anatomy)[1].end_mm
    center = (hiatus[0], hiatus[1] + 0.15 * size, hiatus[2] + 0.45 * size)
    sac = Ellipsoid(center, (0.5 * size, 0.42 * size, 0.46 * size))
    box = canvas.box_of(sac, NEIGHBORHOOD_MM)
    if box is None:
        return ()
    x, y, z = canvas.axes_mm(box)
    coverage = canvas.coverage_of(sac, box)
    canvas.blend(coverage, STOMACH_WALL, box)
    content = np.where(y > center[1] + 0.1 * size, np.float32(AIR), np.float32(STOMACH_CONTENT))
    canvas.blend(canvas.coverage_of(sac.grown(-5.0), box), content, box)
    take_from_lung(chest, sac.distance_mm(x, y, z), box)
    canvas.mark_region("esophagus", coverage >= 0.5, box)
    canvas.mark_lesion(first_lesion, coverage >= 0.5, box)
    return (Finding("Hiatal hernia", "esophagus", size_mm=size, lesion=first_lesion),)
