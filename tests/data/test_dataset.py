import csv
import json
import logging
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from reg2rg.data.dataset import open_dataset
from reg2rg.errors import InputError
from reg2rg.nifti import write_labels, write_region_masks, write_volume
from reg2rg.prompt import build_target
from reg2rg.volume import RegionMasks, Volume

RAS = np.diag([2.0, 2.0, 3.0, 1.0])
LPS = np.diag([-2.0, -2.0, 3.0, 1.0])


def hu(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 400, (8, 7, 6)).astype(np.int16)


def box(*corner: int) -> np.ndarray:
    """A mask of 2 x 2 x 2 voxels from this corner on."""
    mask = np.zeros((8, 7, 6), np.uint8)
    mask[tuple(slice(start, start + 2) for start in corner)] = 1
    return mask


def write_study(volume: Path, masks: Path, regions: dict[str, np.ndarray], affine: np.ndarray = RAS) -> None:
    for path in (volume, *(masks / f"{name}.nii.gz" for name in regions)):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(volume, Volume(hu(), affine))
    for name, mask in regions.items():
        write_labels(masks / f"{name}.nii.gz", mask, affine)


def write_rows(path: Path, header: str, rows: list[tuple[str, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header.split(","), *rows])


def write_radgenome_study(root: Path, name: str, regions: dict[str, np.ndarray], affine: np.ndarray = RAS) -> None:
    split, number, letter, _ = name.split("_")
    patient = f"{split}_{number}"
    volume = root / f"dataset/{split}_preprocessed/{patient}/{patient}{letter}/{name}.nii.gz"
    write_study(volume, root / f"dataset/{split}_region_mask/seg_{name}", regions, affine)


@pytest.fixture
def radgenome(tmp_path):
    """Valid: study 2 with two reconstructions, study 10 with texts for lung and bone but a mask of lung only."""
    both = {"lung": box(1, 1, 1), "trachea and bronchie": box(5, 4, 3)}
    write_radgenome_study(tmp_path, "valid_10_a_1", {"lung": box(2, 2, 2)})
    write_radgenome_study(tmp_path, "valid_2_a_1", both, LPS)
    write_radgenome_study(tmp_path, "valid_2_a_2", both)
    write_rows(
        tmp_path / "dataset/radgenome_files/validation_region_report.csv",
        "Volumename,Anatomy,Sentence",
        [
            ("valid_2_a_1.nii.gz", "", "The whole report."),
            ("valid_2_a_1.nii.gz", "lung", "First."),
            ("valid_2_a_1.nii.gz", "trachea and bronchie", "Open."),
            ("valid_2_a_1.nii.gz", "lung", " Second,\n with 4 mm. "),
            ("valid_2_a_2", "lung", ""),
            ("valid_10_a_1", "bone", "Old fracture."),
            ("valid_10_a_1", "Lung", "Clear."),
            ("valid_10_a_1", "spleen", "Large."),
            ("valid_99_a_1.nii.gz", "lung", "Nobody has this volume."),
        ],
    )
    return tmp_path


def test_radgenome_studies_keys_and_texts(radgenome):
    dataset = open_dataset(radgenome, "valid")
    assert dataset.keys == ("valid_2_a_1.nii.gz", "valid_2_a_2.nii.gz", "valid_10_a_1.nii.gz")
    assert len(dataset) == 3 and dataset.split == "valid"
    study = dataset[0]
    assert study.study_id == "valid_2_a_1.nii.gz"
    assert study.reference == {"lung": "Second, with 4 mm.", "trachea and bronchie": "Open."}
    assert study.other_reference == {} == dataset.other_reference(0)
    assert [dataset.reference(index) for index in range(3)] == [each.reference for each in dataset]
    assert dataset.reference(2) == {"bone": "Old fracture.", "lung": "Clear."}
    assert study.source.endswith("valid_2/valid_2a/valid_2_a_1.nii.gz")


def test_radgenome_voxels_are_as_stored_unless_asked_otherwise(radgenome):
    stored = open_dataset(radgenome, "valid")[0]
    assert np.array_equal(stored.volume.array, hu())
    assert stored.volume.grid.orientation == "LPS"
    assert np.array_equal(stored.masks.mask("lung"), box(1, 1, 1) > 0)
    assert stored.masks.present == ("lung", "trachea and bronchie")

    canonical = open_dataset(radgenome, "valid", axes="canonical")[0]
    assert canonical.volume.grid.orientation == "RAS" and canonical.native_grid.orientation == "LPS"
    assert np.array_equal(canonical.volume.array, hu()[::-1, ::-1])
    assert np.array_equal(canonical.masks.mask("lung"), (box(1, 1, 1) > 0)[::-1, ::-1])
    assert np.array_equal(canonical.native_affine, LPS)


def test_radgenome_inventory_names_what_is_odd(radgenome):
    write_radgenome_study(radgenome, "valid_3_a_1", {})
    folder = radgenome / "dataset/valid_region_mask/seg_valid_10_a_1"
    shutil.copy(folder / "lung.nii.gz", folder / "lungs.nii.gz")
    shutil.copy(folder / "lung.nii.gz", folder / "spleen.nii.gz")
    inventory = open_dataset(radgenome, "valid").inventory
    assert inventory.studies == 3
    assert inventory.without_masks == ("valid_3_a_1.nii.gz",)
    assert inventory.without_volume == ("valid_99_a_1",)
    assert inventory.without_texts == ("valid_2_a_2.nii.gz",)
    assert inventory.missing_masks == {"valid_10_a_1.nii.gz": ("bone",)}
    assert inventory.missing_texts == {}
    assert inventory.duplicate_texts == {"valid_2_a_1.nii.gz": ("lung",)}
    assert inventory.duplicate_files == (str(folder / "lungs.nii.gz"),)
    assert inventory.unknown_regions == {"spleen": 2}
    written = json.loads(json.dumps(inventory.to_json()))
    assert written["counts"]["without_masks"] == 1
    assert written["missing_masks"] == {"valid_10_a_1.nii.gz": ["bone"]}


def test_a_region_without_text_is_listed_where_others_have_one(radgenome):
    write_radgenome_study(radgenome, "valid_10_a_1", {"heart": box(0, 0, 0)})
    assert open_dataset(radgenome, "valid").inventory.missing_texts == {"valid_10_a_1.nii.gz": ("heart",)}


def test_second_file_of_a_volume_is_listed(radgenome):
    copied = radgenome / "dataset/valid_preprocessed/zzz_copy/valid_10_a_1.nii.gz"
    copied.parent.mkdir()
    shutil.copy(radgenome / "dataset/valid_preprocessed/valid_10/valid_10a/valid_10_a_1.nii.gz", copied)
    dataset = open_dataset(radgenome, "valid")
    assert dataset.inventory.duplicate_files == (str(copied),)
    assert dataset.keys.count("valid_10_a_1.nii.gz") == 1


def test_hidden_files_are_no_volumes_and_no_masks(radgenome):
    keys = open_dataset(radgenome, "valid").keys
    for volume in (radgenome / "dataset").rglob("*.nii.gz"):
        (volume.parent / f"._{volume.name}").write_bytes(b"left by another program")
    dataset = open_dataset(radgenome, "valid")
    assert dataset.keys == keys
    assert "._" not in str(dataset.inventory)


def test_what_is_left_out_is_said_aloud(radgenome, caplog):
    write_radgenome_study(radgenome, "valid_3_a_1", {})
    with caplog.at_level(logging.WARNING):
        open_dataset(radgenome, "valid")
    (record,) = caplog.records
    assert record.message == (
        f"{radgenome / 'dataset'} (valid): 3 studies; without volume: 1; without masks: 1; without texts: 1; "
        "missing masks: 1; duplicate texts: 1; unknown regions: 1"
    )


def test_datasets_need_no_texts(radgenome, caplog):
    shutil.rmtree(radgenome / "dataset/radgenome_files")
    dataset = open_dataset(radgenome, "valid")
    assert dataset[1].reference == {}
    assert dataset.inventory.without_texts == dataset.keys
    assert not caplog.records


def test_train_and_valid_are_read_alike(radgenome):
    write_radgenome_study(radgenome, "train_1_a_1", {"lung": box(1, 1, 1)})
    write_rows(
        radgenome / "dataset/radgenome_files/train_region_report.csv",
        "Volumename,Anatomy,Sentence",
        [("train_1_a_1.nii.gz", "lung", "Clear.")],
    )
    dataset = open_dataset(radgenome)
    assert dataset.keys == ("train_1_a_1.nii.gz",) and dataset.split == "train"
    assert dataset[0].reference == {"lung": "Clear."}
    assert open_dataset(radgenome / "dataset").keys == dataset.keys


def test_datasets_can_be_sent_to_other_processes(radgenome):
    dataset = pickle.loads(pickle.dumps(open_dataset(radgenome, "valid")))
    assert dataset[2].reference["lung"] == "Clear."


def test_masks_on_another_grid_are_brought_onto_the_volume(radgenome):
    """A mask of 1 mm voxels over the block that voxels 2 and 3 of each axis cover."""
    fine = np.zeros((16, 14, 18), np.uint8)
    fine[4:8, 4:8, 6:12] = 1
    affine = np.eye(4)
    affine[:3, 3] = [-0.5, -0.5, -1.0]
    write_labels(radgenome / "dataset/valid_region_mask/seg_valid_10_a_1/lung.nii.gz", fine, affine)
    study = open_dataset(radgenome, "valid")[2]
    assert np.array_equal(study.masks.mask("lung"), box(2, 2, 2) > 0)


def test_masks_larger_than_one_do_not_change_anything(radgenome):
    path = radgenome / "dataset/valid_region_mask/seg_valid_10_a_1/lung.nii.gz"
    write_labels(path, box(2, 2, 2) * 2, RAS)
    assert np.array_equal(open_dataset(radgenome, "valid")[2].masks.mask("lung"), box(2, 2, 2) > 0)


def test_empty_masks_are_warnings_and_empty_studies_errors(radgenome):
    folder = radgenome / "dataset/valid_region_mask"
    write_labels(folder / "seg_valid_2_a_1/lung.nii.gz", box(1, 1, 1) * 0, LPS)
    write_labels(folder / "seg_valid_10_a_1/lung.nii.gz", box(1, 1, 1) * 0, RAS)
    dataset = open_dataset(radgenome, "valid")
    study = dataset[0]
    assert study.masks.present == ("trachea and bronchie",)
    assert any("lung" in warning and "empty" in warning for warning in study.warnings)
    assert study.reference["lung"] == "Second, with 4 mm."
    with pytest.raises(InputError, match=r"^valid_10_a_1.nii.gz: .*empty"):
        dataset[2]


def test_end_of_a_dataset_is_an_index_error(radgenome):
    with pytest.raises(IndexError):
        open_dataset(radgenome, "valid")[3]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("dataset/valid_preprocessed/*", r"valid_preprocessed: expected CT volumes \(.nii.gz\) .* found none"),
        ("dataset/valid_region_mask/*", "3 volumes, but no region masks of any; expected files like .*seg_valid_2_a_1"),
        ("dataset", "expected dataset/valid_preprocessed .* found none of them"),
    ],
)
def test_finding_nothing_says_what_was_looked_for_and_where(radgenome, broken, message):
    for path in radgenome.glob(broken):
        shutil.rmtree(path)
    with pytest.raises(InputError, match=message) as caught:
        open_dataset(radgenome, "valid")
    assert str(radgenome) in str(caught.value) and "\n" not in str(caught.value)


def test_no_such_dataset_and_no_such_split(tmp_path):
    with pytest.raises(InputError, match="no such file or folder; expected a folder that holds dataset/"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(InputError, match="unknown split 'test': expected one of train, valid"):
        open_dataset(tmp_path, "test")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Volumename,Region,Sentence\n", "Anatomy is not in: Volumename, Region, Sentence"),
        (b"", "Volumename is not in: nothing"),
        (b"Volumename,Anatomy,Sentence\na,lung,\xff\xfe\n", "expected a CSV file in UTF-8"),
    ],
)
def test_tables_that_are_none_are_refused(radgenome, content, message):
    (radgenome / "dataset/radgenome_files/validation_region_report.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_dataset(radgenome, "valid")


def test_a_folder_in_place_of_a_table_is_refused(radgenome):
    table = radgenome / "dataset/radgenome_files/validation_region_report.csv"
    table.unlink()
    table.mkdir()
    with pytest.raises(InputError, match="expected a CSV file, cannot read it"):
        open_dataset(radgenome, "valid")


@pytest.fixture
def ctrg(tmp_path):
    root = tmp_path / "dataset/ctrg/valid"
    for study, regions in (("1334", ("lung", "heart")), ("822", ("lung", "bone"))):
        masks = {name: box(index, 1, 1) for index, name in enumerate(regions)}
        write_study(root / f"volumes/{study}.nii.gz", root / "masks" / study, masks)
    write_rows(
        root / "region_report.csv",
        "Volumename,Anatomy,Sentence",
        [
            ("1334", "pleura", "Bilateral pleural localized hypertrophy."),
            ("1334", "lung", "Thorax is symmetrical."),
            ("1334", "mediastinum", "No mass."),
            ("1334", "heart", "Normal."),
            ("822", "other", "Chest wall is normal."),
            ("822", "lung", "Clear."),
            ("822", "thyroid", ""),
        ],
    )
    return tmp_path


def test_ctrg_texts_without_a_mask_make_the_other_report(ctrg):
    dataset = open_dataset(ctrg, "valid")
    assert dataset.has_other_report
    assert dataset.keys == ("822", "1334")
    study = dataset[1]
    assert study.study_id == "1334"
    assert build_target(list(study.reference.items()), study.other_reference) == (
        "The region 0 is heart: Normal. The region 1 is lung: Thorax is symmetrical. The other report is: "
        "{mediastinum: No mass.}{pleura: Bilateral pleural localized hypertrophy.}{other: }"
    )
    assert dataset.other_reference(0) == {"thyroid": "", "other": "Chest wall is normal."}
    assert dataset.reference(0) == {"lung": "Clear."}
    assert dataset.inventory.missing_masks == {"1334": ("mediastinum", "pleura")}
    assert dataset.inventory.missing_texts == {"822": ("bone",)}


def test_ctrg_text_of_a_mask_that_is_empty_joins_the_other_report(ctrg):
    write_labels(ctrg / "dataset/ctrg/valid/masks/1334/heart.nii.gz", box(0, 0, 0) * 0, RAS)
    study = open_dataset(ctrg, "valid")[1]
    assert study.reference == {"lung": "Thorax is symmetrical."}
    assert list(study.other_reference) == ["heart", "mediastinum", "pleura", "other"]


def test_ctrg_without_texts_has_no_other_report(ctrg):
    (ctrg / "dataset/ctrg/valid/region_report.csv").unlink()
    study = open_dataset(ctrg, "valid")[0]
    assert study.reference == study.other_reference == {}


MANIFEST = "study,volume,masks,region,text,split"


def test_manifest_of_every_kind_of_masks(tmp_path):
    write_study(tmp_path / "a/ct.nii.gz", tmp_path / "a/masks", {"lung": box(1, 1, 1), "heart": box(3, 3, 3)}, LPS)
    write_volume(tmp_path / "b.nii.gz", Volume(hu(), RAS))
    write_labels(tmp_path / "b_left_and_right.nii.gz", box(2, 2, 2), RAS)
    write_labels(tmp_path / "b_other.nii.gz", box(4, 4, 3), RAS)
    write_volume(tmp_path / "c.nii", Volume(hu(), RAS))
    bits = RegionMasks.from_masks({"bone": box(0, 0, 0) > 0, "lung": box(0, 1, 0) > 0}, RAS)
    write_region_masks(tmp_path / "c_regions.nii.gz", bits)
    write_rows(
        tmp_path / "manifest.csv",
        MANIFEST,
        [
            ("a", "a/ct.nii.gz", "a/masks", "lungs", "Clear.", ""),
            ("a", "a/ct.nii.gz", "a/masks", "heart", "Large.", ""),
            ("b", "b.nii.gz", "b_left_and_right.nii.gz", "lung", "Clear.", "train"),
            ("b", "b.nii.gz", "b_other.nii.gz", "trachea", "", "train"),
            ("c", "c.nii", "c_regions.nii.gz", "lung", "Clear.", ""),
            ("c", "c.nii", "c_regions.nii.gz", "bone", "Old.", ""),
        ],
    )
    dataset = open_dataset(tmp_path / "manifest.csv", "train")
    assert dataset.keys == ("a", "b", "c")
    assert open_dataset(tmp_path / "manifest.csv", "valid").keys == ("a", "c")
    a, b, c = dataset
    assert a.reference == {"heart": "Large.", "lung": "Clear."}
    assert a.volume.grid.orientation == "RAS" and a.native_grid.orientation == "LPS"
    assert np.array_equal(a.masks.mask("heart"), (box(3, 3, 3) > 0)[::-1, ::-1])
    assert b.masks.present == ("lung", "trachea and bronchie")
    assert np.array_equal(b.masks.mask("lung"), box(2, 2, 2) > 0)
    assert c.masks.present == ("bone", "lung") and c.reference == {"bone": "Old.", "lung": "Clear."}
    assert dataset.inventory.missing_texts == {"b": ("trachea and bronchie",)}


def test_manifest_inventory(tmp_path):
    write_study(tmp_path / "ct.nii.gz", tmp_path / "masks", {"lung": box(1, 1, 1)})
    (tmp_path / "empty").mkdir()
    write_rows(
        tmp_path / "manifest.csv",
        MANIFEST,
        [
            ("a", "ct.nii.gz", "masks", "lung", "First.", ""),
            ("a", "ct.nii.gz", "masks", "lung", "Second.", ""),
            ("a", "ct.nii.gz", "heart.nii.gz", "heart", "Large.", ""),
            ("a", "ct.nii.gz", "", "spleen", "Large.", ""),
            ("no_volume", "missing.nii.gz", "masks", "", "", ""),
            ("no_masks", "ct.nii.gz", "empty", "", "", ""),
        ],
    )
    dataset = open_dataset(tmp_path / "manifest.csv")
    inventory = dataset.inventory
    assert dataset.keys == ("a",) and dataset.reference(0)["lung"] == "Second."
    assert inventory.without_volume == ("no_volume",)
    assert inventory.without_masks == ("no_masks",)
    assert inventory.missing_masks == {"a": ("heart",)}
    assert inventory.missing_files == (str(tmp_path / "heart.nii.gz"), str(tmp_path / "empty"))
    assert inventory.duplicate_texts == {"a": ("lung",)}
    assert inventory.unknown_regions == {"spleen": 1}


def test_manifest_needs_three_columns_only(tmp_path):
    write_study(tmp_path / "ct.nii.gz", tmp_path / "masks", {"lung": box(1, 1, 1)})
    write_rows(tmp_path / "manifest.csv", "study,volume,masks", [("a", "ct.nii.gz", "masks")])
    dataset = open_dataset(tmp_path / "manifest.csv", "valid")
    assert dataset[0].masks.present == ("lung",)
    assert dataset.inventory.without_texts == ("a",)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "expected rows of the split valid, found none"),
        ([("a", "ct.nii.gz", "masks", "", "", "train")], "expected rows of the split valid, found none"),
        ([("a", "ct.nii.gz", "masks", "", "", "test")], "expected train or valid in the column split, found 'test'"),
        ([("a/b", "ct.nii.gz", "masks", "", "", "")], "a study name that can name a file, found 'a/b'"),
        ([("", "ct.nii.gz", "masks", "", "", "")], "a study name that can name a file, found ''"),
        ([("a", "no.nii.gz", "masks", "", "", "")], "no study has both .*; a, for one, has no volume .*no.nii.gz"),
        ([("a", "ct.nii.gz", "no", "", "", "")], "no study has both .*; a, for one, has no mask that exists"),
        (
            [("a", "ct.nii.gz", "masks", "", "", ""), ("a", "other.nii.gz", "masks", "", "", "")],
            "study a has two volumes",
        ),
    ],
)
def test_manifests_that_cannot_be_used(tmp_path, rows, message):
    write_study(tmp_path / "ct.nii.gz", tmp_path / "masks", {"lung": box(1, 1, 1)})
    write_rows(tmp_path / "manifest.csv", MANIFEST, rows)
    with pytest.raises(InputError, match=message):
        open_dataset(tmp_path / "manifest.csv", "valid")


def test_a_scan_is_no_manifest(tmp_path):
    write_volume(tmp_path / "ct.nii.gz", Volume(hu(), RAS))
    with pytest.raises(InputError, match="expected a CSV file in UTF-8"):
        open_dataset(tmp_path / "ct.nii.gz")
