"""The segmenter that is always there: region masks by HU thresholds, shapes in mm and anatomy.

It draws lung, pleura, trachea and bronchie, bone and mediastinum, and boxes in which heart and abdomen lie, marked as
doubtful. Thyroid, esophagus and breast have no border that a threshold could find, and are left out rather than
guessed. The work is done on voxels of about 2 mm (`_WORKING_MM`); where the CT is finer, lung and bone get the CT's own
borders back.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Shaped, UInt16
from scipy.ndimage import binary_dilation, binary_erosion

from reg2rg.errors import InputError
from reg2rg.regions import get_region
from reg2rg.segment.airways import carina_slice, find_airways, find_lumen
from reg2rg.segment.bones import BONE_HU, find_bones, find_bones_without_lungs
from reg2rg.segment.boxes import DOUBTS, find_abdomen, find_heart
from reg2rg.segment.mediastinum import find_mediastinum
from reg2rg.segment.morphology import Spacing, dilate, enlarge, shrink
from reg2rg.segment.segmentation import Segmentation
from reg2rg.segment.spine import locate_spine
from reg2rg.segment.thorax import (
    TISSUE_HU,
    divide_lungs,
    fill_lung,
    find_aerated_lungs,
    find_air,
    find_body,
    hull_slices,
    pleural_shell,
)
from reg2rg.volume import RegionMasks, Volume

_WORKING_MM = 2.0
_LUMEN_RIM_MM = 2.0  # between the lumen of the airways and the lung
_BORDER_TESTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "lung": lambda hu: hu < TISSUE_HU,
    "bone": lambda hu: hu > BONE_HU,
}
_SOURCE = "segmenter:threshold"
APPROXIMATE = (
    "region masks drawn by HU thresholds are approximate; "
    "give masks of a trained segmenter (--masks), or install TotalSegmentator, for anything that matters"
)
_NO_TRACHEA = "no trachea was found: the region trachea and bronchie is missing, and the lungs may hold airways"
_BONES_ONLY = "no lungs were found: of all regions only bone is drawn, by density alone"
_ONE_LUNG = "the lungs could not be told apart, or there is one only: mediastinum, heart and abdomen are missing"


def segment(volume: Volume) -> Segmentation:
    """Draws what thresholds can find in a canonical (RAS+) chest CT in HU.

    Raises:
        InputError: if there are no lungs of a plausible size.
    """
    factors, spacing_mm = _working_grid(volume)
    hu = shrink(volume.array, factors)
    warnings = []
    air = find_air(hu)
    aerated = find_aerated_lungs(hu, air.inside, spacing_mm)
    lumen = find_lumen(hu, air.inside, spacing_mm)
    if not lumen.any():
        warnings.append(_NO_TRACHEA)
    trachea = dilate(lumen, _LUMEN_RIM_MM, spacing_mm)
    pair = divide_lungs(aerated & ~trachea, spacing_mm)
    lungs = np.logical_or.reduce([fill_lung(lung, spacing_mm) for lung in pair]) & ~trachea
    thorax = hull_slices(lungs)
    spine = locate_spine(lungs, thorax, spacing_mm)
    body = find_body(air.outside, spacing_mm)
    bones = find_bones(hu, body, lungs, thorax, spine, spacing_mm)
    masks = {
        "lung": lungs,
        "pleura": pleural_shell(lungs, spacing_mm),
        "trachea and bronchie": find_airways(hu, lumen, lungs, spacing_mm),
        "bone": bones,
    }
    if len(pair) == 2:
        carina_z = carina_slice(lumen)
        masks["mediastinum"] = find_mediastinum(lungs, thorax, bones, carina_z, spine, spacing_mm)
        masks["heart"] = find_heart(lungs, thorax, bones, carina_z, spine, spacing_mm)
        masks["abdomen"] = find_abdomen(lungs, thorax, bones, body, spine)
    else:
        warnings.append(_ONE_LUNG)
    return _segmentation(masks, volume, factors, warnings)


def segment_without_lungs(volume: Volume) -> Segmentation:
    """Draws the bones of a canonical (RAS+) CT in HU that holds no lungs, with a warning.

    Raises:
        InputError: if there are no bones either.
    """
    factors, spacing_mm = _working_grid(volume)
    hu = shrink(volume.array, factors)
    bones = find_bones_without_lungs(hu, find_body(find_air(hu).outside, spacing_mm), spacing_mm)
    if not bones.any():
        raise InputError("neither lungs nor bones were found, and so no region; give region masks (--masks)")
    return _segmentation({"bone": bones}, volume, factors, [_BONES_ONLY])


def _segmentation(
    masks: dict[str, Bool[np.ndarray, "x y z"]], volume: Volume, factors: tuple[int, int, int], warnings: list[str]
) -> Segmentation:
    drawn = RegionMasks(_draw(masks, volume.array, factors), volume.affine)
    doubts = {name: DOUBTS[name] for name in drawn.present if name in DOUBTS}
    return Segmentation(replace(drawn, sources=dict.fromkeys(drawn.present, _SOURCE)), (APPROXIMATE, *warnings), doubts)


def _working_grid(volume: Volume) -> tuple[tuple[int, int, int], Spacing]:
    """How many voxels make a working voxel along each axis, and its size in mm."""
    x, y, z = volume.grid.spacing_mm
    factors = (_factor(x), _factor(y), _factor(z))
    return factors, (x * factors[0], y * factors[1], z * factors[2])


def _factor(spacing_mm: float) -> int:
    return max(1, round(_WORKING_MM / spacing_mm))


def _draw(
    masks: dict[str, Bool[np.ndarray, "x y z"]],
    hu: Shaped[np.ndarray, "large_x large_y large_z"],
    factors: tuple[int, int, int],
) -> UInt16[np.ndarray, "large_x large_y large_z"]:
    """The masks on the CT's own voxels; within a working voxel of their borders, HU decide for lung and bone."""
    drawn = np.zeros(hu.shape, np.uint16)
    for name, mask in masks.items():
        bit = np.uint16(get_region(name).bit)
        if factors == (1, 1, 1) or name not in _BORDER_TESTS:
            drawn |= enlarge(mask * bit, factors, hu.shape)
        else:
            inside = binary_erosion(mask, border_value=1)
            border = binary_dilation(mask) & ~inside
            drawn |= enlarge(inside * bit, factors, hu.shape)
            drawn |= enlarge(border * bit, factors, hu.shape) * _BORDER_TESTS[name](hu)
    return drawn
