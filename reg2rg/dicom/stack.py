"""Slices in their order, and the grid of voxels that they make.

A stack is accepted only if one affine places every slice: same size, spacing and orientation, at equal steps. The step
comes from the positions, never from SliceThickness, which says how thick a slice is and not how far the next one is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from reg2rg.dicom.frames import Frame, Plane
from reg2rg.errors import InputError
from reg2rg.volume import Grid

_FEWEST_SLICES = 3  # with two, the step between them cannot be checked
_SAME_DIRECTION = 1e-3  # largest difference of unit vectors' components
_SAME_SPACING = 1e-3  # largest relative difference
_SAME_PLACE_MM = 0.01
_UNEVEN_STEP = 0.1  # of a step, by which a slice may be off
_ROUNDED_MM = 0.101  # by which it may be off in any case: many scanners round positions to 0.1 mm
_UNEVEN_ROW = 0.5  # of a pixel, the same within the plane
_GAP_STEP = 1.5  # steps between slices from which on one is missing
_STEEPEST_TILT_DEG = 45  # gantries tilt up to 30 degrees
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices at equal steps, from the first to the last along their normal.

    Attributes:
        frames: one for each index of the third axis of the volume.
        grid: the voxels as acquired, ``x y z`` = column, row, slice. With a tilted gantry its axes are not at right
            angles.
        upright_grid: where the gantry was tilted, the voxels at right angles that cover the same tissue in the same
            planes; otherwise None.
        tilt_deg: the angle between the slices' normal and the way from slice to slice; 0 if it is only rounding.
    """

    frames: tuple[Frame, ...]
    grid: Grid
    upright_grid: Grid | None
    tilt_deg: float


def sort_places(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Slices along their normal; those that lie at the same place together.

    Raises:
        InputError: if they differ in size, spacing or orientation.
    """
    first = frames[0]
    for frame in frames:
        if frame.size != first.size:
            raise _mixed("sizes", "{} x {} pixels".format(*first.size), "{} x {}".format(*frame.size), first, frame)
        turn = [frame.along_columns - first.along_columns, frame.along_rows - first.along_rows]
        if np.abs(turn).max() > _SAME_DIRECTION:
            raise _mixed("orientations", "one", "another", first, frame)
        if np.abs(frame.spacing_mm / first.spacing_mm - 1).max() > _SAME_SPACING:
            raise _mixed("pixel spacings", f"{first.spacing_mm[0]:g} mm", f"{frame.spacing_mm[0]:g} mm", first, frame)
    places: list[list[Frame]] = []
    # All depths along one normal: the frames' own normals differ in their last digits.
    for frame in sorted(frames, key=lambda frame: (float(first.normal @ frame.position_mm), frame.sop_instance_uid)):
        if places and np.abs(places[-1][0].position_mm - frame.position_mm).max() < _SAME_PLACE_MM:
            places[-1].append(frame)
        else:
            places.append([frame])
    return places


def build_stack(frames: Sequence[Frame]) -> Stack:
    """The grid of slices that are sorted already, one at each place.

    Raises:
        InputError: if there are too few, one is missing, or the steps are uneven.
    """
    if len(frames) < _FEWEST_SLICES:
        raise InputError(
            f"expected a series of at least {_FEWEST_SLICES} slices, found {len(frames)}; give all of them"
        )
    first = frames[0]
    positions = np.array([frame.position_mm for frame in frames])
    step = (positions[-1] - positions[0]) / (len(frames) - 1)
    _check_even(frames, positions, step)
    upright = first.normal * (first.normal @ step)
    slide_px = _slide_px(first, step - upright) * (len(frames) - 1)
    is_tilted = bool(np.abs(slide_px).max() > _UNEVEN_ROW)
    tilt_deg = (
        float(np.degrees(np.arccos(np.clip(first.normal @ step / np.linalg.norm(step), -1, 1)))) if is_tilted else 0
    )
    if tilt_deg > _STEEPEST_TILT_DEG:
        raise InputError(
            f"the slices slide sideways by {tilt_deg:.0f} degrees, no gantry tilts so far; export it again"
        )
    rows, columns = first.size
    size = (columns, rows, len(frames))
    grid = Grid(size, slices_affine(first, positions[0], step if is_tilted else upright))
    return Stack(tuple(frames), grid, _upright_grid(grid, upright, slide_px) if is_tilted else None, float(tilt_deg))


def _upright_grid(grid: Grid, upright: Float[np.ndarray, "3"], slide_px: Float[np.ndarray, "2"]) -> Grid:
    """The grid with its third axis at right angles, widened in the plane so that no slice is cut."""
    start = np.floor(np.minimum(slide_px, 0))
    stop = np.ceil(np.maximum(slide_px, 0))
    affine = grid.affine.copy()
    affine[:3, 3] += grid.affine[:3, :2] @ start
    affine[:3, 2] = _LPS_TO_RAS[:3, :3] @ upright
    x, y = (int(n + more) for n, more in zip(grid.size_xyz[:2], stop - start, strict=True))
    return Grid((x, y, grid.size_xyz[2]), affine)


def slices_affine(
    plane: Plane, origin_mm: Float[np.ndarray, "3"], step_mm: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "4 4"]:
    """Voxel index (column, row, slice) to millimetres in RAS+ (PS3.3, equation C.7.6.2.1-1, and x and y turned)."""
    affine = np.eye(4)
    affine[:3, 0] = plane.along_columns * plane.spacing_mm[1]
    affine[:3, 1] = plane.along_rows * plane.spacing_mm[0]
    affine[:3, 2] = step_mm
    affine[:3, 3] = origin_mm
    return _LPS_TO_RAS @ affine


def _slide_px(frame: Frame, sideways_mm: Float[np.ndarray, "3"]) -> Float[np.ndarray, "2"]:
    """A way within the plane, in columns and rows."""
    return np.array([frame.along_columns @ sideways_mm, frame.along_rows @ sideways_mm]) / frame.spacing_mm[::-1]


def _check_even(frames: Sequence[Frame], positions: Float[np.ndarray, "slice 3"], step: Float[np.ndarray, "3"]) -> None:
    first = frames[0]
    depths = positions @ first.normal
    steps = np.diff(depths)
    usual, widest = float(np.median(steps)), int(np.argmax(steps))
    if steps[widest] > _GAP_STEP * usual:
        raise InputError(
            f"slices are missing between {_place(positions[widest])} and {_place(positions[widest + 1])}: "
            f"{steps[widest]:g} mm where others are {usual:g} mm apart; export the whole series"
        )
    off = positions - (positions[0] + np.arange(len(frames))[:, None] * step)
    if np.abs(off @ first.normal).max() > max(_UNEVEN_STEP * usual, _ROUNDED_MM):
        raise InputError(
            f"expected slices at equal steps, found {steps.min():g} to {steps[widest]:g} mm; export one even series"
        )
    sideways = np.array([_slide_px(first, one) for one in off])
    if np.abs(sideways).max() > _UNEVEN_ROW:
        worst = positions[int(np.abs(sideways).max(axis=1).argmax())]
        raise InputError(f"the slice at {_place(worst)} is shifted against the others; export one even series")


def _place(position_mm: Float[np.ndarray, "3"]) -> str:
    return "({:g}, {:g}, {:g}) mm".format(*position_mm)


def _mixed(what: str, one: str, other: str, first: Frame, frame: Frame) -> InputError:
    return InputError(
        f"the series mixes {what}: {first.file.name} has {one}, {frame.file.name} {other}; export them as series of "
        "their own"
    )
