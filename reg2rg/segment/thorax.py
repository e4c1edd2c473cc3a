"""Body, lungs, and the space between the lungs, from HU and mm alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_cdt
from scipy.spatial import ConvexHull, QhullError

from reg2rg.errors import InputError
from reg2rg.geometry import mask_box
from reg2rg.segment.morphology import Spacing, close, components, dilate, enlarge, erode

TISSUE_HU = -400  # halfway between aerated lung and soft tissue
SMALLEST_LUNGS_ML = 400
_OUTSIDE_MEAN_HU = -900  # air around the patient is below, a lung that the field of view cuts off is above
_LUNG_MEDIAN_HU = (-955, -500)  # between gas (bowel, airways) and tissue
_SMALLEST_SHARE = 0.1  # of the largest piece of lung
_FILLED_MM = 14.0  # half the width of the vessels and of the dense disease that is filled in
_PLEURA_MM = 2.0  # to either side of the lung's surface; at least a voxel
_COUCH_MM = 5.0  # half the thickness of what is no body: couch, blankets, tubes


@dataclass(frozen=True, eq=False)
class Air:
    """Air by where it is: around the patient, or inside (lungs, airways, bowel)."""

    outside: Bool[np.ndarray, "x y z"]
    inside: Bool[np.ndarray, "x y z"]


def find_air(hu: Float[np.ndarray, "x y z"]) -> Air:
    """Divides what is less dense than tissue; air outside reaches a side of the field of view and is no lung."""
    air = hu < TISSUE_HU
    labels, sizes = components(air)
    reaches_side = np.zeros(sizes.size, bool)
    for axis in (0, 1):
        for face in (0, -1):
            reaches_side[np.take(labels, face, axis)] = True
    sums = np.bincount(labels.ravel(), weights=hu.ravel(), minlength=sizes.size)
    is_outside = reaches_side & (sums < _OUTSIDE_MEAN_HU * sizes)
    is_outside[0] = False
    outside = is_outside[labels]
    return Air(outside, air & ~outside)


def find_body(outside: Bool[np.ndarray, "x y z"], spacing_mm: Spacing) -> Bool[np.ndarray, "x y z"]:
    """The largest thing in the air, without what is thin: the couch stays out. Worked out on every second voxel."""
    x, y, z = spacing_mm
    coarse_mm = (2 * x, 2 * y, 2 * z)
    cores = erode(~outside[::2, ::2, ::2], _COUCH_MM, coarse_mm)
    labels, sizes = components(cores)
    if sizes.size == 1:
        return ~outside
    body = dilate(labels == 1 + np.argmax(sizes[1:]), _COUCH_MM + max(coarse_mm), coarse_mm)
    return enlarge(body, (2, 2, 2), outside.shape) & ~outside


def find_aerated_lungs(
    hu: Float[np.ndarray, "x y z"], inside: Bool[np.ndarray, "x y z"], spacing_mm: Spacing
) -> Bool[np.ndarray, "x y z"]:
    """The aerated lungs; the airways may hang on them.

    Raises:
        InputError: if they are too small for a chest CT.
    """
    lungs = find_lung_air(hu, inside, spacing_mm)
    found_ml = np.count_nonzero(lungs) * float(np.prod(spacing_mm)) / 1000
    if found_ml < SMALLEST_LUNGS_ML:
        raise InputError(
            f"no lungs found, and so no region: expected a chest CT in HU with at least {SMALLEST_LUNGS_ML} ml of "
            f"aerated lung, found {found_ml:.0f} ml; give region masks (--masks)"
        )
    return lungs


def find_lung_air(
    hu: Float[np.ndarray, "x y z"], inside: Bool[np.ndarray, "x y z"], spacing_mm: Spacing
) -> Bool[np.ndarray, "x y z"]:
    """The large pieces of air inside the body that have the density of lung, be they lungs or the tip of one."""
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    labels, sizes = components(inside)
    is_lung = np.zeros(sizes.size, bool)
    for part in np.flatnonzero(sizes * voxel_ml > _SMALLEST_SHARE * SMALLEST_LUNGS_ML):
        is_lung[part] = part != 0 and _LUNG_MEDIAN_HU[0] < np.median(hu[labels == part]) < _LUNG_MEDIAN_HU[1]
    is_lung &= sizes >= _SMALLEST_SHARE * max(sizes[is_lung], default=0)
    return is_lung[labels]


def divide_lungs(aerated: Bool[np.ndarray, "x y z"], spacing_mm: Spacing) -> list[Bool[np.ndarray, "x y z"]]:
    """The lungs one by one, one or two masks; where they touch, they are parted where the bridge is thinnest."""
    total = np.count_nonzero(aerated)
    for radius_mm in (0.0, 2.0, 4.0, 6.0, 8.0):
        labels, sizes = components(erode(aerated, radius_mm, spacing_mm) if radius_mm else aerated)
        large = np.flatnonzero(sizes[1:] > 0.15 * total) + 1
        if large.size >= 2:
            first, second = large[np.argsort(sizes[large])[::-1][:2]]
            to_first, to_second = (distance_transform_cdt(labels != core) for core in (first, second))
            is_first = to_first <= to_second
            return [aerated & is_first, aerated & ~is_first]
    return [aerated]


def fill_lung(aerated: Bool[np.ndarray, "x y z"], spacing_mm: Spacing) -> Bool[np.ndarray, "x y z"]:
    """One lung with its vessels and its nodules, and with consolidations of up to 3 cm at its surface."""
    return close(aerated, _FILLED_MM, spacing_mm)


def hull_slices(mask: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    """The convex hull of the mask in each axial slice: of the lungs, the inside of the rib cage."""
    filled = mask.copy()
    for z, hull in _hulls(mask):
        filled[:, :, z] = hull
    return filled


def _hulls(mask: Bool[np.ndarray, "x y z"]) -> Iterator[tuple[int, Bool[np.ndarray, "x y"]]]:
    box = mask_box(mask)
    if box is None:
        return
    x, y, z_range = box.slices
    columns, rows = np.indices(mask[x, y, 0].shape, np.float32)
    for z in range(z_range.start, z_range.stop):
        try:
            sides = ConvexHull(_row_ends(mask[x, y, z])).equations
        except (QhullError, ValueError):  # no three points that span a plane
            continue
        inside = np.ones(columns.shape, bool)
        for along_x, along_y, offset in sides.astype(np.float32):
            inside &= along_x * columns + along_y * rows + offset <= 1e-3
        hull = np.zeros(mask.shape[:2], bool)
        hull[x, y] = inside
        yield z, hull


def _row_ends(mask: Bool[np.ndarray, "x y"]) -> Int[np.ndarray, "point 2"]:
    """First and last voxel of each row: their hull is that of the mask."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    return np.concatenate([np.stack([rows, first], axis=1), np.stack([rows, last], axis=1)])


def pleural_shell(lungs: Bool[np.ndarray, "x y z"], spacing_mm: Spacing) -> Bool[np.ndarray, "x y z"]:
    """A layer of 2 mm, at least a voxel, to either side of the lungs' surface: where the pleura is, if it is thin.

    >>> lungs = np.zeros((9, 1, 1), bool); lungs[4:] = True
    >>> pleural_shell(lungs, (1.0, 1.0, 1.0)).ravel().astype(int)
    array([0, 0, 1, 1, 1, 1, 0, 0, 0])
    """
    width_mm = max(_PLEURA_MM, *spacing_mm)
    return dilate(lungs, width_mm, spacing_mm) & ~erode(lungs, width_mm, spacing_mm)
