"""DICOM Segmentation objects as masks: BINARY, FRACTIONAL (from a half on) and LABELMAP (PS3.3, section A.51).

A segmentation's frames lie anywhere in the patient, several on one place if segments overlap, and where there is
nothing to show there need be none. The grid is worked out from the places of those that are there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from jaxtyping import Float, Int, Integer, UInt8
from pydicom.pixels import iter_pixels
from pydicom.sr.coding import Code as DicomCode
from pydicom.uid import UID, SegmentationStorage

from reg2rg.codes import Code, region_code
from reg2rg.dicom.files import DicomFile, begins_as_dicom, inflates_too_far, single_file
from reg2rg.dicom.frames import PIXEL_TAGS, Image, Plane, check_decodable, frame_values, pydicom_silent, read_plane
from reg2rg.dicom.stack import slices_affine
from reg2rg.errors import InputError
from reg2rg.nifti import MAX_VOXELS
from reg2rg.regions import REGION_NAMES
from reg2rg.volume import Grid, RegionMasks

_LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
_TYPES = ("BINARY", "FRACTIONAL", "LABELMAP")
_SAME_DIRECTION = 1e-3  # largest difference of unit vectors' components
_SAME_SPACING = 1e-3  # largest relative difference
_SAME_PLACE_MM = 0.01
_UNEVEN_STEP = 0.1  # of a step, by which a frame may be off
_ROUNDED_MM = 0.101  # by which it may be off in any case: many scanners round positions to 0.1 mm
_UNEVEN_ROW = 0.5  # of a pixel, the same within the plane
_HEADER_TAGS = [
    *PIXEL_TAGS,
    *(
        "SOPClassUID SegmentationType MaximumFractionalValue SegmentSequence FrameOfReferenceUID PatientID Modality "
        "SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence"
    ).split(),
]


@dataclass(frozen=True)
class Segment:
    """What a segmentation says of one of its segments.

    Attributes:
        number: by which its frames or voxels name it.
        label: what it is called.
        description: more of that, or empty.
        type: what it shows, as a code; of empty texts if it has none.
    """

    number: int
    label: str
    description: str
    type: Code

    @property
    def region(self) -> str:
        """The region that has this very code (also in SNOMED RT's form, as older programs write it); empty if none.

        >>> Segment(1, "", "", Code("SRT", "T-28000", "Lung")).region
        'lung'
        """
        own = DicomCode(self.type.value, self.type.scheme, self.type.meaning)
        codes = {name: region_code(name) for name in REGION_NAMES}
        return next((n for n, code in codes.items() if own == DicomCode(code.value, code.scheme, code.meaning)), "")


@dataclass(frozen=True, eq=False)
class DicomSegmentation:
    """A segmentation whose header has been read and checked, and its pixels not yet.

    Attributes:
        file: where it is stored.
        kind: BINARY, FRACTIONAL or LABELMAP.
        segments: in the file's order, without a label map's background.
        frame_of_reference_uid: of the CT that was segmented; empty if it does not say.
        patient_id: for comparison only, never for a message.
        grid: the smallest that holds all frames, ``x y z`` = column, row, slice, in RAS+.
        slice_of_frame: index of the third axis, frame by frame.
        segment_of_frame: a segment's number, frame by frame; 0 in label maps.
        full: the stored value of a voxel that belongs to a segment wholly; from half of it on it does at all.
    """

    file: DicomFile
    kind: str
    segments: tuple[Segment, ...]
    frame_of_reference_uid: str
    patient_id: str
    grid: Grid
    slice_of_frame: Int[np.ndarray, " frame"]
    segment_of_frame: Int[np.ndarray, " frame"]
    full: int

    def paint(self, bits: Mapping[int, int]) -> RegionMasks:
        """The voxels on `grid`, each with the bits of all segments it belongs to.

        Args:
            bits: by segment number; segments that are not in it are left out.

        Raises:
            InputError: if the pixels are missing, damaged, or cannot be decoded here.
        """
        wanted = [
            frame
            for frame, number in enumerate(self.segment_of_frame.tolist())
            if self.kind == "LABELMAP" or bits.get(number)
        ]
        columns, rows, slices = self.grid.size_xyz
        array = np.zeros((slices, rows, columns), np.uint16)
        table = np.zeros(2**16, np.uint16)  # of label maps: a voxel's value is the segment's number
        for number, value in bits.items():
            table[number] = value
        if not wanted:
            return RegionMasks(array.transpose(2, 1, 0), self.grid.affine)
        with pydicom_silent():
            for frame, pixels in zip(wanted, _read_pixels(self.file, wanted, (rows, columns)), strict=True):
                plane = array[self.slice_of_frame[frame]]
                if self.kind == "LABELMAP":
                    plane |= table[pixels]
                else:
                    plane[pixels.astype(int) * 2 >= self.full] |= table[self.segment_of_frame[frame]]
        return RegionMasks(array.transpose(2, 1, 0), self.grid.affine)


def read_segmentation(path: Path) -> DicomSegmentation:
    """Reads the header of a segmentation.

    Raises:
        InputError: if it is none, damaged, or its frames do not lie on one even grid.
    """
    try:
        with pydicom_silent():
            return _read(single_file(path))
    except InputError:
        raise
    except Exception as error:  # values that are not what their tag promises
        raise InputError(f"{path}: the header holds senseless values; export the segmentation again") from error


def _read_header(file: DicomFile) -> pydicom.FileDataset:
    with file.open() as opened:
        if not begins_as_dicom(opened):
            raise InputError(f"{file.name}: expected a DICOM segmentation, this is no DICOM; give the SEG object")
    try:
        with file.open() as opened:
            if inflates_too_far(opened):
                raise ValueError("too large")
        with file.open() as opened:
            return pydicom.dcmread(opened, stop_before_pixels=True, force=True, specific_tags=_HEADER_TAGS)
    except Exception as error:  # pydicom raises many kinds for bytes that are no header
        raise InputError(f"{file.name}: the header is damaged or cut off; copy the file again") from error


def _read(file: DicomFile) -> DicomSegmentation:
    name, header = file.name, _read_header(file)
    image = Image(file, header)
    if image.sop_class_uid not in (SegmentationStorage, _LABEL_MAP_STORAGE):
        found = UID(_one_line(image.sop_class_uid)).name[:64] or "an object that does not say what it is"
        raise InputError(f"{name}: expected a DICOM segmentation, found {found}; give the SEG object")
    kind = image.text("SegmentationType")
    if kind not in _TYPES:
        raise InputError(f"{name}: expected a segmentation of type {', '.join(_TYPES)}, found {kind[:16]!r}")
    (rows, columns), num_frames = image.size, image.num_frames
    stated = len(header.get("PerFrameFunctionalGroupsSequence") or [])
    if min(rows, columns, num_frames) < 1 or stated != num_frames or int(header.get("SamplesPerPixel", 1)) != 1:
        raise InputError(
            f"{name}: expected grey frames with a place each, found {num_frames} of {rows} x {columns} pixels and "
            f"{stated} places; export the segmentation again"
        )
    if rows * columns > MAX_VOXELS:
        raise InputError(f"{name}: expected at most {MAX_VOXELS} voxels, the header says {rows} x {columns} in a frame")
    full = int(header.get("MaximumFractionalValue") or 0) if kind == "FRACTIONAL" else 1
    if full < 1:
        raise InputError(f"{name}: expected a MaximumFractionalValue above 0; export the segmentation again")
    segments = tuple(_segment(item) for item in header.get("SegmentSequence") or [] if int(item.SegmentNumber) != 0)
    numbers = [_segment_number(image, frame) for frame in range(num_frames)] if kind != "LABELMAP" else [0] * num_frames
    grid, places = _place(image, [read_plane(image, frame) for frame in range(num_frames)])
    return DicomSegmentation(
        file=image.file,
        kind=kind,
        segments=segments,
        frame_of_reference_uid=image.text("FrameOfReferenceUID"),
        patient_id=image.text("PatientID"),
        grid=grid,
        slice_of_frame=places,
        segment_of_frame=np.array(numbers),
        full=full,
    )


def _segment(item: pydicom.Dataset) -> Segment:
    number = int(item.SegmentNumber)
    if not 0 <= number < 2**16:
        raise ValueError(f"segment number {number}")
    codes = item.get("SegmentedPropertyTypeCodeSequence") or []
    return Segment(
        number=number,
        label=_one_line(item.get("SegmentLabel")),
        description=_one_line(item.get("SegmentDescription")),
        type=_code(codes[0]) if codes else Code("", "", ""),
    )


def _code(item: pydicom.Dataset) -> Code:
    value = item.get("CodeValue") or item.get("LongCodeValue")
    return Code(*(_one_line(part) for part in (item.get("CodingSchemeDesignator"), value, item.get("CodeMeaning"))))


def _one_line(text: object) -> str:
    return " ".join(str(text or "").split())


def _segment_number(image: Image, frame: int) -> int:
    return int(frame_values(image, frame, "SegmentIdentificationSequence", "ReferencedSegmentNumber")[0])


def _place(image: Image, planes: Sequence[Plane]) -> tuple[Grid, Int[np.ndarray, " frame"]]:
    """The grid on which the frames lie, and the slice of each.

    Raises:
        InputError: if the frames differ in orientation or spacing, or their places are no even row.
    """
    name, first = image.file.name, planes[0]
    for plane in planes:
        turn = [plane.along_columns - first.along_columns, plane.along_rows - first.along_rows]
        widening = np.abs(plane.spacing_mm / first.spacing_mm - 1).max()
        if np.abs(turn).max() > _SAME_DIRECTION or widening > _SAME_SPACING:
            raise InputError(f"{name}: its frames differ in orientation or pixel spacing; export it on one grid")
    positions = np.array([plane.position_mm for plane in planes])
    depths = positions @ first.normal
    order = np.argsort(depths, kind="stable")
    gaps = np.diff(depths[order])
    is_new = gaps > _SAME_PLACE_MM
    if is_new.any():
        step_mm = _step(image, gaps[is_new])
        steps = np.where(is_new, np.maximum(1, np.rint(gaps / step_mm)), 0)
    else:
        step_mm, steps = _stated_step(image), gaps * 0
    if steps.sum() * image.num_voxels / image.num_frames > MAX_VOXELS:
        raise InputError(f"{name}: its frames lie too far apart for one grid; export it on the CT's grid")
    places = np.zeros(len(planes), int)
    places[order[1:]] = np.cumsum(steps).astype(int)
    origin, step = _fit(places, positions) if is_new.any() else (positions[0], first.normal * step_mm)
    off = positions - (origin + places[:, None] * step)
    sideways_px = off @ np.array([first.along_rows, first.along_columns]).T / first.spacing_mm
    if np.abs(off @ first.normal).max() > _tolerance_mm(step_mm) or np.abs(sideways_px).max() > _UNEVEN_ROW:
        raise InputError(f"{name}: its frames do not lie at equal steps; export it on the CT's grid")
    rows, columns = image.size
    return Grid((columns, rows, int(places.max()) + 1), slices_affine(first, origin, step)), places


def _step(image: Image, gaps_mm: Float[np.ndarray, " gap"]) -> float:
    """From slice to slice; not all slices have frames.

    It is what the file says if the gaps between neighbours are multiples of it, and otherwise the usual gap among the
    narrowest.
    """
    stated = _stated(image, "SpacingBetweenSlices")
    if stated and np.abs(gaps_mm - np.rint(gaps_mm / stated) * stated).max() <= _tolerance_mm(stated):
        return stated
    return float(np.median(gaps_mm[gaps_mm < 1.5 * gaps_mm.min()]))


def _stated_step(image: Image) -> float:
    """How far the next slice would be from the only one there is."""
    step_mm = _stated(image, "SpacingBetweenSlices") or _stated(image, "SliceThickness")
    if not step_mm:
        raise InputError(f"{image.file.name}: has one slice and does not say how thick it is; export it again")
    return step_mm


def _stated(image: Image, keyword: str) -> float:
    """A measure of the first frame in mm; 0 if it is missing or senseless."""
    values = frame_values(image, 0, "PixelMeasuresSequence", keyword)
    value = float(values[0]) if values else 0.0
    return value if _SAME_PLACE_MM < value < np.inf else 0.0


def _tolerance_mm(step_mm: float) -> float:
    """By which frames may be off their places along the normal."""
    return max(_UNEVEN_STEP * step_mm, _ROUNDED_MM)


def _fit(
    places: Int[np.ndarray, " frame"], positions: Float[np.ndarray, "frame 3"]
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """The first place and the step for which ``origin + place * step`` is nearest to the positions (least squares)."""
    middle, mean = places.mean(), positions.mean(axis=0)
    step = (places - middle) @ (positions - mean) / np.sum((places - middle) ** 2)
    return mean - middle * step, step


def _read_pixels(
    file: DicomFile, frames: Sequence[int], size: tuple[int, int]
) -> Iterator[Integer[np.ndarray, "row column"]]:
    """The stored values of some frames, one after the other."""
    try:
        with file.open() as opened:
            stored = pydicom.dcmread(opened, force=True, specific_tags=[*PIXEL_TAGS, "PixelData"])
    except Exception as error:
        raise InputError(f"{file.name}: the file is damaged or cut off; copy it again") from error
    if "PixelData" not in stored:
        raise InputError(f"{file.name}: the header has no pixels behind it; copy the file again")
    check_decodable(file, stored)
    is_bits = stored.get("BitsAllocated") == 1 and not stored.file_meta.TransferSyntaxUID.is_encapsulated
    try:
        if is_bits:
            yield from (_unpack(stored.PixelData, frame, size) for frame in frames)
        else:
            yield from (pixels.reshape(size) for pixels in iter_pixels(stored, indices=list(frames)))
    except Exception as error:
        raise InputError(f"{file.name}: the pixels are damaged or cut off; copy the file again") from error


def _unpack(packed: bytes, frame: int, size: tuple[int, int]) -> UInt8[np.ndarray, "row column"]:
    """A frame of single bits; they follow each other without a gap, in a byte the lowest first (PS3.5, section 8.1.1).

    pydicom 3.0 does so only for frames that fill whole bytes.

    >>> _unpack(bytes([0b11101000, 0b00000001]), 1, (1, 3))
    array([[1, 0, 1]], dtype=uint8)
    """
    count = size[0] * size[1]
    first, skipped = divmod(frame * count, 8)
    held = np.frombuffer(packed[first : first + (skipped + count + 7) // 8], np.uint8)
    return np.unpackbits(held, bitorder="little")[skipped : skipped + count].reshape(size)
