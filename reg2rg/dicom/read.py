"""DICOM files in, a CT out: HU on the grid of its slices, and which object each slice is."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import Float, Num

from reg2rg.dicom.derived import read_header
from reg2rg.dicom.files import DicomFile, open_files
from reg2rg.dicom.frames import Frame, Image, pydicom_silent, read_frames, read_hu, read_image
from reg2rg.dicom.series import Series, choose_series, group_series
from reg2rg.dicom.stack import Stack, build_stack, sort_places
from reg2rg.errors import InputError
from reg2rg.geometry import resample
from reg2rg.intensity import OUTSIDE_HU
from reg2rg.nifti import MAX_VOXELS
from reg2rg.volume import DicomSeries, DicomSlice, Volume


@dataclass(frozen=True, eq=False)
class DicomScan:
    """A CT that was read from DICOM, and what the reader should know about how."""

    volume: Volume
    series: DicomSeries
    remarks: tuple[str, ...]


def read_dicom(path: Path, series_uid: str | None = None) -> DicomScan:
    """Reads the chest CT of a folder, a zip, a DICOMDIR or a single multi-frame file.

    The array is ``x y z`` = column, row, slice, int16 wherever the HU are whole numbers that fit (int32 or float32
    otherwise). A tilted gantry is corrected: slices are shifted within their planes until the axes are at right angles.

    Args:
        path: what holds the files.
        series_uid: the SeriesInstanceUID to read; None for the likeliest chest CT.

    Raises:
        InputError: if there is no CT, or its slices do not make one even volume.
    """
    try:
        with pydicom_silent(), open_files(path) as files:
            images, remarks = _read_images(files)
            series, choice = choose_series(group_series(images), series_uid)
            stack, duplicates = _stack(series)
            volume, tilt = _upright(Volume(_read_array(stack), stack.grid.affine), stack)
            record = _record(series, stack)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    lowest, highest = volume.array.min(), volume.array.max()
    if lowest == highest:
        raise InputError(f"{path}: expected a CT, but all voxels have the value {lowest}; export the CT again")
    return DicomScan(volume, record, (*choice, *remarks, *duplicates, *tilt))


def _read_images(files: Sequence[DicomFile]) -> tuple[list[Image], list[str]]:
    """The DICOM objects among the files; a remark on those that begin as one and cannot be read."""
    images, damaged = [], []
    for file in files:
        try:
            image = read_image(file)
        except InputError as error:
            damaged.append(error)
        else:
            images += [image] if image else []
    if not images:
        raise (
            damaged[0]
            if damaged
            else InputError(
                f"expected DICOM images, found none in {len(files)} files (links are not followed); give a CT series"
            )
        )
    remark = f"{len(damaged)} files could not be read and were left out, the first: {damaged[0]}" if damaged else ""
    return images, [remark] if remark else []


def _stack(series: Series) -> tuple[Stack, list[str]]:
    """The slices of a series, each place once; a remark where some were stored more than once."""
    references = {image.text("FrameOfReferenceUID") for image in series.images}
    if len(references) > 1:
        raise InputError(f"the series has {len(references)} frames of reference; export them as series of their own")
    if series.num_voxels > MAX_VOXELS:
        raise InputError(f"expected at most {MAX_VOXELS} voxels, the series has {series.num_voxels}; give a part of it")
    frames = [frame for image in series.images for frame in read_frames(image)]
    if not frames:
        raise InputError("expected CT slices, found localizers only; give the chest CT")
    places = sort_places(frames)
    crowded = [place for place in places if len(place) > 1]
    if all(_is_same_everywhere(place) for place in crowded):
        more = len(frames) - len(places)
        remarks = [f"{more} slices were stored more than once and used once"] if more else []
        return build_stack([place[0] for place in places]), remarks
    acquisitions = sorted({frame.acquisition for frame in frames})
    chosen = max(acquisitions, key=lambda name: sum(frame.acquisition == name for frame in frames))
    kept = sort_places([frame for frame in frames if frame.acquisition == chosen])
    if any(len(place) > 1 for place in kept):
        place = "({:g}, {:g}, {:g}) mm".format(*crowded[0][0].position_mm)
        raise InputError(
            f"several different slices lie at {place}: more than one phase or reconstruction in one series; export one"
        )
    return build_stack([place[0] for place in kept]), [
        f"the series holds {len(acquisitions)} acquisitions of the same place; took number {chosen}, the first of "
        f"those with the most slices ({len(kept)})"
    ]


def _is_same_everywhere(place: Sequence[Frame]) -> bool:
    first = next(read_hu(place[:1]))
    return all(np.array_equal(first, next(read_hu([frame]))) for frame in place[1:])


def _read_array(stack: Stack) -> Num[np.ndarray, "x y z"]:
    """All slices in HU, in the narrowest type that holds them."""
    index = {frame: k for k, frame in enumerate(stack.frames)}
    by_file = sorted(stack.frames, key=lambda frame: (frame.file.name, frame.index))
    array = np.empty((len(stack.frames), *stack.frames[0].size), np.int16)
    for _, group in groupby(by_file, key=lambda frame: frame.file.name):
        frames = list(group)
        for frame, hu in zip(frames, read_hu(frames), strict=True):
            array = array.astype(_type_for(array.dtype, hu), copy=False)
            array[index[frame]] = hu
    return array.transpose(2, 1, 0)


def _type_for(type_so_far: np.dtype, hu: Num[np.ndarray, "row column"]) -> np.dtype:
    if hu.dtype.kind == "f" or type_so_far.kind == "f":
        return np.dtype(np.float32)
    limits = np.iinfo(type_so_far)
    return type_so_far if limits.min <= hu.min() and hu.max() <= limits.max else np.dtype(np.int32)


def _upright(volume: Volume, stack: Stack) -> tuple[Volume, list[str]]:
    """The volume on axes at right angles, and a remark where that took interpolation."""
    if stack.upright_grid is None:
        return volume, []
    corrected = resample(volume, stack.upright_grid, OUTSIDE_HU)
    array: Float[np.ndarray, "x y z"] = corrected.array
    if volume.array.dtype.kind == "i":
        corrected = corrected.moved(np.rint(array).astype(volume.array.dtype), corrected.affine)
    return corrected, [f"the gantry was tilted by {stack.tilt_deg:.1f} degrees; the slices were shifted to undo it"]


def _record(series: Series, stack: Stack) -> DicomSeries:
    return DicomSeries(
        study_uid=series.study_uid,
        series_uid=series.uid,
        frame_of_reference_uid=series.images[0].text("FrameOfReferenceUID"),
        slices=tuple(_slice(frame) for frame in stack.frames),
        grid=stack.grid,
        header=read_header(stack.frames[0].file),
    )


def _slice(frame: Frame) -> DicomSlice:
    x, y, z = (float(mm) for mm in frame.position_mm)
    return DicomSlice(frame.sop_class_uid, frame.sop_instance_uid, frame.index, (x, y, z))
