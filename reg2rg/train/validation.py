"""How well a trained model names regions and finds what was drawn, on held-out studies."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from reg2rg.data.dataset import open_dataset
from reg2rg.evaluate.drawn import DrawnReport, score_drawn
from reg2rg.generate import GenerationSettings, Reporter
from reg2rg.nifti import stem
from reg2rg.phantom.truth import is_phantom_dataset, read_truth
from reg2rg.preprocess import StudyCrops
from reg2rg.report import Report

_ROWS = 16  # decoded together
_HELD = 4 * _ROWS  # in memory at a time: the more, the less often a long text is waited for


def validate_reports(model: Path, data: Path, limit: int) -> dict[str, Any]:
    """Reports the first studies of the valid split greedily and scores them.

    Returns:
        ``naming`` (accuracy over all regions, per region, swaps) and, on phantoms, ``findings`` (`score_drawn`).
    """
    reports = report_valid(Reporter.load(str(model)), data, limit)
    scores: dict[str, Any] = {"studies": len(reports), "naming": score_naming(reports)}
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
) -> list[Report]:
    """Reports of the first studies of the valid split.

    Args:
        reporter: the loaded model.
        data: the dataset.
        limit: how many studies.
        settings: how text is generated; None for greedily.
        order_seed: regions stand in each prompt in a random order drawn from it; None for that of the ten.
        swap_masks: a control: each study is shown the region masks of the next one.
    """
    dataset = open_dataset(data, "valid")
    count = min(limit, len(dataset))
    rng = np.random.default_rng(order_seed)
    reports: list[Report] = []
    with tqdm(total=count, desc="validation", unit="study", disable=None) as bar:
        for start in range(0, count, _HELD):
            studies = [dataset[index] for index in range(start, min(start + _HELD, count))]
            crops = [reporter.processor.crop(study) for study in studies]
            if swap_masks:
                crops = with_masks_of_the_next(crops)
            if order_seed is not None:
                crops = [crop.ordered(tuple(rng.permutation(crop.regions).tolist())) for crop in crops]
            reports += reporter.report_crops(studies, crops, settings, rows=_ROWS)
            bar.update(len(studies))
    return reports


def with_masks_of_the_next(crops: Sequence[StudyCrops]) -> list[StudyCrops]:
    """The crops, each with the masks of the one after it, region by region; its own where the next lacks the region."""
    swapped = []
    for own, other in zip(crops, [*crops[1:], *crops[:1]], strict=True):
        rows = {name: other.masks[row] for row, name in enumerate(other.regions)}
        masks = [rows.get(name, own.masks[row]) for row, name in enumerate(own.regions)]
        swapped.append(replace(own, masks=np.stack(masks)))
    return swapped


def with_truth(reports: Sequence[Report], data: Path) -> list[DrawnReport]:
    """The reports of a phantom dataset's valid split beside what was drawn."""
    truth = read_truth(data, "valid")
    return [
        DrawnReport(truth[stem(Path(report.study_id))], {region.name: region.text for region in report.regions})
        for report in reports
    ]


def score_naming(reports: Sequence[Report]) -> dict[str, Any]:
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
