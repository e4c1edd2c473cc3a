"""From a study to what the networks see: texture crops, the global crop, masks on the global grid.

The published recipe (Chen et al., IEEE TMI 2025, section III-B, local feature decoupling), in its published order:

1. image: the box of HU above air, resized by area averaging to the crop grid, then windowed;
2. texture of a region: HU inside the mask, `OUTSIDE_HU` elsewhere; the box of HU above air *of that* (not the box of
   the mask); resized; windowed last, so that what lies outside blurs into the rim before the clipping;
3. mask of a region: cut with the *image's* box, resized by the same averaging, never thresholded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float, Float32, Int16, Integer, Shaped, UInt8, UInt16

from reg2rg.errors import InputError
from reg2rg.geometry import AxisBits, axis_bits, bits_box, memory_axes, resample, spaced_grid
from reg2rg.intensity import AIR_HU, MODEL_WINDOW, OUTSIDE_HU, HUWindow
from reg2rg.regions import REGIONS, Region, get_region
from reg2rg.volume import Box, Study


@dataclass(frozen=True, eq=False)
class StudyCrops:
    """What the networks see of one study, all on the same grid of voxels.

    `crop_study` makes float32. `in_steps` makes int16 and uint8 of it, in which crops are kept and moved; `as_floats`
    gives the numbers back, array by array, when they are needed.

    Attributes:
        image: the whole body, windowed to -1..1.
        regions: names of the regions that can be encoded, in the order of the ten; the region axis of the arrays.
        textures: HU inside each region's own box, windowed to -1..1.
        masks: 0..1, each region's share of every voxel of the image's grid.
        image_box: the voxels of the study that the image and the masks show.
        boxes: the voxels of the study that each texture shows.
        warnings: which regions with a mask could not be encoded, and why.
        with_mask: all regions with a mask, encoded or not.
    """

    image: Float32[np.ndarray, "x y z"] | Int16[np.ndarray, "x y z"]
    regions: tuple[str, ...]
    textures: Float32[np.ndarray, "region x y z"] | Int16[np.ndarray, "region x y z"]
    masks: Float32[np.ndarray, "region x y z"] | UInt8[np.ndarray, "region x y z"]
    image_box: Box
    boxes: tuple[Box, ...]
    warnings: tuple[str, ...] = ()
    with_mask: tuple[str, ...] = ()

    def ordered(self, regions: tuple[str, ...]) -> "StudyCrops":
        """The same crops with the regions in another order (the order of the prompt)."""
        rows = [self.regions.index(name) for name in regions]
        return replace(
            self,
            regions=regions,
            textures=self.textures[rows],
            masks=self.masks[rows],
            boxes=tuple(self.boxes[row] for row in rows),
        )


STEPS = {np.dtype(np.int16): 2400, np.dtype(np.uint8): 255}
"""Steps of 1 in crops that are no floats: a quarter of a HU in the published window; 255 steps of a mask."""


def in_steps(crops: StudyCrops) -> StudyCrops:
    """Crops of half (masks: a quarter) the size, rounded to the nearest step."""
    kinds = {"image": np.int16, "textures": np.int16, "masks": np.uint8}
    arrays = {
        name: np.rint(getattr(crops, name) * np.float32(STEPS[np.dtype(kind)])).astype(kind)
        for name, kind in kinds.items()
    }
    return replace(crops, **arrays)


def as_floats(values: Shaped[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """The float32 that a crop's array, or a part of it, stands for.

    >>> as_floats(np.array([0, 51, 255], np.uint8)).tolist()
    [0.0, 0.20000000298023224, 1.0]
    """
    steps = STEPS.get(values.dtype)
    return values if steps is None else np.divide(values, np.float32(steps), dtype=np.float32)


def crop_study(
    study: Study,
    size_xyz: tuple[int, int, int],
    window: HUWindow = MODEL_WINDOW,
    outside_hu: float = OUTSIDE_HU,
) -> StudyCrops:
    """Cuts and resizes one study by the published recipe; axes stay as the study has them.

    Args:
        study: the volume in HU with its region masks.
        size_xyz: voxels of every crop; 256 x 256 x 64 as published.
        window: the HU kept.
        outside_hu: what a texture crop holds outside its region.

    Raises:
        InputError: if nothing in the volume is above air, or no region is left to encode.
    """
    hu, bits = study.volume.array, study.masks.array
    tissue = _tissue_bits(hu, bits)
    body = bits_box(tissue, _TISSUE)
    if body is None:
        raise InputError(f"{study.study_id}: expected a CT in HU, but no voxel is above air ({AIR_HU} HU)")
    boxes, warnings = {}, []
    for region in (get_region(name) for name in study.masks.present):
        if (box := bits_box(tissue, region.bit)) is not None:
            boxes[region] = box
        else:
            air = f"every voxel of its mask is air ({AIR_HU} HU or below)"
            warnings.append(f"{region.name}: {air}; the region is left out")
    if not boxes:
        raise InputError(f"{study.study_id}: no region to report on: every mask is empty or holds only air")
    # Crops lie in memory as the CT does, so that no voxel is moved to another order; `back` gives the axes x y z.
    axes = memory_axes(hu)
    back = np.argsort(axes)
    hu, bits = hu.transpose(axes), bits.transpose(axes)
    size = tuple(size_xyz[axis] for axis in axes)
    image = np.empty(size, np.float32)
    textures = np.empty((len(boxes), *size), np.float32)
    masks = np.zeros((len(boxes), *size), np.float32)
    whole = _in_order(body, axes)
    _average(hu[whole].__getitem__, _all_windows(hu[whole].shape, size), image, window)
    mask_bits = axis_bits(study.masks.array)
    outside = _of_type(hu.dtype, outside_hu)
    for row, (region, box) in enumerate(boxes.items()):
        part = _in_order(box, axes)
        inside = _Inside(bits[part], region)
        texture = partial(_where, inside, hu[part], outside)
        _average(texture, _all_windows(hu[part].shape, size), textures[row], window)
        mask_box = bits_box(mask_bits, region.bit)
        assert mask_box is not None
        seen = tuple(
            slice(max(mine.start, image.start), min(mine.stop, image.stop))
            for mine, image in zip(_in_order(mask_box, axes), whole, strict=True)
        )
        windows = [
            _Windows.between(there.stop - there.start, outputs, here.start - there.start, here.stop - there.start)
            for there, here, outputs in zip(whole, seen, size, strict=True)
        ]
        _average(_Inside(bits[seen], region), windows, masks[row])
    by_region = (0, *(back + 1))
    return StudyCrops(
        image.transpose(back),
        tuple(region.name for region in boxes),
        textures.transpose(by_region),
        masks.transpose(by_region),
        body,
        tuple(boxes.values()),
        tuple(warnings),
        study.masks.present,
    )


def area_resize(
    array: Shaped[np.ndarray, "x y z"], size_xyz: tuple[int, int, int]
) -> Float[np.ndarray, "new_x new_y new_z"]:
    """Resizes by area averaging, as float32: what MONAI's ``Resize`` and torch's ``mode="area"`` compute.

    Output voxel i of m is the mean of inputs floor(i n / m) to ceil((i + 1) n / m) - 1 of n, axis by axis; with more
    outputs than inputs it repeats voxels rather than interpolates.

    >>> area_resize(np.arange(4.0).reshape(4, 1, 1), (2, 1, 2)).ravel().tolist()
    [0.5, 0.5, 2.5, 2.5]
    """
    axes = memory_axes(array)
    ordered = array.transpose(axes)
    if array.dtype == bool:
        ordered = ordered.view(np.uint8)
    size = tuple(size_xyz[axis] for axis in axes)
    resized = np.empty(size, np.float32)
    _average(ordered.__getitem__, _all_windows(ordered.shape, size), resized)
    return resized.transpose(np.argsort(axes))


def to_spacing(study: Study, spacing_mm: tuple[float, float, float] | None) -> Study:
    """The study on the voxel spacing a model was trained with (None: as scanned).

    HU are interpolated linearly, masks by nearest voxel; both keep their place in millimetres.
    """
    if spacing_mm is None:
        return study
    grid = spaced_grid(study.volume.grid, spacing_mm)
    return replace(
        study,
        volume=resample(study.volume, grid, outside=OUTSIDE_HU),
        masks=resample(study.masks, grid),
    )


_TISSUE = 1 << len(REGIONS)  # a spare bit: above air, whatever the region
_SLAB_VOXELS = 2**20  # looked at together: few enough for the processor's cache

_Slabs = Callable[[slice], np.ndarray]
"""Gives some of the slices of a block, along its first axis."""


def _tissue_bits(hu: Shaped[np.ndarray, "x y z"], bits: UInt16[np.ndarray, "x y z"]) -> AxisBits:
    """For each position along each axis the regions that are there and not air; `_TISSUE` where anything is."""
    axes = memory_axes(hu)
    hu, bits = hu.transpose(axes), bits.transpose(axes)
    along_first = np.empty(hu.shape[0], np.uint16)
    plane = np.zeros(hu.shape[1:], np.uint16)
    step = max(1, _SLAB_VOXELS // plane.size)
    for start in range(0, hu.shape[0], step):
        slab = slice(start, start + step)
        found = (bits[slab] | np.uint16(_TISSUE)) * (hu[slab] > AIR_HU)
        along_first[slab] = np.bitwise_or.reduce(found, axis=(1, 2))
        plane |= np.bitwise_or.reduce(found, axis=0)
    along = (along_first, np.bitwise_or.reduce(plane, axis=1), np.bitwise_or.reduce(plane, axis=0))
    x, y, z = (along[axes.index(axis)] for axis in range(3))
    return x, y, z


def _in_order(box: Box, axes: tuple[int, int, int]) -> tuple[slice, ...]:
    """A box as an index into an array whose axes have been brought into another order."""
    return tuple(box.slices[axis] for axis in axes)


class _Inside:
    """Slices of a block of the bit field as 0 and 1: outside and inside of a region."""

    def __init__(self, bits: UInt16[np.ndarray, "a b c"], region: Region) -> None:
        self._bits, self._bit = bits, np.uint16(region.bit)

    def __call__(self, slab: slice) -> UInt8[np.ndarray, "some b c"]:
        return ((self._bits[slab] & self._bit) != 0).view(np.uint8)


def _where(
    inside: _Inside, hu: Shaped[np.ndarray, "a b c"], outside: np.generic, slab: slice
) -> Shaped[np.ndarray, "some b c"]:
    return np.where(inside(slab).view(bool), hu[slab], outside)


def _of_type(dtype: np.dtype, value: float) -> np.generic:
    """The value in the array's own type where that holds it, so that nothing is converted."""
    limits = np.iinfo(dtype) if dtype.kind == "i" else None
    fits = limits is not None and float(value).is_integer() and limits.min <= value <= limits.max
    return dtype.type(value) if fits else np.float32(value)


@dataclass(frozen=True, eq=False)
class _Windows:
    """Which inputs along an axis each output averages.

    Attributes:
        first: the first output that sees anything.
        start, stop: the inputs that are summed, counted from the first that there is.
        width: over how many inputs the average is taken; those that are not there count as 0.
    """

    first: int
    start: Integer[np.ndarray, " output"]
    stop: Integer[np.ndarray, " output"]
    width: Integer[np.ndarray, " output"]

    @classmethod
    def between(cls, inputs: int, outputs: int, first: int, last: int) -> "_Windows":
        """Of an axis on which only the inputs from `first` to `last` - 1 are there."""
        index = np.arange(outputs)
        start, stop = index * inputs // outputs, -(-(index + 1) * inputs // outputs)
        sees = np.flatnonzero((start < last) & (stop > first))
        start, stop = start[sees], stop[sees]
        return cls(int(sees[0]), np.maximum(start, first) - first, np.minimum(stop, last) - first, stop - start)

    @property
    def outputs(self) -> slice:
        """The outputs that see anything."""
        return slice(self.first, self.first + len(self.start))

    def sum(self, array: Shaped[np.ndarray, "a b"], axis: int) -> Shaped[np.ndarray, "new_a new_b"]:
        """The sums of the inputs along one axis."""
        widths = self.stop - self.start
        total = array.take(self.start, axis)
        for more in range(1, int(widths.max())):
            there = widths > more
            next_ones = array.take(np.minimum(self.start + more, self.stop - 1), axis)
            if not there.all():
                next_ones *= there.reshape([-1, 1] if axis == 0 else [1, -1])
            total += next_ones
        return total


def _all_windows(inputs: tuple[int, ...], outputs: tuple[int, ...]) -> list[_Windows]:
    return [_Windows.between(n, m, 0, n) for n, m in zip(inputs, outputs, strict=True)]


def _average(
    slabs: _Slabs, windows: Sequence[_Windows], out: Float32[np.ndarray, "a b c"], window: HUWindow | None = None
) -> None:
    """Averages a block, one slice of the result after another, and puts the result into `out`, windowed.

    All sums are of whole numbers as long as the inputs are, and so exact: they are divided once, at the end.
    """
    first, second, third = windows
    area = np.outer(second.width, third.width).astype(np.float32)
    largest = int(first.width.max()) * int(area.max())
    place = (second.outputs, third.outputs)
    before: tuple[int, int, int] | None = None
    for index, now in enumerate(zip(first.start.tolist(), first.stop.tolist(), first.width.tolist(), strict=True)):
        row = first.first + index
        if now == before:
            out[row][place] = out[row - 1][place]
            continue
        slab = slabs(slice(now[0], now[1]))
        few = slab.dtype == np.uint8 and largest <= np.iinfo(np.uint8).max
        total = slab.sum(axis=0, dtype=np.uint8 if few else np.float32)
        mean = third.sum(second.sum(total, 0), 1) / (area * now[2])
        out[row][place] = mean if window is None else window.scale(mean)
        before = now
