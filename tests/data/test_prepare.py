"""A cache of crops and tokens: computed once, and again exactly where something has changed."""

import json
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from reg2rg.cli import main
from reg2rg.data.crops import CropStore
from reg2rg.data.dataset import open_dataset
from reg2rg.data.encoded import TokenStore
from reg2rg.data.prepare import prepare
from reg2rg.errors import InputError
from reg2rg.intensity import HUWindow
from reg2rg.model.build import build_model
from reg2rg.model.config import Reg2RGConfig, load_config
from reg2rg.model.reg2rg import Reg2RG
from reg2rg.nifti import write_labels, write_volume
from reg2rg.preprocess import as_floats
from reg2rg.processor import crops_of
from reg2rg.volume import Volume

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])
NAMES = ("valid_1_a_1", "valid_2_a_1", "valid_3_a_1")


def write_mask(root: Path, name: str, region: str, start: int) -> Path:
    mask = np.zeros((12, 11, 9), np.uint8)
    mask[start : start + 4, 2:7, 1:6] = 1
    path = root / f"dataset/valid_region_mask/seg_{name}/{region}.nii.gz"
    write_labels(path, mask, AFFINE)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three studies, of which the last has nothing that can be encoded."""
    root = tmp_path / "data"
    for number, name in enumerate(NAMES):
        write_study(root, number, name, is_empty=number == 2)
    return root


def write_study(root: Path, number: int, name: str, is_empty: bool = False) -> None:
    hu = np.random.default_rng(number).integers(-900, 300, (12, 11, 9)).astype(np.int16)
    if is_empty:
        hu[1:7] = -1000
    patient = "_".join(name.split("_")[:2])
    write_volume(root / f"dataset/valid_preprocessed/{patient}/{patient}a/{name}.nii.gz", Volume(hu, AFFINE))
    write_mask(root, name, "lung", 2)
    write_mask(root, name, "heart", 3)


@pytest.fixture
def sizes(untrained: Path) -> Reg2RGConfig:
    return load_config(untrained / "config.json")


def touched(data: Path, name: str) -> None:
    """Another heart, and a time that even a coarse clock tells from the first."""
    path = write_mask(data, name, "heart", 5)
    os.utime(path, (1, 1))


def test_crops_come_back_as_they_were(data: Path, tmp_path: Path, sizes: Reg2RGConfig) -> None:
    dataset = open_dataset(data, "valid")
    crops = CropStore(dataset, tmp_path / "cache", sizes)
    assert list(crops.fill()) == ["valid_3_a_1.nii.gz"]
    for index in range(len(crops)):
        stored, expected = crops[index], crops_of(dataset[index], sizes)
        half_step = (sizes.window.high - sizes.window.low) / 2 / 4800  # a quarter of a HU as published, halved
        scale = (sizes.window.high - sizes.window.low) / 2
        np.testing.assert_allclose(as_floats(stored.image) * scale, expected.image * scale, atol=half_step * 1.01)
        np.testing.assert_allclose(as_floats(stored.textures) * scale, expected.textures * scale, atol=half_step * 1.01)
        np.testing.assert_allclose(as_floats(stored.masks), expected.masks, atol=0.5 / 255 + 1e-6)
        np.testing.assert_array_equal(as_floats(stored.textures) == -1, expected.textures == -1)
        for name in ("regions", "image_box", "boxes", "warnings", "with_mask"):
            assert getattr(stored, name) == getattr(expected, name)


def test_a_changed_mask_is_that_study_and_no_other(data: Path, tmp_path: Path, sizes: Reg2RGConfig) -> None:
    cache = tmp_path / "cache"
    CropStore(open_dataset(data, "valid"), cache, sizes).fill()
    before = {path.name: path.stat().st_mtime_ns for path in cache.rglob("*.arrays")}
    touched(data, NAMES[1])
    crops = CropStore(open_dataset(data, "valid"), cache, sizes)
    assert [crops.is_current(index) for index in range(3)] == [True, False, False]
    crops.fill()
    after = {path.name: path.stat().st_mtime_ns for path in cache.rglob("*.arrays")}
    assert [name for name in before if before[name] != after[name]] == ["valid_2_a_1.arrays"]
    np.testing.assert_allclose(as_floats(crops[1].masks[0]), crops_of(crops.dataset[1], sizes).masks[0], atol=0.003)


def test_a_mask_that_changed_is_seen_without_filling(data: Path, tmp_path: Path, sizes: Reg2RGConfig) -> None:
    crops = CropStore(open_dataset(data, "valid"), tmp_path / "cache", sizes)
    first = crops[0].masks
    touched(data, NAMES[0])
    assert not np.array_equal(crops[0].masks, first)


def test_other_settings_do_not_disturb_each_other(data: Path, tmp_path: Path, sizes: Reg2RGConfig) -> None:
    dataset = open_dataset(data, "valid")
    first = CropStore(dataset, tmp_path / "cache", sizes)
    for changed in (replace(sizes, window=HUWindow(-1000, 400)), replace(sizes, grid_spacing_mm=(1.0, 1.0, 3.0))):
        assert CropStore(dataset, tmp_path / "cache", changed).folder != first.folder
    assert CropStore(open_dataset(data, "valid", "canonical"), tmp_path / "cache", sizes).folder != first.folder


def test_a_damaged_file_is_computed_again(data: Path, tmp_path: Path, sizes: Reg2RGConfig) -> None:
    crops = CropStore(open_dataset(data, "valid"), tmp_path / "cache", sizes)
    expected = crops[0].image
    path = next((tmp_path / "cache").rglob("valid_1_a_1.arrays"))
    for content in (b"", b"\n", b"{}\n", b"nonsense", b'["source"]\n'):
        path.write_bytes(content)
        np.testing.assert_array_equal(crops[0].image, expected)


def test_prepare_and_again(data: Path, tmp_path: Path, untrained: Path) -> None:
    cache, model = tmp_path / "cache", str(untrained)
    first = prepare(open_dataset(data, "valid"), cache, model, tokens=True)
    assert (first["crops"]["computed"], first["tokens"]["computed"]) == (2, 2)
    assert list(first["left_out"]) == ["valid_3_a_1.nii.gz"] and first["crops"]["bytes"] > 1000
    again = prepare(open_dataset(data, "valid"), cache, model, tokens=True)
    assert [(again[stage]["computed"], again[stage]["kept"]) for stage in ("crops", "tokens")] == [(0, 2), (0, 2)]
    touched(data, NAMES[0])
    third = prepare(open_dataset(data, "valid"), cache, model, tokens=True)
    assert [(third[stage]["computed"], third[stage]["kept"]) for stage in ("crops", "tokens")] == [(1, 1), (1, 1)]
    other = prepare(open_dataset(data, "valid"), cache, model, tokens=True, bf16=False)
    assert other["tokens"]["kept"] == 2, "the same but for the last digits"


def test_tokens_of_a_model_saved_in_float16_are_those_that_a_training_from_it_looks_for(
    data: Path, tmp_path: Path, sizes: Reg2RGConfig
) -> None:
    cache = tmp_path / "cache"
    build_model(sizes).half().save_pretrained(tmp_path / "half")
    prepare(open_dataset(data, "valid"), cache, str(tmp_path / "half"), tokens=True)
    model = Reg2RG.from_pretrained(tmp_path / "half").float()
    crops = CropStore(open_dataset(data, "valid"), cache, sizes)
    crops.fill()
    tokens = TokenStore(crops, model, bf16=False)
    assert all(map(tokens.is_current, range(len(tokens)))) and len(tokens) == 2


def test_tokens_do_not_depend_on_the_number_of_threads(
    data: Path, tmp_path: Path, sizes: Reg2RGConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4, 9):
        write_study(data, number, f"valid_{number}_a_1")
    model, dataset, before = build_model(sizes), open_dataset(data, "valid"), torch.get_num_threads()
    at_work: list[int] = []
    encode, meeting = TokenStore._compute, threading.Barrier(3, timeout=60)

    def counted(store: TokenStore, number: int) -> dict[str, np.ndarray]:
        at_work.append(torch.get_num_threads())
        if threading.current_thread() is not threading.main_thread():
            meeting.wait()  # until three are at work together
        return encode(store, number)

    monkeypatch.setattr(TokenStore, "_compute", counted)
    stores = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            crops = CropStore(dataset, tmp_path / f"cache-{threads}", sizes)
            crops.fill()
            stores.append(TokenStore(crops, model, bf16=False))
            assert stores[-1].fill() == {} and torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    first = "the first study foretells the room that is needed; the others have a thread each"
    assert at_work == [1] * 7 + [3] + [1] * 6, first
    for index in range(7):
        one, three = (store.arrays(index) for store in stores)
        for name, values in one.items():
            np.testing.assert_array_equal(values, three[name])


def test_units_for_bfloat16_are_used_by_one_thread_at_a_time(
    data: Path, tmp_path: Path, sizes: Reg2RGConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("reg2rg.data.encoded", "reg2rg.model.split_products"):
        monkeypatch.setattr(f"{module}.multiplies_bf16", lambda _: True)
    crops = CropStore(open_dataset(data, "valid"), tmp_path / "cache", sizes)
    crops.fill()
    tokens = TokenStore(crops, build_model(sizes), bf16=True)
    workers: list[threading.Thread] = []
    encode = TokenStore._compute

    def counted(store: TokenStore, number: int) -> dict[str, np.ndarray]:
        workers.append(threading.current_thread())
        return encode(store, number)

    monkeypatch.setattr(TokenStore, "_compute", counted)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert tokens.fill() == {}
    finally:
        torch.set_num_threads(before)
    assert workers == [threading.main_thread()] * 2


def test_a_disk_without_room_is_refused_before_the_work(
    data: Path, tmp_path: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(InputError, match=r"2 more studies need about 0\.0 GiB, and 0\.0 GiB are free; make room"):
        prepare(open_dataset(data, "valid"), tmp_path / "cache", str(untrained))


def test_the_verb(data: Path, tmp_path: Path, untrained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache, out = str(tmp_path / "cache"), str(tmp_path / "predictions.csv")
    given = [str(data), "--split", "valid", "--model", str(untrained)]
    assert main(["prepare", *given, "--out", cache, "--workers", "1", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["crops"]["computed"] == 2 and summary["split"] == "valid"
    short = ["--max-new-tokens", "3", "--device", "cpu", "--json", "--limit", "2"]
    assert main(["generate", *given, "--out", out, "--cache", cache, *short]) == 0
    with_cache = Path(out).read_text()
    assert main(["generate", *given, "--out", out, "--force", *short]) == 0
    assert Path(out).read_text() == with_cache
    (tmp_path / "file").write_text("")
    assert main(["prepare", *given, "--out", str(tmp_path / "file")]) == 2
    assert "found a file" in capsys.readouterr().err
