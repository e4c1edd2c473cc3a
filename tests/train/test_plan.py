"""Plans of texts: a kind is to be said until the last sentence about it ends."""

import numpy as np

from reg2rg.train.plan import plan_of
from reg2rg.train.questions import KIND_NAMES


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
    assert not heart.remaining.any() and not heart.is_stating.any()
    text = "The vessels taper. Mild emphysema. No nodule is seen."
    is_stating = plan_of("lung", text, np.arange(len(text) + 1)).is_stating
    assert "".join(letter for letter, said in zip(text, is_stating[:-1], strict=True) if said) == " Mild emphysema."
    assert not is_stating[-1]
