"""What a dataset's folders hold, found before any voxel is read: files by study, and what is missing or odd."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reg2rg.data.region_texts import RegionTexts
from reg2rg.errors import InputError
from reg2rg.nifti import is_nifti, stem
from reg2rg.regions import REGION_NAMES, find_region

SPLITS = ("train", "valid")


@dataclass(frozen=True)
class StudyFiles:
    """Where one study lies.

    Attributes:
        key: what the dataset calls the study (AccNum in predictions.csv).
        volume: the CT.
        masks: region masks, as `reg2rg.segment.given.read_masks` takes them.
        regions: the regions that have a mask file; None where only the voxels tell (a multi-label file).
        texts: region, or ``other``, to text; a text may be empty.
    """

    key: str
    volume: Path
    masks: tuple[str, ...]
    regions: tuple[str, ...] | None
    texts: dict[str, str]


@dataclass(frozen=True)
class Inventory:
    """What was found, and what was not: nothing is left out in silence.

    Attributes:
        source: the dataset as it was named.
        studies: how many studies there are to read.
        without_volume: left out: named in the table of texts, but there is no volume.
        without_masks: left out: there is a volume, but no region mask.
        without_texts: kept: no region has a text.
        missing_masks: kept: by study, regions that have a text but no mask.
        missing_texts: kept: by study that has texts, regions that have a mask but no text.
        duplicate_texts: by study, regions with several rows; the last one is used, as published.
        duplicate_files: volumes and masks that are not used, as there is another of the same name.
        missing_files: masks that a manifest names and that are not there.
        unknown_regions: names that are none of the ten regions, in tables and mask files, and how often they occur.
    """

    source: str
    studies: int
    without_volume: tuple[str, ...] = ()
    without_masks: tuple[str, ...] = ()
    without_texts: tuple[str, ...] = ()
    missing_masks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    missing_texts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    duplicate_texts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    duplicate_files: tuple[str, ...] = ()
    missing_files: tuple[str, ...] = ()
    unknown_regions: dict[str, int] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many studies, files or names each list has; only lists that are not empty.

        >>> Inventory("data", studies=3, without_masks=("train_7_a_1.nii.gz",)).counts
        {'without_masks': 1}
        """
        lists = {name: value for name, value in vars(self).items() if name not in ("source", "studies")}
        return {name: len(value) for name, value in lists.items() if value}

    @property
    def summary(self) -> str:
        """One line: the studies, and the length of each list.

        >>> Inventory("data", studies=3, without_masks=("train_7_a_1.nii.gz",)).summary
        'data: 3 studies; without masks: 1'
        """
        lists = [f"{name.replace('_', ' ')}: {count}" for name, count in self.counts.items()]
        return "; ".join([f"{self.source}: {self.studies} studies", *lists])

    def to_json(self) -> dict[str, Any]:
        """Counts and lists as JSON values."""
        return {"counts": self.counts, **asdict(self)}


@dataclass(frozen=True)
class Listing:
    """All studies of one split.

    Attributes:
        studies: in the order in which they are read.
        inventory: what was found and what was not.
        has_other_report: texts of regions without a mask go into an other report (CTRG).
    """

    studies: tuple[StudyFiles, ...]
    inventory: Inventory
    has_other_report: bool = False


def list_studies(
    source: str,
    volumes: Path,
    mask_folder: Callable[[str], Path],
    texts: RegionTexts,
    key: Callable[[Path], str],
    has_other_report: bool = False,
) -> Listing:
    """The studies of a folder of volumes, with a folder of region files for each.

    Args:
        source: the dataset's name in messages.
        volumes: holds the volumes, in subfolders or not.
        mask_folder: the folder of a volume's masks, by the volume's file name without its ending.
        texts: region texts by the same name.
        key: what the study of a volume's path is called.
        has_other_report: as in `Listing`.

    Raises:
        InputError: if no volume is there, or none has a mask.
    """
    files, duplicates = _find_volumes(volumes)
    if not files:
        raise InputError(f"{volumes}: expected CT volumes (.nii.gz) there or in its subfolders, found none")
    unknown = Counter(texts.unknown_regions)
    studies, without_masks = [], []
    for name, path in files.items():
        masks, odd, second = _find_masks(mask_folder(name))
        unknown.update(odd)
        duplicates += second
        if not masks:
            without_masks.append(key(path))
            continue
        arguments = tuple(f"{region}={mask}" for region, mask in masks.items())
        studies.append(StudyFiles(key(path), path, arguments, tuple(masks), texts.by_study.get(name, {})))
    if not studies:
        raise InputError(
            f"{volumes}: {len(files)} volumes, but no region masks of any; "
            f"expected files like {mask_folder(next(iter(files))) / 'lung.nii.gz'}"
        )
    names = {name: key(path) for name, path in files.items()}
    inventory = take_inventory(
        source,
        studies,
        without_volume=tuple(sorted(set(texts.by_study) - set(files), key=natural_order)),
        without_masks=tuple(without_masks),
        duplicate_texts={names.get(name, name): regions for name, regions in texts.duplicates.items()},
        duplicate_files=tuple(duplicates),
        unknown_regions=dict(unknown),
    )
    return Listing(tuple(studies), inventory, has_other_report)


def take_inventory(source: str, studies: Sequence[StudyFiles], **found: Any) -> Inventory:
    """The inventory of studies that are there: whose texts or masks are missing is told from them.

    Args:
        source: the dataset's name in messages.
        studies: the studies that can be read.
        **found: the lists of `Inventory` that the studies do not tell.
    """
    without_texts, missing_masks, missing_texts = [], {}, {}
    for study in studies:
        written = [name for name in REGION_NAMES if study.texts.get(name)]
        if not any(study.texts.values()):
            without_texts.append(study.key)
        if study.regions is None:
            continue
        if lost := tuple(name for name in written if name not in study.regions):
            missing_masks[study.key] = lost
        if written and (silent := tuple(name for name in study.regions if name not in written)):
            missing_texts[study.key] = silent
    return Inventory(
        source,
        len(studies),
        without_texts=tuple(without_texts),
        missing_masks=missing_masks,
        missing_texts=missing_texts,
        **found,
    )


def natural_order(name: str) -> list[tuple[int, str]]:
    """A sorting key under which train_2 comes before train_10.

    >>> sorted(["train_10", "train_2"], key=natural_order)
    ['train_2', 'train_10']
    """
    return [(int(digits or -1), letters) for digits, letters in re.findall(r"(\d+)|(\D+)", name)]


def _find_volumes(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Volumes by file name without its ending, and second files of the same name."""
    files: dict[str, Path] = {}
    duplicates = []
    paths = (path for path in folder.rglob("*") if _is_volume(path))
    for path in sorted(paths, key=lambda path: natural_order(str(path.relative_to(folder)))):
        if stem(path) in files:
            duplicates.append(str(path))
        else:
            files[stem(path)] = path
    return files, duplicates


def _is_volume(path: Path) -> bool:
    """Whether it is a NIfTI file; hidden ones are half-written, or macOS's notes beside the real ones."""
    return path.is_file() and is_nifti(path) and not path.name.startswith(".")


def _find_masks(folder: Path) -> tuple[dict[str, Path], list[str], list[str]]:
    """Region files in the order of the ten; names of no region; second files of a region."""
    paths = sorted(path for path in folder.glob("*") if _is_volume(path))
    masks: dict[str, Path] = {}
    unknown, duplicates = [], []
    # The region's own name comes before its synonyms.
    for path in sorted(paths, key=lambda path: stem(path) not in REGION_NAMES):
        region = find_region(stem(path))
        if region is None:
            unknown.append(stem(path))
        elif region.name in masks:
            duplicates.append(str(path))
        else:
            masks[region.name] = path
    return {name: masks[name] for name in REGION_NAMES if name in masks}, unknown, duplicates
