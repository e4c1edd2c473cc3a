"""Shapes of boolean masks in millimetres, whatever the spacing of the voxels.

A mask that the field of view cuts off counts as going on beyond it: it is not worn away there.
"""

from math import ceil

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32, Shaped
from scipy.ndimage import distance_transform_edt, generate_binary_structure, label

from reg2rg.geometry import mask_box
from reg2rg.volume import Box

Spacing = tuple[float, float, float]

_TOLERANCE_MM = 1e-6
_LARGE_BALL = 200  # voxels


def dilate(mask: Bool[np.ndarray, "x y z"], radius_mm: float, spacing_mm: Spacing) -> Bool[np.ndarray, "x y z"]:
    """All voxels whose centre is within `radius_mm` of the centre of a voxel of the mask.

    >>> dilate(np.arange(7).reshape(7, 1, 1) == 3, 2.0, (2.0, 1.0, 1.0)).ravel().astype(int)
    array([0, 0, 1, 1, 1, 0, 0])
    """
    dilated = np.zeros_like(mask)
    box = grown_box(mask, radius_mm, spacing_mm)
    if box is not None:
        dilated[box.slices] = _near(mask[box.slices], radius_mm, spacing_mm)
    return dilated


def erode(mask: Bool[np.ndarray, "x y z"], radius_mm: float, spacing_mm: Spacing) -> Bool[np.ndarray, "x y z"]:
    """The mask without the voxels within `radius_mm` of one outside of it."""
    eroded = np.zeros_like(mask)
    box = grown_box(mask, max(spacing_mm), spacing_mm)
    if box is not None:
        eroded[box.slices] = ~_near(~mask[box.slices], radius_mm, spacing_mm)
    return eroded


def close(mask: Bool[np.ndarray, "x y z"], radius_mm: float, spacing_mm: Spacing) -> Bool[np.ndarray, "x y z"]:
    """The mask with every gap filled that a ball of `radius_mm` cannot enter, be it from beyond the field of view.

    >>> hollow = np.ones((5, 5, 5), bool); hollow[2, 2, 2] = False
    >>> close(hollow, 1.0, (1.0, 1.0, 1.0)).all()
    np.True_
    """
    box = mask_box(mask)
    if box is None:
        return mask.copy()
    margin = [(ceil(radius_mm / spacing) + 1,) * 2 for spacing in spacing_mm]
    padded = np.pad(mask[box.slices], margin)
    closed = erode(dilate(padded, radius_mm, spacing_mm), radius_mm, spacing_mm)
    filled = mask.copy()
    filled[box.slices] = closed[tuple(slice(m, m + n) for (m, _), n in zip(margin, box.size_xyz, strict=True))]
    return filled


def _near(mask: Bool[np.ndarray, "x y z"], radius_mm: float, spacing_mm: Spacing) -> Bool[np.ndarray, "x y z"]:
    """`dilate` without its box. A small ball is faster as a union of shifted masks, a large one by distances."""
    if not mask.any():
        return mask
    reach = [int((radius_mm + _TOLERANCE_MM) / spacing) for spacing in spacing_mm]
    ball = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    ball = ball[np.linalg.norm(ball * spacing_mm, axis=1) <= radius_mm + _TOLERANCE_MM]
    if len(ball) > _LARGE_BALL:
        return distance_transform_edt(~mask, spacing_mm) <= radius_mm + _TOLERANCE_MM
    near = np.zeros_like(mask)
    for shift in ball.tolist():
        target = tuple(slice(max(0, by), min(n, n + by)) for by, n in zip(shift, mask.shape, strict=True))
        source = tuple(slice(max(0, -by), min(n, n - by)) for by, n in zip(shift, mask.shape, strict=True))
        near[target] |= mask[source]
    return near


def grown_box(mask: Bool[np.ndarray, "x y z"], margin_mm: float, spacing_mm: Spacing) -> Box | None:
    """The box around the mask and a margin, within the array; None if the mask is empty."""
    box = mask_box(mask)
    if box is None:
        return None
    margin = [ceil(margin_mm / spacing) for spacing in spacing_mm]
    x0, y0, z0 = (max(0, start - m) for start, m in zip(box.start_xyz, margin, strict=True))
    x1, y1, z1 = (min(n, stop + m) for n, stop, m in zip(mask.shape, box.stop_xyz, margin, strict=True))
    return Box((x0, y0, z0), (x1, y1, z1))


def components(
    mask: Bool[np.ndarray, "x y z"], within_slices_across: int | None = None
) -> tuple[Int32[np.ndarray, "x y z"], Int[np.ndarray, " component"]]:
    """Parts that are connected by faces, numbered from 1 (0 is what is not in the mask), and the voxels of each.

    Args:
        mask: what to divide.
        within_slices_across: an axis; parts are then parts of single slices across it.

    >>> labels, sizes = components(np.array([1, 1, 0, 1], bool).reshape(4, 1, 1))
    >>> labels.ravel(), sizes
    (array([1, 1, 0, 2], dtype=int32), array([1, 2, 1]))
    """
    axis = within_slices_across
    neighbours = generate_binary_structure(3, 1) if axis is None else slice_neighbours(axis)
    labels = np.empty(mask.shape, np.int32)
    count = label(mask, neighbours, output=labels)
    return labels, np.bincount(labels.ravel(), minlength=count + 1)


def slice_neighbours(axis: int) -> Bool[np.ndarray, "3 3 3"]:
    """The neighbours by faces within slices across an axis, as scipy takes them."""
    neighbours = generate_binary_structure(3, 1)
    for beyond in (0, 2):
        neighbours[tuple(beyond if a == axis else slice(None) for a in range(3))] = False
    return neighbours


def shrink(
    array: Shaped[np.ndarray, "x y z"], factors: tuple[int, int, int]
) -> Float32[np.ndarray, "shrunk_x shrunk_y shrunk_z"]:
    """Means of blocks of voxels; where the last block is not full, the last voxels count several times.

    >>> shrink(np.arange(5.0).reshape(5, 1, 1), (2, 1, 1)).ravel()
    array([0.5, 2.5, 4. ], dtype=float32)
    """
    padded = np.pad(array, [(0, -n % factor) for n, factor in zip(array.shape, factors, strict=True)], mode="edge")
    blocks = [size for n, factor in zip(padded.shape, factors, strict=True) for size in (n // factor, factor)]
    return padded.reshape(blocks).mean(axis=(1, 3, 5), dtype=np.float32)


def enlarge(
    array: Shaped[np.ndarray, "x y z"], factors: tuple[int, int, int], size_xyz: tuple[int, int, int]
) -> Shaped[np.ndarray, "large_x large_y large_z"]:
    """Repeats each voxel as often as `shrink` averaged; `size_xyz` is the size before shrinking."""
    for axis, (factor, size) in enumerate(zip(factors, size_xyz, strict=True)):
        array = array.repeat(factor, axis).take(range(size), axis) if factor > 1 else array
    return array
