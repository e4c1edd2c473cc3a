"""The crops of a dataset, computed once and kept on disk."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from reg2rg.data.dataset import Dataset
from reg2rg.data.store import StudyStore, digest_of
from reg2rg.model.config import Reg2RGConfig
from reg2rg.preprocess import StudyCrops
from reg2rg.processor import crops_of
from reg2rg.volume import Box

_FORMAT = 3  # raise it when the crops of the same settings change
_STEPS = np.float32(2400)  # from the middle of the window to its ends: a quarter of a HU in the published one
_MASK_STEPS = np.float32(255)


class CropStore(StudyStore):
    """Crops by study.

    Intensities are kept in steps of a quarter of a HU (of the published window), masks in 255 steps.

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
            "axes": dataset.axes,
        }
        super().__init__(folder / f"crops-{digest_of(settings)}" / dataset.split, dataset.keys[:limit])
        self.dataset = dataset
        self._config = config

    def __getitem__(self, index: int) -> StudyCrops:
        stored = self.arrays(index)
        boxes = [Box(*(tuple(corner) for corner in box)) for box in stored["boxes"].tolist()]
        return StudyCrops(
            image=np.divide(stored["image"], _STEPS, dtype=np.float32),
            regions=tuple(stored["regions"].tolist()),
            textures=np.divide(stored["textures"], _STEPS, dtype=np.float32),
            masks=np.divide(stored["masks"], _MASK_STEPS, dtype=np.float32),
            image_box=boxes[0],
            boxes=tuple(boxes[1:]),
            warnings=tuple(stored["warnings"].tolist()),
            with_mask=tuple(stored["with_mask"].tolist()),
        )

    def _source(self, number: int) -> str:
        return self.dataset.fingerprint(number)

    def _compute(self, number: int) -> dict[str, np.ndarray]:
        crops = crops_of(self.dataset[number], self._config)
        return {
            "image": np.rint(crops.image * _STEPS).astype(np.int16),
            "regions": np.array(crops.regions),
            "textures": np.rint(crops.textures * _STEPS).astype(np.int16),
            "masks": np.rint(crops.masks * _MASK_STEPS).astype(np.uint8),
            "boxes": np.array([(box.start_xyz, box.stop_xyz) for box in (crops.image_box, *crops.boxes)]),
            "warnings": np.array(crops.warnings, dtype=str),
            "with_mask": np.array(crops.with_mask, dtype=str),
        }
