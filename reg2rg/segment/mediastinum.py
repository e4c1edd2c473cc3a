"""The space between the lungs, without the heart, which no threshold tells from it."""

import numpy as np
from jaxtyping import Bool

from reg2rg.geometry import mask_box
from reg2rg.segment.morphology import Spacing, components
from reg2rg.segment.spine import Spine

_HEART_BELOW_CARINA_MM = 25.0
_CARINA_SHARE = 0.35  # of the lungs' height, from above; where no airway shows it
_BEHIND_HEART_MM = 78.0  # ahead of the backs of the lungs: vertebra, aorta, esophagus
_BEFORE_RIBS_MM = 28.0
_HALF_WIDTH_MM = 52.0
_LARGE_SLICE = 0.5  # of the largest slice of the thorax: smaller ones at the bottom surround the abdomen


def find_mediastinum(
    lungs: Bool[np.ndarray, "x y z"],
    thorax: Bool[np.ndarray, "x y z"],
    bones: Bool[np.ndarray, "x y z"],
    carina_z: int | None,
    spine: Spine,
    spacing_mm: Spacing,
) -> Bool[np.ndarray, "x y z"]:
    """All that is between the lungs above the heart, and behind the heart what lies before the spine.

    Args:
        lungs, thorax, bones: the lungs, their convex hull in each axial slice, the bones.
        carina_z: the slice in which the trachea divides, if known.
        spine: where vertebrae can be.
        spacing_mm: of the voxels.
    """
    z = np.arange(lungs.shape[2])
    areas = np.count_nonzero(thorax, axis=(0, 1))
    heart_top = carina_level(lungs, carina_z) - _HEART_BELOW_CARINA_MM / spacing_mm[2]
    is_above_abdomen = (areas >= _LARGE_SLICE * areas.max()) | (z > heart_top)
    between = thorax & ~lungs & ~bones & is_above_abdomen
    between &= (spine.ahead_mm > _BEFORE_RIBS_MM) & (spine.aside_mm < _HALF_WIDTH_MM)
    between &= (z > heart_top) | (spine.ahead_mm < _BEHIND_HEART_MM)
    labels, sizes = components(between)
    return labels == 1 + np.argmax(sizes[1:]) if sizes.size > 1 else between


def carina_level(lungs: Bool[np.ndarray, "x y z"], carina_z: int | None) -> int:
    """The slice in which the trachea divides, guessed from the lungs' height where no airway shows it."""
    if carina_z is not None:
        return carina_z
    box = mask_box(lungs)
    assert box is not None, "lungs have voxels"
    return round(box.stop_xyz[2] - _CARINA_SHARE * box.size_xyz[2])
