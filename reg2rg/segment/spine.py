"""Where the spine runs, from the lungs on both sides of it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import median_filter

from reg2rg.segment.morphology import Spacing

_BACK_MM = 20.0  # so deep from the backs of the lungs, there is nothing between them but the spine
_LARGE_SLICE = 0.6  # of the largest slice of the thorax: the spine is looked for there, and carried on elsewhere
# Around the middle and ahead of the backs of the lungs: vertebral bodies, and behind them arches and heads of ribs.
_BODY_HALF_WIDTH_MM, _BODY_FRONT_MM = 26.0, 60.0
_ARCH_HALF_WIDTH_MM, _ARCH_FRONT_MM = 45.0, 28.0


@dataclass(frozen=True, eq=False)
class Spine:
    """Distances from the spine in mm.

    Attributes:
        aside_mm: from the middle plane between the lungs, to either side.
        ahead_mm: from the level of the lungs' backs, to the front.
    """

    aside_mm: Float[np.ndarray, "x 1 z"]
    ahead_mm: Float[np.ndarray, "1 y z"]

    @property
    def zone(self) -> Bool[np.ndarray, "x y z"]:
        """Where vertebrae can be; the descending aorta reaches into it."""
        bodies = (self.aside_mm < _BODY_HALF_WIDTH_MM) & (self.ahead_mm < _BODY_FRONT_MM)
        arches = (self.aside_mm < _ARCH_HALF_WIDTH_MM) & (self.ahead_mm < _ARCH_FRONT_MM)
        return bodies | arches


def locate_spine(lungs: Bool[np.ndarray, "x y z"], thorax: Bool[np.ndarray, "x y z"], spacing_mm: Spacing) -> Spine:
    """Follows the middle of what lies between the backs of the lungs, slice by slice.

    Args:
        lungs: at least one voxel.
        thorax: the convex hull of the lungs in each axial slice.
        spacing_mm: of the voxels.
    """
    areas = np.count_nonzero(thorax, axis=(0, 1))
    depth = max(1, round(_BACK_MM / spacing_mm[1]))
    slices = np.flatnonzero(areas >= _LARGE_SLICE * areas.max())
    backs = thorax[:, :, slices].any(axis=0).argmax(axis=0)
    middles = []
    for z, back in zip(slices, backs, strict=True):
        between = (thorax[:, back : back + depth, z] & ~lungs[:, back : back + depth, z]).nonzero()[0]
        middles.append(np.median(between if between.size else thorax[:, :, z].nonzero()[0]))
    size = 2 * round(_BACK_MM / spacing_mm[2]) + 1
    every = np.arange(lungs.shape[2])
    middle, back = (
        np.interp(every, slices, median_filter(np.array(found, float), size, mode="nearest"))
        for found in (middles, backs)
    )
    return Spine(
        aside_mm=np.abs(np.arange(lungs.shape[0])[:, None, None] - middle) * spacing_mm[0],
        ahead_mm=(np.arange(lungs.shape[1])[None, :, None] - back) * spacing_mm[1],
    )
