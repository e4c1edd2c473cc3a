"""A scan on disk in, a Study out: read, turned to RAS+, with a mask for each region; and the way back."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from reg2rg.dicom.files import DICOMDIR, is_dicom
from reg2rg.errors import InputError
from reg2rg.geometry import reorient
from reg2rg.intensity import AIR_HU
from reg2rg.nifti import is_nifti, read_volume, states_orientation, stem
from reg2rg.regions import REGION_NAMES, get_region
from reg2rg.segment.given import MaskArgument, read_masks
from reg2rg.segment.quality import find_doubts
from reg2rg.segment.segmentation import Segmentation, Segmenter, find_segmenter
from reg2rg.volume import DicomSeries, RegionMasks, Study, Volume

_NEAR_AIR_HU = AIR_HU + 100
_DICOM_ENDINGS = (".zip", ".dcm", ".ima")


def load_study(
    path: str | Path,
    masks: Sequence[MaskArgument] = (),
    segmenter: str | None = None,
    study_id: str | None = None,
    admit: Callable[[Volume], Sequence[str]] | None = None,
    fallback: Segmenter | None = None,
    series: str | None = None,
) -> Study:
    """Reads a CT and its region masks into one canonical (RAS+) Study.

    Given masks win. A segmenter named as well draws the other regions; without masks and without a segmenter, ``auto``
    draws them.

    Args:
        path: the CT in any orientation: ``.nii``, ``.nii.gz``, or DICOM (a folder, a zip, a DICOMDIR, a file).
        masks: given region masks: folders of ``<region>.nii.gz``, multi-label files, DICOM segmentations,
            ``"REGION=FILE"``, or pairs (region, file); on the CT's grid or on another one of the same scan.
        segmenter: a name of `reg2rg.segment.SEGMENTERS`.
        study_id: what the study is called; by default `study_name` of the path.
        admit: looks at the canonical CT before any mask is read or drawn; gives warnings, or raises InputError.
        fallback: draws the regions where the segmenter refuses.
        series: of DICOM, the SeriesInstanceUID to read; by default the likeliest chest CT.

    Raises:
        InputError: if the CT or a mask cannot be used, or there is no region at all.
    """
    path = Path(path)
    draw = find_segmenter(segmenter or "auto") if segmenter or not masks else None
    native, remarks, dicom_series = read_scan(path, series)
    volume = reorient(native)
    try:
        remarks = (*remarks, *(admit(volume) if admit else ()))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    given = read_masks(masks, volume.grid, volume, dicom_series) if masks else None
    try:
        drawn = _draw(volume, draw, fallback) if draw else None
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    segmentation = _fill(given, drawn)
    found = find_doubts(segmentation.masks)
    mask_doubts = {
        name: (*segmentation.doubts.get(name, ()), *found.get(name, ()))
        for name in segmentation.masks.present
        if name in segmentation.doubts or name in found
    }
    return Study(
        study_id=study_id or study_name(path),
        volume=volume,
        masks=segmentation.masks,
        source=str(path),
        native_affine=native.affine,
        warnings=(
            *remarks,
            *segmentation.warnings,
            *_doubts(volume, segmentation.masks),
            *(f"the mask of {name}: {doubt}" for name, doubts in mask_doubts.items() for doubt in doubts),
        ),
        mask_doubts=mask_doubts,
        series=dicom_series,
    )


def to_native(study: Study, masks: RegionMasks) -> RegionMasks:
    """Masks of a canonical study in the axes of its file, with the affine exactly as stored.

    The inverse of what `load_study` does to the scan; masks on the study's grid go in, for writing beside the CT.
    """
    native = reorient(masks, study.native_grid.orientation)
    return native if study.native_affine is None else native.moved(native.array, study.native_affine)


def study_name(path: Path) -> str:
    """What a scan is called: its name without the ending; a DICOMDIR goes by its folder.

    >>> study_name(Path("a/valid_1_a_1.nii.gz")), study_name(Path("b/series.zip")), study_name(Path("c/DICOMDIR"))
    ('valid_1_a_1', 'series', 'c')
    """
    if path.name.upper() == DICOMDIR:
        path = path.parent
    if path.name in ("", ".."):
        path = path.resolve()
    return path.stem if path.suffix.lower() in _DICOM_ENDINGS else stem(path)


def read_scan(path: Path, series: str | None = None) -> tuple[Volume, tuple[str, ...], DicomSeries | None]:
    """The CT in HU, axes and affine as stored; what should be known about the file, a sentence each; its DICOM series.

    Raises:
        InputError: if it is missing, or neither NIfTI nor DICOM that holds a CT.
    """
    if not is_nifti(path) and is_dicom(path):
        return _read_dicom(path, series)
    if series is not None:
        raise InputError(f"--series {series}: only DICOM has series, {path} is none; leave it out")
    if path.exists() and not is_nifti(path):
        raise InputError(f"{path}: expected a CT as .nii, .nii.gz or DICOM; convert it first, or correct its name")
    volume = read_volume(path)
    if states_orientation(path):
        return volume, (), None
    remark = "the file does not say which side is left: x is taken to grow to the left; check the sides"
    return volume, (remark,), None


def _read_dicom(path: Path, series: str | None) -> tuple[Volume, tuple[str, ...], DicomSeries]:
    try:
        from reg2rg.dicom.derived import why_no_objects
        from reg2rg.dicom.read import read_dicom
    except ModuleNotFoundError as error:
        raise InputError(f"{path}: reading DICOM needs pydicom; pip install 'reg2rg[dicom]'") from error
    scan = read_dicom(path, series)
    obstacle = why_no_objects(scan.series)
    remarks = (f"no DICOM objects are written: {obstacle}",) if obstacle else ()
    return scan.volume, (*scan.remarks, *remarks), scan.series


def _draw(volume: Volume, draw: Segmenter, fallback: Segmenter | None) -> Segmentation:
    try:
        return draw(volume)
    except InputError:
        if fallback is None:
            raise
        return fallback(volume)


def _fill(given: Segmentation | None, drawn: Segmentation | None) -> Segmentation:
    """The given masks, and the drawn ones of the regions that are not given; one of the two may be None."""
    if given is None or drawn is None:
        only = given or drawn
        assert only is not None
        return only
    missing = [name for name in drawn.masks.present if name not in given.masks.present]
    bits = np.uint16(sum(get_region(name).bit for name in missing))
    masks = replace(
        given.masks,
        array=given.masks.array | (drawn.masks.array & bits),
        sources=given.masks.sources | {name: drawn.masks.sources[name] for name in missing},
    )
    doubts = {name: doubts for name, doubts in drawn.doubts.items() if name in missing}
    return Segmentation(masks, given.warnings + drawn.warnings, doubts)


def _doubts(volume: Volume, masks: RegionMasks) -> list[str]:
    doubts = []
    lowest = np.min(volume.array)
    if lowest > _NEAR_AIR_HU:
        doubts.append(f"no voxel is near air ({AIR_HU} HU), the lowest is {lowest:g}: perhaps no HU, or no CT")
    missing = [name for name in REGION_NAMES if name not in masks.present]
    if missing:
        doubts.append(f"no mask, and so no report, of: {', '.join(missing)}")
    return doubts
