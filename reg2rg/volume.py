"""Voxels that know where they are and what they came from: Volume, RegionMasks, DicomSeries, Study.

Axes are ``x y z`` in array order. An affine is 4x4, maps voxel indices to millimetres in RAS+ (left to
right, posterior to anterior, inferior to superior), and travels with its array: whoever crops, flips or resamples an
array gives back a new record whose affine has moved with it.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped
from nibabel.orientations import aff2axcodes, io_orientation

from reg2rg.regions import REGIONS, get_region


@dataclass(frozen=True)
class Box:
    """A half-open box of voxels: ``start_xyz`` is inside, ``stop_xyz`` is not."""

    start_xyz: tuple[int, int, int]
    stop_xyz: tuple[int, int, int]

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The box as an index into an ``x y z`` array.

        >>> np.zeros((4, 5, 6))[Box((1, 1, 1), (3, 4, 5)).slices].shape
        (2, 3, 4)
        """
        x, y, z = (slice(start, stop) for start, stop in zip(self.start_xyz, self.stop_xyz, strict=True))
        return x, y, z

    @property
    def size_xyz(self) -> tuple[int, int, int]:
        """Voxels along each axis."""
        x, y, z = (stop - start for start, stop in zip(self.start_xyz, self.stop_xyz, strict=True))
        return x, y, z


@dataclass(frozen=True, eq=False)
class Grid:
    """Where voxels lie: a shape and an affine (4x4, voxel index to mm, RAS+).

    Raises:
        ValueError: if the affine is not an invertible 4x4 of finite numbers.

    >>> grid = Grid((4, 5, 6), np.diag([2.0, 2.0, 3.0, 1.0]))
    >>> grid.spacing_mm, grid.orientation
    ((2.0, 2.0, 3.0), 'RAS')
    """

    size_xyz: tuple[int, int, int]
    affine: Shaped[np.ndarray, "4 4"]

    def __post_init__(self) -> None:
        affine = np.asarray(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise ValueError(f"an affine is a 4x4 matrix of finite numbers, got {affine.tolist()}")
        if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise ValueError("the affine is singular: a voxel axis has no length, or two axes coincide")
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "size_xyz", tuple(int(n) for n in self.size_xyz))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Millimetres per voxel along each array axis."""
        x, y, z = (float(length) for length in np.linalg.norm(self.affine[:3, :3], axis=0))
        return x, y, z

    @property
    def orientation(self) -> str:
        """The anatomical direction in which each array axis grows, nearest axis: ``'RAS'``, ``'LPS'``..."""
        return "".join(aff2axcodes(self.affine))

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    def matches(self, other: "Grid") -> bool:
        """Whether both grids have the same voxels at the same places, to a hundredth of a voxel."""
        if self.size_xyz != other.size_xyz:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.size_xyz], indexing="ij")).reshape(3, -1)
        shift_mm = (self.affine - other.affine)[:3] @ np.vstack([corners, np.ones(corners.shape[1])])
        return bool(np.abs(shift_mm).max() < 0.01 * min(self.spacing_mm))


@dataclass(frozen=True, eq=False)
class Volume:
    """A CT: an ``x y z`` array in HU, with the affine of its voxels.

    Integer HU stay integers (int16 as stored); anything else is float32.

    >>> volume = Volume(np.full((2, 3, 4), -1000, np.int16), np.eye(4))
    >>> volume.grid.size_xyz, volume.array.dtype
    ((2, 3, 4), dtype('int16'))
    """

    array: Shaped[np.ndarray, "x y z"]
    affine: Shaped[np.ndarray, "4 4"]

    def __post_init__(self) -> None:
        _check_three_axes(self.array)
        object.__setattr__(self, "affine", self.grid.affine)

    @property
    def grid(self) -> Grid:
        """Where the voxels lie."""
        return Grid(self.array.shape, self.affine)

    def moved(self, array: Shaped[np.ndarray, "x2 y2 z2"], affine: Shaped[np.ndarray, "4 4"]) -> "Volume":
        """The same record with another array on another grid."""
        return replace(self, array=array, affine=affine)


@dataclass(frozen=True, eq=False)
class RegionMasks:
    """The region masks of one study as a bit field: bit k of a voxel says whether it lies in region k.

    Regions may overlap. A region that no voxel has is absent.

    Attributes:
        array: uint16, ``x y z``.
        affine: as in Volume.
        sources: for each region, where its mask came from (a file name, or ``segmenter:threshold``).
    """

    array: Shaped[np.ndarray, "x y z"]
    affine: Shaped[np.ndarray, "4 4"]
    sources: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_three_axes(self.array)
        if self.array.dtype != np.uint16:
            raise ValueError(f"region masks are a uint16 bit field, got {self.array.dtype}")
        object.__setattr__(self, "affine", self.grid.affine)

    @classmethod
    def from_masks(
        cls,
        masks: dict[str, Bool[np.ndarray, "x y z"]],
        affine: Shaped[np.ndarray, "4 4"],
        sources: dict[str, str] | None = None,
    ) -> "RegionMasks":
        """Builds the bit field from one boolean array per region name.

        >>> masks = RegionMasks.from_masks({"lung": np.ones((2, 2, 2), bool)}, np.eye(4))
        >>> masks.present, masks.mask("lung").all(), masks.mask("heart").any()
        (('lung',), np.True_, np.False_)
        """
        if not masks:
            raise ValueError("at least one mask is needed to know the grid")
        array = np.zeros_like(next(iter(masks.values())), np.uint16)
        for name, mask in masks.items():
            np.bitwise_or(array, np.uint16(get_region(name).bit), out=array, where=mask)
        return cls(array, affine, sources or {})

    @property
    def grid(self) -> Grid:
        """Where the voxels lie."""
        return Grid(self.array.shape, self.affine)

    @cached_property
    def any_bits(self) -> int:
        """The bits that at least one voxel has."""
        return int(np.bitwise_or.reduce(self.array, axis=None))

    @cached_property
    def present(self) -> tuple[str, ...]:
        """Names of the regions that have at least one voxel, in the order of the ten."""
        return tuple(region.name for region in REGIONS if self.any_bits & region.bit)

    def mask(self, name: str) -> Bool[np.ndarray, "x y z"]:
        """The boolean mask of one region."""
        return (self.array & np.uint16(get_region(name).bit)) != 0

    def volume_ml(self, name: str) -> float:
        """The region's volume in millilitres."""
        return float(np.count_nonzero(self.array & np.uint16(get_region(name).bit))) * self.grid.voxel_ml

    def moved(self, array: Shaped[np.ndarray, "x2 y2 z2"], affine: Shaped[np.ndarray, "4 4"]) -> "RegionMasks":
        """The same record with another array on another grid."""
        return replace(self, array=array, affine=affine)


@dataclass(frozen=True)
class DicomSlice:
    """Which object holds a slice.

    Attributes:
        sop_class_uid: what kind of object.
        sop_instance_uid: which one; empty where the file does not say.
        frame_index: which frame of it, from 0.
        position_mm: the centre of its first pixel as the file says it, in LPS; scanners round, the grid does not.
    """

    sop_class_uid: str
    sop_instance_uid: str
    frame_index: int
    position_mm: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class DicomSeries:
    """Where a volume came from, as objects that refer to it must say; UIDs are empty where the files have none.

    Attributes:
        slices: slice k of the series' grid.
        grid: the voxels as acquired, ``x y z`` = column, row, slice, in RAS+. The volume lies on it, unless a gantry
            tilt was taken out.
        header: what derived objects take over of the first slice's header, patient and study, in the DICOM JSON model
            (PS3.18, annex F).
    """

    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    slices: tuple[DicomSlice, ...]
    grid: Grid
    header: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Study:
    """One examination, ready for the model: a volume, its region masks on the same grid, perhaps a report.

    Attributes:
        study_id: what the study is called; the volume's file name without its ending, unless a dataset says otherwise.
        volume: the CT. `load_study` gives it in canonical space (RAS+).
        masks: the region masks on the volume's grid.
        source: the path or UID it was read from, as given.
        native_affine: the affine as stored in the file, if its axes are others, so that results can be written on the
            CT's own grid exactly.
        reference: what the radiologist wrote, region name to text; empty if unknown.
        other_reference: reference texts that belong to no region with a mask (CTRG), title to text.
        warnings: what the reader should know about the input, a sentence each.
        mask_doubts: what is implausible about a region's mask, region name to sentences (`segment.quality`).
        series: the DICOM objects that the volume was read from; None if it came from no DICOM.
    """

    study_id: str
    volume: Volume
    masks: RegionMasks
    source: str = ""
    native_affine: Shaped[np.ndarray, "4 4"] | None = None
    reference: dict[str, str] = field(default_factory=dict)
    other_reference: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    mask_doubts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    series: DicomSeries | None = None

    def __post_init__(self) -> None:
        if not self.volume.grid.matches(self.masks.grid):
            raise ValueError(
                f"study {self.study_id}: masks {self.masks.grid.size_xyz} and volume {self.volume.grid.size_xyz} "
                "are on different grids; resample the masks first"
            )

    @property
    def native_grid(self) -> Grid:
        """The grid as scanned: the volume's voxels in the file's own axes."""
        affine = self.volume.affine if self.native_affine is None else self.native_affine
        world_axes, native_axes = (io_orientation(a)[:, 0].tolist() for a in (self.volume.affine, affine))
        x, y, z = (self.volume.array.shape[world_axes.index(axis)] for axis in native_axes)
        return Grid((x, y, z), affine)


def _check_three_axes(array: np.ndarray) -> None:
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"expected an array of three axes x y z with voxels in it, got shape {array.shape}")
