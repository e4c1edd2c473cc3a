"""Slices of a CT with regions laid over them, as radiologists hang them.

All pictures are in radiological convention: the patient's right is on the left of the picture, anterior is up in
axial slices, superior is up in coronal and sagittal ones, and sagittal slices look to the left (anterior at left).
"""

import base64
import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int, Shaped
from PIL import Image, ImageDraw
from scipy.ndimage import binary_erosion

from reg2rg.intensity import LUNG_WINDOW, SOFT_TISSUE_WINDOW, HUWindow
from reg2rg.regions import get_region
from reg2rg.report import Report
from reg2rg.volume import RegionMasks, Volume

Plane = Literal["axial", "coronal", "sagittal"]

_PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
_FIXED_AXIS: dict[Plane, int] = {"sagittal": 0, "coronal": 1, "axial": 2}
_SIDES: dict[Plane, tuple[str, str]] = {"axial": ("R", "L"), "coronal": ("R", "L"), "sagittal": ("A", "P")}
_AIR_FILLED = ("lung", "trachea and bronchie", "pleura")
_REGION_PX, _OVERVIEW_PX = 220, 400
_ABOUT_LARGEST = 0.9  # of the largest slice


@dataclass(frozen=True, eq=False)
class SlicePicture:
    """One slice as a picture.

    Attributes:
        plane: which way it is cut.
        index: voxel index along the cut axis, in canonical space.
        image: the picture.
    """

    plane: Plane
    index: int
    image: Image.Image


@dataclass(frozen=True, eq=False)
class ReportPictures:
    """The pictures of one report, axial, coronal and sagittal each.

    Attributes:
        overview: all regions, through the middle of the largest one.
        regions: each region alone, through its own middle; by name.
    """

    overview: tuple[SlicePicture, ...]
    regions: dict[str, tuple[SlicePicture, ...]]


def draw_report(report: Report, volume: Volume, masks: RegionMasks) -> ReportPictures:
    """The pictures of a report.

    Args:
        report: the report; of one region at least.
        volume: the CT in canonical space (RAS+).
        masks: the masks of its regions on the same grid.
    """
    centers = {region.name: center_index(masks, region.name) for region in report.regions}
    regions = {}
    for name, center in centers.items():
        window = LUNG_WINDOW if name in _AIR_FILLED else SOFT_TISSUE_WINDOW
        regions[name] = _three_planes(volume, masks, center, (name,), window, _REGION_PX)
    largest = max(report.regions, key=lambda region: region.volume_ml).name
    overview = _three_planes(volume, masks, centers[largest], tuple(centers), SOFT_TISSUE_WINDOW, _OVERVIEW_PX)
    return ReportPictures(overview, regions)


def slice_picture(
    volume: Volume,
    masks: RegionMasks,
    plane: Plane,
    index: int,
    regions: tuple[str, ...],
    window: HUWindow,
    height_px: int = 300,
) -> Image.Image:
    """One slice in gray with the regions' outlines and a light tint, in millimetre proportions.

    Args:
        volume: the CT in canonical space (RAS+).
        masks: the masks on the same grid.
        plane: which way to cut.
        index: voxel index along the cut axis (x sagittal, y coronal, z axial).
        regions: whose outlines to draw, later ones on top.
        window: HU shown from black to white.
        height_px: height of the picture.
    """
    axis = _FIXED_AXIS[plane]
    across, up = (a for a in range(3) if a != axis)
    gray = window.to_gray(_hang(np.take(volume.array, index, axis=axis)))
    spacing = volume.grid.spacing_mm
    size = (max(1, round(height_px * gray.shape[1] * spacing[across] / (gray.shape[0] * spacing[up]))), height_px)
    picture = np.asarray(Image.fromarray(gray).resize(size, Image.Resampling.BILINEAR).convert("RGB")).astype(float)
    bits = _hang(np.take(masks.array, index, axis=axis))
    bits = np.asarray(Image.fromarray(bits.astype(np.int32)).resize(size, Image.Resampling.NEAREST)).astype(np.uint16)
    for name in regions:
        region = get_region(name)
        inside = (bits & np.uint16(region.bit)) != 0
        rim = _rim(inside)
        color = np.array(region.color_rgb, float)
        picture[inside] = 0.85 * picture[inside] + 0.15 * color
        picture[rim] = color
    image = Image.fromarray(picture.round().astype(np.uint8))
    _mark_sides(image, _SIDES[plane])
    return image


def center_index(masks: RegionMasks, name: str) -> tuple[int, int, int]:
    """For each axis the slice where a reader would look for the region: where it is about largest, near its middle.

    Not where it is largest: of a region that the scan's end cuts off, such as the abdomen, that is the last slice.
    """
    mask = masks.mask(name)
    along_z = mask.sum(axis=2)
    x, y, z = map(_middle, (along_z.sum(axis=1), along_z.sum(axis=0), mask.sum(axis=(0, 1))))
    return x, y, z


def _middle(areas: Int[np.ndarray, " slice"]) -> int:
    large = np.flatnonzero(areas >= _ABOUT_LARGEST * areas.max())
    middle = np.average(np.arange(len(areas)), weights=areas) if areas.any() else 0.0
    return int(large[np.argmin(np.abs(large - middle))])


def to_data_url(image: Image.Image) -> str:
    """The picture as text for a page that needs no other file."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _three_planes(
    volume: Volume,
    masks: RegionMasks,
    center: tuple[int, int, int],
    names: tuple[str, ...],
    window: HUWindow,
    height_px: int,
) -> tuple[SlicePicture, ...]:
    cuts = ((plane, center[_FIXED_AXIS[plane]]) for plane in _PLANES)
    return tuple(
        SlicePicture(plane, index, slice_picture(volume, masks, plane, index, names, window, height_px))
        for plane, index in cuts
    )


def _hang(cut: Shaped[np.ndarray, "across up"]) -> Shaped[np.ndarray, "row column"]:
    """Array axes (growing to R or A, and to S or A) to picture rows and columns."""
    return cut.T[::-1, ::-1]


def _rim(inside: Bool[np.ndarray, "row column"]) -> Bool[np.ndarray, "row column"]:
    return inside & ~binary_erosion(inside, np.ones((3, 3), bool))


def _mark_sides(image: Image.Image, sides: tuple[str, str]) -> None:
    draw = ImageDraw.Draw(image)
    draw.text((4, image.height // 2), sides[0], fill=(255, 255, 0))
    draw.text((image.width - 10, image.height // 2), sides[1], fill=(255, 255, 0))
