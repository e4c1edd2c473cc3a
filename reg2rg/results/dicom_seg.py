"""``dicom/segmentation.dcm``: the regions as a DICOM Segmentation (PS3.3, section A.51), on the slices of the CT.

Regions overlap, so each is a binary segment of its own. Its frames lie where the CT's slices lie, voxel for voxel, and
each names the slice that it was drawn on; slices without a region are left out, as the standard allows.
"""

import hashlib
import json
import re

import numpy as np
from highdicom.color import CIELabColor
from highdicom.content import AlgorithmIdentificationSequence
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from highdicom.seg import Segmentation as SegmentationObject
from jaxtyping import UInt8
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code as DicomCode
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, SegmentationStorage

from reg2rg.codes import ANATOMICAL_STRUCTURE, Code, region_code
from reg2rg.dicom.derived import decimals, derived_uid, patient_and_study
from reg2rg.geometry import resample
from reg2rg.regions import get_region
from reg2rg.report import ModelSource
from reg2rg.volume import DicomSeries, DicomSlice, RegionMasks

SERIES_NUMBER = 9001
_MAX_TEXT = 64  # characters of an LO (PS3.5, table 6.2-1)
_LPS = np.array([-1.0, -1.0, 1.0])
_DRAWN = re.compile(r"segmenter:(\S+) ?(.*)")  # how the sources of masks name a segmenter, and perhaps its version
# CID 7162:
_FAMILIES = {"threshold": DicomCode("123104", "DCM", "Morphological Operations")}
_LEARNED = DicomCode("123110", "DCM", "Artificial Intelligence")
_MANUAL = DicomCode("123109", "DCM", "Manual Processing")


def to_acquired(series: DicomSeries, masks: RegionMasks) -> RegionMasks:
    """Masks on the slices as acquired, voxel for voxel; only a gantry tilt that was taken out has to be put back.

    Args:
        series: where the CT came from.
        masks: on the CT's own grid, as `load.to_native` gives them.
    """
    return resample(masks, series.grid)


def make_segmentation(series: DicomSeries, masks: RegionMasks, model: ModelSource) -> SegmentationObject:
    """The regions that have voxels as segments, in the order of the ten.

    Args:
        series: where the CT came from; `can_be_referred_to`, and with a frame of reference.
        masks: from `to_acquired`, not empty.
        model: by whose run they were made.
    """
    segments = [
        _describe(number, name, masks.sources.get(name, ""), series, model)
        for number, name in enumerate(masks.present, start=1)
    ]
    slices = [slice_.sop_instance_uid for slice_ in series.slices]
    content = hashlib.sha256(masks.array.tobytes())
    content.update(json.dumps([slices, [segment.to_json_dict() for segment in segments]]).encode())
    segmentation = SegmentationObject(
        source_images=_slice_headers(series),
        pixel_array=_stack(masks),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=derived_uid(series, model, SegmentationStorage),
        series_number=SERIES_NUMBER,
        sop_instance_uid=derived_uid(series, model, SegmentationStorage, content.hexdigest()),
        instance_number=1,
        manufacturer="reg2rg",
        manufacturer_model_name="reg2rg",
        software_versions=model.version,
        device_serial_number=model.sha256,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label="REGIONS",
        content_description="Regions of a chest CT",
        series_description="reg2rg regions, unverified",
    )
    _name_objects(segmentation, series)
    organization = derived_uid(series, model, "dimension organization")
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization  # highdicom's own are drawn by lot
    segmentation.ContentCreatorName = ""  # of type 2; highdicom leaves it out
    segmentation.update(patient_and_study(series))
    return segmentation


def unnamed_header(series: DicomSeries, series_uid: str) -> Dataset:
    """What highdicom wants of an object of the study in question, and nothing of the patient.

    highdicom takes patient and study over from its sources, refuses values that are not allowed, and logs some; so it
    gets none, and `patient_and_study` is put into what it makes.
    """
    header = Dataset()
    header.PatientID = header.PatientName = header.PatientBirthDate = header.PatientSex = ""
    header.AccessionNumber = header.StudyID = header.StudyDate = header.StudyTime = ""
    header.SpecificCharacterSet = "ISO_IR 192"
    header.StudyInstanceUID, header.SeriesInstanceUID = series.study_uid, series_uid
    return header


def tracking_uid(series: DicomSeries, model: ModelSource, region: str) -> str:
    """By which a region is the same one in the segmentation and in the report."""
    return derived_uid(series, model, "region", region)


def to_dicom(code: Code) -> DicomCode:
    """A code as pydicom and highdicom take it."""
    return DicomCode(code.value, code.scheme, code.meaning)


def _stack(masks: RegionMasks) -> UInt8[np.ndarray, "slice row column segment"]:
    """The order that highdicom asks for, over memory in the order of frames: it is several times faster so."""
    bits = np.ascontiguousarray(masks.array.transpose(2, 1, 0))
    segments = np.empty((len(masks.present), *bits.shape), np.uint8)
    for segment, name in zip(segments, masks.present, strict=True):
        np.not_equal(bits & np.uint16(get_region(name).bit), 0, out=segment.view(bool))
    return np.moveaxis(segments, 0, -1)


def _describe(number: int, name: str, source: str, series: DicomSeries, model: ModelSource) -> SegmentDescription:
    if drawn := _DRAWN.fullmatch(source):
        how, algorithm, version = SegmentAlgorithmTypeValues.AUTOMATIC, drawn[1], drawn[2][:_MAX_TEXT] or model.version
        family = _FAMILIES.get(algorithm, _LEARNED)
    else:  # a person chose it, and this program brought it onto the CT's voxels
        how, algorithm, version = SegmentAlgorithmTypeValues.SEMIAUTOMATIC, "given as a file", model.version
        family = _MANUAL
    return SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=to_dicom(ANATOMICAL_STRUCTURE),
        segmented_property_type=to_dicom(region_code(name)),
        algorithm_type=how,
        algorithm_identification=AlgorithmIdentificationSequence(algorithm, family, version),
        tracking_uid=tracking_uid(series, model, name),
        tracking_id=name,
        display_color=CIELabColor.from_rgb(*get_region(name).color_rgb),
    )


def _slice_headers(series: DicomSeries) -> list[Dataset]:
    """Each slice and where it was acquired, as an image of its own even if it is a frame of a multi-frame object.

    highdicom takes one multi-frame object at most, and all of its frames; `_name_objects` puts the truth back.
    """
    columns, rows, _ = series.grid.size_xyz
    across_mm, down_mm, _ = series.grid.spacing_mm
    across, down, step = (_LPS * series.grid.affine[:3, axis] for axis in range(3))
    across, down = across / across_mm, down / down_mm
    headers = []
    for uid, slice_ in _placeholders(series).items():
        header = unnamed_header(series, series.series_uid)
        header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, uid
        header.FrameOfReferenceUID, header.PositionReferenceIndicator = series.frame_of_reference_uid, ""
        header.Modality, header.Rows, header.Columns = "CT", rows, columns
        header.ImagePositionPatient = decimals(slice_.position_mm)
        header.ImageOrientationPatient = decimals([*across, *down])
        header.PixelSpacing = decimals([down_mm, across_mm])
        header.SliceThickness = header.SpacingBetweenSlices = decimals([abs(np.cross(across, down) @ step)])[0]
        headers.append(header)
    return headers


def _placeholders(series: DicomSeries) -> dict[str, DicomSlice]:
    """A UID for each slice, until `_name_objects`."""
    return {f"2.25.{number}": slice_ for number, slice_ in enumerate(series.slices, start=1)}


def _name_objects(segmentation: Dataset, series: DicomSeries) -> None:
    """Names the objects that hold the slices, each once, and where they have many frames the frames that are meant."""
    slices = _placeholders(series)
    objects = {slice_.sop_instance_uid: _reference(slice_) for slice_ in series.slices}
    segmentation.SourceImageSequence = list(objects.values())
    segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence = list(objects.values())
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        if slice_ := slices.get(source.ReferencedSOPInstanceUID):  # not yet: segments share the items of a slice
            source.update(_reference(slice_))
            if len(objects) < len(series.slices):
                source.ReferencedFrameNumber = slice_.frame_index + 1


def _reference(slice_: DicomSlice) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = slice_.sop_class_uid, slice_.sop_instance_uid
    return reference
