"""DICOM series of every kind, as small as they can be, for tests of the reader."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

from reg2rg.volume import Volume

STUDY = "2.25.1"
SERIES = "2.25.2"
AXIAL = (1, 0, 0, 0, 1, 0)
CORONAL = (1, 0, 0, 0, 0, -1)
SAGITTAL = (0, 1, 0, 0, 0, -1)
SECRET = "DOE^JOHN"
SIZE = (12, 10, 7)
"""Columns, rows and slices of `block`."""


def block(seed: int = 0, size: tuple[int, int, int] = SIZE) -> np.ndarray:
    """HU in which no two voxels are likely to be alike: column, row, slice; int16."""
    return np.random.default_rng(seed).integers(-1024, 3072, size).astype(np.int16)


def make_series(
    hu: np.ndarray,
    orientation: Sequence[float] = AXIAL,
    spacing: tuple[float, float] = (0.8, 0.7),
    step: float | Sequence[float] = 2.5,
    origin: Sequence[float] = (-30.0, 21.0, -400.0),
    series_uid: str = SERIES,
) -> list[Dataset]:
    """A data set per slice.

    Args:
        hu: column, row, slice.
        orientation: ImageOrientationPatient.
        spacing: mm between rows, and between columns.
        step: mm from slice to slice along the normal, or the whole way as a vector.
        origin: ImagePositionPatient of the first slice.
        series_uid: SeriesInstanceUID.
    """
    directions = np.array(orientation, float).reshape(2, 3)
    way = np.cross(*directions) * step if isinstance(step, float) else np.array(step)
    datasets = []
    for k in range(hu.shape[2]):
        dataset = Dataset()
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = SECRET, SECRET, "19700101"
        dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, f"{series_uid}.{k + 1}"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, series_uid
        dataset.FrameOfReferenceUID = f"{STUDY}.9"
        dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.InstanceNumber, dataset.AcquisitionNumber = k + 1, 1
        dataset.ConvolutionKernel = "B30f"
        dataset.SliceThickness = "9"  # never to be taken for the spacing
        dataset.ImageOrientationPatient = [float(value) for value in orientation]
        dataset.ImagePositionPatient = [round(float(value), 8) for value in np.array(origin) + k * way]
        dataset.PixelSpacing = list(spacing)
        dataset.Rows, dataset.Columns = hu.shape[1], hu.shape[0]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = "1", "-1024", "HU"
        dataset.PixelData = (hu[:, :, k].T.astype(np.int32) + 1024).astype("<u2").tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        datasets.append(dataset)
    return datasets


def make_enhanced(datasets: Sequence[Dataset]) -> Dataset:
    """The same slices as one Enhanced CT object: positions per frame, everything else shared."""
    first = datasets[0]
    whole = Dataset()
    for keyword in (
        "PatientName StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID Modality Rows Columns SamplesPerPixel "
        "PhotometricInterpretation BitsAllocated BitsStored HighBit PixelRepresentation"
    ).split():
        setattr(whole, keyword, first[keyword].value)
    whole.SOPClassUID, whole.SOPInstanceUID = EnhancedCTImageStorage, "2.25.77"
    whole.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    whole.NumberOfFrames = len(datasets)

    def group(sequence: str, **values: object) -> Dataset:
        item, holder = Dataset(), Dataset()
        for keyword, value in values.items():
            setattr(item, keyword, value)
        setattr(holder, sequence, [item])
        return holder

    shared = Dataset()
    for part in (
        group("PlaneOrientationSequence", ImageOrientationPatient=first.ImageOrientationPatient),
        group("PixelMeasuresSequence", PixelSpacing=first.PixelSpacing, SliceThickness="9"),
        group("PixelValueTransformationSequence", RescaleSlope="1", RescaleIntercept="-1024", RescaleType="HU"),
    ):
        shared.update(part)
    whole.SharedFunctionalGroupsSequence = [shared]
    whole.PerFrameFunctionalGroupsSequence = [
        group("PlanePositionSequence", ImagePositionPatient=dataset.ImagePositionPatient) for dataset in datasets
    ]
    whole.PixelData = b"".join(dataset.PixelData for dataset in datasets)
    whole["PixelData"].VR = "OW"
    whole.file_meta = FileMetaDataset()
    whole.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return whole


def save(folder: Path, datasets: Sequence[Dataset], prefix: str = "IM") -> Path:
    """Writes the data sets under names whose order says nothing; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    names = np.random.default_rng(len(datasets)).permutation(len(datasets))
    for name, dataset in zip(names, datasets, strict=True):
        dataset.save_as(folder / f"{prefix}{name:04d}", enforce_file_format=True)
    return folder


def read_by_simpleitk(datasets: Sequence[Dataset], folder: Path) -> Volume:
    """What SimpleITK (GDCM) makes of a saved series; of a multi-frame file, if there is one."""
    if len(datasets) == 1:
        image = sitk.ReadImage(next(str(path) for path in folder.iterdir()))
    else:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        image = reader.Execute()
    return from_simpleitk(image)


def from_simpleitk(image: sitk.Image) -> Volume:
    """As a Volume: axes reversed, LPS to RAS."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return Volume(sitk.GetArrayFromImage(image).transpose(2, 1, 0), np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)


def assert_same_places(volume: Volume, oracle: Volume) -> None:
    """Every voxel of the oracle has the same HU in the volume, at the same millimetres; and there are no more."""
    assert volume.array.size == oracle.array.size
    index = np.indices(oracle.array.shape).reshape(3, -1)
    mm = oracle.affine @ np.vstack([index, np.ones(index.shape[1])])
    mine = np.linalg.solve(volume.affine, mm)[:3]
    nearest = np.rint(mine).astype(int)
    np.testing.assert_allclose(mine, nearest, atol=1e-4)
    np.testing.assert_array_equal(volume.array[tuple(nearest)], oracle.array.reshape(-1))
