"""One image plane after the other: what a CT's header says of it, and its HU.

Distances and directions are DICOM's own here: millimetres in LPS (to the left, to the back, to the head). Arrays are
``row column``. A file holds one plane (CT Image Storage) or many (Enhanced CT, whose values lie in functional groups:
a frame's own, or shared by all; PS3.3, section C.7.6.16).
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from jaxtyping import Float, Num
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
)

from reg2rg.dicom.files import DicomFile, begins_as_dicom, inflates_too_far
from reg2rg.errors import InputError
from reg2rg.intensity import OUTSIDE_HU

_MAX_RESCALE = 2**14  # times 16 bits, HU fit int32
_CT_CLASSES = (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
# Nothing about the patient is ever parsed, so nothing of it can get into a message or a log.
PIXEL_TAGS = (
    "SamplesPerPixel PhotometricInterpretation PlanarConfiguration NumberOfFrames Rows Columns BitsAllocated "
    "BitsStored HighBit PixelRepresentation"
).split()
_HEADER_TAGS = [
    *PIXEL_TAGS,
    *(
        "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID Modality ImageType "
        "AcquisitionNumber BodyPartExamined ConvolutionKernel ImagePositionPatient ImageOrientationPatient "
        "PixelSpacing RescaleSlope RescaleIntercept RescaleType PixelPaddingValue PixelPaddingRangeLimit "
        "SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence"
    ).split(),
]


@dataclass(frozen=True, eq=False)
class Image:
    """A DICOM object's header, without its pixels; perhaps no image at all."""

    file: DicomFile
    header: pydicom.Dataset

    def text(self, keyword: str) -> str:
        """A value as text, several of them with backslashes between; empty if it is not there."""
        value = self.header.get(keyword)
        if value is None:
            return ""
        return str(value) if isinstance(value, str) or not hasattr(value, "__iter__") else "\\".join(map(str, value))

    @property
    def sop_class_uid(self) -> str:
        """What kind of object it is."""
        return self.text("SOPClassUID") or str(self.header.file_meta.get("MediaStorageSOPClassUID", ""))

    @property
    def modality(self) -> str:
        """CT, MR, SR..."""
        return self.text("Modality") or ("CT" if self.sop_class_uid in _CT_CLASSES else "unknown")

    @property
    def is_slice(self) -> bool:
        """Whether it may be part of a CT volume: no localizer, no colour, no picture without a place."""
        is_placed = self.sop_class_uid in _CT_CLASSES or "ImagePositionPatient" in self.header
        is_grey = "Rows" in self.header and self.header.get("SamplesPerPixel", 1) == 1
        is_localizer = "LOCALIZER" in self.text("ImageType").upper()
        return self.modality == "CT" and is_placed and is_grey and not is_localizer

    @property
    def num_frames(self) -> int:
        """Image planes in the file."""
        return int(self.header.get("NumberOfFrames") or 1)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.header.Rows), int(self.header.Columns)

    @property
    def num_voxels(self) -> int:
        """Of all frames."""
        return self.num_frames * self.size[0] * self.size[1]


@dataclass(frozen=True, eq=False)
class Plane:
    """Where the pixels of one image plane lie.

    Attributes:
        position_mm: the centre of the first pixel.
        along_columns: unit vector in which the column index grows (along a row).
        along_rows: unit vector in which the row index grows.
        spacing_mm: between rows, and between columns.
    """

    position_mm: Float[np.ndarray, "3"]
    along_columns: Float[np.ndarray, "3"]
    along_rows: Float[np.ndarray, "3"]
    spacing_mm: Float[np.ndarray, "2"]

    @property
    def normal(self) -> Float[np.ndarray, "3"]:
        """Unit vector across the plane."""
        return np.cross(self.along_columns, self.along_rows)


@dataclass(frozen=True, eq=False)
class Frame(Plane):
    """One image plane of a CT.

    Attributes:
        file: where it is stored.
        index: which frame of the file, from 0.
        sop_class_uid: what kind of object the file is.
        sop_instance_uid: which object it is.
        acquisition: which acquisition of the series, as text; empty if unknown.
        size: rows and columns.
        slope: HU per stored unit.
        intercept: HU of a stored 0.
        padding: lowest and highest stored value that stands for nothing, if any does.
    """

    file: DicomFile
    index: int
    sop_class_uid: str
    sop_instance_uid: str
    acquisition: str
    size: tuple[int, int]
    slope: float
    intercept: float
    padding: tuple[int, int] | None


def read_image(file: DicomFile) -> Image | None:
    """The header of a DICOM file; None if it is not one.

    Raises:
        InputError: if it begins as one but cannot be read.
    """
    try:
        with file.open() as opened:
            if not begins_as_dicom(opened):
                return None
        with file.open() as opened:
            if inflates_too_far(opened):
                raise ValueError("too large")
        with file.open() as opened:
            header = pydicom.dcmread(opened, stop_before_pixels=True, force=True, specific_tags=_HEADER_TAGS)
            image = Image(file, header)
            if image.is_slice and image.num_voxels <= 0:
                raise ValueError("no voxels")
            return image if image.modality != "unknown" or image.sop_class_uid else None
    except Exception as error:  # pydicom raises many kinds for bytes that are no header
        raise InputError(f"{file.name}: the header is damaged or cut off; copy the file again") from error


def read_frames(image: Image) -> list[Frame]:
    """The planes of an image, localizer frames left out.

    Raises:
        InputError: if something that places them or turns them into HU is missing or senseless.
    """
    try:
        return [
            _frame(image, index)
            for index in range(image.num_frames)
            if "LOCALIZER" not in frame_values(image, index, "CTImageFrameTypeSequence", "FrameType")
        ]
    except InputError:
        raise
    except Exception as error:  # values that are not what their tag promises
        raise InputError(f"{image.file.name}: the header holds senseless values; export it again") from error


def read_hu(frames: Sequence[Frame]) -> Iterator[Num[np.ndarray, "row column"]]:
    """The HU of planes that lie in one file, one after the other: whole numbers, or float32.

    Raises:
        InputError: if the pixels are missing, damaged, or stored in a way that cannot be decoded here.
    """
    file = frames[0].file
    try:
        with file.open() as opened:
            stored = pydicom.dcmread(opened, force=True, specific_tags=[*PIXEL_TAGS, "PixelData"])
    except Exception as error:
        raise InputError(f"{file.name}: the file is damaged or cut off; copy it again") from error
    if "PixelData" not in stored:
        raise InputError(f"{file.name}: the header has no pixels behind it; copy the file again")
    check_decodable(file, stored)
    for frame in frames:
        try:
            pixels = pixel_array(stored, index=frame.index)
        except Exception as error:
            raise InputError(f"{file.name}: the pixels are damaged or cut off; copy the file again") from error
        yield _to_hu(frame, pixels)


def check_decodable(file: DicomFile, stored: pydicom.FileDataset) -> None:
    """Raises InputError if the pixels are stored in a way that cannot be decoded here."""
    if "TransferSyntaxUID" not in stored.file_meta:  # no preamble, hence no file meta information
        implicit = stored.original_encoding[0]
        stored.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    syntax = stored.file_meta.TransferSyntaxUID
    try:
        is_decodable = get_decoder(syntax).is_available
    except NotImplementedError:
        is_decodable = False
    if not is_decodable:
        raise InputError(
            f"{file.name}: cannot decode the transfer syntax {syntax.name}; pip install 'reg2rg[dicom]' for all that "
            "can be, or export the series uncompressed"
        )


def _to_hu(frame: Frame, pixels: Num[np.ndarray, "row column"]) -> Num[np.ndarray, "row column"]:
    if frame.slope.is_integer() and frame.intercept.is_integer():
        hu = pixels.astype(np.int64) * int(frame.slope) + int(frame.intercept)
    else:
        hu = (pixels * frame.slope + frame.intercept).astype(np.float32)
    if frame.padding is not None:
        hu[(pixels >= frame.padding[0]) & (pixels <= frame.padding[1])] = OUTSIDE_HU
    return hu


def read_plane(image: Image, index: int) -> Plane:
    """Where a frame's pixels lie.

    Raises:
        InputError: if something that places them is missing or senseless.
    """
    directions = _numbers(image, index, "PlaneOrientationSequence", "ImageOrientationPatient", 6).reshape(2, 3)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    if abs(lengths - 1).max() > 0.01 or abs(directions[0] @ directions[1]) > 0.01:
        raise InputError(f"{image.file.name}: ImageOrientationPatient is not two directions at right angles")
    spacing = _numbers(image, index, "PixelMeasuresSequence", "PixelSpacing", 2)
    if spacing.min() <= 0:
        raise InputError(f"{image.file.name}: expected a PixelSpacing in mm, found {spacing.tolist()}; export it again")
    return Plane(
        position_mm=_numbers(image, index, "PlanePositionSequence", "ImagePositionPatient", 3),
        along_columns=directions[0] / lengths[0],
        along_rows=directions[1] / lengths[1],
        spacing_mm=spacing,
    )


def _frame(image: Image, index: int) -> Frame:
    plane = read_plane(image, index)
    slope = float(_numbers(image, index, "PixelValueTransformationSequence", "RescaleSlope", 1)[0])
    intercept = float(_numbers(image, index, "PixelValueTransformationSequence", "RescaleIntercept", 1)[0])
    if slope == 0 or max(abs(slope), abs(intercept)) > _MAX_RESCALE:
        raise InputError(
            f"{image.file.name}: a RescaleSlope of {slope:g} and a RescaleIntercept of {intercept:g} give no HU; "
            "export it again"
        )
    acquisition = frame_values(image, index, "FrameContentSequence", "FrameAcquisitionNumber") or [
        image.text("AcquisitionNumber")
    ]
    return Frame(
        file=image.file,
        index=index,
        sop_class_uid=image.sop_class_uid,
        sop_instance_uid=image.text("SOPInstanceUID"),
        acquisition=str(acquisition[0]),
        size=image.size,
        position_mm=plane.position_mm,
        along_columns=plane.along_columns,
        along_rows=plane.along_rows,
        spacing_mm=plane.spacing_mm,
        slope=slope,
        intercept=intercept,
        padding=_padding(image),
    )


def _padding(image: Image) -> tuple[int, int] | None:
    value = image.header.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    limit = image.header.get("PixelPaddingRangeLimit")
    other = limit if isinstance(limit, int) else value
    return min(value, other), max(value, other)


def _numbers(image: Image, index: int, group: str, keyword: str, count: int) -> Float[np.ndarray, " count"]:
    values = frame_values(image, index, group, keyword)
    try:
        array = np.array([float(value) for value in values])
    except (TypeError, ValueError):
        array = np.zeros(0)
    if array.shape != (count,) or not np.isfinite(array).all():
        found = f"{len(values)} values" if values else "none"
        raise InputError(f"{image.file.name}: expected {count} numbers as {keyword}, found {found}; export it again")
    return array


def frame_values(image: Image, index: int, group: str, keyword: str) -> list[Any]:
    """A value of one frame as a list: of its own functional group, the shared one, or the header; empty if nowhere."""
    per_frame = image.header.get("PerFrameFunctionalGroupsSequence") or []
    shared = image.header.get("SharedFunctionalGroupsSequence") or []
    places = [*per_frame[index : index + 1], *shared[:1]]
    items = [place[group][0] for place in places if place.get(group)] + [image.header]
    value = next((item[keyword].value for item in items if keyword in item), None)
    if value is None or (isinstance(value, str) and not value):
        return []
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else [value]


@contextmanager
def pydicom_silent() -> Iterator[None]:
    """Without pydicom's remarks on headers: they quote values, and what matters of them is said in the error."""
    logger = pydicom.config.logger
    was_disabled, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = was_disabled
