"""Stage report: region-report alignment as published (Chen et al., IEEE TMI 2025, section III-C).

Regions come anonymous and in random order; the loss is on the answer, which first names each region. Where the
encoders are frozen, their output is computed once: without dropout, unlike the authors', whose frozen encoder keeps
its dropout by accident.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from reg2rg.model.reg2rg import Reg2RG
from reg2rg.processor import Processor
from reg2rg.vocabulary import IGNORED_LABEL

Findings = Sequence[tuple[str, str]]
"""Region name and text of one study, in the order of the ten."""


class ReportStudies(torch.utils.data.Dataset[dict[str, Any]]):
    """Prompts, answers and what there is to see, region by region in a new order each time.

    Only regions with a text are asked for, as published.

    Args:
        findings: region texts of each study.
        others: the other report of each study; empty where there is none.
        see: gives what there is to see of study i: an EncodedStudy, or its StudyCrops.
        processor: text to ids.
        shuffle_regions: a random order each time; otherwise the order given.
        fewest_regions: a prompt asks for a random number of regions from this up to all of them.
        max_length: longest prompt and answer in tokens.
    """

    def __init__(
        self,
        findings: Sequence[Findings],
        others: Sequence[dict[str, str]],
        see: Callable[[int], Any],
        processor: Processor,
        shuffle_regions: bool,
        fewest_regions: int,
        max_length: int,
    ) -> None:
        self._findings, self._others, self._see, self._processor = findings, others, see, processor
        self._shuffle_regions, self._fewest_regions, self._max_length = shuffle_regions, fewest_regions, max_length

    def __len__(self) -> int:
        return len(self._findings)

    def __getitem__(self, index: int) -> dict[str, Any]:
        findings, seen = self._findings[index], self._see(index)
        # torch's global generator: the trainer keeps its state, so that a resumed run goes on in the same order.
        order = torch.randperm(len(findings)).tolist()
        if self._fewest_regions < len(findings):
            order = order[: int(torch.randint(self._fewest_regions, len(findings) + 1, ()))]
        if not self._shuffle_regions:
            order.sort()
        ordered = [findings[place] for place in order]
        rows = [seen.regions.index(name) for name, _ in ordered]
        example = self._processor.example(ordered, self._max_length, self._others[index])
        return {
            "token_ids": torch.tensor(example.ids),
            "labels": torch.tensor(example.labels),
            "image": torch.as_tensor(seen.image),
            "textures": torch.as_tensor(seen.textures)[rows],
            "masks": torch.as_tensor(seen.masks)[rows],
        }


def collate(studies: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
    """Pads token ids on the right to the batch's longest; packs what there is to see."""
    token_ids = [study["token_ids"] for study in studies]
    return {
        "token_ids": pad_sequence(token_ids, batch_first=True),
        "labels": pad_sequence([study["labels"] for study in studies], batch_first=True, padding_value=IGNORED_LABEL),
        "image": torch.stack([study["image"] for study in studies]),
        "textures": torch.cat([study["textures"] for study in studies]),
        "masks": torch.cat([study["masks"] for study in studies]),
        "region_counts": [len(study["masks"]) for study in studies],
    }


class ReportTrainee(nn.Module):
    """The model as the trainer calls it: from voxels, or from what frozen encoders made of them."""

    def __init__(self, model: Reg2RG, encoded: bool) -> None:
        super().__init__()
        self.model = model
        self._encoded = encoded

    def forward(
        self,
        token_ids: Int[Tensor, "batch token"],
        labels: Int[Tensor, "batch token"],
        image: Float[Tensor, "batch *seen"],
        textures: Float[Tensor, "region *seen"],
        masks: Float[Tensor, "region *mask"],
        region_counts: Sequence[int],
    ) -> dict[str, Tensor]:
        """The loss on the answers."""
        model = self.model
        if self._encoded:
            features = model.project(image.float(), textures.float(), masks.float(), region_counts)
        else:
            features = model.encode(image, textures, masks, region_counts)
        return {"loss": model.loss(token_ids, labels, features)}
