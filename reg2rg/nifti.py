"""The only reader and writer of NIfTI files.

Arrays are ``x y z`` as stored, affines map voxel indices to millimetres in RAS+ (NIfTI's own convention); slope and
intercept are applied. nibabel does the parsing, this module says what can be used and what cannot, and moves the
voxels: in one piece, in the order of the file (x fastest), so that no array is copied into another order.
"""

import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Integer, Num, Shaped
from nibabel.volumeutils import apply_read_scaling

from reg2rg import deflate
from reg2rg.errors import InputError
from reg2rg.files import staged_file
from reg2rg.regions import REGIONS
from reg2rg.volume import Grid, RegionMasks, Volume

NIFTI_ENDINGS = (".nii.gz", ".nii")
MAX_VOXELS = 2**30
_MAX_GZIP_RATIO = 1032  # of the deflate format itself: a match of 258 bytes takes two bits at least
_MAX_VALUE = 2**31 - 1  # of a whole number that is a HU or a label
_SLAB_VOXELS = 2**20  # converted at once: no second array of the volume's size in a wider type
_COMMENT = 6  # NIfTI extension code for plain text
_KEY_TITLE = "reg2rg region bits"
_LABEL_NAME = re.compile(r'<Label Key="(\d+)"[^>]*>\s*<!\[CDATA\[(.*?)\]\]>')


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A whole-number label per voxel, as stored; 0 is background.

    Attributes:
        array: the labels, ``x y z``.
        affine: as in Volume.
        names: what the file's own label table calls them (the extension that TotalSegmentator and Connectome
            Workbench write); empty if it has none.
    """

    array: Integer[np.ndarray, "x y z"]
    affine: Shaped[np.ndarray, "4 4"]
    names: dict[int, str] = field(default_factory=dict)

    @property
    def grid(self) -> Grid:
        """Where the voxels lie."""
        return Grid(self.array.shape, self.affine)

    def moved(self, array: Integer[np.ndarray, "x2 y2 z2"], affine: Shaped[np.ndarray, "4 4"]) -> "LabelMap":
        """The same record with another array on another grid."""
        return replace(self, array=array, affine=affine)


def is_nifti(path: Path) -> bool:
    """Whether the file is called like a NIfTI file."""
    return path.name.lower().endswith(NIFTI_ENDINGS)


def stem(path: Path) -> str:
    """The file's name without ``.nii`` or ``.nii.gz``.

    >>> stem(Path("a/valid_1_a_1.nii.gz")), stem(Path("1334"))
    ('valid_1_a_1', '1334')
    """
    for ending in NIFTI_ENDINGS:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.name


def read_volume(path: Path) -> Volume:
    """Reads a CT in HU, axes and affine as stored.

    Whole-number HU come as int16 (int32 where they do not fit), others as float32.

    Raises:
        InputError: if the file is missing, not NIfTI, cut off, not three-dimensional, has no spacing or an affine
            that is no affine, or holds NaN, values that are no HU, or nothing but one value.
    """
    image = _load(path)
    stored, slope, intercept = _read(path, image)
    if stored.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer():
        ends = [int(value) * int(slope) + int(intercept) for value in (stored.min(), stored.max())]
        if max(map(abs, ends)) > _MAX_VALUE:
            raise InputError(f"{path}: expected HU, found values from {min(ends)} to {max(ends)}; export the CT again")
        limits = np.iinfo(np.int16)
        dtype = np.int16 if limits.min <= min(ends) and max(ends) <= limits.max else np.int32
        if (slope, intercept) == (1, 0):
            array = stored.astype(dtype, copy=False)
        else:
            array = _by_slabs(stored, dtype, lambda slab: slab.astype(np.int64) * int(slope) + int(intercept))
    else:
        array = stored
        if stored.dtype != np.float32 or (slope, intercept) != (1, 0):
            array = _by_slabs(stored, np.float32, lambda slab: apply_read_scaling(slab, slope, intercept))
        if not np.isfinite(array).all():
            raise InputError(f"{path}: expected HU, found NaN or infinite values; export the CT again")
    lowest, highest = array.min(), array.max()
    if lowest == highest:
        raise InputError(f"{path}: expected a CT, but all voxels have the value {lowest}; export the CT again")
    return Volume(array, _grid(path, image).affine)


def states_orientation(path: Path) -> bool:
    """Whether the header says where left and right are; if not, nibabel (and so we) take x to grow to the left.

    Raises:
        InputError: if there is no such file, or it is no NIfTI file.
    """
    header = _load(path).header
    return bool(header["sform_code"] > 0 or header["qform_code"] > 0)


def read_labels(path: Path) -> LabelMap:
    """Reads a mask or label file, axes and affine as stored.

    Values between the whole numbers, as interpolated masks have them, are rounded half up.

    Raises:
        InputError: as `read_volume`; a file of zeros is allowed here.
    """
    image = _load(path)
    array, slope, intercept = _read(path, image)
    if array.dtype.kind == "f" or (slope, intercept) != (1, 0):
        array = _by_slabs(array, np.int32, lambda slab: _round(path, apply_read_scaling(slab, slope, intercept)))
    tables = " ".join(_text(extension) for extension in image.header.extensions)
    names = {int(label): name for label, name in _LABEL_NAME.findall(tables)}
    return LabelMap(array, _grid(path, image).affine, names)


def read_region_masks(path: Path) -> RegionMasks | None:
    """Reads a ``regions.nii.gz`` as written by `write_region_masks`; None if the file does not carry our key."""
    image = _load(path)
    if not any(_KEY_TITLE in _text(extension) for extension in image.header.extensions):
        return None
    labels = read_labels(path)
    return RegionMasks(labels.array.astype(np.uint16), labels.affine, {region.name: path.name for region in REGIONS})


def write_volume(path: Path, volume: Volume) -> None:
    """Writes a CT on its own grid, complete or not at all; ``.gz`` by the name's ending."""
    _write(path, nib.Nifti1Image(volume.array, volume.affine))


def write_labels(path: Path, array: Integer[np.ndarray, "x y z"], affine: Shaped[np.ndarray, "4 4"]) -> None:
    """Writes a mask or label array (uint8, int16, uint16...), complete or not at all."""
    _write(path, nib.Nifti1Image(array, affine))


def write_region_masks(path: Path, masks: RegionMasks) -> None:
    """Writes the bit field (bit k = region k) with its key in a text extension of the header."""
    image = nib.Nifti1Image(masks.array, masks.affine)
    key = {_KEY_TITLE: {region.name: region.index for region in REGIONS}}
    image.header.extensions.append(nib.nifti1.Nifti1Extension(_COMMENT, json.dumps(key).encode()))
    _write(path, image)


def _write(path: Path, image: Any) -> None:
    """Writes what nibabel would, but all voxels at once: slice by slice, small files take ten times longer."""
    image.header.set_xyzt_units("mm")
    image.update_header()
    image.header.set_slope_inter(1, 0)
    with staged_file(path) as staging, staging.open("wb") as file:
        head = io.BytesIO()
        image.header.write_to(head)
        head.seek(image.header.get_data_offset())
        head.truncate()
        parts = (head.getvalue(), _bytes_of(np.asfortranarray(image.dataobj)))
        file.writelines(deflate.deflate(*parts) if _is_packed(path) else parts)


def _load(path: Path) -> Any:
    """The image, its header checked, its voxels not yet read."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with _nibabel_silent():
            image = nib.load(path)
            header = _raw_header(path, type(image))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: the file is damaged or cut off ({error}); copy it again") from error
    except PermissionError as error:
        raise InputError(f"{path}: no permission to read it") from error
    except Exception as error:  # nibabel raises many kinds for bytes that are no header
        raise InputError(f"{path}: expected a NIfTI file (.nii or .nii.gz), could not read it as one") from error
    if not isinstance(image, nib.Nifti1Pair):
        raise InputError(f"{path}: expected a NIfTI file, found {type(image).__name__}; convert it first")
    shape = image.shape
    if len(shape) < 3 or any(n != 1 for n in shape[3:]):
        raise InputError(f"{path}: expected one 3D volume, found {len(shape)} axes of {shape}; give one time point")
    if any(n < 1 for n in shape):
        raise InputError(f"{path}: expected voxels along every axis, the header says {shape}; export the file again")
    if np.prod(shape, dtype=float) > MAX_VOXELS:
        raise InputError(f"{path}: expected at most {MAX_VOXELS} voxels, the header says {shape}; crop or resample it")
    if image.get_data_dtype().kind not in "iuf":
        raise InputError(
            f"{path}: expected one number per voxel, found {image.get_data_dtype()}; export the file again"
        )
    stored = np.prod(shape, dtype=float) * image.get_data_dtype().itemsize
    ratio = _MAX_GZIP_RATIO if _is_packed(path) else 1
    if stored > ratio * path.stat().st_size:
        raise InputError(f"{path}: the file is damaged or cut off (too short for {shape} voxels); copy it again")
    unit = image.header.get_xyzt_units()[0]
    if unit not in ("mm", "unknown"):
        raise InputError(f"{path}: expected millimetres, the header declares {unit}; convert the file")
    spacing = header["pixdim"][1:4]
    if not (np.isfinite(spacing).all() and (spacing != 0).all()):
        raise InputError(
            f"{path}: expected a voxel spacing in mm, the header says {spacing.tolist()}; export the file again"
        )
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if np.isinf([slope, intercept]).any():  # NaN and 0 say that there is no scaling; nibabel says so of infinity too
        raise InputError(
            f"{path}: expected a finite slope and intercept, the header says {slope} and {intercept}; export it again"
        )
    return image


def _raw_header(path: Path, kind: type) -> Any:
    """The header as the bytes say it: nibabel's own silently turns a spacing of 0 into 1."""
    header_class = getattr(kind, "header_class", nib.Nifti1Header)
    if not issubclass(header_class, nib.Nifti1Header):
        header_class = nib.Nifti1Header
    with nib.openers.ImageOpener(str(path)) as file:
        return header_class(file.read(header_class.sizeof_hdr), check=False)


def _text(extension: Any) -> str:
    return bytes(extension.content).decode("utf-8", "replace")


@contextmanager
def _nibabel_silent() -> Iterator[None]:
    """Without nibabel's remarks on headers: what matters of them is said in the error."""
    logger = nib.imageglobals.logger
    was_disabled, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was_disabled


_DAMAGE: tuple[type[Exception], ...] = (*deflate.ERRORS, OSError, ValueError)


def _read(path: Path, image: Any) -> tuple[Num[np.ndarray, "x y z"], float, float]:
    """The numbers as stored, x fastest, and the slope and intercept that make values of them."""
    proxy = image.dataobj
    try:
        if not isinstance(image, nib.Nifti1Image):  # header and voxels in two files
            array = np.asarray(proxy.get_unscaled())
        elif _is_packed(path):
            array = np.empty(proxy.shape, proxy.dtype, order="F")
            deflate.inflate(path, proxy.offset, _bytes_of(array))
        else:
            array = np.fromfile(path, proxy.dtype, math.prod(proxy.shape), offset=proxy.offset)
            array = array.reshape(proxy.shape, order="F")
    except _DAMAGE as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise InputError(f"{path}: the file is damaged or cut off ({reason}); copy it again") from error
    array = array.reshape(array.shape[:3], order="F")
    if not array.dtype.isnative:
        array = array.byteswap(inplace=True).view(array.dtype.newbyteorder())
    return array, float(proxy.slope), float(proxy.inter)


@np.errstate(over="ignore")  # a double that is too large becomes infinite, and is refused as such
def _by_slabs(
    array: Num[np.ndarray, "x y z"], dtype: type, compute: Callable[[np.ndarray], np.ndarray]
) -> Num[np.ndarray, "x y z"]:
    """The array in another type, value by value, a few slices at a time."""
    result: np.ndarray = np.empty(array.shape, dtype, order="F")
    step = max(1, _SLAB_VOXELS // (array.shape[0] * array.shape[1]))
    for start in range(0, array.shape[2], step):
        slab = (..., slice(start, start + step))
        result[slab] = compute(array[slab])
    return result


def _round(path: Path, values: Num[np.ndarray, "x y z"]) -> Num[np.ndarray, "x y z"]:
    """Labels to the nearest whole number, half up."""
    if not (np.abs(values) <= _MAX_VALUE).all():
        raise InputError(f"{path}: expected labels, found NaN, infinite or huge values; export the mask again")
    return np.floor(values + 0.5)


def _bytes_of(array: Num[np.ndarray, "*shape"]) -> memoryview:
    """The memory of an array in the order of the file."""
    return array.T.reshape(-1).view(np.uint8).data


def _is_packed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _grid(path: Path, image: Any) -> Grid:
    try:
        return Grid(image.shape[:3], image.affine)
    except ValueError as error:
        raise InputError(f"{path}: {error}; export the file again") from error
