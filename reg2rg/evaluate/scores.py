"""Scores of an evaluation: each figure with how many it rests on and its interval, and what was left out.

`Scores.to_json` gives ``scores.json`` by the schema ``reg2rg.scores/1`` that the package ships.
"""

import json
import math
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from reg2rg.evaluate.bootstrap import Difference, Interval

SCHEMA_ID = "reg2rg.scores/1"


@dataclass(frozen=True)
class TextFigure:
    """A text metric over a set of pairs: mean and population standard deviation over pairs, interval over studies."""

    mean: float
    std: float
    ci95: Interval | None
    n: int


@dataclass(frozen=True)
class OverallFigure:
    """One figure for a whole set: BLEU of the corpus, the published bootstrap median of ROUGE, a mean."""

    value: float
    ci95: Interval | None


@dataclass(frozen=True)
class TextFigures:
    """All text metrics of a set of pairs, and the ``Overall_`` figures."""

    metrics: dict[str, TextFigure]
    overall: dict[str, OverallFigure]

    def to_json(self) -> dict[str, Any]:
        """Metrics as objects, overall figures as numbers with their interval beside them."""
        values: dict[str, Any] = {name: asdict(figure) for name, figure in self.metrics.items()}
        for name, figure in self.overall.items():
            values |= {name: figure.value, f"{name}_ci95": figure.ci95}
        return values


@dataclass(frozen=True)
class Rating:
    """Precision, recall and F1 with their intervals.

    Attributes:
        precision: share of what is predicted that the references have; NaN where nothing is predicted.
        recall: share of what the references have that is predicted; NaN where they have nothing.
        f1: the harmonic mean of both; NaN where the references have nothing.
        precision_ci95: exact for a single abnormality or region, for averages of resamples; None where there is none.
        recall_ci95: likewise.
        f1_ci95: likewise.
        support: how often the references have it.
    """

    precision: float
    recall: float
    f1: float
    precision_ci95: Interval | None
    recall_ci95: Interval | None
    f1_ci95: Interval | None
    support: int


@dataclass(frozen=True)
class ClinicalFigures:
    """Clinical efficacy over the 18 abnormalities.

    Attributes:
        labeler: who read the predictions.
        reference_labels: whose labels the references have: the same labeler's, or a file's.
        unsupported: abnormalities that no reference has; they are not in the macro average.
    """

    labeler: str
    reference_labels: str
    n: int
    micro: Rating
    macro: Rating
    weighted: Rating
    per_abnormality: dict[str, Rating]
    unsupported: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class StudyLabels:
    """Which of the 18 abnormalities each reference and each prediction asserts."""

    references: Bool[np.ndarray, "study 18"]
    predictions: Bool[np.ndarray, "study 18"]


@dataclass(frozen=True)
class Swap:
    """A region that was taken for another, and how often."""

    reference: str
    prediction: str
    count: int


@dataclass(frozen=True)
class RecognitionFigures:
    """How well regions are recognized; `accuracy` is the mean over reports, `pooled_accuracy` over all regions."""

    n: int
    accuracy: float
    accuracy_std: float
    accuracy_ci95: Interval | None
    pooled_accuracy: float
    pooled_accuracy_ci95: Interval | None
    micro: Rating
    macro: Rating
    per_region: dict[str, Rating]
    swaps: tuple[Swap, ...]
    invented: dict[str, int]


@dataclass(frozen=True)
class RegionFigures:
    """One region: pairs scored, how many of them the prediction lacks, and the scores, in which these count as 0."""

    pairs: int
    missing: int
    text: TextFigures
    clinical: ClinicalFigures | None


@dataclass(frozen=True)
class FrequentText:
    """A predicted text and how often it comes."""

    text: str
    count: int


@dataclass(frozen=True)
class DistinctTexts:
    """How many different texts there are: a model that writes templates has few.

    Attributes:
        n: predicted texts that are not empty.
        distinct: how many different ones.
        share: distinct / n.
        reference_share: the same of the references.
        most_frequent: the ten most frequent predicted texts.
    """

    n: int
    distinct: int
    share: float
    reference_share: float
    most_frequent: tuple[FrequentText, ...]


@dataclass(frozen=True)
class Lengths:
    """Words per report."""

    reference_mean: float
    prediction_mean: float
    ratio: float
    empty_predictions: int


@dataclass(frozen=True)
class Comparison:
    """Another model on the same studies; differences are ours less theirs."""

    scores: "Scores"
    differences: dict[str, Difference]

    def to_json(self) -> dict[str, Any]:
        """The other's figures in short, and the differences."""
        other = self.scores.to_json()
        kept = {key: other[key] for key in ("source", "pairs", "text", "clinical", "length")}
        recognition = other["recognition"] and {key: other["recognition"][key] for key in ("accuracy", "accuracy_ci95")}
        differences = {name: asdict(difference) for name, difference in self.differences.items()}
        return {**kept, "recognition": recognition, "differences": differences}


@dataclass(frozen=True)
class Scores:
    """Everything that was found out about one file of reports.

    Attributes:
        source: the file, or how the texts came.
        recipe: how text metrics were computed.
        pairs: studies.
        keys: what each study is called.
        text: of the whole reports.
        per_report: by metric, the score of each study; NaN where its reference has no text.
        labels: what the clinical figures are counted from; None without a labeler.
        clinical: likewise.
        recognition: None for reports without region headings; likewise `regions` is empty.
        distinct: by region, and ``report`` for whole reports.
        left_out: what has no part in the figures and why.
    """

    source: str
    recipe: str
    pairs: int
    keys: tuple[str, ...]
    text: TextFigures
    per_report: dict[str, Float[np.ndarray, " study"]]
    labels: StudyLabels | None
    clinical: ClinicalFigures | None
    recognition: RecognitionFigures | None
    regions: dict[str, RegionFigures]
    distinct: dict[str, DistinctTexts]
    length: Lengths
    left_out: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    comparison: Comparison | None = None
    control: Comparison | None = None

    def to_json(self) -> dict[str, Any]:
        """The scores as they stand in ``scores.json``."""
        value = {
            "schema": SCHEMA_ID,
            "source": self.source,
            "recipe": self.recipe,
            "settings": self.settings,
            "pairs": self.pairs,
            "text": self.text.to_json(),
            "clinical": self.clinical and asdict(self.clinical),
            "recognition": self.recognition and asdict(self.recognition),
            "regions": {
                name: {
                    "pairs": region.pairs,
                    "missing": region.missing,
                    "text": region.text.to_json(),
                    "clinical": region.clinical and asdict(region.clinical),
                }
                for name, region in self.regions.items()
            },
            "distinct": {name: asdict(distinct) for name, distinct in self.distinct.items()},
            "length": asdict(self.length),
            "left_out": list(self.left_out),
            "comparison": self.comparison and self.comparison.to_json(),
            "control": self.control and self.control.to_json(),
        }
        return {key: _plain(part) for key, part in value.items()}


def _plain(value: Any) -> Any:
    """Lists for tuples, None for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def scores_schema() -> dict[str, Any]:
    """The JSON Schema of ``scores.json``.

    >>> scores_schema()["title"]
    'reg2rg.scores/1'
    """
    schema: dict[str, Any] = json.loads(files("reg2rg").joinpath("schema/scores-1.json").read_text("utf-8"))
    return schema
