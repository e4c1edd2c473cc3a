"""Arrays of each study of a dataset, computed once and kept on disk, one compressed file per study.

A file begins with one line of JSON: what its content was computed from (a fingerprint), and each array's type, shape
and length; the arrays follow, each as a zstd frame in the order in which it lay in memory.
"""

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from reg2rg.errors import InputError
from reg2rg.files import check_room, staged_file
from reg2rg.nifti import stem
from reg2rg.workers import worker_pool

_ENDING = ".arrays"
_MAX_HEADER = 2**16


class StudyStore(ABC):
    """What is kept of each study: named arrays in ``KEY.arrays`` of a folder, written complete or not at all.

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

    def _source(self, number: int) -> str:
        """What the arrays of that study are computed from, in a few letters; when it changes, so do the arrays."""
        return ""

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def keys(self) -> list[str]:
        """Study ids, in the order of the items."""
        return [self._all_keys[number] for number in self._indices]

    def fingerprint(self, index: int) -> str:
        """What the study's arrays are computed from."""
        return self._source(self._indices[index])

    def arrays(self, index: int) -> dict[str, np.ndarray]:
        """The study's arrays, read from the folder or computed and put there. They cannot be written to."""
        number = self._indices[index]
        if not self._is_current(number):
            self._put(number)
        with self._path(number).open("rb") as file:
            header = json.loads(file.readline(_MAX_HEADER))
            unpack = zstandard.ZstdDecompressor().decompress
            return {entry["name"]: _array(entry, unpack(file.read(entry["bytes"]))) for entry in header["arrays"]}

    def is_current(self, index: int) -> bool:
        """Whether the study's arrays are there, computed from what there is now."""
        return self._is_current(self._indices[index])

    def fill(self, workers: int = 1, progress: Callable[[int, int], None] | None = None) -> dict[str, str]:
        """Computes what is missing or out of date.

        Studies that have no arrays leave the store.

        Returns:
            Why each of them has none, by key.

        Raises:
            InputError: if the disk has no room for what is missing, as the first study's file foretells.
        """
        pending = [number for number in self._indices if not self._is_current(number)]
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

    @property
    def bytes_on_disk(self) -> int:
        """Of all files that are there."""
        paths = (self._path(number) for number in self._indices)
        return sum(path.stat().st_size for path in paths if path.is_file())

    def _filled(self, pending: list[int], workers: int) -> Iterator[tuple[int, str]]:
        while pending:  # one study foretells the others
            first, pending = pending[0], pending[1:]
            problem = self._try(first)
            yield first, problem
            if not problem:
                size = self._path(first).stat().st_size
                check_room(self.folder, size * len(pending), f"{len(pending)} more studies")
                break
        yield from zip(pending, self._problems(pending, workers), strict=True)

    def _problems(self, pending: Sequence[int], workers: int) -> Iterator[str]:
        """Computes these studies; why each has no arrays, or nothing."""
        if workers <= 1 or len(pending) < 2:
            yield from map(self._try, pending)
        else:
            few = max(1, min(16, len(pending) // (8 * workers)))
            with worker_pool(workers) as pool:
                yield from pool.map(self._try, pending, chunksize=few)

    def _try(self, number: int) -> str:
        try:
            self._put(number)
        except InputError as error:
            return str(error)
        return ""

    def _put(self, number: int) -> None:
        source = self._source(number)  # before anything is read: a file that changes meanwhile is read again
        arrays = self._compute(number)
        path = self._path(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        pack = zstandard.ZstdCompressor(level=1).compress
        entries, frames = [], []
        for name, array in arrays.items():
            axes = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
            ordered = array.transpose(axes)
            frames.append(pack(ordered.tobytes()))
            described = {"dtype": array.dtype.str, "shape": ordered.shape, "axes": axes}
            entries.append({"name": name, **described, "bytes": len(frames[-1])})
        header = json.dumps({"source": source, "arrays": entries})
        with staged_file(path) as staging, staging.open("wb") as file:
            file.writelines([header.encode(), b"\n", *frames])

    def _is_current(self, number: int) -> bool:
        """Whether the study's file is there, and of the same source."""
        try:
            with self._path(number).open("rb") as file:
                return bool(json.loads(file.readline(_MAX_HEADER))["source"] == self._source(number))
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _path(self, number: int) -> Path:
        return self.folder / f"{stem(Path(self._all_keys[number]))}{_ENDING}"


def digest_of(settings: dict[str, Any]) -> str:
    """A short name for settings: other settings, another name; equal ones share it, as 600 and 600.0 do."""
    return hashlib.sha256(json.dumps(_as_floats(settings), sort_keys=True).encode()).hexdigest()[:12]


def _as_floats(value: Any) -> Any:
    """A JSON value with every whole number as a float: what is read from a file need not be of the type in code."""
    if isinstance(value, dict):
        return {key: _as_floats(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_floats(member) for member in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _array(entry: dict[str, Any], content: bytes) -> np.ndarray:
    array = np.frombuffer(content, entry["dtype"], math.prod(entry["shape"])).reshape(entry["shape"])
    return array.transpose(np.argsort(entry["axes"])) if array.ndim else array
