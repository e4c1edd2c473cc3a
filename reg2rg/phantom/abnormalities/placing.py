"""Where lesions of the lung may lie, what they take from it, and how one of them is filled in."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from reg2rg.phantom.canvas import Canvas
from reg2rg.phantom.organs import FAT, LOBES, Chest, lung_hu
from reg2rg.phantom.shapes import Ellipsoid
from reg2rg.volume import Box

NEIGHBORHOOD_MM = 40.0  # wider than half the largest lesion that is placed by depth below the lung's surface
_WALL_HU = (FAT - 10, 300.0)  # what can lie beside the lung in a voxel of its edge


@dataclass(frozen=True, eq=False)
class LungPoints:
    """Points of the lung that are free, drawn evenly.

    Attributes:
        mm: where they lie.
        depth_mm: how far below the lung's surface, or from the nearest lesion.
        lobe: indices into LOBES.
    """

    mm: Float[np.ndarray, "point 3"]
    depth_mm: Float[np.ndarray, "point"]
    lobe: UInt8[np.ndarray, "point"]

    def of_lobe(self, lobe: int) -> "LungPoints":
        """Those of one lobe."""
        own = self.lobe == lobe
        return LungPoints(self.mm[own], self.depth_mm[own], self.lobe[own])


def lung_points(chest: Chest, rng: np.random.Generator) -> LungPoints:
    """Some thousand points, 12 mm from one another on average."""
    anatomy = chest.anatomy
    half_width, half_depth = anatomy.thorax_width_mm / 2, anatomy.thorax_depth_mm / 2
    low = (-half_width, -half_depth, anatomy.dome_left_mm - 60 * anatomy.scale)
    points = rng.uniform(low, (half_width, half_depth, anatomy.apex_mm), size=(6000, 3))
    depths = -chest.canvas.sample(chest.lung_mm, points, outside=np.inf)
    free = depths > 0
    return LungPoints(points[free], depths[free], chest.lobe(*points[free].T))


def place_in_lung(chest: Chest, rng: np.random.Generator, depth_mm: float) -> tuple[int, tuple[float, float, float]]:
    """A lobe, as an index into LOBES, and a point of it at least `depth_mm` below the lung's surface.

    Every lobe that has room is as likely as any other. If none has, the deepest point tried is taken.
    """
    points = lung_points(chest, rng)
    for lobe in rng.permutation(len(LOBES)).tolist():
        fits = np.flatnonzero((points.lobe == lobe) & (points.depth_mm >= depth_mm))
        if fits.size:
            break
    index = fits[0] if fits.size else np.argmax(points.depth_mm)
    x, y, z = points.mm[index].tolist()
    return int(points.lobe[index]), (x, y, z)


def choose_lobe(points: LungPoints, rng: np.random.Generator, weights: tuple[float, ...]) -> int:
    """An index into LOBES with the given chances; a lobe that is all but full is passed over for the next."""
    room = np.bincount(points.lobe, minlength=len(LOBES))
    order = rng.choice(len(LOBES), len(LOBES), replace=False, p=weights).tolist()
    return int(next((lobe for lobe in order if room[lobe] >= 80), np.argmax(room)))


def lung_box(chest: Chest) -> Box:
    """The voxels that hold the lungs, and little more."""
    anatomy = chest.anatomy
    low, high = anatomy.dome_left_mm - 60 * anatomy.scale, anatomy.apex_mm
    radii = (anatomy.thorax_width_mm / 2, anatomy.thorax_depth_mm / 2 + 5 * anatomy.scale, (high - low) / 2)
    box = chest.canvas.box_of(Ellipsoid((0.0, 0.0, (low + high) / 2), radii))
    assert box is not None, "the scan misses the lungs"
    return box


def take_from_lung(chest: Chest, distance_mm: Float[np.ndarray, "x y z"], box: Box) -> None:
    """What fills a part of the lung makes it no lung any more: for its mask, and for what is placed later."""
    chest.canvas.unmark_region("lung", distance_mm <= 0, box)
    occupy_lung(chest, distance_mm, box)


def occupy_lung(chest: Chest, distance_mm: Float[np.ndarray, "x y z"], box: Box) -> None:
    """Keeps later lesions out of one that lies in the lung and is part of it.

    The box reaches beyond the filled part, so that later lesions know how far away it is.
    """
    lung_mm = chest.lung_mm[box.slices]
    np.maximum(lung_mm, -distance_mm, out=lung_mm)


def is_free(canvas: Canvas, box: Box) -> Bool[np.ndarray, "x y z"]:
    """Voxels without a lesion: what is drawn later over a whole lung leaves the others alone."""
    return canvas.lesions[box.slices] == 0


def fill_lung(
    chest: Chest, distance_mm: Float[np.ndarray, "x y z"], box: Box, hu: float, lobe: int, lesion: int
) -> Float[np.ndarray, "x y z"]:
    """Fills a solid of one lobe with tissue, as far as there is lung; the box should reach beyond the solid.

    Returns:
        The share of each voxel of the box that was filled.
    """
    canvas = chest.canvas
    x, y, z = canvas.axes_mm(box)
    in_lobe = chest.lobe(x, y, z) == lobe
    filled = replace_lung(chest, canvas.coverage(distance_mm) * (in_lobe & is_free(canvas, box)), hu, box)
    canvas.mark_lesion(lesion, filled >= 0.5, box)
    occupy_lung(chest, np.where(in_lobe, distance_mm, np.maximum(distance_mm, np.float32(1))), box)
    return filled


def replace_lung(chest: Chest, coverage: Float[np.ndarray, "x y z"], hu: float, box: Box) -> Float[np.ndarray, "x y z"]:
    """Puts tissue or fluid where there is lung: a voxel of lung and wall becomes one of tissue and wall, without lung.

    Blending by the lung's own share would leave a dark rim: a voxel half lung and half wall would stay a quarter lung.

    Returns:
        The share of each voxel of the box that was filled.
    """
    canvas = chest.canvas
    share = canvas.coverage(chest.lung_mm[box.slices])
    there = canvas.hu[box.slices]
    _, y, _ = canvas.axes_mm(box)
    wall = np.clip((there - share * lung_hu(chest.anatomy, y)) / np.maximum(1 - share, np.float32(1e-3)), *_WALL_HU)
    canvas.blend(coverage * (share > 0), share * np.float32(hu) + (1 - share) * wall, box)
    return coverage * share
