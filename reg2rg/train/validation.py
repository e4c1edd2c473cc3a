"""How well a trained model names regions and finds what was drawn, on held-out studies.

Naming: right names of all regions in the prompts. Findings, on phantoms: abnormalities that the generated text states,
read by the grammar's inverse, against those drawn, study by study.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.data.dataset import open_dataset
from reg2rg.generate import Reporter
from reg2rg.nifti import stem
from reg2rg.phantom.truth import is_phantom_dataset, read_truth
from reg2rg.report import Report

_BATCH = 8


def validate_reports(model: Path, data: Path, limit: int) -> dict[str, Any]:
    """Reports the first studies of the valid split greedily and scores them.

    Returns:
        ``naming`` (accuracy over all regions, per region, swaps) and, on phantoms, ``findings``.
    """
    dataset = open_dataset(data, "valid")
    reporter = Reporter.load(str(model))
    count = min(limit, len(dataset))
    reports: list[Report] = []
    with tqdm(total=count, desc="validation", unit="study", disable=None) as bar:
        for start in range(0, count, _BATCH):
            studies = [dataset[index] for index in range(start, min(start + _BATCH, count))]
            reports += reporter.report(studies)
            bar.update(len(studies))
    scores: dict[str, Any] = {"studies": count, "naming": score_naming(reports)}
    if is_phantom_dataset(data):
        truth = read_truth(data, "valid")
        drawn = [{finding.abnormality for finding in truth[stem(Path(report.study_id))]} for report in reports]
        scores["findings"] = score_findings(drawn, [stated_in(report) for report in reports])
    return scores


def stated_in(report: Report) -> set[str]:
    """The abnormalities that a report's sentences state."""
    sentences = [sentence for region in report.regions for sentence in region.sentences]
    return {name for sentence in sentences for name in sentence.abnormalities or ()}


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


def score_findings(drawn: Sequence[set[str]], stated: Sequence[set[str]]) -> dict[str, Any]:
    """Precision, recall and F1 per abnormality, micro and macro, beside what always stating it would score.

    Always stating an abnormality of prevalence p has precision p and recall 1, so F1 = 2p / (1 + p).

    >>> scores = score_findings([{"Cardiomegaly"}, set()], [{"Cardiomegaly"}, {"Cardiomegaly"}])
    >>> scores["per_abnormality"]["Cardiomegaly"]["precision"], scores["macro_f1"]
    (0.5, 0.6667)
    """
    per_abnormality, pooled = {}, Counter[str]()
    for name in ABNORMALITY_NAMES:
        counts = Counter(
            {
                "hit": sum(name in d and name in s for d, s in zip(drawn, stated, strict=True)),
                "drawn": sum(name in d for d in drawn),
                "stated": sum(name in s for s in stated),
            }
        )
        pooled += counts
        if counts["drawn"]:
            prevalence = counts["drawn"] / len(drawn)
            always = round(2 * prevalence / (1 + prevalence), 4)
            per_abnormality[name] = {**_rates(counts), "support": counts["drawn"], "always_stated_f1": always}
    f1s = [scores["f1"] for scores in per_abnormality.values()]
    return {
        "micro": _rates(pooled),
        "macro_f1": round(sum(f1s) / len(f1s), 4) if f1s else 0.0,
        "per_abnormality": per_abnormality,
    }


def _rates(counts: Counter[str]) -> dict[str, float]:
    precision = counts["hit"] / counts["stated"] if counts["stated"] else 0.0
    recall = counts["hit"] / counts["drawn"] if counts["drawn"] else 0.0
    f1 = 2 * counts["hit"] / (counts["drawn"] + counts["stated"]) if counts["hit"] else 0.0
    return {"precision": round(precision, 4), "recall": round(recall, 4), "f1": round(f1, 4)}
