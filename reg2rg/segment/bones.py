"""Bones, told from vessels full of contrast agent by the place of the lungs and by the evenness of blood."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_fill_holes, maximum_filter, uniform_filter

from reg2rg.segment.morphology import Spacing, close, components, dilate, erode, slice_neighbours
from reg2rg.segment.spine import Spine

BONE_HU = 160
_COARSE_MM = 2.5  # side of a voxel beyond which ribs and cortex fill it in part only
_TISSUE_HU, _FAINTEST_BONE_HU = 40, 100  # beside bone, and of a voxel that bone fills by half
_BLOOD_HU = 200  # mean of 3 x 3 x 3 voxels in a vessel full of contrast agent, at least
_BLOOD_DEVIATION_HU = 50  # their standard deviation, at most; trabecular bone is above
_SMALLEST_VESSEL_ML = 1.0
_REACH = 0.05  # share of a vessel that lies clear of the spine, at least
_SMALLEST_BONE_ML = 0.3
_VESSEL_RIM_MM = 4.5  # from the even inside of a vessel to its outside
_CENTER_RIM_MM = 3.0
_MARROW_GAP_MM = 4.0
_LARGEST_MARROW_MM2 = 1500


def find_bones(
    hu: Float[np.ndarray, "x y z"],
    body: Bool[np.ndarray, "x y z"],
    lungs: Bool[np.ndarray, "x y z"],
    thorax: Bool[np.ndarray, "x y z"],
    spine: Spine,
    spacing_mm: Spacing,
) -> Bool[np.ndarray, "x y z"]:
    """Bones with their marrow, and the spinal canal where arches enclose it.

    Args:
        hu: the CT.
        body: the patient without the couch.
        lungs: both lungs.
        thorax: the convex hull of the lungs in each axial slice.
        spine: where vertebrae can be.
        spacing_mm: of the voxels.
    """
    spine_zone = spine.zone
    # Inside the rib cage, and below it down to the last slice, there is no bone but the spine.
    center = np.logical_or.accumulate(thorax[:, :, ::-1], axis=2)[:, :, ::-1] & ~spine_zone
    vessels = dilate(_find_vessels(hu, center, spacing_mm), _VESSEL_RIM_MM, spacing_mm)
    bones = body & _find_dense(hu, spacing_mm) & ~vessels & ~erode(center, _CENTER_RIM_MM, spacing_mm)
    bones = _without_crumbs(bones, spacing_mm)
    bones |= close(bones & spine_zone, _MARROW_GAP_MM, spacing_mm)
    return _fill_marrow(bones, spacing_mm) & ~lungs


def find_bones_without_lungs(
    hu: Float[np.ndarray, "x y z"], body: Bool[np.ndarray, "x y z"], spacing_mm: Spacing
) -> Bool[np.ndarray, "x y z"]:
    """Bones where no lungs tell the place of vessels: whatever is dense, without what is as even as blood."""
    vessels = dilate(_find_vessels(hu, np.ones_like(body), spacing_mm), _VESSEL_RIM_MM, spacing_mm)
    return _fill_marrow(_without_crumbs(body & _find_dense(hu, spacing_mm) & ~vessels, spacing_mm), spacing_mm)


def _without_crumbs(bones: Bool[np.ndarray, "x y z"], spacing_mm: Spacing) -> Bool[np.ndarray, "x y z"]:
    labels, sizes = components(bones)
    return bones & (sizes * _voxel_ml(spacing_mm) >= _SMALLEST_BONE_ML)[labels]


def _find_dense(hu: Float[np.ndarray, "x y z"], spacing_mm: Spacing) -> Bool[np.ndarray, "x y z"]:
    """What is as dense as bone; of coarse voxels, those that are nearer to the densest neighbour than to tissue."""
    dense = hu > BONE_HU
    if np.prod(spacing_mm) <= _COARSE_MM**3:
        return dense
    densest = maximum_filter(hu, 3)
    halfway = np.maximum((densest + _TISSUE_HU) / 2, _FAINTEST_BONE_HU)
    return (densest > BONE_HU) & (hu > halfway)


def _find_vessels(
    hu: Float[np.ndarray, "x y z"], center: Bool[np.ndarray, "x y z"], spacing_mm: Spacing
) -> Bool[np.ndarray, "x y z"]:
    """The even, bright inside of vessels and chambers; a piece in the spine's zone counts if it reaches the center."""
    mean = uniform_filter(hu, 3)
    variance = uniform_filter(hu * hu, 3) - mean * mean
    labels, sizes = components((mean > _BLOOD_HU) & (variance < _BLOOD_DEVIATION_HU**2))
    in_center = np.bincount(labels[center], minlength=sizes.size)
    is_vessel = (sizes * _voxel_ml(spacing_mm) >= _SMALLEST_VESSEL_ML) & (in_center > _REACH * sizes)
    is_vessel[0] = False
    return is_vessel[labels]


def _fill_marrow(bones: Bool[np.ndarray, "x y z"], spacing_mm: Spacing) -> Bool[np.ndarray, "x y z"]:
    """Holes that bone encloses in a cut of one of three directions, unless they are larger than any marrow."""
    filled = bones.copy()
    for axis in range(3):
        pixel_mm2 = float(np.prod(spacing_mm)) / spacing_mm[axis]
        holes = binary_fill_holes(filled, slice_neighbours(axis)) & ~filled
        labels, sizes = components(holes, within_slices_across=axis)
        is_marrow = sizes * pixel_mm2 <= _LARGEST_MARROW_MM2
        is_marrow[0] = False
        filled |= is_marrow[labels]
    return filled


def _voxel_ml(spacing_mm: Spacing) -> float:
    return float(np.prod(spacing_mm)) / 1000
