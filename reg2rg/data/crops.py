"""The crops of a dataset, computed once and kept on disk."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from reg2rg.data.dataset import Dataset
from reg2rg.data.store import StudyStore, digest_of
from reg2rg.model.config import Reg2RGConfig
from reg2rg.preprocess import StudyCrops, in_steps
from reg2rg.processor import crops_of
from reg2rg.volume import Box

_FORMAT = 3  # raise it when the crops of the same settings change


class CropStore(StudyStore):
    """Crops by study, in steps (`preprocess.in_steps`): a published study is 134 MB then instead of 350.

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
        image_box, *boxes = boxes_of(stored["boxes"])
        return StudyCrops(
            image=stored["image"],
            regions=tuple(stored["regions"].tolist()),
            textures=stored["textures"],
            masks=stored["masks"],
            image_box=image_box,
            boxes=tuple(boxes),
            warnings=tuple(stored["warnings"].tolist()),
            with_mask=tuple(stored["with_mask"].tolist()),
        )

    def _source(self, number: int) -> str:
        return self.dataset.fingerprint(number)

    def _compute(self, number: int) -> dict[str, np.ndarray]:
        crops = in_steps(crops_of(self.dataset[number], self._config))
        return {
            "image": crops.image,
            "regions": np.array(crops.regions),
            "textures": crops.textures,
            "masks": crops.masks,
            "boxes": array_of([crops.image_box, *crops.boxes]),
            "warnings": np.array(crops.warnings, dtype=str),
            "with_mask": np.array(crops.with_mask, dtype=str),
        }


def array_of(boxes: Sequence[Box]) -> Int64[np.ndarray, "box 2 3"]:
    """Boxes as one array: of each, where it starts and where it stops."""
    return np.array([(box.start_xyz, box.stop_xyz) for box in boxes])


def boxes_of(array: Int64[np.ndarray, "box 2 3"]) -> list[Box]:
    """The boxes again: inverse of `array_of`."""
    return [Box(tuple(start), tuple(stop)) for start, stop in array.tolist()]
