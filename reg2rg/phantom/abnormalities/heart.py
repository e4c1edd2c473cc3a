"""What can be wrong with the heart, its fluid apart."""

import numpy as np

from reg2rg.phantom.finding import Finding
from reg2rg.phantom.organs import Chest


def draw_cardiomegaly(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """States that the heart is too large: the body was sampled so, and only its cardiothoracic ratio tells."""
    chest.canvas.mark_lesion(first_lesion, chest.canvas.region_mask("heart"))
    return (Finding("Cardiomegaly", "heart", lesion=first_lesion),)
