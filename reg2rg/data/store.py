"""Arrays of each study of a dataset, computed once and kept on disk, one compressed file per study."""

import hashlib
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from reg2rg.errors import InputError
from reg2rg.files import staged_file
from reg2rg.nifti import stem
from reg2rg.workers import worker_pool


class StudyStore(ABC):
    """What is kept of each study: named arrays in ``KEY.npz.zst`` of a folder, written complete or not at all.

    Args:
        folder: where the files go.
        keys: ids of the studies, in the order of the items.
    """

    def __init__(self, folder: Path, keys: Sequence[str]) -> None:
        self.folder = folder
        self._all_keys = tuple(keys)
        self._indices = list(range(len(keys)))

    @abstractmethod
    def _compute(self, number: int) -> dict[str, np.ndarray]:
        """The arrays of the study with this place among all keys; InputError if it has none."""

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def keys(self) -> list[str]:
        """Study ids, in the order of the items."""
        return [self._all_keys[number] for number in self._indices]

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """The study's arrays, read from the folder or computed and put there."""
        number = self._indices[index]
        path = self._path(number)
        if not path.is_file():
            self._put(number)
        packed = zstandard.ZstdDecompressor().decompress(path.read_bytes())
        with np.load(io.BytesIO(packed), allow_pickle=False) as stored:
            return dict(stored)

    def fill(self, workers: int = 1, progress: Callable[[int, int], None] | None = None) -> dict[str, str]:
        """Computes what is missing; studies that have no arrays leave the store and are returned with the reason."""
        pending = [number for number in self._indices if not self._path(number).is_file()]
        present = len(self) - len(pending)
        if progress:
            progress(present, len(self))
        problems: dict[int, str] = {}
        for done, (number, problem) in enumerate(self._filled(pending, workers), start=1):
            if problem:
                problems[number] = problem
            if progress:
                progress(present + done, len(self))
        self._indices = [number for number in self._indices if number not in problems]
        return {self._all_keys[number]: problem for number, problem in problems.items()}

    def _filled(self, pending: list[int], workers: int) -> Iterator[tuple[int, str]]:
        if workers <= 1 or len(pending) < 2:
            yield from zip(pending, map(self._try, pending), strict=True)
        else:
            with worker_pool(workers) as pool:
                yield from zip(pending, pool.map(self._try, pending, chunksize=16), strict=True)

    def _try(self, number: int) -> str:
        try:
            self._put(number)
        except InputError as error:
            return str(error)
        return ""

    def _put(self, number: int) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **self._compute(number))
        path = self._path(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        with staged_file(path) as staging:
            staging.write_bytes(zstandard.ZstdCompressor(level=1).compress(buffer.getvalue()))

    def _path(self, number: int) -> Path:
        return self.folder / f"{stem(Path(self._all_keys[number]))}.npz.zst"


def digest_of(settings: dict[str, Any]) -> str:
    """A short name for settings: other settings, another name."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
