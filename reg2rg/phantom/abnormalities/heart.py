"""What can be wrong with the heart, its fluid and its arteries apart."""

import numpy as np

from reg2rg.phantom.finding import Finding
from reg2rg.phantom.organs import Chest


def draw_cardiomegaly(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """States that the heart is too large: the body was sampled so, and only its cardiothoracic ratio tells.

    Its lesion is the whole heart, whatever else was drawn in it: draw it last.
    """
    box = chest.canvas.box_of(chest.heart)
    if box is None:
        return ()
    solid = chest.canvas.coverage_of(chest.heart, box) >= 0.5
    chest.canvas.mark_lesion(first_lesion, solid & chest.canvas.region_mask("heart")[box.slices], box)
    percent = round(100 * chest.anatomy.cardiothoracic_ratio)
    return (Finding("Cardiomegaly", "heart", percent=percent, lesion=first_lesion),)
