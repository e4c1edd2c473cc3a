import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.errors import InputError
from reg2rg.phantom.dataset import study_seed, write_dataset
from reg2rg.phantom.report import write_whole_report
from reg2rg.phantom.world import make_phantom
from reg2rg.regions import REGION_NAMES


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantoms")
    write_dataset(out, count=3, seed=1, split="valid", prevalence=0.6, workers=1)
    return out / "dataset"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_lie_where_radgenome_has_them(dataset: Path) -> None:
    for number in (1, 2, 3):
        name = f"valid_{number}_a_1"
        volume = nib.load(dataset / "valid_preprocessed" / f"valid_{number}" / f"valid_{number}a" / f"{name}.nii.gz")
        assert nib.aff2axcodes(volume.affine) == ("R", "A", "S") and volume.get_data_dtype() == np.int16
        masks = sorted((dataset / "valid_region_mask" / f"seg_{name}").iterdir())
        assert {path.name.removesuffix(".nii.gz") for path in masks} <= set(REGION_NAMES)
        for path in masks:
            mask = nib.load(path)
            assert mask.shape == volume.shape and np.allclose(mask.affine, volume.affine)
            assert set(np.unique(np.asarray(mask.dataobj))) == {0, 1}


def test_what_is_on_disk_is_what_was_made(dataset: Path) -> None:
    made = make_phantom(study_seed(1, "valid", 2), prevalence=0.6)
    name = "valid_2_a_1"
    stored = nib.load(dataset / "valid_preprocessed/valid_2/valid_2a" / f"{name}.nii.gz")
    assert (np.asarray(stored.dataobj) == made.study.volume.array).all()
    assert np.allclose(stored.affine, made.study.volume.affine, atol=1e-4)
    for region in made.study.masks.present:
        mask = np.asarray(nib.load(dataset / "valid_region_mask" / f"seg_{name}" / f"{region}.nii.gz").dataobj)
        assert (mask.astype(bool) == made.study.masks.mask(region)).all()
    lesions = np.asarray(nib.load(dataset / "phantom_truth/valid_lesions" / f"{name}.nii.gz").dataobj)
    assert (lesions == made.lesions).all()


def test_region_table_has_a_row_per_region_and_one_for_the_whole(dataset: Path) -> None:
    table = rows(dataset / "radgenome_files" / "validation_region_report.csv")
    assert list(table[0]) == ["Volumename", "Anatomy", "Sentence"]
    for number in (1, 2, 3):
        made = make_phantom(study_seed(1, "valid", number), prevalence=0.6)
        texts = {row["Anatomy"]: row["Sentence"] for row in table if row["Volumename"] == f"valid_{number}_a_1.nii.gz"}
        assert texts.pop("") == write_whole_report(made.study.reference)
        assert texts == made.study.reference


def test_label_table_is_ct_rates(dataset: Path) -> None:
    table = rows(dataset / "multi_abnormality_labels" / "valid_predicted_labels.csv")
    assert list(table[0]) == ["VolumeName", *ABNORMALITY_NAMES]
    assert [row["VolumeName"] for row in table] == [f"valid_{number}_a_1.nii.gz" for number in (1, 2, 3)]
    for number, row in enumerate(table, 1):
        made = make_phantom(study_seed(1, "valid", number), prevalence=0.6)
        drawn = made.abnormalities & set(ABNORMALITY_NAMES)  # what else is drawn has no column
        assert {name for name in ABNORMALITY_NAMES if row[name] == "1"} == drawn


def test_findings_table_points_to_the_lesions(dataset: Path) -> None:
    lines = (dataset / "phantom_truth" / "valid_findings.jsonl").read_text().splitlines()
    findings = [json.loads(line) for line in lines]
    assert findings
    for finding in findings:
        stem = finding["study"].removesuffix(".nii.gz")
        lesions = np.asarray(nib.load(dataset / "phantom_truth" / "valid_lesions" / f"{stem}.nii.gz").dataobj)
        assert (lesions & (1 << finding["lesion"])).any()
        assert {"abnormality", "region", "side", "lobe", "size_mm", "amount"} <= set(finding)
    settings = json.loads((dataset / "phantom_truth" / "valid.json").read_text())
    assert (settings["seed"], settings["size"], settings["prevalence"], settings["count"]) == (1, "small", 0.6, 3)
    assert "numpy" in settings["versions"]


def test_the_number_of_workers_changes_nothing(dataset: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path, count=3, seed=1, split="valid", prevalence=0.6, workers=2)
    assert contents(tmp_path / "dataset") == contents(dataset)


def test_a_run_that_stopped_goes_on(dataset: Path, tmp_path: Path) -> None:
    settings = {"seed": 1, "split": "valid", "prevalence": 0.6, "workers": 1}
    write_dataset(tmp_path, count=2, **settings)
    kept = tmp_path / "dataset/valid_preprocessed/valid_1/valid_1a/valid_1_a_1.nii.gz"
    lost = tmp_path / "dataset/phantom_truth/valid/valid_2_a_1.json"
    lost.unlink()
    before = kept.stat().st_mtime_ns
    steps: list[tuple[int, int]] = []
    write_dataset(tmp_path, count=3, progress=lambda done, count: steps.append((done, count)), **settings)
    assert kept.stat().st_mtime_ns == before
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert contents(tmp_path / "dataset") == contents(dataset)


def test_asking_for_fewer_later_forgets_nothing(tmp_path: Path) -> None:
    write_dataset(tmp_path, count=2, seed=5, workers=1)
    before = contents(tmp_path / "dataset")
    write_dataset(tmp_path, count=1, seed=5, workers=1)
    assert contents(tmp_path / "dataset") == before


def test_splits_of_one_seed_are_different_studies() -> None:
    seeds = {study_seed(1, split, number) for split in ("train", "valid") for number in range(1, 200)}
    assert len(seeds) == 398


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"count": 0}, "at least 1 phantom, got 0"),
        ({"seed": -1}, "from 0, got -1"),
        ({"split": "test"}, "unknown split 'test': expected one of train, valid"),
        ({"size": "tiny"}, "unknown phantom size 'tiny'"),
        ({"prevalence": 2.0}, "0 to 1, got 2.0"),
        ({"workers": 0}, "at least 1 worker, got 0"),
    ],
)
def test_bad_arguments_are_one_line_and_write_nothing(tmp_path: Path, changed: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        write_dataset(tmp_path / "out", **({"count": 1, "seed": 1} | changed))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("not a folder")
    with pytest.raises(InputError, match="expected a folder"):
        write_dataset(tmp_path / "out", count=1, seed=1)


def test_phantoms_of_other_settings_are_not_mixed_in(dataset: Path) -> None:
    before = contents(dataset)
    with pytest.raises(InputError, match="holds phantoms of seed 1, asked for seed 2; choose another OUT"):
        write_dataset(dataset.parent, count=3, seed=2, split="valid", prevalence=0.6)
    assert contents(dataset) == before


def test_damaged_truth_is_named(tmp_path: Path) -> None:
    write_dataset(tmp_path, count=1, seed=1, prevalence=0.0, workers=1)
    damaged = tmp_path / "dataset/phantom_truth/train/train_1_a_1.json"
    damaged.write_text("{")
    with pytest.raises(InputError, match=r"train_1_a_1\.json: expected JSON"):
        write_dataset(tmp_path, count=1, seed=1, prevalence=0.0, workers=1)
