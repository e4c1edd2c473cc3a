"""A model's folder: ``config.json`` and ``model.safetensors``, or several such files with an index.

Nothing here executes what a file says: safetensors holds numbers only, and pickles are refused.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from reg2rg.errors import InputError
from reg2rg.files import staged_file, write_json
from reg2rg.model.config import Reg2RGConfig, load_config

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
MAX_SHARD_BYTES = 5_000_000_000


def write_model(folder: Path, config: Reg2RGConfig, tensors: Mapping[str, Tensor]) -> None:
    """Writes a model's configuration and weights; other files in the folder stay. Inverse: `read_model`."""
    write_tensors(folder, tensors)
    write_json(folder / CONFIG, config.to_dict())


def read_model(folder: Path) -> tuple[Reg2RGConfig, dict[str, Tensor]]:
    """A model's configuration and its weights by name, mapped from their files rather than read.

    Raises:
        InputError: if a file of them is missing, broken or a pickle.
    """
    tensors = read_tensors(folder)
    return load_config(folder / CONFIG), tensors


def write_tensors(folder: Path, tensors: Mapping[str, Tensor], max_shard_bytes: int = MAX_SHARD_BYTES) -> None:
    """Writes the tensors as one safetensors file, or as several with an index; replaces the folder's former weights.

    A tensor that lies in a mapped file is copied from it as it is written, so that no more is in memory than the
    pages the system keeps of that file.
    """
    shards = _split(tensors, max_shard_bytes)
    names = (
        [WEIGHTS]
        if len(shards) == 1
        else [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    )
    for name, shard in zip(names, shards, strict=True):
        write_tensor_file(folder / name, {key: tensors[key] for key in shard})
    if len(shards) > 1:
        weight_map = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
        total = sum(tensor.nbytes for tensor in tensors.values())
        write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})
    else:
        (folder / INDEX).unlink(missing_ok=True)
    for stale in set(folder.glob("model*.safetensors")) - {folder / name for name in names}:
        stale.unlink()


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """The folder's tensors by name, mapped from their files rather than read.

    Raises:
        InputError: if the folder, its weights or a file of them is missing or broken.
    """
    tensors: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        tensors |= read_tensor_file(path)
    return tensors


def read_tensor_file(path: Path) -> dict[str, Tensor]:
    """One safetensors file's tensors by name, mapped rather than read.

    Raises:
        InputError: if the file is missing or broken.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: expected a safetensors file, cannot read it ({error}); fetch it again") from error


def write_tensor_file(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes one safetensors file, complete or not at all."""
    with staged_file(path) as staging:
        staging.touch()
        usual = staging.stat().st_mode  # save_file would leave the file to its owner alone
        save_file({name: value.detach().contiguous() for name, value in tensors.items()}, staging, {"format": "pt"})
        staging.chmod(usual)


def check_names(found: Iterable[str], expected: Iterable[str], source: Path) -> None:
    """Raises InputError, naming the first few, if tensors are missing or left over."""
    found, expected = set(found), set(expected)
    for names, verdict in ((expected - found, "missing"), (found - expected, "left over")):
        if names:
            raise InputError(f"{source}: tensors {verdict} ({len(names)}): {_first(names)}")


def check_shapes(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: Path) -> None:
    """Raises InputError, naming the first few, if tensors of the same name have other shapes."""
    wrong = [
        f"{name} is {tuple(found[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if found[name].shape != tensor.shape
    ]
    if wrong:
        raise InputError(f"{source}: {len(wrong)} tensors have another shape than the configuration: {_first(wrong)}")


def _first(items: Iterable[str], count: int = 3) -> str:
    items = sorted(items)
    return ", ".join(items[:count]) + (", ..." if len(items) > count else "")


def _split(tensors: Mapping[str, Tensor], max_shard_bytes: int) -> list[list[str]]:
    """Names in their order, in groups of at most so many bytes (or one tensor)."""
    shards: list[list[str]] = [[]]
    size = 0
    for name, tensor in tensors.items():
        if shards[-1] and size + tensor.nbytes > max_shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += tensor.nbytes
    return shards


def _weight_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a model's folder, found none")
    paths = [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        try:
            names = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()
            paths = sorted({folder / Path(name).name for name in names})
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{folder / INDEX}: expected an index of weight files; fetch it again") from error
    for path in paths:
        if not path.is_file():
            pickles = sorted(folder.glob("*.bin")) + sorted(folder.glob("*.pt")) + sorted(folder.glob("*.pth"))
            if pickles:
                raise InputError(
                    f"{pickles[0]}: a pickle, which can run code, where {WEIGHTS} is due; "
                    "bring it into our format with `reg2rg convert`"
                )
            raise InputError(f"{path}: expected the model's weights, found no such file")
    return paths
