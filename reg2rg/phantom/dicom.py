"""A phantom's CT as a DICOM series, as a scanner would export it.

The same phantom gives the same bytes: no dates, and UIDs that follow from the seed (under 2.25, PS3.5 annex B.2).
"""

import hashlib
from pathlib import Path
from uuid import UUID

import numpy as np
from jaxtyping import Int16
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from reg2rg.dicom.derived import decimals
from reg2rg.files import staged_folder
from reg2rg.volume import Volume

_INTERCEPT_HU = -1024
_BITS = 12
_LPS = np.array([-1.0, -1.0, 1.0])


def write_dicom_series(folder: Path, volume: Volume, seed: int, name: str) -> None:
    """Writes one file per slice, ``CT0001.dcm`` and so on, complete or not at all; what was there is replaced.

    Args:
        folder: the folder to write.
        volume: whole HU; each index of the third axis becomes a slice, the second grows along its rows' order and the
            first along its columns'. Orient it ``LPS`` for axial slices as scanners write them.
        seed: the phantom's seed, from which the UIDs follow.
        name: the study's name; the patient is called ``PHANTOM^`` and this.
    """
    direction = volume.affine[:3, :3] / volume.grid.spacing_mm * _LPS[:, None]
    series = _series(volume, seed, name)
    with staged_folder(folder, force=True) as staging:
        for k in range(volume.array.shape[2]):
            dataset = Dataset(series)
            dataset.SOPInstanceUID = _uid(seed, f"{name} slice {k}")
            dataset.InstanceNumber = k + 1
            dataset.ImagePositionPatient = decimals(_LPS * (volume.affine @ [0, 0, k, 1])[:3])
            dataset.ImageOrientationPatient = decimals(direction[:, :2].T.ravel())
            dataset.PixelData = _stored(volume.array[:, :, k].astype(np.int16)).tobytes()
            dataset.file_meta = _file_meta(dataset)
            dataset.save_as(staging / f"CT{k + 1:04d}.dcm", enforce_file_format=True)


def _series(volume: Volume, seed: int, name: str) -> Dataset:
    """What all slices have in common: the modules of PS3.3, section A.3.3, without dates."""
    columns, rows, _ = volume.array.shape
    across_mm, down_mm, step_mm = volume.grid.spacing_mm
    common = Dataset()
    common.SOPClassUID = CTImageStorage
    common.PatientName, common.PatientID = f"PHANTOM^{name}", name
    common.PatientBirthDate = common.PatientSex = common.ReferringPhysicianName = ""
    common.StudyDate = common.StudyTime = common.AccessionNumber = common.StudyID = ""
    common.StudyInstanceUID = _uid(seed, f"{name} study")
    common.SeriesInstanceUID = _uid(seed, f"{name} series")
    common.FrameOfReferenceUID = _uid(seed, f"{name} frame of reference")
    common.PositionReferenceIndicator = ""
    common.Modality, common.SeriesNumber, common.AcquisitionNumber = "CT", 1, 1
    common.SeriesDescription = "reg2rg phantom, no patient"
    common.Manufacturer = "reg2rg"
    common.BodyPartExamined, common.PatientPosition = "CHEST", "HFS"
    common.ImageType = ["DERIVED", "PRIMARY", "AXIAL"]
    common.KVP = None
    common.Rows, common.Columns = rows, columns
    common.PixelSpacing = decimals(np.array([down_mm, across_mm]))
    common.SliceThickness = decimals(np.array([step_mm]))[0]
    common.SamplesPerPixel, common.PhotometricInterpretation = 1, "MONOCHROME2"
    common.BitsAllocated, common.BitsStored, common.HighBit, common.PixelRepresentation = 16, _BITS, _BITS - 1, 0
    common.RescaleIntercept, common.RescaleSlope, common.RescaleType = str(_INTERCEPT_HU), "1", "HU"
    common.WindowCenter, common.WindowWidth = "-300", "1400"
    return common


def _stored(hu: Int16[np.ndarray, "column row"]) -> np.ndarray:
    """Stored values, rows first, little endian."""
    return np.clip(hu.T.astype(np.int32) - _INTERCEPT_HU, 0, 2**_BITS - 1).astype("<u2")


def _file_meta(dataset: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return meta


def _uid(seed: int, role: str) -> str:
    digest = hashlib.sha256(f"reg2rg phantom {seed} {role}".encode()).digest()
    return f"2.25.{UUID(bytes=digest[:16], version=4).int}"
