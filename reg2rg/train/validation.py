"""How well a trained model names regions and finds what was drawn, on held-out studies."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from reg2rg.data.crops import CropStore
from reg2rg.data.dataset import Dataset, open_dataset
from reg2rg.data.encoded import EncodedStudy, TokenStore
from reg2rg.evaluate.drawn import DrawnReport, score_drawn
from reg2rg.generate import GenerationSettings, Reporter
from reg2rg.nifti import stem
from reg2rg.phantom.truth import is_phantom_dataset, read_truth
from reg2rg.preprocess import StudyCrops
from reg2rg.prompt import parse_report

_ROWS = 4  # decoded together


@dataclass(frozen=True)
class RegionText:
    """What was written of a region: its name by its mask, the name the model gave it (None for none), the text."""

    name: str
    recognized_as: str | None
    text: str

    @property
    def agrees(self) -> bool:
        """Whether the model recognized the region that the mask shows."""
        return self.recognized_as == self.name


@dataclass(frozen=True)
class HeldOutReport:
    """What was written of a held-out study, in the order of the prompt."""

    study_id: str
    regions: tuple[RegionText, ...]


def validate_reports(model: Path, data: Path, limit: int, cache: Path | None = None) -> dict[str, Any]:
    """Reports the first studies of the valid split in the model's own way and scores them.

    Args:
        model: its folder.
        data: the dataset.
        limit: how many studies.
        cache: see `report_valid`.

    Returns:
        ``writing`` (how), ``naming`` (accuracy over all regions, per region, swaps) and, on phantoms, ``findings``
        (`score_drawn`).
    """
    reporter, settings = Reporter.load(str(model)), GenerationSettings()
    reports = report_valid(reporter, data, limit, settings, cache=cache)
    scores: dict[str, Any] = {
        "studies": len(reports),
        "writing": settings.to_json(reporter.model.config.writing),
        "naming": score_naming(reports),
    }
    if is_phantom_dataset(data):
        scores["findings"] = score_drawn(with_truth(reports, data))
    return scores


def report_valid(
    reporter: Reporter,
    data: Path,
    limit: int,
    settings: GenerationSettings | None = None,
    order_seed: int | None = None,
    swap_masks: bool = False,
    cache: Path | None = None,
) -> list[HeldOutReport]:
    """Reports of the first studies of the valid split.

    Args:
        reporter: the loaded model.
        data: the dataset.
        limit: how many studies.
        settings: how text is generated; None for the model's own way.
        order_seed: regions stand in each prompt in a random order drawn from it; None for that of the ten.
        swap_masks: a control: each study is shown the region masks of the next one.
        cache: folder of crops and of what the model's encoders make of them, rounded to float16; what it lacks is
            computed and put there. None to crop and encode each study anew.
    """
    dataset = open_dataset(data, "valid")
    rng = np.random.default_rng(order_seed)
    asked: list[tuple[str, tuple[str, ...]]] = []

    bar = tqdm(total=min(limit, len(dataset)), desc="validation", unit="study", disable=None)

    def studies() -> Iterator[StudyCrops | EncodedStudy]:
        seen = _seen(reporter, dataset, limit, cache, bar.set_postfix_str)
        for key, study in with_masks_of_the_next(seen) if swap_masks else seen:
            if order_seed is not None:
                study = study.ordered(tuple(rng.permutation(study.regions).tolist()))
            asked.append((key, study.regions))
            yield study

    reports: dict[int, HeldOutReport] = {}
    with bar:
        for written in reporter.write(studies(), settings or GenerationSettings(), rows=_ROWS):
            key, names = asked[written.place]
            parsed = parse_report(written.text)
            found = [parsed.of_slot(slot) for slot in range(len(names))]
            regions = (
                RegionText(name, finding.recognized_as, finding.text) if finding else RegionText(name, None, "")
                for name, finding in zip(names, found, strict=True)
            )
            reports[written.place] = HeldOutReport(key, tuple(regions))
            bar.update()
    return [reports[place] for place in sorted(reports)]


def _seen(
    reporter: Reporter, dataset: Dataset, limit: int, cache: Path | None, tell: Callable[[str], None]
) -> Iterator[tuple[str, StudyCrops | EncodedStudy]]:
    """Each study's id, and what the model reads of it."""
    if cache is None:
        for index in range(min(limit, len(dataset))):
            yield dataset.keys[index], reporter.processor.crop(dataset[index])
        return
    crops = CropStore(dataset, cache, reporter.model.config, limit)
    crops.fill(progress=lambda done, total: tell(f"{done} of {total} cropped"))
    tokens = TokenStore(crops, reporter.model, reporter.bf16)
    tokens.fill(progress=lambda done, total: tell(f"{done} of {total} encoded"))
    for index, key in enumerate(tokens.keys):
        yield key, tokens[index]


def with_masks_of_the_next(
    studies: Iterable[tuple[str, StudyCrops | EncodedStudy]],
) -> Iterator[tuple[str, StudyCrops | EncodedStudy]]:
    """Each study with the masks of the one after it, region by region; its own where the next lacks the region."""
    rest = iter(studies)
    first = next(rest, None)
    if first is None:
        return
    key, own = first
    for next_key, other in chain(rest, [first]):
        rows = {name: other.masks[row] for row, name in enumerate(other.regions)}
        masks = [rows.get(name, own.masks[row]) for row, name in enumerate(own.regions)]
        if isinstance(own, EncodedStudy):
            yield key, replace(own, masks=torch.stack([torch.as_tensor(mask) for mask in masks]))
        else:
            yield key, replace(own, masks=np.stack([np.asarray(mask) for mask in masks]))
        key, own = next_key, other


def with_truth(reports: Sequence[HeldOutReport], data: Path) -> list[DrawnReport]:
    """The reports of a phantom dataset's valid split beside what was drawn."""
    truth = read_truth(data, "valid")
    return [
        DrawnReport(truth[stem(Path(report.study_id))], {region.name: region.text for region in report.regions})
        for report in reports
    ]


def score_naming(reports: Sequence[HeldOutReport]) -> dict[str, Any]:
    """Regions recognized as what their masks show, over all prompts and per region, and who is taken for whom."""
    asked = Counter(region.name for report in reports for region in report.regions)
    right = Counter(region.name for report in reports for region in report.regions if region.agrees)
    swaps = Counter(
        f"{region.name} as {region.recognized_as}"
        for report in reports
        for region in report.regions
        if not region.agrees
    )
    return {
        "accuracy": right.total() / max(1, asked.total()),
        "regions": asked.total(),
        "per_region": {name: right[name] / count for name, count in sorted(asked.items())},
        "swaps": dict(swaps.most_common()),
    }
