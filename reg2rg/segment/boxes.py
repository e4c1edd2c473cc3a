"""Heart and abdomen, coarsely: where they must lie beside the lungs, since no threshold shows their borders."""

import numpy as np
from jaxtyping import Bool
from scipy.ndimage import distance_transform_edt

from reg2rg.geometry import mask_box
from reg2rg.segment.mediastinum import carina_level
from reg2rg.segment.morphology import Spacing, components, dilate, erode
from reg2rg.segment.spine import Spine

DOUBTS: dict[str, tuple[str, ...]] = {
    "heart": ("a coarse box between the lungs, in which the heart lies with the roots of the large vessels",),
    "abdomen": ("a coarse box below the lungs, in which its organs are not told from the diaphragm and the wall",),
}
"""What a reader must know of each of these masks."""

_TOP_BELOW_CARINA_MM = 15.0
_BEHIND_HEART = 0.4  # of the rib cage's depth, from the backs of the lungs: vertebrae, aorta, esophagus
_HALF_WIDTH_MM = 90.0  # from the middle, to either side
_NECK_MM = 6.0  # half the width of what is no part of a heart: the way between lung and ribs, edges of the diaphragm


def find_heart(
    lungs: Bool[np.ndarray, "x y z"],
    thorax: Bool[np.ndarray, "x y z"],
    bones: Bool[np.ndarray, "x y z"],
    carina_z: int | None,
    spine: Spine,
    spacing_mm: Spacing,
) -> Bool[np.ndarray, "x y z"]:
    """The largest thing between the lungs, from below the carina down to the level of the diaphragm, off the spine.

    Args:
        lungs, thorax, bones: the lungs, their convex hull in each axial slice, the bones.
        carina_z: the slice in which the trachea divides, if known.
        spine: from where to the front is measured.
        spacing_mm: of the voxels.
    """
    box = mask_box(thorax)
    assert box is not None, "lungs have voxels"
    depth_mm = box.size_xyz[1] * spacing_mm[1]
    z = np.arange(lungs.shape[2])
    level = (z >= _diaphragm_level(lungs)) & (z <= carina_level(lungs, carina_z) - _TOP_BELOW_CARINA_MM / spacing_mm[2])
    between = thorax & ~lungs & ~bones & level
    between &= (spine.ahead_mm > _BEHIND_HEART * depth_mm) & (spine.aside_mm < _HALF_WIDTH_MM)
    cores = erode(between, _NECK_MM, spacing_mm)
    labels, sizes = components(cores)
    if sizes.size == 1:
        return cores
    return between & dilate(labels == 1 + np.argmax(sizes[1:]), _NECK_MM, spacing_mm)


def find_abdomen(
    lungs: Bool[np.ndarray, "x y z"],
    thorax: Bool[np.ndarray, "x y z"],
    bones: Bool[np.ndarray, "x y z"],
    body: Bool[np.ndarray, "x y z"],
    spine: Spine,
) -> Bool[np.ndarray, "x y z"]:
    """What lies below the lungs, as wide as the rib cage; below the heart, where no lung is, from the lungs' level on.

    Args:
        lungs, thorax, bones, body: the lungs, their convex hull in each axial slice, the bones, the patient.
        spine: behind its front there is no abdomen.
    """
    has_lung = lungs.any(axis=2)
    bottoms = lungs.argmax(axis=2)
    nearest = distance_transform_edt(~has_lung, return_distances=False, return_indices=True)
    top = np.minimum(bottoms[tuple(nearest)], _diaphragm_level(lungs))
    below: Bool[np.ndarray, "x y z"] = np.arange(lungs.shape[2]) < top[:, :, None]
    footprint = np.any(thorax, axis=2, keepdims=True)
    return below & footprint & body & ~lungs & ~bones & (spine.ahead_mm > 0)


def _diaphragm_level(lungs: Bool[np.ndarray, "x y z"]) -> float:
    """The slice in which half of the lungs' columns have ended."""
    return float(np.median(lungs.argmax(axis=2)[lungs.any(axis=2)]))
