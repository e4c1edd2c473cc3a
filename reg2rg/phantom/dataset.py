"""Phantoms on disk, in RadGenome-ChestCT's own layout, with the truth beside it.

    dataset/train_preprocessed/train_1/train_1a/train_1_a_1.nii.gz       HU, RAS+
    dataset/train_dicom/train_1_a_1/CT0001.dcm                           the same as DICOM, where asked for
    dataset/train_region_mask/seg_train_1_a_1/lung.nii.gz                one file per region
    dataset/radgenome_files/train_region_report.csv                      Volumename, Anatomy, Sentence
    dataset/multi_abnormality_labels/train_predicted_labels.csv          VolumeName and the 18 abnormalities
    dataset/phantom_truth/train.json                                     seed, settings, versions
    dataset/phantom_truth/train_findings.jsonl                           a line per finding
    dataset/phantom_truth/train/train_1_a_1.json                         everything known of one study
    dataset/phantom_truth/train_lesions/train_1_a_1.nii.gz               bit k of a voxel = the study's finding k

Study i depends on (seed, split, i) and nothing else; a study is complete once its own JSON, written last, exists.
"""

import csv
import importlib.util
import json
import os
import platform
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.data.listing import SPLITS
from reg2rg.data.radgenome import report_table
from reg2rg.errors import InputError
from reg2rg.files import check_writable, staged_file, write_json
from reg2rg.geometry import reorient
from reg2rg.nifti import write_labels, write_volume
from reg2rg.phantom.acquisition import SIZES
from reg2rg.phantom.report import write_whole_report
from reg2rg.phantom.world import Phantom, make_phantom
from reg2rg.workers import worker_pool

_SCHEMA = "reg2rg.phantom/1"


@dataclass(frozen=True)
class _Place:
    """Where one study's files go."""

    root: Path
    split: str
    number: int

    @property
    def name(self) -> str:
        return f"{self.split}_{self.number}_a_1"

    @property
    def volume(self) -> Path:
        patient = f"{self.split}_{self.number}"
        return self.root / f"{self.split}_preprocessed" / patient / f"{patient}a" / f"{self.name}.nii.gz"

    @property
    def dicom(self) -> Path:
        return self.root / f"{self.split}_dicom" / self.name

    @property
    def masks(self) -> Path:
        return self.root / f"{self.split}_region_mask" / f"seg_{self.name}"

    @property
    def lesions(self) -> Path:
        return self.root / "phantom_truth" / f"{self.split}_lesions" / f"{self.name}.nii.gz"

    @property
    def truth(self) -> Path:
        return self.root / "phantom_truth" / self.split / f"{self.name}.json"


def write_dataset(
    out: Path,
    count: int,
    seed: int,
    split: str = "train",
    size: str = "small",
    prevalence: float | None = None,
    dicom: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Writes `count` phantoms under `out/dataset`. Run again, it goes on where it stopped, or adds to what is there.

    Args:
        out: the folder that will hold `dataset/`; both splits may share it.
        count: how many studies the split is to have.
        seed: any whole number from 0.
        split: ``train`` or ``valid``; the same seed gives different studies in each.
        size: as in `make_phantom`.
        prevalence: how often each abnormality occurs; None for what is usual in this world.
        dicom: write each CT as a DICOM series, too, axial from the feet up.
        workers: processes; None for one per core. The files do not depend on it.
        progress: called with (studies done, count) after each.

    Raises:
        InputError: if an argument is out of range, `out` cannot be written, or it holds phantoms of other settings.
    """
    out = Path(out)
    _check(out, count, seed, split, size, prevalence, workers)
    if dicom and importlib.util.find_spec("pydicom") is None:
        raise InputError("--dicom: writing DICOM needs pydicom; pip install 'reg2rg[dicom]'")
    root = out / "dataset"
    _write_settings(root, {"seed": seed, "split": split, "size": size, "prevalence": prevalence}, count)
    places = [_Place(root, split, number) for number in range(1, count + 1)]
    missing = [place for place in places if not place.truth.is_file() or (dicom and not place.dicom.is_dir())]
    done = count - len(missing)
    if progress is not None:
        progress(done, count)
    for finished, _ in enumerate(_write_studies(missing, seed, size, prevalence, dicom, workers), done + 1):
        if progress is not None:
            progress(finished, count)
    _write_tables(root, split, places)


def study_seed(seed: int, split: str, number: int) -> int:
    """The seed of one study's phantom.

    >>> study_seed(1, "train", 1) != study_seed(1, "valid", 1)
    True
    """
    sequence = np.random.SeedSequence([seed, zlib.crc32(split.encode()), number])
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def _write_studies(
    places: list[_Place], seed: int, size: str, prevalence: float | None, dicom: bool, workers: int | None
) -> Iterator[None]:
    workers = min(workers or os.cpu_count() or 1, len(places))
    if workers <= 1:
        for place in places:
            _write_study(place, seed, size, prevalence, dicom)
            yield
        return
    with worker_pool(workers) as pool:
        tasks = [pool.submit(_write_study, place, seed, size, prevalence, dicom) for place in places]
        try:
            for task in as_completed(tasks):
                task.result()
                yield
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _write_study(place: _Place, seed: int, size: str, prevalence: float | None, dicom: bool) -> None:
    phantom = make_phantom(study_seed(seed, place.split, place.number), size, prevalence)
    affine = phantom.study.volume.affine
    for region in phantom.study.masks.present:
        write_labels(place.masks / f"{region}.nii.gz", phantom.study.masks.mask(region).astype(np.uint8), affine)
    write_labels(place.lesions, phantom.lesions, affine)
    write_volume(place.volume, phantom.study.volume)
    if dicom:
        from reg2rg.phantom.dicom import write_dicom_series

        write_dicom_series(place.dicom, reorient(phantom.study.volume, "LPS"), phantom.seed, place.name)
    write_json(place.truth, _truth(place, phantom))


def _truth(place: _Place, phantom: Phantom) -> dict[str, Any]:
    return {
        "study": f"{place.name}.nii.gz",
        "seed": phantom.seed,
        "spacing_mm": phantom.study.volume.grid.spacing_mm,
        "anatomy": asdict(phantom.anatomy),
        "findings": [asdict(finding) for finding in phantom.findings],
        "texts": phantom.study.reference,
    }


def _write_settings(root: Path, settings: dict[str, Any], count: int) -> None:
    path = root / "phantom_truth" / f"{settings['split']}.json"
    if path.is_file():
        before = _read_json(path)
        changed = [f"{key} {before.get(key)}" for key, value in settings.items() if before.get(key) != value]
        if changed:
            asked = ", ".join(f"{key} {settings[key]}" for key in settings if before.get(key) != settings[key])
            came = ", ".join(changed)
            raise InputError(f"{root.parent}: holds phantoms of {came}, asked for {asked}; choose another OUT")
        count = max(count, before["count"])
    versions = {name: version(name) for name in ("reg2rg", "numpy", "nibabel")} | {"python": platform.python_version()}
    write_json(path, {"schema": _SCHEMA, **settings, "count": count, "versions": versions})


def _write_tables(root: Path, split: str, places: list[_Place]) -> None:
    """The tables of all studies that are there, more than `places` if an earlier run made more."""
    known = {place.truth for place in places} | set((root / "phantom_truth" / split).glob(f"{split}_*_a_1.json"))
    truths = [_read_json(path) for path in sorted(known, key=_number)]
    texts, labels, findings = [], [], []
    for truth in truths:
        study = truth["study"]
        texts += [(study, region, text) for region, text in truth["texts"].items()]
        texts.append((study, "", write_whole_report(truth["texts"])))
        had = {finding["abnormality"] for finding in truth["findings"]}
        labels.append((study, *(int(name in had) for name in ABNORMALITY_NAMES)))
        findings += [{"study": study, **finding} for finding in truth["findings"]]
    _write_csv(report_table(root, split), ("Volumename", "Anatomy", "Sentence"), texts)
    label_file = root / "multi_abnormality_labels" / f"{split}_predicted_labels.csv"
    _write_csv(label_file, ("VolumeName", *ABNORMALITY_NAMES), labels)
    with staged_file(root / "phantom_truth" / f"{split}_findings.jsonl") as staging:
        staging.write_text("".join(json.dumps(finding) + "\n" for finding in findings), encoding="utf-8")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            f"{path}: expected JSON as written by reg2rg phantom ({error}); delete it and rerun"
        ) from error


def _number(truth: Path) -> int:
    return int(truth.name.split("_")[1])


def _write_csv(path: Path, header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    with staged_file(path) as staging, staging.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def _check(
    out: Path, count: int, seed: int, split: str, size: str, prevalence: float | None, workers: int | None
) -> None:
    if count < 1:
        raise InputError(f"expected a count of at least 1 phantom, got {count}; choose another --count")
    if seed < 0:
        raise InputError(f"a seed is a whole number from 0, got {seed}; choose another --seed")
    if split not in SPLITS:
        raise InputError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
    if size not in SIZES:
        raise InputError(f"unknown phantom size {size!r}: expected one of {', '.join(SIZES)}")
    if prevalence is not None and not 0 <= prevalence <= 1:
        raise InputError(f"prevalence is a share from 0 to 1, got {prevalence}")
    if workers is not None and workers < 1:
        raise InputError(f"expected at least 1 worker, got {workers}")
    check_writable(out)
