"""A dataset: studies by number, read when asked for, from whatever layout is on disk."""

import hashlib
import logging
from pathlib import Path
from typing import Literal

from reg2rg.data.ctrg import list_ctrg
from reg2rg.data.listing import SPLITS, Inventory, Listing, StudyFiles
from reg2rg.data.manifest import list_manifest
from reg2rg.data.radgenome import list_radgenome
from reg2rg.errors import InputError
from reg2rg.geometry import reorient
from reg2rg.nifti import read_volume
from reg2rg.prompt import OTHER_TITLE
from reg2rg.regions import REGION_NAMES
from reg2rg.segment.given import read_masks
from reg2rg.volume import Study

Axes = Literal["stored", "canonical"]
"""How a study's arrays lie: as in the file, or turned to RAS+."""

logger = logging.getLogger(__name__)


class Dataset:
    """The studies of one split.

    Args:
        listing: the studies' files.
        split: ``train`` or ``valid``.
        axes: how the studies' arrays shall lie.

    Attributes:
        keys: what each study is called; its Study has the same as `study_id`.
        split, axes: as given.
        inventory: what was found and what was not.
        has_other_report: texts of regions without a mask are references too, in an other report (CTRG).
    """

    def __init__(self, listing: Listing, split: str, axes: Axes) -> None:
        self.keys: tuple[str, ...] = tuple(study.key for study in listing.studies)
        self.split = split
        self.inventory: Inventory = listing.inventory
        self.has_other_report = listing.has_other_report
        self._studies = listing.studies
        self.axes: Axes = axes

    def __len__(self) -> int:
        return len(self._studies)

    def __getitem__(self, index: int) -> Study:
        """Reads one study: the volume in HU, and its masks on the volume's grid.

        Raises:
            InputError: if a file cannot be used, or no mask has a voxel inside the volume.
        """
        files = self._studies[index]
        native = read_volume(files.volume)
        volume = native if self.axes == "stored" else reorient(native)
        try:
            segmentation = read_masks(files.masks, volume.grid)
        except InputError as error:
            raise InputError(f"{files.key}: {error}") from error
        with_mask = segmentation.masks.present
        return Study(
            study_id=files.key,
            volume=volume,
            masks=segmentation.masks,
            source=str(files.volume),
            native_affine=native.affine,
            reference=self._reference(files, with_mask),
            other_reference=self._other_reference(files, with_mask),
            warnings=segmentation.warnings,
        )

    def fingerprint(self, index: int) -> str:
        """The sizes and times of a study's files, in a few letters: when one of them changes, so does this."""
        files = self._studies[index]
        paths = [files.volume]
        for mask in files.masks:
            path = Path(mask)
            if not path.exists():  # REGION=FILE
                path = Path(mask.partition("=")[2])
            paths += sorted(path.rglob("*")) if path.is_dir() else [path]
        facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths if path.is_file()]
        regions = [mask.partition("=")[0] for mask in files.masks if not Path(mask).exists()]
        return hashlib.sha256(repr((facts, regions)).encode()).hexdigest()[:16]

    def reference(self, index: int, with_mask: tuple[str, ...] | None = None) -> dict[str, str]:
        """Region texts of one study, in the order of the ten, without reading its voxels.

        Args:
            index: which study.
            with_mask: the regions whose mask has a voxel, where that is known (`StudyCrops.with_mask`).
        """
        files = self._studies[index]
        return self._reference(files, self._with_mask(files) if with_mask is None else with_mask)

    def other_reference(self, index: int, with_mask: tuple[str, ...] | None = None) -> dict[str, str]:
        """The other report of one study, title to text; a mask that proves empty when read adds to it."""
        files = self._studies[index]
        return self._other_reference(files, self._with_mask(files) if with_mask is None else with_mask)

    def _with_mask(self, files: StudyFiles) -> tuple[str, ...]:
        return REGION_NAMES if files.regions is None else files.regions

    def _reference(self, files: StudyFiles, with_mask: tuple[str, ...]) -> dict[str, str]:
        named = with_mask if self.has_other_report else REGION_NAMES
        return {name: files.texts[name] for name in REGION_NAMES if name in files.texts and name in named}

    def _other_reference(self, files: StudyFiles, with_mask: tuple[str, ...]) -> dict[str, str]:
        """Regions with a text and no mask, in the order of the ten; ``other`` ends it, even if there is nothing."""
        if not self.has_other_report or not files.texts:
            return {}
        lost = [name for name in REGION_NAMES if name in files.texts and name not in with_mask]
        return {name: files.texts[name] for name in lost} | {OTHER_TITLE: files.texts.get(OTHER_TITLE, "")}


def open_dataset(path: Path, split: str = "train", axes: Axes | None = None) -> Dataset:
    """Opens the dataset that is there: RadGenome-ChestCT's or CTRG's layout, or a manifest.

    Nothing but names and tables is read. What is missing or odd goes into the inventory, and its summary is logged
    as a warning where something is left out.

    Args:
        path: the folder that holds ``dataset/`` (or what is in it), or a manifest CSV.
        split: ``train`` or ``valid``.
        axes: None for ``stored`` in the two published layouts, whose models read arrays as they lie in the file,
            and ``canonical`` in a manifest.

    Raises:
        InputError: if there is no dataset, or it has no study with a volume and a mask; the message says what was
            looked for and where.
    """
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
    listing = list_manifest(path, split) if path.is_file() else _list_folder(path, split)
    if set(listing.inventory.counts) - {"missing_texts", "without_texts"}:
        logger.warning(listing.inventory.summary)
    return Dataset(listing, split, axes or ("canonical" if path.is_file() else "stored"))


def _list_folder(path: Path, split: str) -> Listing:
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder; expected a folder that holds dataset/, or a manifest CSV")
    root = path / "dataset" if (path / "dataset").is_dir() else path
    if (root / f"{split}_preprocessed").is_dir():
        return list_radgenome(root, split)
    ctrg = root / "ctrg" / split
    if ctrg.is_dir():
        return list_ctrg(ctrg / "volumes", ctrg / "masks", ctrg / "region_report.csv")
    raise InputError(
        f"{path}: expected dataset/{split}_preprocessed (RadGenome-ChestCT), dataset/ctrg/{split} (CTRG) or a "
        "manifest CSV, found none of them"
    )
