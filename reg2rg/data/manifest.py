"""Anyone's own data: a CSV file with the columns study, volume, masks, region, text.

    study,volume,masks,region,text
    a,a/ct.nii.gz,a/masks,lung,A nodule of 4 mm.
    a,a/ct.nii.gz,a/masks,heart,Normal.
    b,b/ct.nii.gz,b/lung_mask.nii.gz,lung,
    b,b/ct.nii.gz,b/regions.nii.gz,,

A row per study and region. The columns region and text may be missing; a text without a region is not used. `masks` is
a folder of ``<region>.nii.gz``, a multi-label file, or, in a row that names a region, that region's mask (unless rows
of other regions name the same file, which is multi-label then). Paths are relative to the CSV's folder. A column
`split` (train, valid) may say what a row belongs to; without it, or with an empty cell, it belongs to both.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from reg2rg.data.listing import SPLITS, Listing, StudyFiles, take_inventory
from reg2rg.data.region_texts import clean_text, read_rows
from reg2rg.errors import InputError
from reg2rg.nifti import is_nifti, stem
from reg2rg.regions import REGION_NAMES, find_region

_COLUMNS = ("study", "volume", "masks")


def list_manifest(path: Path, split: str) -> Listing:
    """The studies of one split of a manifest, in the order of their first rows; keys are the study names.

    Raises:
        InputError: if the file is no manifest, a study has two volumes or a name that cannot name a file, no row
            belongs to the split, or no study has both a volume and a mask.
    """
    drafts: dict[str, _Draft] = {}
    unknown: Counter[str] = Counter()
    for row in read_rows(path, _COLUMNS):
        if not _belongs_to(split, row, path):
            continue
        draft = _draft_of(drafts, row, path)
        anatomy = clean_text(row.get("region", ""))
        region = find_region(anatomy)
        if anatomy and region is None:
            unknown[anatomy] += 1
            continue
        name = region.name if region else ""
        draft.add_masks(row["masks"].strip(), name, path.parent)
        if name:
            draft.add_text(name, clean_text(row.get("text", "")))
    if not drafts:
        raise InputError(f"{path}: expected rows of the split {split}, found none")

    without_volume = tuple(key for key, draft in drafts.items() if not draft.volume.is_file())
    without_masks = tuple(key for key, draft in drafts.items() if not draft.masks and key not in without_volume)
    studies = [
        draft.study(key) for key, draft in drafts.items() if key not in without_volume and key not in without_masks
    ]
    if not studies:
        key, draft = next(iter(drafts.items()))
        lacks = f"no volume {draft.volume}" if key in without_volume else "no mask that exists"
        raise InputError(f"{path}: no study has both a volume and a mask; {key}, for one, has {lacks}")
    inventory = take_inventory(
        f"{path} ({split})",
        studies,
        without_volume=without_volume,
        without_masks=without_masks,
        duplicate_texts={
            key: tuple(dict.fromkeys(draft.duplicates)) for key, draft in drafts.items() if draft.duplicates
        },
        missing_files=tuple(str(file) for draft in drafts.values() for file in draft.missing_files),
        unknown_regions=dict(unknown),
    )
    return Listing(tuple(studies), inventory)


@dataclass
class _Draft:
    """A study while its rows are read; `masks` keeps the regions, or '', of the rows that name a path."""

    volume: Path
    masks: dict[Path, set[str]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    duplicates: list[str] = field(default_factory=list)
    missing_files: list[Path] = field(default_factory=list)

    def add_masks(self, cell: str, region: str, folder: Path) -> None:
        path = folder / cell
        if cell and (path.is_file() or _mask_files(path)):
            self.masks.setdefault(path, set()).add(region)
        elif cell and path not in self.missing_files:
            self.missing_files.append(path)

    def add_text(self, region: str, text: str) -> None:
        if region in self.texts:
            self.duplicates.append(region)
        self.texts[region] = text

    def study(self, key: str) -> StudyFiles:
        arguments: list[str] = []
        known: set[str] = set()
        is_known = True
        for path, named in self.masks.items():
            if path.is_file() and len(named) == 1 and "" not in named:
                (region,) = named
                arguments.append(f"{region}={path}")
                known.add(region)
                continue
            arguments.append(str(path))
            regions = [find_region(stem(file)) for file in ([path] if path.is_file() else _mask_files(path))]
            known.update(region.name for region in regions if region)
            is_known = is_known and all(regions)
        regions_with_mask = tuple(name for name in REGION_NAMES if name in known)
        return StudyFiles(key, self.volume, tuple(arguments), regions_with_mask if is_known else None, self.texts)


def _belongs_to(split: str, row: dict[str, str], path: Path) -> bool:
    named = row.get("split", "").strip()
    if named and named not in SPLITS:
        raise InputError(f"{path}: expected {' or '.join(SPLITS)} in the column split, found {named!r}")
    return named in ("", split)


def _mask_files(folder: Path) -> list[Path]:
    return [file for file in folder.glob("*") if is_nifti(file)]


def _draft_of(drafts: dict[str, _Draft], row: dict[str, str], path: Path) -> _Draft:
    key, volume = row["study"].strip(), path.parent / row["volume"].strip()
    if not key or "/" in key or "\\" in key or key in (".", ".."):
        raise InputError(f"{path}: expected a study name that can name a file, found {key!r}")
    draft = drafts.setdefault(key, _Draft(volume))
    if draft.volume != volume:
        raise InputError(f"{path}: study {key} has two volumes, {draft.volume} and {volume}; give them two names")
    return draft
