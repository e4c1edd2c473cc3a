"""What frozen encoders make of a dataset's crops, computed once and kept on disk."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from reg2rg.data.crops import CropStore, array_of, boxes_of
from reg2rg.data.store import StudyStore
from reg2rg.model.precision import multiplies_bf16
from reg2rg.model.reg2rg import Reg2RG
from reg2rg.model.split_products import products
from reg2rg.processor import crop_tensor
from reg2rg.volume import Box

ENCODERS = ("vision", "perceiver", "mask_encoder")
"""The parts of the model that see voxels, and nothing else does."""

_FORMAT = 3  # raise it when the arrays of the same weights change
_SMALL_CROP = 2**20  # voxels; the phantoms' crops have 2e5, the published ones 4e6


@dataclass(frozen=True, eq=False)
class EncodedStudy:
    """What frozen encoders make of a study, before the projections.

    Attributes:
        regions: names, in the order of the rows.
        image: latents of the whole image; its patches where the perceiver is trained.
        textures: the same of each region.
        masks: one vector per region; the masks in steps where their encoder is trained.
        image_box, boxes: as in `reg2rg.preprocess.StudyCrops`.
    """

    regions: tuple[str, ...]
    image: Float[Tensor, "token width"]
    textures: Float[Tensor, "region token width"]
    masks: Float[Tensor, "region mask_width"] | UInt8[np.ndarray, "region x y z"]
    image_box: Box
    boxes: tuple[Box, ...]

    def ordered(self, regions: tuple[str, ...]) -> "EncodedStudy":
        """The same with the regions in another order (the order of the prompt)."""
        rows = [self.regions.index(name) for name in regions]
        return replace(
            self,
            regions=regions,
            textures=self.textures[rows],
            masks=self.masks[rows],
            boxes=tuple(self.boxes[row] for row in rows),
        )


class TokenStore(StudyStore):
    """What frozen encoders make of the studies of a crop store, without dropout, as float16.

    Other weights get another subfolder of the crops' folder.

    Args:
        crops: whose crops.
        model: whose encoders.
        bf16: matrix products by units for bfloat16, where the device has any: the same but for the last digits.
        frozen: those of `ENCODERS` that training leaves as they are, the vision encoder among them. With the perceiver
            patches become latents, with the mask encoder masks become vectors.
    """

    def __init__(self, crops: CropStore, model: Reg2RG, bf16: bool, frozen: tuple[str, ...] = ENCODERS) -> None:
        folder = crops.folder.parent / f"tokens-{_digest(encoder_tensors(model, frozen))}" / crops.dataset.split
        super().__init__(folder, crops.keys)
        self._crops, self._model, self._bf16, self._frozen = crops, model.eval(), bf16, frozen

    def __getitem__(self, index: int) -> EncodedStudy:
        stored = self.arrays(index)
        tokens, masks = torch.from_numpy(stored["latents"].copy()), stored["masks"]
        image_box, *boxes = boxes_of(stored["boxes"])
        return EncodedStudy(
            tuple(stored["regions"].tolist()),
            tokens[0],
            tokens[1:],
            torch.from_numpy(masks.copy()) if "mask_encoder" in self._frozen else masks,
            image_box,
            tuple(boxes),
        )

    def _source(self, number: int) -> str:
        return self._crops.fingerprint(number)

    def _problems(self, pending: Sequence[int], workers: int) -> Iterator[str]:
        """Small crops do not keep several threads of a processor busy: there each thread encodes a study of its own.

        Not by units for bfloat16: while one thread uses them, what the others multiply in float32 would be rounded.
        """
        threads = torch.get_num_threads()
        is_small = math.prod(self._model.config.crop_size_xyz) < _SMALL_CROP
        by_units = self._bf16 and multiplies_bf16(self._device)
        if self._device.type != "cpu" or not is_small or by_units or threads == 1:
            yield from super()._problems(pending, workers)
            return
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(threads) as pool:
                yield from pool.map(self._try, pending)
        finally:
            torch.set_num_threads(threads)

    @property
    def _device(self) -> torch.device:
        return next(self._model.parameters()).device

    @torch.inference_mode()
    def _compute(self, number: int) -> dict[str, np.ndarray]:
        crops = self._crops[number]
        device = self._device
        images = crop_tensor(np.concatenate([crops.image[None], crops.textures]), device)
        with products(device, self._bf16):
            tokens = self._model.read_voxels(images)
            if "perceiver" in self._frozen:
                tokens = self._model.read_patches(tokens)
            masks = crops.masks
            if "mask_encoder" in self._frozen:
                masks = self._model.read_masks(crop_tensor(masks, device)).half().cpu().numpy()
        return {
            "regions": np.array(crops.regions),
            "latents": tokens.half().cpu().numpy(),
            "masks": masks,
            "boxes": array_of([crops.image_box, *crops.boxes]),
        }


def encoder_tensors(model: Reg2RG, parts: tuple[str, ...] = ENCODERS) -> dict[str, Tensor]:
    """The weights of these encoders."""
    return {name: value for name, value in model.state_dict().items() if name.split(".")[0] in parts}


def _digest(tensors: dict[str, Tensor]) -> str:
    """A short name for weights, in whatever dtype."""
    digest = hashlib.sha256(str(_FORMAT).encode())
    for name, value in sorted(tensors.items()):
        digest.update(name.encode() + value.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]
