"""From a study to what the networks see: texture crops, the global crop, masks on the global grid.

The published recipe (Chen et al., IEEE TMI 2025, section III-B, local feature decoupling), in its published order:

1. image: the box of HU above air, resized by area averaging to the crop grid, then windowed;
2. texture of a region: HU inside the mask, `OUTSIDE_HU` elsewhere; the box of HU above air *of that* (not the box of
   the mask); resized; windowed last, so that what lies outside blurs into the rim before the clipping;
3. mask of a region: cut with the *image's* box, resized by the same averaging, never thresholded.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32, Shaped, UInt16

from reg2rg.errors import InputError
from reg2rg.geometry import resample, spaced_grid
from reg2rg.intensity import AIR_HU, MODEL_WINDOW, OUTSIDE_HU, HUWindow
from reg2rg.regions import REGIONS
from reg2rg.volume import Box, Study


@dataclass(frozen=True, eq=False)
class StudyCrops:
    """What the networks see of one study, all on the same grid of voxels.

    Attributes:
        image: the whole body, windowed to -1..1.
        regions: names of the regions that can be encoded, in the order of the ten; the region axis of the arrays.
        textures: HU inside each region's own box, windowed to -1..1.
        masks: 0..1, each region's share of every voxel of the image's grid.
        image_box: the voxels of the study that the image and the masks show.
        boxes: the voxels of the study that each texture shows.
        warnings: which regions with a mask could not be encoded, and why.
    """

    image: Float32[np.ndarray, "x y z"]
    regions: tuple[str, ...]
    textures: Float32[np.ndarray, "region x y z"]
    masks: Float32[np.ndarray, "region x y z"]
    image_box: Box
    boxes: tuple[Box, ...]
    warnings: tuple[str, ...] = ()

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
    hu = study.volume.array
    # One pass finds the boxes of all regions: or-ing the bits along two axes leaves each axis' extent per region.
    tissue_bits = np.where(hu > AIR_HU, study.masks.array | _TISSUE, np.uint16(0))
    extents = _axis_bits(tissue_bits)
    body = _box(extents, _TISSUE)
    if body is None:
        raise InputError(f"{study.study_id}: expected a CT in HU, but no voxel is above air ({AIR_HU} HU)")
    regions, textures, masks, boxes, warnings = [], [], [], [], []
    for name in study.masks.present:
        bit = np.uint16(next(region.bit for region in REGIONS if region.name == name))
        box = _box(extents, bit)
        if box is None:
            warnings.append(f"{name}: every voxel of its mask is air ({AIR_HU} HU or below); the region is left out")
            continue
        inside = (study.masks.array[box.slices] & bit) != 0
        texture = np.where(inside, hu[box.slices], np.float32(outside_hu)).astype(np.float32, copy=False)
        regions.append(name)
        boxes.append(box)
        textures.append(window.scale(area_resize(texture, size_xyz)))
        masks.append(area_resize((study.masks.array[body.slices] & bit) != 0, size_xyz))
    if not regions:
        raise InputError(f"{study.study_id}: no region to report on: every mask is empty or holds only air")
    image = window.scale(area_resize(hu[body.slices], size_xyz))
    return StudyCrops(image, tuple(regions), np.stack(textures), np.stack(masks), body, tuple(boxes), tuple(warnings))


def area_resize(
    array: Shaped[np.ndarray, "x y z"], size_xyz: tuple[int, int, int]
) -> Float[np.ndarray, "new_x new_y new_z"]:
    """Resizes by area averaging, as float32: what MONAI's ``Resize`` and torch's ``mode="area"`` compute.

    Output voxel i of m is the mean of inputs floor(i n / m) to ceil((i + 1) n / m) - 1 of n, axis by axis; with more
    outputs than inputs it repeats voxels rather than interpolates.

    >>> area_resize(np.arange(4.0).reshape(4, 1, 1), (2, 1, 2)).ravel().tolist()
    [0.5, 0.5, 2.5, 2.5]
    """
    resized = array.astype(np.float32, copy=False)
    for axis in sorted(range(3), key=lambda axis: size_xyz[axis] / array.shape[axis]):  # shrink first, grow last
        if size_xyz[axis] != array.shape[axis]:
            weights = _averaging_weights(array.shape[axis], size_xyz[axis])
            resized = np.moveaxis(np.tensordot(weights, resized, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(resized)


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


_TISSUE = np.uint16(1 << len(REGIONS))  # a spare bit: above air, whatever the region


def _axis_bits(bits: UInt16[np.ndarray, "x y z"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    in_xy = np.bitwise_or.reduce(bits, axis=2)
    in_yz = np.bitwise_or.reduce(bits, axis=0)
    return np.bitwise_or.reduce(in_xy, axis=1), np.bitwise_or.reduce(in_xy, axis=0), np.bitwise_or.reduce(in_yz, axis=0)


def _box(extents: tuple[np.ndarray, np.ndarray, np.ndarray], bit: np.uint16) -> Box | None:
    hits = [np.flatnonzero(extent & bit) for extent in extents]
    if hits[0].size == 0:
        return None
    x, y, z = ((int(hit[0]), int(hit[-1]) + 1) for hit in hits)
    return Box((x[0], y[0], z[0]), (x[1], y[1], z[1]))


def _averaging_weights(inputs: int, outputs: int) -> Float32[np.ndarray, "outputs inputs"]:
    index = np.arange(outputs)
    start = index * inputs // outputs
    stop = -(-(index + 1) * inputs // outputs)
    column = np.arange(inputs)
    covered = (column >= start[:, None]) & (column < stop[:, None])
    return (covered / (stop - start)[:, None]).astype(np.float32)
