"""From a table of reports to `Scores`: the whole report, the regions, recognition, abnormalities, comparisons."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.errors import InputError
from reg2rg.evaluate.bootstrap import DRAWS, Bootstrap, Difference, Interval
from reg2rg.evaluate.rates import AVERAGES, MEASURES, exact_intervals, rate_sums
from reg2rg.evaluate.regions import RecognitionCounts, count_recognition, region_texts
from reg2rg.evaluate.scores import (
    ClinicalFigures,
    Comparison,
    DistinctTexts,
    FrequentText,
    Lengths,
    OverallFigure,
    Rating,
    RecognitionFigures,
    RegionFigures,
    Scores,
    StudyLabels,
    Swap,
    TextFigure,
    TextFigures,
)
from reg2rg.evaluate.statistics import StudySums, score_sums
from reg2rg.evaluate.tables import ReportTable, match_studies
from reg2rg.evaluate.text import TEXT_METRICS, TextScores, score_texts
from reg2rg.prompt import ParsedReport, parse_report, strip_region_text
from reg2rg.regions import REGION_NAMES

GIVEN = "given"
"""The labeler of a file that brings the labels of its predictions."""


@dataclass(frozen=True)
class EvaluationSettings:
    """What is computed, and how.

    Attributes:
        recipe: of the text metrics.
        metrics: which text metrics.
        only_common: score a region only where the prediction names it too, as the authors do; else it counts as
            missed.
        labeler: ``rules`` or ``radbert:DIR``, who reads the texts, also where the file brings labels; ``none`` for no
            clinical figures. If None, the labels of the file where it has any, else ``rules``.
        labels: gold labels of the references, in CT-RATE's format.
        seed: of the resampling.
    """

    recipe: str = "published"
    metrics: tuple[str, ...] = TEXT_METRICS
    only_common: bool = False
    labeler: str | None = None
    labels: Path | None = None
    seed: int = 0


def evaluate_table(
    table: ReportTable,
    settings: EvaluationSettings | None = None,
    compare: ReportTable | None = None,
    control: ReportTable | None = None,
) -> Scores:
    """Evaluates a table of reports.

    Args:
        table: references and predictions.
        settings: what is computed, and how.
        compare: predictions of another model for the same studies, in any order.
        control: predictions of the same pipeline without the image.

    Raises:
        InputError: if the tables do not belong together or the settings do not fit the table.
    """
    settings = settings or EvaluationSettings()
    if settings.labeler == "none" and settings.labels is not None:
        raise InputError(
            f"{settings.labels}: gold labels are of no use without labels of the predictions; leave out "
            "--labeler none or --labels"
        )
    others = [None if other is None else match_studies(table, other) for other in (compare, control)]
    bootstrap = Bootstrap(len(table.keys), settings.seed)
    labeling = _Labeling(settings)
    ours = _Measurement(table, settings, labeling, bootstrap)
    comparisons = [
        None if other is None else _compare(ours, _Measurement(other, settings, labeling, bootstrap))
        for other in others
    ]
    return ours.scores(*comparisons)


class _Labeling:
    """Labels of texts, each text read once."""

    def __init__(self, settings: EvaluationSettings) -> None:
        self._labeler: Any = None
        if settings.labeler != "none":
            from reg2rg.evaluate.labeler import find_labeler

            self._labeler = find_labeler(settings.labeler or "rules")
        self._labels: dict[str, Bool[np.ndarray, " 18"]] = {}

    @property
    def name(self) -> str | None:
        return None if self._labeler is None else str(self._labeler.name)

    def label(self, texts: Sequence[str]) -> Bool[np.ndarray, "text 18"]:
        new = [text for text in dict.fromkeys(texts) if text not in self._labels]
        if new:
            self._labels |= dict(zip(new, self._labeler.label(new), strict=True))
        return np.array([self._labels[text] for text in texts], bool).reshape(len(texts), len(ABNORMALITY_NAMES))


class _Measurement:
    """One table measured: figures, and the sums from which they follow."""

    def __init__(
        self, table: ReportTable, settings: EvaluationSettings, labeling: _Labeling, bootstrap: Bootstrap
    ) -> None:
        self.table, self.settings, self.labeling, self.bootstrap = table, settings, labeling, bootstrap
        self.left_out: list[str] = []
        self.parsed = table.parsed
        if settings.only_common and self.parsed is None:
            raise InputError(
                f"{table.source}, column {table.columns[0]}: --only-common needs references with regions "
                "('The region 0 is NAME: ...'), found none; leave it out"
            )
        clean = strip_region_text if self.parsed else str
        self.references = [clean(text) for text in table.references]
        self.predictions = [clean(text) for text in table.predictions]
        self.text, self.text_sums, self.per_report = self._text()
        self.labels: StudyLabels | None = None
        self.clinical_labeler, self.clinical, self.clinical_sums = self._clinical()
        self.recognition = None if self.parsed is None else count_recognition(self.parsed)
        self.region_sums: list[StudySums] = []
        self.regions, self.distinct = self._regions()
        if self.parsed is None:
            as_words = any(parse_report(text).findings for text in self.predictions)
            self.left_out.append(
                "regions and their recognition: no reference has headings ('The region 0 is NAME: ...')"
                + ("; those of predictions are scored as words" if as_words else "")
            )

    def scores(self, comparison: Comparison | None = None, control: Comparison | None = None) -> Scores:
        """All that was measured."""
        distinct = {**self.distinct, "report": _distinct(self.predictions, self.references)}
        lengths = _lengths(self.references, self.predictions)
        if lengths.empty_predictions:
            self.left_out.append(f"distinct predicted reports: {_studies(lengths.empty_predictions)} with an empty one")
        recognition = None if self.recognition is None else self._recognition(self.recognition)
        settings = self.settings
        return Scores(
            source=self.table.source,
            recipe=settings.recipe,
            pairs=len(self.table.keys),
            keys=self.table.keys,
            text=self.text,
            per_report=self.per_report,
            labels=self.labels,
            clinical=self.clinical,
            recognition=recognition,
            regions=self.regions,
            distinct=distinct,
            length=lengths,
            left_out=tuple(self.left_out),
            settings={
                "metrics": list(settings.metrics),
                "only_common": settings.only_common,
                "labeler": self.clinical_labeler or "none",
                "labels": settings.labels and str(settings.labels),
                "seed": settings.seed,
                "draws": DRAWS,
            },
            comparison=comparison,
            control=control,
        )

    def comparable(self) -> list[StudySums]:
        """What another model's measurement can be compared in."""
        recognition = [self.recognition.accuracy] if self.recognition else []
        # With --only-common each model's predictions choose the pairs: figures on different pairs do not compare.
        regions = [] if self.settings.only_common else self.region_sums
        return [*self.text_sums, *([self.clinical_sums] if self.clinical_sums else []), *recognition, *regions]

    def _text(self) -> tuple[TextFigures, list[StudySums], dict[str, Float[np.ndarray, " study"]]]:
        rows = np.flatnonzero([bool(text.strip()) for text in self.references])
        if not len(rows):
            raise InputError(
                f"{self.table.source}, column {self.table.columns[0]}: no reference has any text below its headings; "
                "give the radiologists' reports"
            )
        if len(rows) < len(self.references):
            without = _studies(len(self.references) - len(rows))
            self.left_out.append(f"text scores: {without} whose reference has no text")
        figures, sums, scores = self._score(rows, self.references, self.predictions)
        per_report = {}
        for name, values in scores.per_report.items():
            per_report[name] = np.full(len(self.references), np.nan)
            per_report[name][rows] = values
        return figures, sums, per_report

    def _score(
        self, rows: Int[np.ndarray, " pair"], references: Sequence[str], predictions: Sequence[str]
    ) -> tuple[TextFigures, list[StudySums], TextScores]:
        """Scores the texts of some studies; the sums are those of all studies."""
        settings = self.settings
        scores = score_texts(
            [references[row] for row in rows], [predictions[row] for row in rows], settings.recipe, settings.metrics
        )
        sums = [_spread(part, rows, len(self.table.keys)) for part in scores.sums]
        intervals: dict[str, Interval | None] = {}
        for part in sums:
            intervals |= self.bootstrap.intervals(part)
        metrics = {
            name: TextFigure(float(values.mean()), float(values.std()), intervals[name], len(rows))
            for name, values in scores.per_report.items()
        }
        overall = {
            name: OverallFigure(value, intervals.get(name, intervals.get(name.removeprefix("Overall_"))))
            for name, value in scores.overall.items()
        }
        return TextFigures(metrics, overall), sums, scores

    def _clinical(self) -> tuple[str | None, ClinicalFigures | None, StudySums | None]:
        table, settings = self.table, self.settings
        reference_labels, predicted_labels = table.reference_labels, table.predicted_labels
        labeler, origin = self.labeling.name, self.labeling.name
        if settings.labeler == "none":
            return None, None, None
        if predicted_labels is not None and settings.labeler is None:
            labeler, origin = GIVEN, GIVEN
        else:
            predicted_labels = self.labeling.label(self.predictions)
            reference_labels = self.labeling.label(self.references)
        assert labeler is not None and predicted_labels is not None  # only "none" has no name
        if settings.labels is not None:
            from reg2rg.evaluate.labels import read_labels

            reference_labels, origin = read_labels(settings.labels, table.keys), str(settings.labels)
        if reference_labels is None:
            raise InputError(
                f"{table.source}, row 1: it has Pred_ labels but no GT_ labels; give --labels FILE or --labeler rules"
            )
        self.labels = StudyLabels(reference_labels, predicted_labels)
        rows = np.arange(len(table.keys))
        figures, sums = self._rate_labels(labeler, str(origin), rows, reference_labels, predicted_labels)
        if figures.unsupported:
            self.left_out.append(f"macro averages: {', '.join(figures.unsupported)}, which no reference has")
        return labeler, figures, sums

    def _rate_labels(
        self,
        labeler: str,
        origin: str,
        rows: Int[np.ndarray, " pair"],
        references: Bool[np.ndarray, "pair 18"],
        predictions: Bool[np.ndarray, "pair 18"],
    ) -> tuple[ClinicalFigures, StudySums]:
        pairs = rate_sums(ABNORMALITY_NAMES, references & predictions, predictions, references)
        sums = _spread(pairs, rows, len(self.table.keys))
        support = dict(zip(ABNORMALITY_NAMES, references.sum(axis=0).tolist(), strict=True))
        ratings = self._ratings(sums, support)
        figures = ClinicalFigures(
            labeler=labeler,
            reference_labels=origin,
            n=len(rows),
            micro=ratings["micro"],
            macro=ratings["macro"],
            weighted=ratings["weighted"],
            per_abnormality={name: ratings[name] for name in ABNORMALITY_NAMES},
            unsupported=tuple(name for name, count in support.items() if count == 0),
        )
        return figures, sums

    def _ratings(self, sums: StudySums, support: dict[str, int]) -> dict[str, Rating]:
        values = dict(zip(sums.names, score_sums(sums), strict=True))
        intervals = self.bootstrap.intervals(sums) | exact_intervals(sums)
        support = {**dict.fromkeys(AVERAGES, sum(support.values())), **support}
        ratings = {}
        for group, count in support.items():
            rates: dict[str, Any] = {measure: values[f"{group} {measure}"] for measure in MEASURES}
            limits: dict[str, Any] = {f"{measure}_ci95": intervals[f"{group} {measure}"] for measure in MEASURES}
            ratings[group] = Rating(**rates, **limits, support=count)
        return ratings

    def _recognition(self, counts: RecognitionCounts) -> RecognitionFigures:
        intervals = self.bootstrap.intervals(counts.accuracy) | self.bootstrap.intervals(counts.pooled)
        ratings = self._ratings(counts.rates, counts.support)
        known = ~np.isnan(counts.accuracies)
        if not known.all():
            self.left_out.append(f"recognition: {_studies(int((~known).sum()))} whose reference numbers no region")
        repeated = [sum(map(_repeats_a_number, reports)) for reports in zip(*self.parsed or (), strict=True)]
        if any(repeated):
            self.left_out.append(
                "recognition: the second name of a region number that a report gives twice; of references "
                f"{repeated[0]} do, of predictions {repeated[1]}"
            )
        return RecognitionFigures(
            n=int(known.sum()),
            accuracy=float(counts.accuracies[known].mean()) if known.any() else float("nan"),
            accuracy_std=float(counts.accuracies[known].std()) if known.any() else float("nan"),
            accuracy_ci95=intervals["accuracy"],
            pooled_accuracy=score_sums(counts.pooled)[0],
            pooled_accuracy_ci95=intervals["pooled accuracy"],
            micro=ratings["micro"],
            macro=ratings["macro"],
            per_region={name: ratings[name] for name in counts.names},
            swaps=tuple(Swap(*names, count) for names, count in counts.swaps.most_common()),
            invented=dict(counts.invented.most_common()),
        )

    def _regions(self) -> tuple[dict[str, RegionFigures], dict[str, DistinctTexts]]:
        if self.parsed is None:
            return {}, {}
        references = [region_texts(reference) for reference, _ in self.parsed]
        predictions = [region_texts(prediction) for _, prediction in self.parsed]
        names = dict.fromkeys((*REGION_NAMES, *(name for texts in references for name in texts)))
        regions, distinct = {}, {}
        without_text, silent = Counter[str](), Counter[str]()
        for name in names:
            reference = [texts.get(name, "") for texts in references]
            prediction = [texts.get(name, "") for texts in predictions]
            without_text[name] = sum(name in texts and not texts[name] for texts in references)
            rows = np.flatnonzero([bool(text) for text in reference])
            if self.settings.only_common:
                named = np.array([name in predictions[row] for row in rows], bool)
                silent[name] = int((~named).sum())
                rows = rows[named]
            if not len(rows):
                continue
            figures, sums, _ = self._score(rows, reference, prediction)
            self.region_sums.append(replace(sums[0], names=tuple(f"{name} {metric}" for metric in sums[0].names)))
            regions[name] = RegionFigures(
                pairs=len(rows),
                missing=sum(not prediction[row] for row in rows),
                text=figures,
                clinical=self._region_clinical(rows, reference, prediction),
            )
            distinct[name] = _distinct(prediction, reference)
        for reason, counts in (
            ("references name them without a text", without_text),
            ("predictions lack them (--only-common)", silent),
        ):
            if counts.total():
                listed = ", ".join(f"{name} {_studies(count)}" for name, count in counts.items() if count)
                self.left_out.append(f"regions, where {reason}: {listed}")
        return regions, distinct

    def _region_clinical(
        self, rows: Int[np.ndarray, " pair"], references: Sequence[str], predictions: Sequence[str]
    ) -> ClinicalFigures | None:
        """Labels of one region's texts, by the labeler on both sides: gold labels are of whole studies."""
        labeler = self.labeling.name
        if labeler is None:
            return None
        labels = [self.labeling.label([texts[row] for row in rows]) for texts in (references, predictions)]
        return self._rate_labels(labeler, labeler, rows, *labels)[0]


def _compare(ours: _Measurement, theirs: _Measurement) -> Comparison:
    if ours.clinical_labeler != theirs.clinical_labeler:
        raise InputError(
            f"{theirs.table.source}: its labels come from {theirs.clinical_labeler!r}, those of {ours.table.source} "
            f"from {ours.clinical_labeler!r}; figures of two labelers do not compare, give --labeler rules for both"
        )
    if ours.labels is not None and theirs.labels is not None:
        unlike = np.argwhere(ours.labels.references != theirs.labels.references)
        if len(unlike):
            study, abnormality = unlike[0]
            raise InputError(
                f"{theirs.table.source}, column GT_{ABNORMALITY_NAMES[abnormality]}: the label of "
                f"{ours.table.keys[study]!r} is not that of {ours.table.source}; figures against different labels do "
                "not compare, give --labels FILE or --labeler rules for both"
            )
    differences: dict[str, Difference] = {}
    for first, second in zip(ours.comparable(), theirs.comparable(), strict=True):
        differences |= ours.bootstrap.compare(first, second)
    return Comparison(theirs.scores(), differences)


def _studies(count: int) -> str:
    return f"{count} {'study' if count == 1 else 'studies'}"


def _repeats_a_number(report: ParsedReport) -> bool:
    numbers = [finding.index for finding in report.findings]
    return len(set(numbers)) < len(numbers)


def _spread(sums: StudySums, rows: Int[np.ndarray, " pair"], num_studies: int) -> StudySums:
    """The same figures from sums of all studies, to which the others add nothing."""
    per_study = np.zeros((num_studies, sums.per_study.shape[1]))
    per_study[rows] = sums.per_study
    return StudySums(sums.names, per_study, sums.finish)


def _distinct(predictions: Sequence[str], references: Sequence[str]) -> DistinctTexts:
    predicted = Counter(" ".join(text.split()) for text in predictions if text.strip())
    referred = Counter(" ".join(text.split()) for text in references if text.strip())
    return DistinctTexts(
        n=predicted.total(),
        distinct=len(predicted),
        share=len(predicted) / max(1, predicted.total()),
        reference_share=len(referred) / max(1, referred.total()),
        most_frequent=tuple(FrequentText(text, count) for text, count in predicted.most_common(10)),
    )


def _lengths(references: Sequence[str], predictions: Sequence[str]) -> Lengths:
    reference = float(np.mean([len(text.split()) for text in references]))
    prediction = float(np.mean([len(text.split()) for text in predictions]))
    return Lengths(reference, prediction, prediction / reference, sum(not text.strip() for text in predictions))
