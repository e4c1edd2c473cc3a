"""Two files on the same studies, figure by figure: what tables of a comparison have in their rows."""

from collections.abc import Iterator
from dataclasses import dataclass

from reg2rg.evaluate.bootstrap import Difference
from reg2rg.evaluate.scores import Comparison, Scores
from reg2rg.results.figures import file_name, region_metric


@dataclass(frozen=True)
class ComparedFigure:
    """One figure of both files.

    Attributes:
        group: what it is of: Text, Abnormalities, Recognition or Regions.
        name: of the figure.
        ours: its value in the file that is evaluated.
        theirs: its value in the other.
        difference: ours less theirs; without interval and p for regions scored on different pairs (--only-common).
    """

    group: str
    name: str
    ours: float
    theirs: float
    difference: Difference


def comparisons(scores: Scores) -> Iterator[tuple[str, Comparison]]:
    """The comparisons that were asked for, each with a title that says with what."""
    if scores.comparison:
        yield f"Compared with {file_name(scores.comparison.scores)}", scores.comparison
    if scores.control:
        yield f"Control without the image: {file_name(scores.control.scores)}", scores.control


def compared_figures(scores: Scores, other: Comparison) -> Iterator[ComparedFigure]:
    """The figures of both files: text, averages of the abnormalities, recognition, regions."""
    theirs, differences = other.scores, other.differences
    for name, figure in scores.text.metrics.items():
        yield ComparedFigure("Text", name, figure.mean, theirs.text.metrics[name].mean, differences[name])
    if scores.clinical and theirs.clinical:
        for name in ("micro", "macro"):
            ratings = [getattr(clinical, name).f1 for clinical in (scores.clinical, theirs.clinical)]
            yield ComparedFigure("Abnormalities", f"{name} F1", ratings[0], ratings[1], differences[f"{name} f1"])
    if scores.recognition and theirs.recognition:
        accuracies = scores.recognition.accuracy, theirs.recognition.accuracy
        yield ComparedFigure("Recognition", "accuracy per report", *accuracies, differences["accuracy"])
    metric = region_metric(scores)
    for name, region in scores.regions.items():
        if name in theirs.regions:
            means = [texts.text.metrics[metric].mean for texts in (region, theirs.regions[name])]
            plain = Difference(means[0] - means[1], None, float("nan"))
            yield ComparedFigure("Regions", name, means[0], means[1], differences.get(f"{name} {metric}", plain))
