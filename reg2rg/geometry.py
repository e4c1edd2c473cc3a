"""Orientation, cropping and resampling, each with its inverse. Pure functions: a record in, a new record out.

Every function takes a Volume or RegionMasks, and gives the same kind back with its affine moved along, so that each
voxel stays where it is in millimetres.
"""

from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Integer, Shaped
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from scipy.ndimage import affine_transform

from reg2rg.nifti import LabelMap
from reg2rg.volume import Box, Grid, RegionMasks, Volume

Gridded = TypeVar("Gridded", Volume, RegionMasks)
Turnable = TypeVar("Turnable", Volume, RegionMasks, LabelMap)

CANONICAL = "RAS"


def reorient(image: Turnable, orientation: str = CANONICAL) -> Turnable:
    """Permutes and flips the axes until they grow towards `orientation`; no voxel is interpolated.

    An oblique grid keeps its rotation: the axes nearest to the asked ones are taken. The inverse is
    ``reorient(result, image.grid.orientation)``.

    >>> stored = Volume(np.arange(24).reshape(2, 3, 4), np.diag([-1.0, -1.0, 2.0, 1.0]))
    >>> canonical = reorient(stored)
    >>> stored.grid.orientation, canonical.grid.orientation
    ('LPS', 'RAS')
    >>> bool((reorient(canonical, "LPS").array == stored.array).all())
    True
    """
    change = ornt_transform(io_orientation(image.affine), axcodes2ornt(orientation))
    array = apply_orientation(image.array, change)
    return image.moved(array, image.affine @ inv_ornt_aff(change, image.array.shape))


def mask_box(mask: Bool[np.ndarray, "x y z"]) -> Box | None:
    """The smallest box around the true voxels, or None if there are none.

    >>> mask = np.zeros((4, 4, 4), bool); mask[1:3, 2, 0] = True
    >>> mask_box(mask)
    Box(start_xyz=(1, 2, 0), stop_xyz=(3, 3, 1))
    """
    return bits_box(axis_bits(mask.view(np.uint8)))


AxisBits = tuple[np.ndarray, np.ndarray, np.ndarray]
"""For each position along x, y and z the bits that any voxel there has."""


def axis_bits(bits: Integer[np.ndarray, "x y z"]) -> AxisBits:
    """Or-s the bits of all voxels along two axes at a time, in the order in which they lie in memory."""
    slowest, *others = memory_axes(bits)
    found = {slowest: np.bitwise_or.reduce(bits, axis=tuple(others))}
    plane = np.bitwise_or.reduce(bits, axis=slowest, keepdims=True)
    for axis, other in (others, others[::-1]):
        found[axis] = np.bitwise_or.reduce(plane, axis=(slowest, other))
    return found[0], found[1], found[2]


def bits_box(bits: AxisBits, bit: int = ~0) -> Box | None:
    """The smallest box around the voxels that have a bit (or any bit), or None if there are none.

    >>> bits_box(axis_bits(np.array([[[1, 2, 3, 4]]])), 2)
    Box(start_xyz=(0, 0, 1), stop_xyz=(1, 1, 3))
    """
    hits = [np.flatnonzero(along if bit == ~0 else along & along.dtype.type(bit)) for along in bits]
    if hits[0].size == 0:
        return None
    x, y, z = ((int(hit[0]), int(hit[-1]) + 1) for hit in hits)
    return Box((x[0], y[0], z[0]), (x[1], y[1], z[1]))


def memory_axes(array: Shaped[np.ndarray, "x y z"]) -> tuple[int, int, int]:
    """The axes from the one along which neighbours lie farthest apart in memory to the one along which they touch.

    >>> memory_axes(np.empty((2, 3, 4))), memory_axes(np.empty((2, 3, 4), order="F"))
    ((0, 1, 2), (2, 1, 0))
    """
    first, second, third = sorted(range(3), key=lambda axis: -abs(array.strides[axis]))
    return first, second, third


def crop(image: Gridded, box: Box) -> Gridded:
    """Cuts the box out; the affine's origin moves to the box's first voxel. Inverse: `paste`."""
    shift = np.eye(4)
    shift[:3, 3] = box.start_xyz
    return image.moved(image.array[box.slices], image.affine @ shift)


def paste(piece: Gridded, onto: Gridded) -> Gridded:
    """Puts a crop back where it came from, by its affine; voxels outside the crop are those of `onto`.

    Raises:
        ValueError: if the piece is not a crop of the grid of `onto` (other axes, other spacing, outside of it).
    """
    offset = np.linalg.solve(onto.affine, piece.affine)
    start = np.rint(offset[:3, 3]).astype(int)
    stop = start + piece.array.shape
    if not np.allclose(offset[:3, :3], np.eye(3), atol=1e-4) or np.abs(offset[:3, 3] - start).max() > 1e-2:
        raise ValueError("the piece is not on the grid it is pasted onto: resample it first")
    if (start < 0).any() or (stop > onto.array.shape).any():
        raise ValueError(f"the piece lies at voxels {start} to {stop}, outside of the grid {onto.array.shape}")
    array = onto.array.copy()
    array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = piece.array
    return onto.moved(array, onto.affine)


def spaced_grid(grid: Grid, spacing_mm: tuple[float, float, float]) -> Grid:
    """The grid that covers the same block of tissue with another spacing.

    The outer edges of the first voxels coincide; sizes are rounded to the nearest whole voxel, at least one.

    >>> spaced_grid(Grid((10, 10, 10), np.eye(4)), (1.0, 1.0, 3.0)).size_xyz
    (10, 10, 3)
    """
    if min(spacing_mm) <= 0:
        raise ValueError(f"spacing is positive millimetres, got {spacing_mm}")
    ratio = np.array(spacing_mm) / np.array(grid.spacing_mm)
    x, y, z = (max(1, round(n / r)) for n, r in zip(grid.size_xyz, ratio, strict=True))
    scale = np.diag([*ratio, 1.0])
    scale[:3, 3] = (ratio - 1) / 2
    return Grid((x, y, z), grid.affine @ scale)


def resample(image: Gridded, grid: Grid, outside: float = 0) -> Gridded:
    """The image on another grid, by affine: linear for HU, nearest voxel for masks.

    Voxels of `grid` that lie outside the image become `outside` (use `intensity.OUTSIDE_HU` for a CT). The inverse
    is ``resample(result, image.grid)``, exact up to interpolation.
    """
    if image.grid.matches(grid):
        return image.moved(image.array, grid.affine)
    to_source = np.linalg.solve(image.affine, grid.affine)
    is_mask = isinstance(image, RegionMasks)
    axes = memory_axes(image.array)
    matrix, offset = to_source[np.ix_(axes, axes)], to_source[axes, 3]
    if np.allclose(matrix, np.diag(np.diag(matrix)), atol=1e-6):
        matrix = np.diag(matrix)  # scipy then works axis by axis
    array = affine_transform(
        image.array.transpose(axes),
        matrix,
        offset,
        output_shape=tuple(grid.size_xyz[axis] for axis in axes),
        output=np.uint16 if is_mask else np.float32,  # scipy reads whole numbers as they are: no copy in float
        order=0 if is_mask else 1,
        mode="grid-constant",
        cval=outside,
    ).transpose(np.argsort(axes))
    return image.moved(array, grid.affine)
