"""A dataset's crops, and what the frozen encoders make of them, computed once for training and generation."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reg2rg.data.crops import CropStore
from reg2rg.data.dataset import Dataset
from reg2rg.data.store import StudyStore
from reg2rg.errors import InputError
from reg2rg.files import check_writable
from reg2rg.model.config import load_config
from reg2rg.models import find_model

_CONFIG_FILE = "config.json"

Progress = Callable[[int, int], None]


def prepare(
    dataset: Dataset,
    cache: Path,
    model: str,
    tokens: bool = False,
    bf16: bool = True,
    device: str = "cpu",
    limit: int | None = None,
    workers: int = 1,
    progress: Callable[[str], Progress | None] = lambda _: None,
) -> dict[str, Any]:
    """Fills a cache; run again, it computes only what is missing or whose files have changed.

    Args:
        dataset: whose studies.
        cache: the folder to fill; several datasets and models may share it.
        model: a shipped model's name or a folder; its configuration says how crops are cut.
        tokens: keep also what the model's encoders make of the crops, without dropout.
        bf16: for the tokens: matrix products by units for bfloat16, where the device has any; the same but for the
            last digits.
        device: for the tokens: where the encoders run.
        limit: only the first studies.
        workers: processes that compute crops.
        progress: for a stage's name gives what is called with (studies done, count).

    Returns:
        A summary: studies, computed and kept ones, those left out with the reason, bytes, seconds.

    Raises:
        InputError: if the folder cannot be written, the disk has no room, or no study can be prepared.
    """
    check_writable(cache)
    folder = find_model(model)
    started = time.perf_counter()
    crops = CropStore(dataset, cache, load_config(folder / _CONFIG_FILE), limit)
    summary: dict[str, Any] = {"out": str(cache), "split": dataset.split, "model": model, "studies": len(crops)}
    left_out: dict[str, str] = {}
    summary["crops"] = _fill(crops, workers, progress("crops"), left_out)
    if not len(crops):
        raise InputError(f"no study could be prepared; the first: {next(iter(left_out.values()), 'there is none')}")
    if tokens:
        import torch

        from reg2rg.data.encoded import TokenStore
        from reg2rg.model.precision import leave_half_precision
        from reg2rg.model.reg2rg import Reg2RG

        where = torch.device(device)
        encoder = Reg2RG.from_pretrained(folder).to(where)
        if where.type == "cpu":
            leave_half_precision(encoder)
        encoded = TokenStore(crops, encoder, bf16)
        summary["tokens"] = _fill(encoded, 1, progress("tokens"), left_out)
    return {**summary, "left_out": left_out, "seconds": round(time.perf_counter() - started, 3)}


def _fill(store: StudyStore, workers: int, progress: Progress | None, left_out: dict[str, str]) -> dict[str, Any]:
    kept = sum(map(store.is_current, range(len(store))))
    left_out |= (problems := store.fill(workers, progress))
    computed = len(store) - kept
    return {
        "folder": str(store.folder),
        "computed": computed,
        "kept": kept,
        "left_out": len(problems),
        "bytes": store.bytes_on_disk,
    }
