"""Region masks that the user gives, as files, brought onto the CT's grid by their affines.

An argument is a folder of ``<region>.nii.gz`` or of a segmenter's structures (TotalSegmentator, SAT), one multi-label
file, a DICOM segmentation, or ``REGION=FILE``. Multi-label files are our own ``regions.nii.gz`` (known by the key in
its header) or a label map: its labels are named by the table in its header or, without one, are those of
TotalSegmentator's task ``total``. Segments of a DICOM segmentation are known by their codes, or else by what they are
called.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, UInt16

from reg2rg.dicom.files import is_dicom
from reg2rg.dicom.identity import identify
from reg2rg.errors import InputError
from reg2rg.geometry import axis_bits, bits_box, reorient, resample
from reg2rg.nifti import LabelMap, is_nifti, read_labels, read_region_masks, stem
from reg2rg.regions import REGIONS, find_region, get_region
from reg2rg.segment import sat
from reg2rg.segment.segmentation import Segmentation
from reg2rg.segment.structures import PaintedLabels, Structure, complete, find_structure, total_names
from reg2rg.volume import DicomSeries, Grid, RegionMasks, Volume

if TYPE_CHECKING:
    from reg2rg.dicom.segmentation import DicomSegmentation, Segment

MaskArgument = str | Path | tuple[str, str | Path]
"""A folder, a multi-label file, ``"REGION=FILE"``, or the same as a pair (region, file)."""

_Masks = PaintedLabels | RegionMasks
_Content = tuple[_Masks, bool, list[str]]
"""A file's masks and landmarks on its own grid; whether it is a label map, which may hold parts of a region; remarks.

The keys of `sources` are the regions the file speaks of.
"""

_MAX_LABEL = 2**16
_READERS = 2  # files read at once, and held in memory at most
_LISTED = 8  # names in a warning, before "and N more"
_DERIVED = "derived from other masks"


def read_masks(
    arguments: Sequence[MaskArgument], grid: Grid, volume: Volume | None = None, series: DicomSeries | None = None
) -> Segmentation:
    """Reads given masks and brings them onto a grid, each by its affine: nearest voxel, never by array index.

    Files of a folder may be called after a region or one of its synonyms (``lung.nii.gz``, ``trachea.nii.gz``) or
    after a structure of TotalSegmentator or SAT (``rib_left_1.nii.gz``, ``left rib 1.nii.gz``): structures of one
    region are united, and aorta and pleura are completed as `structures.complete` says. What could not be used (other
    names, labels outside of the table, empty masks) is listed in the warnings.

    Args:
        arguments: what was given, see `MaskArgument`.
        grid: the CT's grid.
        volume: the CT on that grid, in canonical space, by which masks of SAT that have no position are placed; None
            to take every affine as it stands.
        series: where the CT came from, if it is DICOM: DICOM segmentations must be of the same patient and the same
            frame of reference.

    Raises:
        InputError: if a path or region does not exist, a folder holds no region, a region is given twice, a file is
            no mask or lies elsewhere than the CT, or no voxel of any mask lies inside the CT.
    """
    array: UInt16[np.ndarray, "x y z"] | None = None
    files: dict[str, list[str]] = {}  # region -> names of its files
    origins: dict[str, int | None] = {}  # region -> position of the argument that gave it; None: a label map, as parts
    anywhere = 0  # bits of regions with a voxel, inside the CT or not
    warnings: list[str] = []
    sat_grid: Grid | None = None
    for position, argument in enumerate(arguments):
        for file, read in _read_ahead(list(_list_files(argument, warnings)), series):
            masks, is_in_parts, remarks = read()
            warnings += remarks
            if volume is not None and sat.lacks_position(masks.grid, grid):
                sat_grid = sat_grid or sat.seen_grid(volume, masks.grid.size_xyz, file.path)
                masks = sat.place(masks, sat_grid, file.path)
            for name in masks.sources:
                origin = None if is_in_parts else position
                if origins.setdefault(name, origin) != origin:
                    raise InputError(f"{name}: two masks are given, {files[name][0]} and {file.path.name}; give one")
                files.setdefault(name, []).append(file.path.name)
            # A table of bits is of labels that occur.
            bits = np.bitwise_or.reduce(masks.bits) if isinstance(masks, PaintedLabels) else masks.any_bits
            if bits:
                anywhere |= int(bits)
                _check_field_of_view(file.path, masks.grid, grid)
                array = _add(array, masks, grid)
    if array is None:
        array = np.zeros(grid.size_xyz, np.uint16)
    if sat_grid is not None:
        warnings.append(sat.PLACED)
    masks = complete(RegionMasks(array, grid.affine))
    if not masks.present:
        given = _sum_up(["=".join(map(str, a)) if isinstance(a, tuple) else str(a) for a in arguments])
        if anywhere:
            raise InputError(f"{given}: no voxel of the masks lies inside the CT; expected masks of the same scan")
        raise InputError(f"{given}: the masks are empty; expected voxels above 0 in at least one")
    for name in files:
        if name not in masks.present:
            problem = "has no voxel inside the CT" if anywhere & get_region(name).bit else "is empty"
            warnings.append(f"{name}: the given mask ({_sum_up(files[name], 1)}) {problem}")
    masks = replace(masks, sources={name: _sum_up(files.get(name, [_DERIVED]), 1) for name in masks.present})
    return Segmentation(masks, tuple(warnings))


def _read_ahead(
    files: Sequence["_MaskFile"], series: DicomSeries | None
) -> Iterator[tuple["_MaskFile", Callable[[], _Content]]]:
    """The files in order, each with what waits for its content: while one is looked at, the next ones are read."""
    with ThreadPoolExecutor(_READERS) as pool:
        pending: deque[Future[_Content]] = deque()
        for position, file in enumerate(files):
            for next_file in files[position + len(pending) : position + _READERS]:
                pending.append(pool.submit(_read, next_file, series))
            yield file, pending.popleft().result


def _add(array: UInt16[np.ndarray, "x y z"] | None, masks: _Masks, grid: Grid) -> UInt16[np.ndarray, "x y z"]:
    """Or-s the bits of masks, wherever their grid lies, into those on the CT's grid; None stands for no bits so far."""
    if isinstance(masks, PaintedLabels):
        labels = reorient(masks.map, grid.orientation)
        if labels.grid.matches(grid):
            array = np.zeros_like(labels.array, np.uint16) if array is None else array
            replace(masks, map=labels).add_to(array)
            return array
        masks = masks.to_masks()
    turned = reorient(masks, grid.orientation)
    added = resample(turned, grid).array
    return added.copy(order="K") if array is None else np.bitwise_or(array, added, out=array)


@dataclass(frozen=True)
class _MaskFile:
    """A file to read, and the one structure its voxels belong to; None: its labels say."""

    path: Path
    structure: Structure | None


def _list_files(argument: MaskArgument, warnings: list[str]) -> Iterator[_MaskFile]:
    if isinstance(argument, tuple):
        yield _pair(*argument)
    elif Path(argument).is_dir():
        yield from _list_folder(Path(argument), warnings)
    elif not Path(argument).exists() and "=" in str(argument):
        region, _, path = str(argument).partition("=")
        yield _pair(region, path)
    elif not Path(argument).exists():
        raise InputError(f"{argument}: no such file or folder; expected region masks (--masks PATH or REGION=FILE)")
    else:
        named = find_region(stem(Path(argument)))
        yield _MaskFile(Path(argument), Structure(named.name) if named else None)


def _pair(region: str, path: str | Path) -> _MaskFile:
    name = get_region(region).name
    if Path(path).is_dir():
        raise InputError(f"{path}: expected a mask file for {name}, found a folder; give the folder without {region}=")
    return _MaskFile(Path(path), Structure(name))


def _list_folder(folder: Path, warnings: list[str]) -> Iterator[_MaskFile]:
    paths = sorted(path for path in folder.iterdir() if path.is_file() and is_nifti(path))
    whole: dict[str, Path] = {}
    for path in paths:
        region = find_region(stem(path))
        if region is None:
            continue
        first = whole.setdefault(region.name, path)
        if first != path and not (sat.is_name(stem(first)) and sat.is_name(stem(path))):
            both = f"{first.name} and {path.name}"
            raise InputError(f"{folder}: two masks are given of {region.name}, {both}; keep one")
    structures = {path: find_structure(stem(path)) for path in paths}
    if not any(structure and structure.region for structure in structures.values()):
        found = _sum_up([path.name for path in paths]) or "no .nii.gz file"
        raise InputError(f"{folder}: expected masks named after regions, such as lung.nii.gz; found {found}")
    unknown = [path.name for path, structure in structures.items() if structure is None]
    if unknown:
        warnings.append(f"{folder.name}: not used, since no region is called so: {_sum_up(unknown)}")
    used = {path: structure for path, structure in structures.items() if structure and structure.bits}
    files = Counter(structure.region for structure in used.values())
    for path, structure in used.items():
        if structure.region and files[structure.region] == 1 and find_region(stem(path)) is None:
            warnings.append(f"{structure.region}: {path.name} is the only part of it that is given; it has others")
    yield from (_MaskFile(path, structure) for path, structure in used.items())


def _read(file: _MaskFile, series: DicomSeries | None) -> _Content:
    warnings: list[str] = []
    if not is_nifti(file.path) and is_dicom(file.path):
        return _read_dicom(file, series, warnings), True, warnings
    bit_field = read_region_masks(file.path)
    if bit_field is not None:
        if file.structure is not None:
            raise InputError(f"{file.path}: holds masks of several regions; give it without naming one")
        if not bit_field.present:
            warnings.append(f"{file.path.name}: holds no mask")
        return replace(bit_field, sources=dict.fromkeys(bit_field.present, file.path.name)), False, warnings
    labels = read_labels(file.path)
    highest = int(labels.array.max())
    lowest = 0 if labels.array.dtype.kind == "u" else int(labels.array.min())
    if lowest < 0 or highest >= _MAX_LABEL:
        raise InputError(f"{file.path}: expected a mask, found values from {lowest} to {highest}; is it the CT?")
    present = _labels_in(labels, highest)
    if file.structure is None:
        return _apply_table(file.path, labels, present, warnings), True, warnings
    region = file.structure.region
    if len(present) > 1:
        which = _sum_up([str(label) for label in present])
        warnings.append(f"{file.path.name}: all of its labels ({which}) are taken as {region or stem(file.path)}")
    bits = np.full(highest + 1, file.structure.bits, np.uint16)
    bits[0] = 0
    return PaintedLabels(labels, bits, {region: file.path.name} if region else {}), False, warnings


def _labels_in(labels: LabelMap, highest: int) -> list[int]:
    """The labels that occur, but 0."""
    if highest <= 1:
        return list(range(1, highest + 1))
    seen: Bool[np.ndarray, " label"] = np.zeros(highest + 1, bool)
    if (box := bits_box(axis_bits(labels.array))) is not None:
        array = labels.array[box.slices]
        for part in np.array_split(array, array.shape[2], axis=2):  # numbers as an index take eight bytes each
            seen[part] = True
    return [int(label) for label in np.flatnonzero(seen) if label]


def _apply_table(path: Path, labels: LabelMap, present: list[int], warnings: list[str]) -> PaintedLabels:
    if not labels.names and present == [1]:
        raise InputError(f"{path}: holds one mask and does not say of which region; give it as REGION={path.name}")
    names = labels.names or total_names()
    structures = {label: find_structure(names.get(label, "")) for label in present}
    if present and not any(structures.values()):
        table = "its own label table" if labels.names else "the table of TotalSegmentator's task total"
        found = _sum_up([_spell(label, names) for label in present])
        raise InputError(f"{path}: expected labels of regions by {table}, found {found}; give masks as REGION=FILE")
    unknown = [_spell(label, names) for label, structure in structures.items() if structure is None]
    if unknown:
        warnings.append(f"{path.name}: not used, since no region is known for these labels: {_sum_up(unknown)}")
    regions = {structure.region for structure in structures.values() if structure}
    if not any(regions):
        warnings.append(f"{path.name}: holds no mask")
    names_present = [region.name for region in REGIONS if region.name in regions]
    return replace(PaintedLabels.of(labels, structures), sources=dict.fromkeys(names_present, path.name))


def _read_dicom(file: _MaskFile, series: DicomSeries | None, warnings: list[str]) -> RegionMasks:
    """A DICOM segmentation: what each segment shows, its code says, or else its words."""
    try:
        from reg2rg.dicom.segmentation import read_segmentation
    except ModuleNotFoundError as error:
        raise InputError(f"{file.path}: reading DICOM needs pydicom; pip install 'reg2rg[dicom]'") from error
    segmentation = read_segmentation(file.path)
    if series is not None:
        _check_same_patient(file.path, segmentation, series)
    words = {segment.number: _words(segment) for segment in segmentation.segments}
    names = {number: said[0] for number, said in words.items() if said}
    structures: dict[int, Structure | None]
    if file.structure is not None:
        structures = dict.fromkeys(words, file.structure)
        if len(structures) > 1:
            which = _sum_up([_spell(number, names) for number in structures])
            warnings.append(f"{file.path.name}: all of its segments ({which}) are taken as {file.structure.region}")
    else:
        structures = {segment.number: _structure_of(segment) for segment in segmentation.segments}
        unknown = [_spell(number, names) for number, structure in structures.items() if structure is None]
        if len(unknown) == len(structures):
            found = _sum_up(unknown) or "none"
            raise InputError(f"{file.path}: expected segments of regions, found {found}; give masks as REGION=FILE")
        if unknown:
            warnings.append(
                f"{file.path.name}: not used, since no region is known for these segments: {_sum_up(unknown)}"
            )
    masks = segmentation.paint({number: structure.bits for number, structure in structures.items() if structure})
    regions = {structure.region for structure in structures.values() if structure}
    if not any(regions):
        warnings.append(f"{file.path.name}: holds no mask")
    return replace(masks, sources={region.name: file.path.name for region in REGIONS if region.name in regions})


def _structure_of(segment: "Segment") -> Structure | None:
    if segment.region:
        return Structure(segment.region)
    return next((structure for structure in map(find_structure, _words(segment)) if structure), None)


def _words(segment: "Segment") -> list[str]:
    """What a segment is called, the best name first; nothing if it has no name."""
    return [words for words in (segment.label, segment.description, segment.type.meaning) if words]


def _check_same_patient(path: Path, segmentation: "DicomSegmentation", series: DicomSeries) -> None:
    """Raises InputError if a segmentation says that it is of another patient or another frame of reference."""
    patient_id = identify(series).patient_id
    if segmentation.patient_id and patient_id and segmentation.patient_id != patient_id:
        raise InputError(f"{path}: the segmentation is of another patient than the CT; expected masks of the same scan")
    frames = (segmentation.frame_of_reference_uid, series.frame_of_reference_uid)
    if all(frames) and frames[0] != frames[1]:
        raise InputError(
            f"{path}: the segmentation lies in another frame of reference than the CT; expected masks of the same scan"
        )


def _check_field_of_view(path: Path, source: Grid, ct: Grid) -> None:
    """Raises InputError if the two blocks of voxels do not even touch: masks of another scan."""
    corners = np.array([(*corner, 1) for corner in product(*((-0.5, n - 0.5) for n in ct.size_xyz))]).T
    in_source = (np.linalg.solve(source.affine, ct.affine) @ corners)[:3]
    is_apart = (in_source.max(axis=1) < -0.5) | (in_source.min(axis=1) > np.array(source.size_xyz) - 0.5)
    if is_apart.any():
        ct_mm, source_mm = (np.rint(_center_mm(grid)).astype(int).tolist() for grid in (ct, source))
        raise InputError(
            f"{path}: the masks lie elsewhere than the CT (their middle at {source_mm} mm, the CT's at {ct_mm} mm); "
            "expected masks of the same scan"
        )


def _center_mm(grid: Grid) -> np.ndarray:
    return (grid.affine @ [*((n - 1) / 2 for n in grid.size_xyz), 1])[:3]


def _spell(label: int, names: dict[int, str]) -> str:
    return f"{label} ({names[label]})" if label in names else str(label)


def _sum_up(names: Sequence[str], listed: int = _LISTED) -> str:
    more = len(names) - listed
    return ", ".join(names[:listed]) + (f" and {more} more" if more > 0 else "")
