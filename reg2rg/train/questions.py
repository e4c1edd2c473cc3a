"""What both stages ask about findings, as yes-or-no questions: which kinds are there, and their attributes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional

from reg2rg.phantom.finding import AMOUNTS, KINDS, LOBES, SIDES, Finding

# A size is asked for as one question per step ("at least 10 mm?"), which is easier to learn than a number.
_SIZE_STEPS_MM = (6, 8, 10, 13, 16, 20, 25, 32, 40, 50)
_PERCENT_STEPS = (30, 35, 40, 45, 50, 54, 57)


def _answers(kind_states: tuple[str, ...], details: tuple[str, ...]) -> list[str]:
    answers = {
        "side": list(SIDES),
        "lobe": list(LOBES),
        "amount": list(AMOUNTS),
        "size_mm": [f"{step} mm" for step in _SIZE_STEPS_MM],
        "percent": [f"{step} %" for step in _PERCENT_STEPS],
        "detail": list(details),
    }
    return [answer for state in kind_states for answer in answers[state]]


KIND_NAMES = tuple(KINDS)
ATTRIBUTES: tuple[tuple[str, str], ...] = tuple(
    (kind.name, answer) for kind in KINDS.values() for answer in _answers(kind.states, kind.details)
)
"""Every yes-or-no question about an abnormality that is there: its name and the answer asked for."""

KIND_OF_ATTRIBUTE = np.array([KIND_NAMES.index(name) for name, _ in ATTRIBUTES])
_COLUMN = {attribute: column for column, attribute in enumerate(ATTRIBUTES)}
QUESTIONS = len(KIND_NAMES) + len(ATTRIBUTES)
"""First whether each kind is there, then the attributes."""

_ATTRIBUTE_WEIGHT = 1.5


class Answers(NamedTuple):
    """The answers for one study.

    Attributes:
        present: for each kind of finding whether the study has it.
        attributes: for each of `ATTRIBUTES` whether one of the study's findings has it.
    """

    present: Float32[np.ndarray, " kind"]
    attributes: Float32[np.ndarray, " attribute"]


def answers_of(findings: Sequence[Finding]) -> Answers:
    """The answers that a study's findings give."""
    present = np.zeros(len(KIND_NAMES), np.float32)
    attributes = np.zeros(len(ATTRIBUTES), np.float32)
    for finding in findings:
        present[KIND_NAMES.index(finding.abnormality)] = 1
        attributes[[_COLUMN[finding.abnormality, answer] for answer in _answers_of(finding)]] = 1
    return Answers(present, attributes)


def kinds_known(regions: Sequence[str | None]) -> Float32[np.ndarray, "region kind"]:
    """Whether each kind belongs to each region; all do to None, the whole image."""
    return np.array([[name in (None, kind.region) for kind in KINDS.values()] for name in regions], np.float32)


def questions_loss(
    logits: Float[Tensor, "crop question"],
    present: Float[Tensor, "crop kind"],
    attributes: Float[Tensor, "crop attribute"],
    known: Float[Tensor, "crop kind"],
) -> Float[Tensor, ""]:
    """Whether each known kind is there, and of those that are, their attributes: mean binary cross-entropies."""
    kind_of_attribute = torch.from_numpy(KIND_OF_ATTRIBUTE).to(logits.device)
    is_asked = (known * present)[:, kind_of_attribute]
    kinds = len(KIND_NAMES)
    return _masked_loss(logits[:, :kinds], present, known) + _ATTRIBUTE_WEIGHT * _masked_loss(
        logits[:, kinds:], attributes, is_asked
    )


def _masked_loss(logits: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    loss = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1)


def _answers_of(finding: Finding) -> list[str]:
    answers = [answer for answer in (finding.side, finding.lobe, finding.amount, finding.detail) if answer]
    answers += [f"{step} mm" for step in _SIZE_STEPS_MM if (finding.size_mm or 0) >= step]
    answers += [f"{step} %" for step in _PERCENT_STEPS if (finding.percent or 0) >= step]
    return answers
