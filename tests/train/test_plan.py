"""Plans of texts: a kind is to be said until the last sentence about it ends."""

import numpy as np

from reg2rg.train.plan import plan_of
from reg2rg.train.questions import ATTRIBUTES, KIND_NAMES


def test_a_plan_reads_joined_and_repeated_sentences() -> None:
    text = "Mild emphysema, and there is no nodule. A small consolidation of the left lung. Mild emphysema. Clear."
    ends = np.arange(-1, len(text) + 1)
    plan = plan_of("lung", text, ends)
    emphysema, consolidation, nodule = (
        plan.remaining[:, KIND_NAMES.index(kind)] for kind in ("Emphysema", "Consolidation", "Lung nodule")
    )
    assert emphysema.sum() == text.index(" Clear.") + 1
    assert consolidation.sum() == text.index(" Mild emphysema. Clear.") + 1
    assert not nodule.any()
    heart = plan_of("heart", "Mild emphysema.", ends)
    assert not heart.remaining.any() and not heart.next.any()


def test_what_is_said_next_is_what_the_sentence_of_the_next_token_states() -> None:
    text = (
        "The vessels taper. A 12 mm solid nodule of the left lower lobe, and the lungs show mild emphysema. No opacity."
    )
    plan = plan_of("lung", text, np.arange(len(text) + 1))
    nodule, emphysema = (KIND_NAMES.index(kind) for kind in ("Lung nodule", "Emphysema"))
    said = "".join(letter for letter, row in zip(text, plan.next[:-1, nodule], strict=True) if row)
    assert said == " A 12 mm solid nodule of the left lower lobe, and the lungs show mild emphysema."
    assert (plan.next[:, emphysema] == plan.next[:, nodule]).all() and plan.next.sum() == 2 * len(said)
    stated = plan.next_attributes[plan.next[:, nodule]]
    assert (stated == plan.attributes[0]).all() and plan.next_attributes.any(axis=1).sum() == len(said)
    assert stated[0, ATTRIBUTES.index(("Lung nodule", "10 mm"))] == 1
