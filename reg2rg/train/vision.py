"""Stage vision: encoder, perceiver and mask encoder learn from crops what a report will need.

A stand-in for the paper's RadFM pretraining (Chen et al., IEEE TMI 2025, section IV-B), for worlds in which the truth
is known: each crop's latents tell the region's name, its abnormalities and their attributes; each patch tells the
lesions in its cells (without that, small lesions are averaged away); each mask token tells name, size, place and what
only size shows.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Integer
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from reg2rg.data.crops import CropStore
from reg2rg.model.reg2rg import Reg2RG
from reg2rg.phantom.finding import KINDS
from reg2rg.preprocess import as_floats
from reg2rg.regions import REGION_NAMES
from reg2rg.train.questions import ATTRIBUTES, KIND_NAMES, KIND_OF_ATTRIBUTE, QUESTIONS, questions_loss
from reg2rg.train.targets import CELLS, TargetStore

# How often a step sees a crop of a study: the more, the harder its findings.
_CHANCES = {"lung": 1.0, "heart": 0.5, "mediastinum": 0.5, "trachea and bronchie": 0.5}
_CHANCE_OTHERWISE = 0.2
# Left and right lung look alike mirrored; any other region would be a person that does not exist.
_MIRRORED = ("lung", "pleura")
_NO_MIRROR = "middle lobe"  # is on the right only
_SIZE_ONLY = "Cardiomegaly"  # nothing in its cells tells it


class VisionStudies(torch.utils.data.Dataset[dict[str, np.ndarray]]):
    """Crops with their targets.

    Args:
        crops: the crops.
        targets: of the same studies.
        vary: leave out crops and mirror some, other ones each time, as training does.
    """

    def __init__(self, crops: CropStore, targets: TargetStore, vary: bool) -> None:
        self._crops, self._targets, self._vary = crops, targets, vary

    def __len__(self) -> int:
        return len(self._targets)

    def usual_cells(self) -> Float32[np.ndarray, " kind"]:
        """See `TargetStore.usual_cells`."""
        return self._targets.usual_cells()

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        crops, targets = self._crops[index], self._targets[index]
        names = (None, *crops.regions)
        # torch's global generator: the trainer keeps its state, so that a resumed run goes on in the same order.
        chances = torch.rand(len(names), 2).tolist()
        seen = [
            row
            for row, name in enumerate(names)
            if not self._vary or chances[row][0] < _CHANCES.get(name or "", _CHANCE_OTHERWISE)
        ]
        regions = [row - 1 for row in seen if row > 0]
        study = {
            "crops": as_floats(np.stack([crops.image if row == 0 else crops.textures[row - 1] for row in seen])),
            "crop_names": np.array([-1 if names[row] is None else REGION_NAMES.index(names[row]) for row in seen]),
            "masks": as_floats(crops.masks[regions]),
            "names": targets.names[regions],
            "places": targets.places[regions],
            "known": targets.known[seen],
            "mask_known": targets.known[1:][regions],
            "present": np.repeat(targets.present[None], len(seen), 0),
            "attributes": np.repeat(targets.attributes[None], len(seen), 0),
            "mask_present": np.repeat(targets.present[None], len(regions), 0),
            "mask_attributes": np.repeat(targets.attributes[None], len(regions), 0),
            "lesions": np.zeros((len(seen), *targets.lesion_cells.shape[1:], len(KINDS)), np.uint8),
        }
        for row, kind, cells in zip(targets.lesion_rows, targets.lesion_kinds, targets.lesion_cells, strict=True):
            if row in seen:
                study["lesions"][seen.index(row), :, :, kind] |= cells
        if self._vary:
            for place, row in enumerate(seen):
                if names[row] in _MIRRORED and chances[row][1] < 0.5:
                    self._mirror(study, place)
        return study

    def _mirror(self, study: dict[str, np.ndarray], place: int) -> None:
        attributes = study["attributes"][place]
        own = study["known"][place][KIND_OF_ATTRIBUTE] > 0
        if (attributes[own & _IS_MIDDLE] > 0).any():
            return
        study["crops"][place] = study["crops"][place][::-1]
        study["attributes"][place] = np.where(own, attributes[_SIDES_SWAPPED], attributes)
        x = self._targets.patches_xyz[0]
        lesions = study["lesions"][place]
        patches, cells, kinds = lesions.shape
        grid = lesions.reshape(x, patches // x, CELLS, cells // CELLS, kinds)
        study["lesions"][place] = grid[::-1, :, ::-1].reshape(lesions.shape)


def _swap_sides() -> np.ndarray:
    column = {attribute: index for index, attribute in enumerate(ATTRIBUTES)}
    swap = {"left": "right", "right": "left"}
    return np.array([column.get((kind, swap.get(answer, answer)), index) for (kind, answer), index in column.items()])


_SIDES_SWAPPED = _swap_sides()
_IS_MIDDLE = np.array([answer == _NO_MIRROR for _, answer in ATTRIBUTES])


def collate(studies: Sequence[dict[str, np.ndarray]]) -> dict[str, Tensor]:
    """Packs studies, one after another."""
    return {name: torch.from_numpy(np.concatenate([study[name] for study in studies])) for name in studies[0]}


class VisionPretrainer(nn.Module):
    """The model's encoders with heads that are thrown away afterwards.

    Args:
        model: whose encoders.
        usual_cells: of each kind, as `TargetStore.usual_cells` counts them.
    """

    usual_cells: Tensor
    is_seen: Tensor

    def __init__(self, model: Reg2RG, usual_cells: Float32[np.ndarray, " kind"]) -> None:
        super().__init__()
        sizes = model.config
        self.vision, self.perceiver, self.mask_encoder = model.vision, model.perceiver, model.mask_encoder
        self.name_of_crop = nn.Linear(sizes.vision.width, len(REGION_NAMES))
        self.findings_of_crop = nn.Linear(sizes.vision.width, QUESTIONS)
        self.lesions_of_patch = nn.Linear(sizes.vision.width, CELLS**3 * len(KINDS))
        nn.init.constant_(self.lesions_of_patch.bias, _RARE)
        self.name_of_mask = nn.Linear(sizes.mask_encoder.width, len(REGION_NAMES))
        self.place_of_mask = nn.Linear(sizes.mask_encoder.width, 7)
        self.findings_of_mask = nn.Linear(sizes.mask_encoder.width, QUESTIONS)
        self.register_buffer("usual_cells", torch.from_numpy(usual_cells), persistent=False)
        self.register_buffer("is_seen", torch.tensor([float(name != _SIZE_ONLY) for name in KINDS]), persistent=False)

    def forward(
        self,
        crops: Float[Tensor, "crop x y z"],
        crop_names: Int[Tensor, " crop"],
        masks: Float[Tensor, "region x y z"],
        names: Int[Tensor, " region"],
        places: Float[Tensor, "region place"],
        known: Float[Tensor, "crop kind"],
        mask_known: Float[Tensor, "region kind"],
        present: Float[Tensor, "crop kind"],
        attributes: Float[Tensor, "crop attribute"],
        mask_present: Float[Tensor, "region kind"],
        mask_attributes: Float[Tensor, "region attribute"],
        lesions: Integer[Tensor, "crop patch cell kind"],
    ) -> dict[str, Tensor]:
        """The sum of the heads' losses, and what they say."""
        patches = self.vision(crops)
        # The mean, which attention finds by itself: what each latent told in its own way, a language model finds late.
        looks: list[Tensor] | None = [] if self.training else None
        latents = self.perceiver(patches, looks).mean(dim=1)
        mask_tokens = self.mask_encoder(masks)
        is_region = crop_names >= 0
        name_logits = self.name_of_crop(latents)
        findings = self.findings_of_crop(latents).float()
        mask_findings = self.findings_of_mask(mask_tokens).float()
        # Only in the regions' crops: in the whole image most lesions are smaller than a voxel.
        asked_lesions = lesions[is_region]
        asked = known[is_region] * self.is_seen
        lesion_logits = self.lesions_of_patch(patches[is_region]).float().view(asked_lesions.shape)
        losses = {
            "name": functional.cross_entropy(name_logits.float()[is_region], crop_names[is_region]),
            "findings": questions_loss(findings, present, attributes, known),
            "lesions": _focal_loss(lesion_logits, asked_lesions, asked, self.usual_cells),
            "looks": _looks_loss([look[is_region] for look in looks or ()], asked_lesions.amax(dim=2), asked),
            "mask_name": functional.cross_entropy(self.name_of_mask(mask_tokens).float(), names),
            "mask_findings": questions_loss(mask_findings, mask_present, mask_attributes, mask_known),
            "place": functional.mse_loss(self.place_of_mask(mask_tokens).float(), places),
        }
        total = torch.stack([_WEIGHTS.get(name, 1.0) * loss for name, loss in losses.items()]).sum()
        return {"loss": total, "names": name_logits, "findings": findings, "mask_findings": mask_findings}


_RARE = -4.6  # logit of .01: cells with a lesion are rare, and a fresh head should know it (Lin et al. 2017)
# The lesions' loss is a mean over kinds, most of which are easy: at 1 the small ones were never learnt.
_WEIGHTS = {"findings": 3.0, "lesions": 12.0}


def _focal_loss(
    logits: Float[Tensor, "crop patch cell kind"],
    lesions: Integer[Tensor, "crop patch cell kind"],
    known: Float[Tensor, "crop kind"],
    usual_cells: Float[Tensor, " kind"],
) -> Float[Tensor, ""]:
    """Focal loss with gamma 2 (Lin et al., ICCV 2017), over the usual number of cells with a lesion, kind by kind.

    Over the batch's own number the loss would leap whenever a common kind happens to be missing.
    """
    targets = lesions.float()
    loss = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    unsure = 1 - torch.exp(-loss)
    of_kind = (unsure**2 * loss * known[:, None, None]).sum((0, 1, 2))
    return (of_kind / (known.sum(dim=0) * usual_cells).clamp(min=1)).mean()


def _looks_loss(
    looks: Sequence[Float[Tensor, "crop pair patch"]],
    lesions: Integer[Tensor, "crop patch kind"],
    known: Float[Tensor, "crop kind"],
) -> Float[Tensor, ""]:
    """How surprising it is to each kind's own pair of a head and a latent that the lesion is where it is.

    A lesion is one patch of hundreds. Latents that still look everywhere see it as a small part of a mean, and only
    find out slowly where to look; so they are told (as in Liu et al., "Neural Machine Translation with Supervised
    Attention", COLING 2016). Kinds without a lesion in a crop ask nothing; if pairs are fewer than kinds, kinds share.
    """
    losses = []
    for look in looks:
        own = torch.arange(lesions.shape[-1], device=look.device) % look.shape[1]
        is_there = lesions.to(look.dtype) * known[:, None]
        mass = torch.einsum("ckp,cpk->ck", look[:, own], is_there)
        has_lesion = is_there.amax(dim=1)
        losses.append(-(torch.log(mass + 1e-6) * has_lesion).sum() / has_lesion.sum().clamp(min=1))
    return torch.stack(losses).mean() if losses else torch.zeros(())


@torch.inference_mode()
def validate(trainee: VisionPretrainer, studies: VisionStudies, batch_size: int = 8) -> dict[str, Any]:
    """How well the heads read held-out crops: naming by texture, and for each abnormality the area under the curve.

    Each abnormality is read three times: from its own region's texture crop, from that region's mask token, and from
    the whole image. Nodules are read a second time, 10 mm or more against none.
    """
    trainee.eval()
    right: list[bool] = []
    scores: list[dict[str, list[float]]] = []
    truth: list[np.ndarray] = []
    attributes: list[np.ndarray] = []
    for start in tqdm(range(0, len(studies), batch_size), "validation", unit="batch", disable=None):
        members = [studies[index] for index in range(start, min(start + batch_size, len(studies)))]
        batch = collate(members)
        out = trainee(**batch)
        named = batch["crop_names"] >= 0
        right += (out["names"].argmax(-1) == batch["crop_names"])[named].tolist()
        crop, region = 0, 0
        for member in members:
            crops, regions = len(member["crops"]), len(member["names"])
            truth.append(member["present"][0] > 0)
            attributes.append(member["attributes"][0] > 0)
            scores.append(
                _read_from(
                    out["findings"][crop : crop + crops],
                    out["mask_findings"][region : region + regions],
                    member["names"].tolist(),
                )
            )
            crop, region = crop + crops, region + regions
    is_present = np.array(truth)
    per_abnormality: dict[str, Any] = {}
    for column, name in enumerate(KIND_NAMES):
        per_abnormality[name] = _areas(scores, column, is_present[:, column])
    nodule = KIND_NAMES.index("Lung nodule")
    is_large = np.array(attributes)[:, ATTRIBUTES.index(("Lung nodule", "10 mm"))]
    counted = [study for study, large in enumerate(is_large) if large or not is_present[study, nodule]]
    per_abnormality["Lung nodule of 10 mm or more"] = _areas([scores[i] for i in counted], nodule, is_large[counted])
    per_abnormality = {name: areas for name, areas in per_abnormality.items() if areas["support"]}
    return {"studies": len(studies), "naming_accuracy": float(np.mean(right)), "per_abnormality": per_abnormality}


def _areas(
    scores: Sequence[dict[str, list[float]]], column: int, is_present: Bool[np.ndarray, " study"]
) -> dict[str, float]:
    areas: dict[str, float] = {}
    for source in ("texture", "mask", "image"):
        read = np.array([study[source][column] for study in scores])
        known = ~np.isnan(read)
        area = area_under_curve(read[known], is_present[known])
        if not np.isnan(area):
            areas[f"auc_{source}"] = round(area, 4)
    return {**areas, "support": int(is_present.sum())}


def _read_from(
    crops: Float[Tensor, "crop question"], masks: Float[Tensor, "region question"], names: list[int]
) -> dict[str, list[float]]:
    """For each abnormality what its region's crop, its region's mask and the image say; NaN without that region."""
    read: dict[str, list[float]] = {"texture": [], "mask": [], "image": crops[0].tolist()}
    for column, kind in enumerate(KINDS.values()):
        region = REGION_NAMES.index(kind.region)
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
