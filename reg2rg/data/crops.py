"""The crops of a dataset, computed once and kept on disk, one file per study."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from reg2rg.data.dataset import Dataset
from reg2rg.errors import InputError
from reg2rg.files import staged_file
from reg2rg.model.config import Reg2RGConfig
from reg2rg.nifti import stem
from reg2rg.preprocess import StudyCrops
from reg2rg.processor import crops_of
from reg2rg.volume import Box
from reg2rg.workers import worker_pool

_FORMAT = 1  # raise it when the crops of the same settings change


class CropStore:
    """Crops by study, read from the folder or computed and put there.

    Intensities are kept as float16 (steps of at most 0.3 HU of the published window), masks in 255 steps.

    Args:
        dataset: whose studies.
        folder: where the files go; other settings get another subfolder.
        config: of the model that will read the crops.
        limit: only the first studies.
    """

    def __init__(self, dataset: Dataset, folder: Path, config: Reg2RGConfig, limit: int | None = None) -> None:
        settings = {
            "format": _FORMAT,
            "crop_size_xyz": config.crop_size_xyz,
            "window": asdict(config.window),
            "outside_hu": config.outside_hu,
            "grid_spacing_mm": config.grid_spacing_mm,
        }
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
        self.dataset = dataset
        self.folder = folder / f"crops-{digest}" / dataset.split
        self._config = config
        self._indices = list(range(len(dataset)))[:limit]

    def __len__(self) -> int:
        return len(self._indices)

    @property
    def keys(self) -> list[str]:
        """Study ids, in the order of the items."""
        return [self.dataset.keys[index] for index in self._indices]

    def __getitem__(self, index: int) -> StudyCrops:
        path = self._path(index)
        if not path.is_file():
            self._compute(index)
        with np.load(path) as stored:
            boxes = [Box(*(tuple(corner) for corner in box)) for box in stored["boxes"].tolist()]
            return StudyCrops(
                image=stored["image"].astype(np.float32),
                regions=tuple(stored["regions"].tolist()),
                textures=stored["textures"].astype(np.float32),
                masks=stored["masks"].astype(np.float32) / 255,
                image_box=boxes[0],
                boxes=tuple(boxes[1:]),
            )

    def fill(self, workers: int = 1, progress: Callable[[int, int], None] | None = None) -> dict[str, str]:
        """Computes what is missing; studies that cannot be encoded leave the store and are returned with the reason."""
        pending = [index for index in range(len(self)) if not self._path(index).is_file()]
        problems: dict[str, str] = {}
        for done, (index, problem) in enumerate(self._filled(pending, workers), start=1):
            if problem:
                problems[self.dataset.keys[self._indices[index]]] = problem
            if progress:
                progress(len(self) - len(pending) + done, len(self))
        self._indices = [i for i in self._indices if self.dataset.keys[i] not in problems]
        return problems

    def _filled(self, pending: list[int], workers: int) -> Iterator[tuple[int, str]]:
        if workers <= 1 or len(pending) < 2:
            yield from zip(pending, map(self._try, pending), strict=True)
        else:
            with worker_pool(workers) as pool:
                yield from zip(pending, pool.map(self._try, pending, chunksize=4), strict=True)

    def _try(self, index: int) -> str:
        try:
            self._compute(index)
        except InputError as error:
            return str(error)
        return ""

    def _compute(self, index: int) -> None:
        crops = crops_of(self.dataset[self._indices[index]], self._config)
        path = self._path(index)
        path.parent.mkdir(parents=True, exist_ok=True)
        with staged_file(path) as staging, staging.open("wb") as file:
            np.savez(
                file,
                image=crops.image.astype(np.float16),
                regions=np.array(crops.regions),
                textures=crops.textures.astype(np.float16),
                masks=np.rint(crops.masks * 255).astype(np.uint8),
                boxes=np.array([(box.start_xyz, box.stop_xyz) for box in (crops.image_box, *crops.boxes)]),
            )

    def _path(self, index: int) -> Path:
        return self.folder / f"{stem(Path(self.dataset.keys[self._indices[index]]))}.npz"
