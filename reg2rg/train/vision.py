"""Stage vision: encoder, perceiver and mask encoder learn from crops what a report will need.

A stand-in for the paper's RadFM pretraining (Chen et al., IEEE TMI 2025, section IV-B), for worlds in which the truth
is known: each crop's latents tell the region's name and its abnormalities with their side, each patch tells the lesions
in it (without that, small lesions are averaged away), each mask token tells name, size, place and what only size shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Int64, Integer
from torch import Tensor, nn
from torch.nn import functional

from reg2rg.abnormalities import ABNORMALITIES, ABNORMALITY_NAMES
from reg2rg.data.crops import CropStore
from reg2rg.model.reg2rg import Reg2RG
from reg2rg.phantom.finding import Finding
from reg2rg.preprocess import StudyCrops, area_resize
from reg2rg.regions import REGION_NAMES
from reg2rg.volume import Box

SIDES = ("any", "left", "right")
_MIN_SHARE = 0.1  # of a lesion in a patch, or of a patch in a lesion, for the patch to be called a lesion's
_DENSE_POSITIVE_WEIGHT = 8.0  # patches with a lesion are rare


@dataclass(frozen=True, eq=False)
class VisionTargets:
    """What one study's crops should tell; row 0 is the whole image, then the regions in crop order.

    Attributes:
        names: index of each region (the image has none).
        present: for each abnormality whether it is there at all, on the left, on the right.
        known: whether the abnormality belongs to that crop's region and can be told from it.
        lesions: for each patch the abnormalities that have a lesion in it.
        places: log share of the image's grid, center and extent of each region's mask.
    """

    names: Int64[np.ndarray, " region"]
    present: Float32[np.ndarray, "crop abnormality side"]
    known: Float32[np.ndarray, "crop abnormality"]
    lesions: Float32[np.ndarray, "crop patch abnormality"]
    places: Float32[np.ndarray, "region place"]


def targets_of(
    crops: StudyCrops,
    findings: Sequence[Finding],
    lesion_bits: Integer[np.ndarray, "x y z"],
    patches_xyz: tuple[int, int, int],
) -> VisionTargets:
    """The targets of one study.

    Args:
        crops: its crops.
        findings: the drawn truth.
        lesion_bits: the lesions on the study's grid; bit k is the finding with ``lesion`` k.
        patches_xyz: patches of a crop along each axis.
    """
    boxes = (crops.image_box, *crops.boxes)
    names = (None, *crops.regions)
    present = np.zeros((len(boxes), len(ABNORMALITIES), len(SIDES)), np.float32)
    known = np.array([[name in (None, a.region) for a in ABNORMALITIES] for name in names], np.float32)
    lesions = np.zeros((len(boxes), int(np.prod(patches_xyz)), len(ABNORMALITIES)), np.float32)
    for finding in findings:
        column = ABNORMALITY_NAMES.index(finding.abnormality)
        sides = [0] + [SIDES.index(side) for side in SIDES if side == finding.side]
        lesion = (lesion_bits >> (finding.lesion or 0)) & 1 != 0
        for row, name in enumerate(names):
            if name in (None, finding.region):
                present[row, column, sides] = 1
                lesions[row, :, column] = np.maximum(
                    lesions[row, :, column], _patches_of(lesion, boxes[row], patches_xyz)
                )
    return VisionTargets(
        names=np.array([REGION_NAMES.index(name) for name in crops.regions]),
        present=present,
        known=known,
        lesions=lesions,
        places=np.stack([_place(mask) for mask in crops.masks]),
    )


def _patches_of(lesion: np.ndarray, box: Box, patches_xyz: tuple[int, int, int]) -> Float32[np.ndarray, " patch"]:
    inside = lesion[box.slices]
    voxels = np.count_nonzero(inside)
    if voxels == 0:
        return np.zeros(int(np.prod(patches_xyz)), np.float32)
    of_patch = area_resize(inside, patches_xyz)
    of_lesion = of_patch * (inside.size / of_patch.size) / voxels
    return ((of_patch >= _MIN_SHARE) | (of_lesion >= _MIN_SHARE)).astype(np.float32).ravel()


def _place(mask: Float32[np.ndarray, "x y z"]) -> Float32[np.ndarray, " place"]:
    numbers = [np.log10(mask.mean() + 1e-5)]
    for axis in range(3):
        profile = mask.sum(axis=tuple(a for a in range(3) if a != axis))
        position = np.linspace(-1, 1, profile.size)
        center = (profile * position).sum() / profile.sum()
        numbers += [center, np.sqrt((profile * (position - center) ** 2).sum() / profile.sum())]
    return np.array(numbers, np.float32)


class VisionStudies(torch.utils.data.Dataset[dict[str, np.ndarray]]):
    """Crops with their targets.

    Args:
        store: the crops.
        targets: of each study in the store.
    """

    def __init__(self, store: CropStore, targets: Sequence[VisionTargets]) -> None:
        self._store, self._targets = store, targets

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        crops = self._store[index]
        seen = {"image": crops.image[None], "textures": crops.textures, "masks": crops.masks}
        return {**seen, **vars(self._targets[index])}


def collate(studies: Sequence[dict[str, np.ndarray]]) -> dict[str, Tensor]:
    """Packs studies: images and textures one after another, each study's image first."""
    packed = {
        name: torch.from_numpy(np.concatenate([study[name] for study in studies]))
        for name in ("masks", "names", "present", "known", "lesions", "places")
    }
    crops = [np.concatenate([study["image"], study["textures"]]) for study in studies]
    return {**packed, "crops": torch.from_numpy(np.concatenate(crops)), "is_region": _is_region(crops)}


def _is_region(crops: Sequence[np.ndarray]) -> Tensor:
    return torch.tensor([row > 0 for study in crops for row in range(len(study))])


class VisionPretrainer(nn.Module):
    """The model's encoders with heads that are thrown away afterwards."""

    def __init__(self, model: Reg2RG) -> None:
        super().__init__()
        sizes = model.config
        self.vision, self.perceiver, self.mask_encoder = model.vision, model.perceiver, model.mask_encoder
        latent_numbers = sizes.perceiver.latents * sizes.vision.width
        self.name_of_crop = nn.Linear(latent_numbers, len(REGION_NAMES))
        self.findings_of_crop = nn.Linear(latent_numbers, len(ABNORMALITIES) * len(SIDES))
        self.lesions_of_patch = nn.Linear(sizes.vision.width, len(ABNORMALITIES))
        self.name_of_mask = nn.Linear(sizes.mask_encoder.width, len(REGION_NAMES))
        self.place_of_mask = nn.Linear(sizes.mask_encoder.width, 7)
        self.findings_of_mask = nn.Linear(sizes.mask_encoder.width, len(ABNORMALITIES))

    def forward(
        self,
        crops: Float[Tensor, "crop x y z"],
        is_region: Tensor,
        masks: Float[Tensor, "region x y z"],
        names: Int[Tensor, " region"],
        present: Float[Tensor, "crop abnormality side"],
        known: Float[Tensor, "crop abnormality"],
        lesions: Float[Tensor, "crop patch abnormality"],
        places: Float[Tensor, "region place"],
    ) -> dict[str, Tensor]:
        """The sum of the heads' losses, and what they say."""
        patches = self.vision(crops)
        latents = self.perceiver(patches).flatten(1)
        mask_tokens = self.mask_encoder(masks)
        name_logits = self.name_of_crop(latents[is_region])
        finding_logits = self.findings_of_crop(latents).view_as(present)
        lesion_logits = self.lesions_of_patch(patches)
        mask_finding_logits = self.findings_of_mask(mask_tokens)
        weight = torch.tensor(_DENSE_POSITIVE_WEIGHT)
        losses = {
            "name": functional.cross_entropy(name_logits.float(), names),
            "findings": _masked_bce(finding_logits, present, known[:, :, None]),
            "lesions": _masked_bce(lesion_logits, lesions, known[:, None, :], weight),
            "mask_name": functional.cross_entropy(self.name_of_mask(mask_tokens).float(), names),
            "mask_findings": _masked_bce(mask_finding_logits, present[is_region][:, :, 0], known[is_region]),
            "place": functional.mse_loss(self.place_of_mask(mask_tokens).float(), places),
        }
        return {
            "loss": torch.stack(list(losses.values())).sum(),
            "names": name_logits,
            "findings": finding_logits,
            "mask_findings": mask_finding_logits,
        }


def _masked_bce(logits: Tensor, targets: Tensor, known: Tensor, positive_weight: Tensor | None = None) -> Tensor:
    loss = functional.binary_cross_entropy_with_logits(
        logits.float(), targets, reduction="none", pos_weight=positive_weight
    )
    return (loss * known).sum() / known.expand_as(loss).sum().clamp(min=1)


@torch.inference_mode()
def validate(trainee: VisionPretrainer, studies: VisionStudies) -> dict[str, Any]:
    """How well the heads read held-out crops: naming by texture, and for each abnormality the area under the curve.

    Each abnormality is read three times: from its own region's texture crop, from that region's mask token, and from
    the whole image.
    """
    trainee.eval()
    right: list[bool] = []
    scores: list[dict[str, list[float]]] = []
    truth: list[list[float]] = []
    for index in range(len(studies)):
        batch = collate([studies[index]])
        out = trainee(**batch)
        names = batch["names"].tolist()
        right += (out["names"].argmax(-1) == batch["names"]).tolist()
        truth.append(batch["present"][0, :, 0].tolist())
        scores.append(_read_from(out["findings"][:, :, 0], out["mask_findings"], names))
    is_present = np.array(truth) > 0
    per_abnormality = {}
    for column, name in enumerate(ABNORMALITY_NAMES):
        aucs = {}
        for source in ("texture", "mask", "image"):
            read = np.array([study[source][column] for study in scores])
            known = ~np.isnan(read)
            auc = area_under_curve(read[known], is_present[known, column])
            if not np.isnan(auc):
                aucs[f"auc_{source}"] = round(auc, 4)
        if aucs:
            per_abnormality[name] = {**aucs, "support": int(is_present[:, column].sum())}
    return {"studies": len(studies), "naming_accuracy": float(np.mean(right)), "per_abnormality": per_abnormality}


def _read_from(
    crops: Float[Tensor, "crop abnormality"], masks: Float[Tensor, "region abnormality"], names: list[int]
) -> dict[str, list[float]]:
    """For each abnormality what its region's crop, its region's mask and the image say; NaN without that region."""
    read: dict[str, list[float]] = {"texture": [], "mask": [], "image": crops[0].tolist()}
    for column, abnormality in enumerate(ABNORMALITIES):
        region = REGION_NAMES.index(abnormality.region)
        row = names.index(region) if region in names else None
        read["texture"].append(np.nan if row is None else crops[row + 1, column].item())
        read["mask"].append(np.nan if row is None else masks[row, column].item())
    return read


def area_under_curve(scores: Float[np.ndarray, " study"], is_positive: Bool[np.ndarray, " study"]) -> float:
    """Area under the ROC curve by ranks (Mann-Whitney U), ties counted half; NaN with one class only.

    >>> area_under_curve(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    from scipy.stats import rankdata

    if is_positive.all() or not is_positive.any():
        return float("nan")
    count = int(is_positive.sum())
    rank_sum = rankdata(scores)[is_positive].sum()
    return float((rank_sum - count * (count + 1) / 2) / (count * (len(is_positive) - count)))
