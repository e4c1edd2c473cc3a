"""How well a trained model names regions and finds what was drawn, on held-out studies."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from reg2rg.data.dataset import open_dataset
from reg2rg.evaluate.drawn import DrawnReport, score_drawn
from reg2rg.generate import Reporter
from reg2rg.nifti import stem
from reg2rg.phantom.truth import is_phantom_dataset, read_truth
from reg2rg.report import Report

_BATCH = 16


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


def report_valid(reporter: Reporter, data: Path, limit: int) -> list[Report]:
    """Reports of the first studies of the valid split, greedily."""
    dataset = open_dataset(data, "valid")
    count = min(limit, len(dataset))
    reports: list[Report] = []
    with tqdm(total=count, desc="validation", unit="study", disable=None) as bar:
        for start in range(0, count, _BATCH):
            studies = [dataset[index] for index in range(start, min(start + _BATCH, count))]
            reports += reporter.report(studies)
            bar.update(len(studies))
    return reports


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
