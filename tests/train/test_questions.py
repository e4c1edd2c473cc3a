"""Questions about findings: the right ones are asked, and what a wrong answer costs."""

from math import log

import numpy as np
import torch

from reg2rg.phantom.finding import Finding
from reg2rg.train.questions import (
    ATTRIBUTES,
    KIND_NAMES,
    KIND_OF_ATTRIBUTE,
    QUESTIONS,
    answers_of,
    kinds_known,
    questions_loss,
)

NODULE = KIND_NAMES.index("Lung nodule")


def test_answers_are_what_the_findings_say() -> None:
    nodule = Finding("Lung nodule", "lung", "left", "upper lobe", size_mm=13, detail="solid")
    answers = answers_of([nodule, Finding("Emphysema", "lung", amount="large")])
    assert {KIND_NAMES[kind] for kind in np.flatnonzero(answers.present)} == {"Lung nodule", "Emphysema"}
    said = {answer for kind, answer in (ATTRIBUTES[i] for i in np.flatnonzero(answers.attributes)) if "nodule" in kind}
    assert said == {"left", "upper lobe", "6 mm", "8 mm", "10 mm", "13 mm", "solid"}
    assert not any(part.any() for part in answers_of([]))


def test_a_kind_is_asked_of_its_own_region_and_of_the_image() -> None:
    image, heart, lung = kinds_known([None, "heart", "lung"])
    assert image.all()
    assert (heart[NODULE], lung[NODULE]) == (0, 1)
    assert not (heart * lung).any()


def test_only_known_kinds_cost_and_attributes_only_of_what_is_there() -> None:
    logits = torch.zeros(1, QUESTIONS, requires_grad=True)
    present, attributes = torch.zeros(1, len(KIND_NAMES)), torch.zeros(1, len(ATTRIBUTES))
    known = torch.from_numpy(kinds_known(["lung"]))
    torch.testing.assert_close(questions_loss(logits, present, attributes, known).item(), log(2))
    present[0, NODULE] = 1
    loss = questions_loss(logits, present, attributes, known)
    torch.testing.assert_close(loss.item(), 2.5 * log(2))  # attributes weigh one and a half times as much
    loss.backward()
    assert logits.grad is not None
    asked = logits.grad[0] != 0
    assert asked.tolist() == [*(known[0] > 0).tolist(), *(KIND_OF_ATTRIBUTE == NODULE).tolist()]
