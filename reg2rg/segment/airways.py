"""Trachea and bronchi, from HU and mm alone."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import find_objects, label

from reg2rg.segment.morphology import Spacing, components, dilate, grown_box

_LUMEN_HU = -850
_TRACHEA_AREA_MM2 = (50, 900)
_LONGEST_SIDE_RATIO = 2.2  # of a cut through the trachea, which is round, to the carina, which is wide
_SHORTEST_TRACHEA_MM = 20
_RIM_MM = 4.0  # around the trachea; at least 1.5 voxels
_RIM_HU = -650  # its mean is above; around a dark spot in the lung it is below
_GROWTH_HU = (-950, -925, -900, -880, -860, -840)
_LEAK_SHARE, _LEAK_ML = 0.5, 15.0  # growth beyond both together says that the lung has been entered
_BRANCH_SHARE = 0.3  # of the area of the larger of two branches, so that a spur does not count as one
_WALL_HU = (-780, -680, -580)  # a wall of a bronchus is denser, all around, in a cut of one of three directions
_BRONCHUS_AREA_MM2 = 160
_BRONCHUS_BELOW_LUNG_HU = -30  # mean of a lumen against the median of the lung
_BRONCHUS_AIR_HU = -920  # the darkest voxel of a lumen is below
_BRONCHUS_GAP_MM = 3.0
_WALL_VOXELS = 1.5  # thickness of the walls: a voxel in all directions but the corners
_COARSE_MM = 2.5  # side of a voxel beyond which bronchi in the lungs look as vessels do, and walls are thinner than it
_SOME_AIR_HU = -100  # a coarse voxel of a wall has air in it


def find_lumen(
    hu: Float[np.ndarray, "x y z"], inside: Bool[np.ndarray, "x y z"], spacing_mm: Spacing
) -> Bool[np.ndarray, "x y z"]:
    """The air in the trachea and in the bronchi that are connected to it; empty if no trachea is seen."""
    trachea = _find_trachea(hu, inside, spacing_mm)
    return _grow(hu, inside, trachea, spacing_mm) if trachea.any() else trachea


def carina_slice(lumen: Bool[np.ndarray, "x y z"]) -> int | None:
    """The slice (z) in which the trachea is about to divide: the first from above in which the lumen is in two."""
    for z in np.flatnonzero(lumen.any(axis=(0, 1)))[::-1]:
        sizes = np.sort(components(lumen[:, :, z : z + 1])[1][1:])
        if sizes.size >= 2 and sizes[-2] >= _BRANCH_SHARE * sizes[-1]:
            return int(z)
    return None


def find_airways(
    hu: Float[np.ndarray, "x y z"],
    lumen: Bool[np.ndarray, "x y z"],
    lungs: Bool[np.ndarray, "x y z"],
    spacing_mm: Spacing,
) -> Bool[np.ndarray, "x y z"]:
    """Trachea and bronchi with their walls; on fine voxels further into the lungs than the connected lumen reaches."""
    if np.prod(spacing_mm) > _COARSE_MM**3:
        return lumen | (dilate(lumen, _WALL_VOXELS * max(spacing_mm), spacing_mm) & (hu < _SOME_AIR_HU))
    box = grown_box(lungs | lumen, 0.0, spacing_mm)
    if box is None or not lumen.any():
        return lumen
    airways = np.zeros_like(lumen)
    seed = lumen[box.slices]
    median_hu = float(np.median(hu[lungs])) if lungs.any() else 0.0
    bronchi = _find_enclosed_air(hu[box.slices], median_hu + _BRONCHUS_BELOW_LUNG_HU, spacing_mm) & lungs[box.slices]
    labels, sizes = components(dilate(bronchi | seed, _BRONCHUS_GAP_MM, spacing_mm))
    is_connected = np.zeros(sizes.size, bool)
    is_connected[labels[seed]] = True
    tree = seed | (bronchi & is_connected[labels])
    airways[box.slices] = dilate(tree, _WALL_VOXELS * max(spacing_mm), spacing_mm)
    return airways


def _find_trachea(
    hu: Float[np.ndarray, "x y z"], inside: Bool[np.ndarray, "x y z"], spacing_mm: Spacing
) -> Bool[np.ndarray, "x y z"]:
    """The tallest column of small, round, dark spots in axial slices that does not lie in lung."""
    labels, sizes = components(inside & (hu < _LUMEN_HU), within_slices_across=2)
    areas = sizes * (spacing_mm[0] * spacing_mm[1])
    is_spot = (areas >= _TRACHEA_AREA_MM2[0]) & (areas <= _TRACHEA_AREA_MM2[1])
    for part, box in enumerate(find_objects(labels), start=1):
        if is_spot[part]:
            short, long = sorted((box[axis].stop - box[axis].start) * spacing_mm[axis] for axis in (0, 1))
            is_spot[part] = long <= _LONGEST_SIDE_RATIO * short and areas[part] >= 0.5 * long * short
    is_spot[0] = False
    columns, _ = label(is_spot[labels])
    heights_mm = [(box[2].stop - box[2].start) * spacing_mm[2] for box in find_objects(columns)]
    for part in np.argsort(np.negative(heights_mm), kind="stable"):
        if heights_mm[part] < _SHORTEST_TRACHEA_MM:
            break
        column = columns == part + 1
        rim = dilate(column, max(_RIM_MM, 1.5 * max(spacing_mm)), spacing_mm) & ~column
        if hu[rim].mean() > _RIM_HU:
            return column
    return np.zeros_like(inside)


def _grow(
    hu: Float[np.ndarray, "x y z"],
    inside: Bool[np.ndarray, "x y z"],
    trachea: Bool[np.ndarray, "x y z"],
    spacing_mm: Spacing,
) -> Bool[np.ndarray, "x y z"]:
    """Grows from the trachea with a rising threshold, until the growth leaps: then the lung has been entered."""
    grown = trachea
    for threshold in _GROWTH_HU:
        labels, sizes = components((inside & (hu < threshold)) | trachea)
        is_part = np.zeros(sizes.size, bool)
        is_part[labels[trachea]] = True
        before = np.count_nonzero(grown)
        if sizes[is_part].sum() > before * (1 + _LEAK_SHARE) + _LEAK_ML * 1000 / np.prod(spacing_mm):
            break
        grown = is_part[labels]
    return grown


def _find_enclosed_air(
    hu: Float[np.ndarray, "x y z"], mean_hu: float, spacing_mm: Spacing
) -> Bool[np.ndarray, "x y z"]:
    """Small dark spots with a wall all around them, in cuts of three directions: lumens of bronchi."""
    found = np.zeros(hu.shape, bool)
    for axis in range(3):
        pixel_mm2 = float(np.prod(spacing_mm)) / spacing_mm[axis]
        for wall_hu in _WALL_HU:
            labels, sizes = components(hu < wall_hu, within_slices_across=axis)
            is_small = sizes * pixel_mm2 <= _BRONCHUS_AREA_MM2
            sums = np.bincount(labels.ravel(), weights=hu.ravel(), minlength=sizes.size)
            holds_air = np.zeros(sizes.size, bool)
            holds_air[labels[hu < _BRONCHUS_AIR_HU]] = True
            is_lumen = is_small & holds_air & (sums < mean_hu * sizes)
            is_lumen[0] = False
            for face in (0, -1):  # what the edge of the array cuts off is not enclosed
                for other in {0, 1, 2} - {axis}:
                    is_lumen[np.take(labels, face, other)] = False
            found |= is_lumen[labels]
    return found
