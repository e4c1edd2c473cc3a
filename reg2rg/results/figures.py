"""Figures as they are printed: four decimals, intervals, p; ``-`` for what does not exist."""

import math
from pathlib import Path
from typing import TypeGuard

from reg2rg.evaluate.bootstrap import Interval
from reg2rg.evaluate.scores import Scores

NONE = "-"

NOTICE = "Research software, not a medical device. Scores compare texts with texts: they say nothing of a patient."

DASH = f"{NONE}: the figure does not exist (nothing to find, nothing predicted), or resamples give no interval."


def number(value: float | None) -> str:
    """A figure of a table.

    >>> number(0.25), number(None), number(float("nan"))
    ('0.2500', '-', '-')
    """
    return f"{value:.4f}" if exists(value) else NONE


def signed(value: float | None) -> str:
    """A difference.

    >>> signed(0.25), signed(-1e-9)
    ('+0.2500', '0.0000')
    """
    if not exists(value):
        return NONE
    text = f"{value:+.4f}"
    return text if text.strip("+-0.") else "0.0000"


def interval(limits: Interval | None) -> str:
    """A 95 % interval of a figure that is never negative.

    >>> interval((0.01, 0.25)), interval(None)
    ('0.010–0.250', '-')
    """
    return f"{limits[0]:.3f}–{limits[1]:.3f}" if limits else NONE


def signed_interval(limits: Interval | None) -> str:
    """A 95 % interval of a difference.

    >>> signed_interval((-0.01, 0.25))
    '-0.010 to +0.250'
    """
    return f"{limits[0]:+.3f} to {limits[1]:+.3f}" if limits else NONE


def p_value(p: float | None, draws: int) -> str:
    """p of a test by `draws` exchanges, which can give no smaller p than 1 / (draws + 1).

    >>> p_value(1 / 1001, 1000), p_value(0.0205, 1000), p_value(float("nan"), 1000)
    ('≤ 0.001', '0.021', '-')
    """
    if not exists(p):
        return NONE
    floor = 1 / (draws + 1)
    return f"≤ {floor:.3f}" if p <= floor * 1.000001 else f"{p:.3f}"


def exists(value: float | None) -> TypeGuard[float]:
    """Whether a figure has a value: it is neither None nor NaN."""
    return value is not None and not math.isnan(value)


def counted(count: int, noun: str) -> str:
    """A count with its noun.

    >>> counted(1, "report"), counted(2, "report"), counted(1, "time"), counted(2, "study")
    ('1 report', '2 reports', '1 time', '2 studies')
    """
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun.removesuffix('y')}ies" if noun.endswith("y") else f"{count} {noun}s"


def region_metric(scores: Scores) -> str:
    """The metric that stands for the text of a region: the first of these that was computed."""
    metrics = scores.text.metrics
    return next((name for name in ("METEOR", "ROUGE-L", "BLEU-4") if name in metrics), next(iter(metrics)))


def overall_note(scores: Scores) -> str:
    """What the overall figures of these scores are.

    ROUGE's is a median of resamples in the published recipe only.
    """
    parts = {
        "BLEU": "BLEU of the n-grams of all reports counted together",
        "METEOR": "for METEOR the mean again",
        "ROUGE": "for ROUGE the median of the means of 1000 resamples of reports, as published"
        if scores.recipe == "published"
        else "for ROUGE the mean again",
        "CIDEr": "CIDEr has none, as it is computed from the whole file already",
    }
    said = [text for name, text in parts.items() if any(metric.startswith(name) for metric in scores.text.metrics)]
    return f"Overall: one figure for the whole file: {'; '.join(said)}." if said else ""


def comparison_note(scores: Scores) -> str:
    """What the columns of a comparison mean."""
    draws = scores.settings["draws"]
    regions = f" Regions: {region_metric(scores)}." if scores.regions else ""
    return (
        f"Difference: this file less the other. p: of a paired randomization test with {draws} random exchanges of "
        f"whole studies, which gives no p below {1 / (draws + 1):.3f}; of many p some are small by chance.{regions}"
    )


def file_name(scores: Scores) -> str:
    """The file's name without its folders, or how the texts came."""
    return Path(scores.source).name
