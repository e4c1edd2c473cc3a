"""Stage report: region-report alignment as published (Chen et al., IEEE TMI 2025, section III-C).

Regions come anonymous and in random order; the loss is on the answer, which first names each region. Where the
encoders are frozen, their output is computed once: without dropout, unlike the authors', whose frozen encoder keeps
its dropout by accident.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from reg2rg.model.language import decoder_layers
from reg2rg.model.reg2rg import Reg2RG
from reg2rg.phantom.report import reword
from reg2rg.preprocess import as_floats
from reg2rg.processor import Processor
from reg2rg.prompt import text_spans
from reg2rg.train.plan import Plan, plan_of
from reg2rg.train.questions import QUESTIONS, questions_loss
from reg2rg.vocabulary import IGNORED_LABEL

_LENGTH_STEP = 64
"""Lengths of batches are multiples of it: a CPU's kernels are made anew, and kept, for each length they meet."""

Findings = Sequence[tuple[str, str]]
"""Region name and text of one study, in the order of the ten."""


@dataclass(frozen=True, eq=False)
class ReportStudy:
    """One study as a batch takes it.

    Attributes:
        findings: region names and texts, in an order of their own in which the first so many are asked for.
        places: where each would stand if regions kept their order; None where the prompt takes them as they come.
        other: its other report; empty where there is none.
        image: the whole image, as an array of voxels or what frozen encoders made of it.
        textures, masks: the same of each region, in the order of the findings.
        fewest_regions: every other batch, by chance, asks for all regions, any other for a random number from this on.
        mix_regions: the chance that in a batch each region comes from any of its studies, seen and said together.
    """

    findings: tuple[tuple[str, str], ...]
    places: tuple[int, ...] | None
    other: dict[str, str]
    image: Tensor
    textures: Tensor
    masks: Tensor
    fewest_regions: int
    mix_regions: float


class ReportStudies(torch.utils.data.Dataset[ReportStudy]):
    """Studies with their regions in a new order each time; only regions with a text, as published.

    Args:
        findings: region texts of each study.
        others: the other report of each study; empty where there is none.
        see: gives what there is to see of study i: an EncodedStudy, or its StudyCrops.
        shuffle_regions: a random order each time; otherwise the order given.
        fewest_regions, mix_regions: see `ReportStudy`.
        reword: write the texts of phantoms anew each time.
    """

    def __init__(
        self,
        findings: Sequence[Findings],
        others: Sequence[dict[str, str]],
        see: Callable[[int], Any],
        shuffle_regions: bool,
        fewest_regions: int,
        mix_regions: float = 0.0,
        reword: bool = False,
    ) -> None:
        self._findings, self._others, self._see, self._reword = findings, others, see, reword
        self._shuffle_regions, self._fewest_regions, self._mix_regions = shuffle_regions, fewest_regions, mix_regions

    def __len__(self) -> int:
        return len(self._findings)

    def __getitem__(self, index: int) -> ReportStudy:
        findings, seen = self._findings[index], self._see(index)
        # torch's global generator: the trainer keeps its state, so that a resumed run goes on in the same order.
        if self._reword:
            seed = int(torch.randint(2**31, ()))
            findings = list(reword(dict(findings), np.random.default_rng(seed)).items())
        order = torch.randperm(len(findings)).tolist()
        ordered = tuple(findings[place] for place in order)
        rows = [seen.regions.index(name) for name, _ in ordered]
        return ReportStudy(
            ordered,
            None if self._shuffle_regions else tuple(order),
            self._others[index],
            _tensor(seen.image),
            _tensor(seen.textures[rows]),
            _tensor(seen.masks[rows]),
            self._fewest_regions,
            self._mix_regions,
        )


def _tensor(seen: Tensor | np.ndarray) -> Tensor:
    return seen if isinstance(seen, Tensor) else torch.from_numpy(as_floats(seen))


class ReportBatches:
    """Makes batches of prompts and answers; called by the trainer.

    All prompts of a batch ask for the same number of regions, as far as a study has them: of prompts of different
    lengths, most of the work would be padding.

    Args:
        processor: text to ids.
        max_length: longest prompt and answer in tokens.
        with_plan: tell what is still to be said at each token (`reg2rg.train.plan`).
    """

    def __init__(self, processor: Processor, max_length: int, with_plan: bool = False) -> None:
        self._processor, self._max_length, self._with_plan = processor, max_length, with_plan

    def __call__(self, studies: Sequence[ReportStudy]) -> dict[str, Any]:
        """Token ids and labels, padded on the right a little beyond the longest; what there is to see is packed."""
        if studies[0].mix_regions and torch.rand(()) < studies[0].mix_regions:
            studies = mixed(studies)
        most = max(len(study.findings) for study in studies)
        fewest = min(studies[0].fewest_regions, most)
        # Half of the batches ask for all: with even chances for each number the last regions would be seen too rarely.
        is_whole = fewest == most or bool(torch.rand(()) < 0.5)
        count = most if is_whole else int(torch.randint(fewest, most, ()))
        chosen = [_first(study, count) for study in studies]
        findings = [[study.findings[row] for row in rows] for study, rows in zip(studies, chosen, strict=True)]
        others = [study.other for study in studies]
        examples = [
            self._processor.example(own, self._max_length, other) for own, other in zip(findings, others, strict=True)
        ]
        token_ids = _padded([example.ids for example in examples], 0, self._max_length)
        return {
            "token_ids": token_ids,
            "labels": _padded([example.labels for example in examples], IGNORED_LABEL, self._max_length),
            "image": torch.stack([study.image for study in studies]),
            "textures": torch.cat([study.textures[rows] for study, rows in zip(studies, chosen, strict=True)]),
            "masks": torch.cat([study.masks[rows] for study, rows in zip(studies, chosen, strict=True)]),
            "region_counts": [len(rows) for rows in chosen],
            "plan": self._plan(findings, others, token_ids.shape[1]) if self._with_plan else None,
        }

    def _plan(
        self, findings: Sequence[Findings], others: Sequence[dict[str, str]], width: int
    ) -> dict[str, Shaped[Tensor, "asked *question"]]:
        """The plans of all texts, packed, with each token's place in the flattened batch."""
        places, plans = [], []
        for row, (own, other) in enumerate(zip(findings, others, strict=True)):
            spans = self._processor.answer_spans(own, other)[:width]
            for (region, text), (begin, end) in zip(own, text_spans(own), strict=True):
                # From the colon on: what it leads to is the first word.
                tokens = np.flatnonzero((spans[:, 0] >= begin - len(": ")) & (spans[:, 1] <= end))
                places.append(tokens + row * width)
                plans.append(plan_of(region, text, spans[tokens, 1] - begin))
        packed = Plan(*(np.concatenate(part).astype(np.float32) for part in zip(*plans, strict=True)))
        asked = {name: torch.from_numpy(rows) for name, rows in packed._asdict().items()}
        return {"places": torch.from_numpy(np.concatenate(places)), **asked}


def mixed(studies: Sequence[ReportStudy]) -> list[ReportStudy]:
    """The same regions of the same studies, each with what is seen and said of that region in any one of them.

    So that what is said of a region hangs on what is seen there, and not on what usually comes with it elsewhere.
    """
    holders: dict[str, list[tuple[int, int]]] = {}
    for place, study in enumerate(studies):
        for row, (name, _) in enumerate(study.findings):
            holders.setdefault(name, []).append((place, row))
    givers: dict[tuple[int, int], tuple[int, int]] = {}
    for held in holders.values():
        givers.update(zip(held, [held[index] for index in torch.randperm(len(held)).tolist()], strict=True))
    changed = []
    for place, study in enumerate(studies):
        given = [(studies[giver], row) for giver, row in (givers[place, row] for row in range(len(study.findings)))]
        changed.append(
            replace(
                study,
                findings=tuple(giver.findings[row] for giver, row in given),
                textures=torch.stack([giver.textures[row] for giver, row in given]),
                masks=torch.stack([giver.masks[row] for giver, row in given]),
            )
        )
    return changed


def _padded(rows: Sequence[Sequence[int]], value: int, limit: int) -> Int[Tensor, "row token"]:
    longest = max(map(len, rows))
    whole = min(-(-longest // _LENGTH_STEP) * _LENGTH_STEP, limit)
    return torch.tensor([[*row, *[value] * (whole - len(row))] for row in rows])


def _first(study: ReportStudy, count: int) -> list[int]:
    """The rows of the first so many findings, in the order of the prompt."""
    rows = list(range(min(count, len(study.findings))))
    places = study.places
    return rows if places is None else sorted(rows, key=places.__getitem__)


class ReportTrainee(nn.Module):
    """The model as the trainer calls it: from voxels, or from what frozen encoders made of them.

    Args:
        model: the model.
        kept: the encoders whose output the studies bring along, as `TokenStore` keeps it; none for voxels.
        plan_weight: of the losses on what is still to be said and on what is said next; 0 for none.
        finding_weight: of the tokens of sentences that state a finding, against 1 of the others, while training.
    """

    def __init__(
        self, model: Reg2RG, kept: tuple[str, ...], plan_weight: float = 0.0, finding_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.model = model
        self._kept = kept
        self._plan_weight, self._finding_weight = plan_weight, finding_weight
        self._hidden: dict[str, Tensor] = {}
        if plan_weight:
            width = model.project_crops.out_features
            self.plan_of_token, self.next_of_token = (
                nn.Sequential(nn.LayerNorm(width), nn.Linear(width, QUESTIONS)) for _ in range(2)
            )
            layers = decoder_layers(model.language)
            # Two layers are left to choose from the plan, and to turn the choice into words.
            layers[max(0, len(layers) - 3)].register_forward_hook(partial(self._keep_hidden, "plan"))
            layers[-1].register_forward_hook(partial(self._keep_hidden, "next"))

    def forward(
        self,
        token_ids: Int[Tensor, "batch token"],
        labels: Int[Tensor, "batch token"],
        image: Float[Tensor, "batch *seen"],
        textures: Float[Tensor, "region *seen"],
        masks: Float[Tensor, "region *mask"],
        region_counts: Sequence[int],
        plan: dict[str, Shaped[Tensor, "asked *question"]] | None = None,
    ) -> dict[str, Tensor]:
        """The loss on the answers and, weighted, on their plan, as `ReportBatches` gives them."""
        model = self.model
        if not self._kept:
            features = model.encode(image, textures, masks, region_counts)
        else:
            tokens = torch.cat([image.float(), textures.float()])  # float16 means nothing to a CPU's autocast
            if "perceiver" not in self._kept:
                tokens = model.read_patches(tokens)
            vectors = masks.float() if "mask_encoder" in self._kept else model.read_masks(masks)
            features = model.project(tokens[: len(image)], tokens[len(image) :], vectors, region_counts)
        weights = None
        if plan is not None and self.training and self._finding_weight != 1:
            is_stating = plan["next"].amax(dim=1) > 0
            weights = torch.ones(token_ids.shape, device=token_ids.device)
            weights.view(-1)[plan["places"][is_stating]] = self._finding_weight
        loss = model.loss(token_ids, labels, features, weights)
        if plan is not None and self._hidden:
            plans, nexts = (self._hidden.pop(name).flatten(0, 1)[plan["places"]] for name in ("plan", "next"))
            asked = questions_loss(
                self.plan_of_token(plans).float(), plan["remaining"], plan["attributes"], plan["known"]
            ) + questions_loss(self.next_of_token(nexts).float(), plan["next"], plan["next_attributes"], plan["known"])
            loss = loss + self._plan_weight * asked
        return {"loss": loss}

    def _keep_hidden(self, name: str, layer: nn.Module, given: tuple[Any, ...], hidden: Tensor) -> None:
        self._hidden[name] = hidden
