import json
import pickle
from pathlib import Path

import pytest
import torch

from reg2rg.errors import InputError
from reg2rg.model.folder import read_tensors, write_tensors

TENSORS = {f"tensor{i}": torch.full((10,), float(i)) for i in range(5)}  # 40 bytes each


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_same(read: dict[str, torch.Tensor]) -> None:
    assert read.keys() == TENSORS.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in TENSORS.items())


def test_one_file(tmp_path: Path) -> None:
    write_tensors(tmp_path, TENSORS)
    assert names(tmp_path) == ["model.safetensors"]
    assert_same(read_tensors(tmp_path))


def test_others_may_read_weights_as_they_may_other_files(tmp_path: Path) -> None:
    write_tensors(tmp_path, TENSORS)
    (tmp_path / "other").touch()
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_several_files_with_an_index(tmp_path: Path) -> None:
    write_tensors(tmp_path, TENSORS, max_shard_bytes=80)
    shards = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    assert names(tmp_path) == [*shards, "model.safetensors.index.json"]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": 200}
    assert index["weight_map"]["tensor4"] == shards[2]
    assert_same(read_tensors(tmp_path))


def test_a_tensor_larger_than_a_file_has_one_for_itself(tmp_path: Path) -> None:
    write_tensors(tmp_path, TENSORS, max_shard_bytes=1)
    assert len(list(tmp_path.glob("*.safetensors"))) == 5
    assert_same(read_tensors(tmp_path))


@pytest.mark.parametrize(("before", "after"), [(80, 1000), (1000, 80), (40, 80)])
def test_former_weights_go(before: int, after: int, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    write_tensors(tmp_path, {"old": torch.zeros(100), **TENSORS}, max_shard_bytes=before)
    write_tensors(tmp_path, TENSORS, max_shard_bytes=after)
    assert_same(read_tensors(tmp_path))
    (tmp_path / "fresh").mkdir()
    write_tensors(tmp_path / "fresh", TENSORS, max_shard_bytes=after)
    assert set(names(tmp_path)) == {*names(tmp_path / "fresh"), "fresh", "tokenizer.json"}


def test_weights_may_be_written_over_the_file_they_are_mapped_from(tmp_path: Path) -> None:
    write_tensors(tmp_path, TENSORS)
    write_tensors(tmp_path, read_tensors(tmp_path), max_shard_bytes=80)
    assert_same(read_tensors(tmp_path))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pth"])
def test_a_pickle_is_refused_unread(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(pickle.dumps({"weights": 1}))
    with pytest.raises(InputError, match=rf"{name}: a pickle.*reg2rg convert"):
        read_tensors(tmp_path)


def test_no_folder_and_no_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a model's folder"):
        read_tensors(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"model\.safetensors: expected the model's weights, found no such file"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content[:4], lambda content: b""])
def test_a_broken_file_is_named(damage, tmp_path: Path) -> None:
    write_tensors(tmp_path, TENSORS)
    path = tmp_path / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"model\.safetensors: expected a safetensors file") as caught:
        read_tensors(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("index", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}'])
def test_a_broken_index_is_named(index: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(InputError, match=r"index\.json"):
        read_tensors(tmp_path)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    write_tensors(tmp_path, TENSORS, max_shard_bytes=80)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(InputError, match="model-00002-of-00003"):
        read_tensors(tmp_path)


def test_an_index_cannot_point_out_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    write_tensors(tmp_path, TENSORS)
    index = {"weight_map": {"tensor0": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="no such file"):
        read_tensors(folder)
