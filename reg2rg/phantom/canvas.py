"""The voxels that are drawn on: HU, region masks and lesion masks on one grid.

Drawing is by coverage: the share of a voxel that a solid fills, so that edges have the partial volume of a CT and the
same solids can be drawn on any grid.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil, floor

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt16, UInt32

from reg2rg.intensity import AIR_HU
from reg2rg.phantom.shapes import Shape, Tube
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
    voxel_mm: float = field(init=False)
    """Mean of the three spacings: the width of an edge."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "hu", np.full(self.grid.size_xyz, AIR_HU, np.float32))
        object.__setattr__(self, "regions", np.zeros(self.grid.size_xyz, np.uint16))
        object.__setattr__(self, "lesions", np.zeros(self.grid.size_xyz, np.uint32))
        object.__setattr__(self, "voxel_mm", float(np.mean(self.grid.spacing_mm)))

    @property
    def whole(self) -> Box:
        """The box of all voxels."""
        return Box((0, 0, 0), self.grid.size_xyz)

    @cached_property
    def _axes_mm(self) -> tuple[Float[np.ndarray, "x 1 1"], Float[np.ndarray, "1 y 1"], Float[np.ndarray, "1 1 z"]]:
        places = [self.grid.affine[i, 3] + self.grid.affine[i, i] * np.arange(n) for i, n in enumerate(self.hu.shape)]
        x, y, z = (axis.astype(np.float32) for axis in places)
        return x[:, None, None], y[None, :, None], z[None, None, :]

    @cached_property
    def _origin_and_spacing_mm(self) -> tuple[list[float], list[float]]:
        return self.grid.affine[:3, 3].tolist(), list(self.grid.spacing_mm)

    def axes_mm(
        self, box: Box | None = None, subsamples: int = 1
    ) -> tuple[Float[np.ndarray, "x 1 1"], Float[np.ndarray, "1 y 1"], Float[np.ndarray, "1 1 z"]]:
        """Coordinates of the voxel centres in mm, of the box or of all voxels; with subsamples, of their parts."""
        x, y, z = self._axes_mm
        if box is not None:
            at = box.slices
            x, y, z = x[at[0]], y[:, at[1]], z[:, :, at[2]]
        if subsamples > 1:
            parts = ((np.arange(subsamples) + 0.5) / subsamples - 0.5).astype(np.float32)
            dx, dy, dz = (np.float32(s) * parts for s in self.grid.spacing_mm)
            x = (x + dx).reshape(-1, 1, 1)
            y = (y[0, :, :] + dy).reshape(1, -1, 1)
            z = (z[0, 0, :, None] + dz).reshape(1, 1, -1)
        return x, y, z

    def box_of(self, shape: Shape, margin_mm: float = 0.0) -> Box | None:
        """The voxels that a solid may touch, or None if it lies outside the grid."""
        starts, stops = [], []
        for low, high, origin, spacing, size in zip(
            *shape.bounds_mm(), *self._origin_and_spacing_mm, self.grid.size_xyz, strict=True
        ):
            starts.append(max(floor((low - margin_mm - origin) / spacing), 0))
            stops.append(min(ceil((high + margin_mm - origin) / spacing) + 1, size))
            if stops[-1] <= starts[-1]:
                return None
        return Box((starts[0], starts[1], starts[2]), (stops[0], stops[1], stops[2]))

    def coverage(self, distance_mm: Float[np.ndarray, "x y z"]) -> Float[np.ndarray, "x y z"]:
        """Share of each voxel inside a surface, from the signed distance of its centre: a ramp one voxel wide."""
        return np.clip(np.float32(0.5) - distance_mm / np.float32(self.voxel_mm), 0, 1)

    def coverage_of(self, shape: Shape, box: Box) -> Float[np.ndarray, "x y z"]:
        """Share of each voxel of the box that a solid fills; solids of a few voxels are subsampled."""
        low_mm, high_mm = shape.bounds_mm()
        if max(high - low for low, high in zip(low_mm, high_mm, strict=True)) > _SMALL_VOX * self.voxel_mm:
            return self.coverage(shape.distance_mm(*self.axes_mm(box)))
        distance = shape.distance_mm(*self.axes_mm(box, _SUBSAMPLES))
        parts = np.clip(0.5 - distance * (_SUBSAMPLES / np.float32(self.voxel_mm)), 0, 1)
        x, y, z = box.size_xyz
        return parts.reshape(x, _SUBSAMPLES, y, _SUBSAMPLES, z, _SUBSAMPLES).mean(axis=(1, 3, 5), dtype=np.float32)

    def distance_to(self, solids: Iterable[Shape], box: Box, reach_mm: float) -> Float[np.ndarray, "x y z"]:
        """Signed distance to the nearest of many small solids, in the box; `reach_mm` where all are farther away."""
        distance = np.full(box.size_xyz, reach_mm, np.float32)
        for solid in solids:
            near = self.box_of(solid, reach_mm)
            if near is None:
                continue
            start = tuple(max(a, b) for a, b in zip(near.start_xyz, box.start_xyz, strict=True))
            stop = tuple(min(a, b) for a, b in zip(near.stop_xyz, box.stop_xyz, strict=True))
            if any(a >= b for a, b in zip(start, stop, strict=True)):
                continue
            there = distance[tuple(slice(a - o, b - o) for a, b, o in zip(start, stop, box.start_xyz, strict=True))]
            near = Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
            np.minimum(there, solid.distance_mm(*self.axes_mm(near)), out=there)
        return distance

    def sample(
        self, array: Shaped[np.ndarray, "x y z"], points_mm: Float[np.ndarray, "point 3"], outside: float
    ) -> Float[np.ndarray, "point"]:
        """Values of an array or a mask at the voxels nearest to some points; `outside` beyond the grid."""
        voxels = np.rint((points_mm - self.grid.affine[:3, 3]) / self.grid.spacing_mm).astype(int)
        is_within = ((voxels >= 0) & (voxels < self.grid.size_xyz)).all(axis=1)
        x, y, z = np.where(is_within[:, None], voxels, 0).T
        return np.where(is_within, array[x, y, z], np.float32(outside))

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

    def draw_thin(self, tube: Tube, hu: float, region: str | None = None) -> None:
        """Draws a tube fast: one thinner than a voxel is drawn a voxel wide, diluted to its own cross-section.

        A ramp one voxel (v) wide around radius r has the integral pi (r^2 + v^2 / 12).
        """
        radius = (tube.start_radius_mm + tube.end_radius_mm) / 2
        shown = max(radius, 0.5 * self.voxel_mm)
        wide = Tube(tube.start_mm, tube.end_mm, shown, shown)
        box = self.box_of(wide, margin_mm=0.5 * self.voxel_mm)
        if box is None:
            return
        coverage = self.coverage(wide.distance_mm(*self.axes_mm(box)))
        share = radius**2 / (shown**2 + self.voxel_mm**2 / 12)
        self.blend(np.float32(share) * coverage, hu, box)
        if region is not None:
            self.mark_region(region, coverage >= 0.5, box)

    def mark_region(self, region: str, mask: Bool[np.ndarray, "x y z"], box: Box | None = None) -> None:
        """Adds the voxels of a mask (of the box, or of the whole grid) to a region."""
        there = self.regions[(box or self.whole).slices]
        there |= mask * np.uint16(get_region(region).bit)

    def unmark_region(self, region: str, mask: Bool[np.ndarray, "x y z"], box: Box | None = None) -> None:
        """Takes the voxels of a mask (of the box, or of the whole grid) out of a region."""
        there = self.regions[(box or self.whole).slices]
        there &= ~(mask * np.uint16(get_region(region).bit))

    def region_mask(self, region: str) -> Bool[np.ndarray, "x y z"]:
        """The voxels of a region so far."""
        return (self.regions & np.uint16(get_region(region).bit)) != 0

    def mark_lesion(self, index: int, mask: Bool[np.ndarray, "x y z"], box: Box | None = None) -> None:
        """Adds the voxels of a mask (of the box, or of the whole grid) to the lesion of finding `index`."""
        there = self.lesions[(box or self.whole).slices]
        there |= mask * np.uint32(1 << index)
