"""Where lesions of the lung may lie, and what they take from it."""

import numpy as np
from jaxtyping import Float

from reg2rg.phantom.organs import LOBES, Chest
from reg2rg.volume import Box

NEIGHBORHOOD_MM = 40.0  # wider than half the largest lesion that is placed by depth below the lung's surface


def take_from_lung(chest: Chest, distance_mm: Float[np.ndarray, "x y z"], box: Box) -> None:
    """What fills a part of the lung makes it no lung any more: for its mask, and for what is placed later.

    The box reaches beyond the filled part, so that later lesions know how far away it is.
    """
    chest.canvas.unmark_region("lung", distance_mm <= 0, box)
    lung_mm = chest.lung_mm[box.slices]
    np.maximum(lung_mm, -distance_mm, out=lung_mm)


def place_in_lung(chest: Chest, rng: np.random.Generator, depth_mm: float) -> tuple[int, tuple[float, float, float]]:
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
