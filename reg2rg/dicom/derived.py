"""Objects that are derived from a series: what they take over from its header, and the UIDs they get.

A derived object belongs to the patient and to the study of its source; its equipment is this program. The same source,
model, version and content give the same UIDs and the same bytes: there is no time in them.
"""

import hashlib
import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from reg2rg.dicom.files import DicomFile
from reg2rg.report import ModelSource
from reg2rg.volume import DicomSeries

_MAX_TEXT = 64  # characters of an LO (PS3.5, table 6.2-1)
_UID = re.compile(r"(?=.{1,64}$)[0-9]+(\.[0-9]+)*")
# Of PS3.3: the modules Patient (C.7.1.1), General Study (C.7.2.1), Patient Study (C.7.2.2), SOP Common (C.12.1).
_NEVER_ABSENT = (
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID "
    "AccessionNumber"
).split()
_TAKEN_OVER = [
    *_NEVER_ABSENT,
    *(
        "StudyInstanceUID StudyDescription IssuerOfPatientID TypeOfPatientID PatientIdentityRemoved "
        "DeidentificationMethod DeidentificationMethodCodeSequence PatientAge PatientSize PatientWeight "
        "TimezoneOffsetFromUTC"
    ).split(),
]


def read_header(file: DicomFile) -> dict[str, Any]:
    """What derived objects take over of a file's header, as text in the DICOM JSON model (PS3.18, annex F).

    Values that cannot be read as what their tag promises are left out.
    """
    with file.open() as opened:
        header = pydicom.dcmread(opened, stop_before_pixels=True, force=True, specific_tags=[*_TAKEN_OVER])
    model: dict[str, Any] = {}
    for keyword in _TAKEN_OVER:
        try:
            part = Dataset()
            part.update({tag: header[tag] for tag in header.keys() & {pydicom.tag.Tag(keyword)}})
            model |= part.to_json_dict()
        except Exception:  # pydicom raises many kinds for values that are not what their tag promises
            continue
    return model


def can_be_referred_to(series: DicomSeries) -> bool:
    """Whether the series has all the UIDs that a derived object must name."""
    return not _missing_uids(series)


def _missing_uids(series: DicomSeries) -> list[str]:
    """Attributes by which a derived object names others, and which hold no UID."""
    uids = {
        "StudyInstanceUID": {series.study_uid},
        "SeriesInstanceUID": {series.series_uid},
        "SOPClassUID": {slice_.sop_class_uid for slice_ in series.slices},
        "SOPInstanceUID": {slice_.sop_instance_uid for slice_ in series.slices},
    }
    return [name for name, values in uids.items() if not all(map(_UID.fullmatch, values))]


def why_no_objects(series: DicomSeries) -> str:
    """Why no DICOM objects can be derived from a series, in one line; empty if they can."""
    if missing := _missing_uids(series):
        return f"the files do not have the UIDs by which objects would name them ({', '.join(missing)})"
    if not _UID.fullmatch(series.frame_of_reference_uid):
        return "the files have no frame of reference"
    if find_spec("highdicom") is None:
        return "highdicom is missing; pip install 'reg2rg[dicom]'"
    return ""


def patient_and_study(series: DicomSeries) -> Dataset:
    """What every object that is derived from a series says of patient and study; texts are to be written in UTF-8."""
    taken_over = Dataset.from_json(series.header)
    taken_over.SpecificCharacterSet = "ISO_IR 192"  # pydicom has decoded the texts; UTF-8 holds them all
    for keyword in _NEVER_ABSENT:
        if keyword not in taken_over:
            setattr(taken_over, keyword, "")
    taken_over.StudyInstanceUID = series.study_uid
    return taken_over


def derive_object(series: DicomSeries, model: ModelSource, sop_class_uid: str, content: bytes) -> Dataset:
    """A new object with patient, study, equipment and UIDs; the modules of its own kind are still to come.

    Args:
        series: what it is derived from; `can_be_referred_to`.
        model: what it is derived by.
        sop_class_uid: what kind of object it becomes; objects of a kind, source, model and version form a series.
        content: what it will hold; another content is another object.
    """
    derived = patient_and_study(series)
    derived.SeriesInstanceUID = derived_uid(series, model, sop_class_uid)
    derived.SOPClassUID = sop_class_uid
    derived.SOPInstanceUID = derived_uid(series, model, sop_class_uid, hashlib.sha256(content).hexdigest())
    derived.Manufacturer = "reg2rg"
    derived.ManufacturerModelName = re.sub(r"[^ -\[\]-~]", "?", model.short_name)[:_MAX_TEXT]
    derived.DeviceSerialNumber = model.sha256
    derived.SoftwareVersions = model.version
    derived.file_meta = FileMetaDataset()
    derived.file_meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    derived.file_meta.MediaStorageSOPInstanceUID = derived.SOPInstanceUID
    derived.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return derived


def derived_uid(series: DicomSeries, model: ModelSource, *parts: str) -> str:
    """A UID that follows from a series, a model, the program's version and further parts (2.25, PS3.5 annex B.2)."""
    name = " ".join((series.series_uid, model.sha256, model.version, *parts))
    return f"2.25.{uuid5(NAMESPACE_OID, name).int}"


def decimals(values: Iterable[float]) -> list[str]:
    """Numbers as DICOM's decimal strings, of at most 16 characters; -0 is written as 0.

    >>> decimals([1 / 3, -0.0])
    ['0.33333333333333', '0.0']
    """
    return [format_number_as_ds(float(value) + 0.0) for value in values]


def write_object(path: Path, derived: Dataset) -> None:
    """Writes an object as a DICOM file."""
    derived.save_as(path, enforce_file_format=True)
