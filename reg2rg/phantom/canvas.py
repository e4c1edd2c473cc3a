"""The voxels that are drawn on: HU, region masks and lesion masks on one grid.

Drawing is by coverage: the share of a voxel that a solid fills, so that edges have the partial volume of a CT and the
same solids can be drawn on any grid.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, UInt16, UInt32

from reg2rg.intensity import AIR_HU
from reg2rg.phantom.shapes import Shape
from reg2rg.regions import get_region
from reg2rg.volume import Box, Grid

MAX_LESIONS = 32
_SUBSAMPLES = 4  # per axis, for solids that are small against a voxel
_SMALL_VOX = 8.0  # solids narrower than this many voxels are drawn with subsamples


@dataclass(frozen=True, eq=False)
class Canvas:
    """HU (float32), regions (bit k = region k) and lesions (bit k = finding k) on an axis-aligned RAS+ grid.

    The arrays are filled in place while a phantom is drawn.
    """

    grid: Grid
    hu: Float[np.ndarray, "x y z"] = field(init=False)
    regions: UInt16[np.ndarray, "x y z"] = field(init=False)
    lesions: UInt32[np.ndarray, "x y z"] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hu", np.full(self.grid.size_xyz, AIR_HU, np.float32))
        object.__setattr__(self, "regions", np.zeros(self.grid.size_xyz, np.uint16))
        object.__setattr__(self, "lesions", np.zeros(self.grid.size_xyz, np.uint32))

    @property
    def whole(self) -> Box:
        """The box of all voxels."""
        return Box((0, 0, 0), self.grid.size_xyz)

    def axes_mm(
        self, box: Box | None = None, subsamples: int = 1
    ) -> tuple[Float[np.ndarray, "x 1 1"], Float[np.ndarray, "1 y 1"], Float[np.ndarray, "1 1 z"]]:
        """Coordinates of the voxel centres in mm, of the box or of all voxels; with subsamples, of their parts."""
        box = box or self.whole
        axes = []
        for axis, (start, stop) in enumerate(zip(box.start_xyz, box.stop_xyz, strict=True)):
            places = start - 0.5 + (np.arange((stop - start) * subsamples) + 0.5) / subsamples
            millimetres = self.grid.affine[axis, 3] + self.grid.affine[axis, axis] * places
            axes.append(millimetres.astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)]))
        x, y, z = axes
        return x, y, z

    def box_of(self, shape: Shape, margin_mm: float = 0.0) -> Box | None:
        """The voxels that a solid may touch, or None if it lies outside the grid."""
        low_mm, high_mm = shape.bounds_mm()
        origin, spacing = self.grid.affine[:3, 3], np.array(self.grid.spacing_mm)
        start = np.maximum(np.floor((low_mm - margin_mm - origin) / spacing), 0).astype(int)
        stop = np.minimum(np.ceil((high_mm + margin_mm - origin) / spacing) + 1, self.grid.size_xyz).astype(int)
        if (stop <= start).any():
            return None
        (x0, y0, z0), (x1, y1, z1) = start.tolist(), stop.tolist()
        return Box((x0, y0, z0), (x1, y1, z1))

    def coverage(self, distance_mm: Float[np.ndarray, "x y z"]) -> Float[np.ndarray, "x y z"]:
        """Share of each voxel inside a surface, from the signed distance of its centre: a ramp one voxel wide."""
        return np.clip(np.float32(0.5) - distance_mm / np.float32(np.mean(self.grid.spacing_mm)), 0, 1)

    def coverage_of(self, shape: Shape, box: Box) -> Float[np.ndarray, "x y z"]:
        """Share of each voxel of the box that a solid fills; solids of a few voxels are subsampled."""
        low_mm, high_mm = shape.bounds_mm()
        if ((high_mm - low_mm) / self.grid.spacing_mm).max() > _SMALL_VOX:
            return self.coverage(shape.distance_mm(*self.axes_mm(box)))
        distance = shape.distance_mm(*self.axes_mm(box, _SUBSAMPLES))
        parts = np.clip(0.5 - distance * (_SUBSAMPLES / np.float32(np.mean(self.grid.spacing_mm))), 0, 1)
        x, y, z = box.size_xyz
        return parts.reshape(x, _SUBSAMPLES, y, _SUBSAMPLES, z, _SUBSAMPLES).mean(axis=(1, 3, 5), dtype=np.float32)

    def blend(self, coverage: Float[np.ndarray, "x y z"], hu: float | Float[np.ndarray, "..."], box: Box) -> None:
        """Mixes `hu`, one value or one that broadcasts over the box, into its voxels, as much as each is covered."""
        there = self.hu[box.slices]
        there += coverage * (np.asarray(hu, np.float32) - there)

    def draw(self, shape: Shape, hu: float, region: str | None = None) -> None:
        """Draws a solid, and adds the voxels that it fills by half or more to a region."""
        box = self.box_of(shape)
        if box is None:
            return
        coverage = self.coverage_of(shape, box)
        self.blend(coverage, hu, box)
        if region is not None:
            self.mark_region(region, coverage >= 0.5, box)

    def draw_thin(self, tube: Shape, radius_mm: float, hu: float, share: float) -> None:
        """Draws a thin tube of `radius_mm`, diluted to `share` where it is thinner than the voxels can show."""
        box = self.box_of(tube, margin_mm=radius_mm)
        if box is not None:
            self.blend(np.float32(share) * self.coverage(tube.distance_mm(*self.axes_mm(box))), hu, box)

    def mark_region(self, region: str, mask: Bool[np.ndarray, "x y z"], box: Box | None = None) -> None:
        """Adds the voxels of a mask (of the box, or of the whole grid) to a region."""
        there = self.regions[(box or self.whole).slices]
        there |= mask * np.uint16(get_region(region).bit)

    def region_mask(self, region: str) -> Bool[np.ndarray, "x y z"]:
        """The voxels of a region so far."""
        return (self.regions & np.uint16(get_region(region).bit)) != 0

    def mark_lesion(self, index: int, mask: Bool[np.ndarray, "x y z"], box: Box | None = None) -> None:
        """Adds the voxels of a mask (of the box, or of the whole grid) to the lesion of finding `index`."""
        there = self.lesions[(box or self.whole).slices]
        there |= mask * np.uint32(1 << index)
