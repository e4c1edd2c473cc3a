"""Branching trees of tubes: the vessels and the bronchi of a lung, in mm, before they are drawn."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from reg2rg.phantom.shapes import Tube

_THINNEST_MM = 0.7


@dataclass(frozen=True)
class Branch:
    """One tube of a tree and how many forks lie between it and the root."""

    tube: Tube
    generation: int


def grow_tree(
    rng: np.random.Generator,
    root_mm: Float[np.ndarray, "3"],
    directions: Float[np.ndarray, "branch 3"],
    length_mm: float,
    radius_mm: float,
    generations: int,
    is_inside: Callable[[Float[np.ndarray, "3"]], bool],
) -> tuple[Branch, ...]:
    """Grows a tree: one first branch per direction, then forks of two or three, shorter and thinner each time.

    A fork turns by 20 to 50 degrees; radii fall by 0.79 per fork, the cube root of a half (Murray's law for equal
    daughters). Branches that would end outside are shortened once, then left out.

    Args:
        rng: source of the forks.
        root_mm: where the first branches begin.
        directions: where they go; any length.
        length_mm, radius_mm: of the first branches, radius at their root.
        generations: number of forks from root to tip, at least 1.
        is_inside: whether a tree may end at a point.
    """
    branches: list[Branch] = []
    front = [(root_mm, direction / np.linalg.norm(direction), radius_mm) for direction in directions]
    for generation in range(generations):
        length = length_mm * 0.82**generation
        tips = []
        for start, direction, radius in front:
            reach = length * rng.uniform(0.85, 1.15)
            end = start + reach * direction
            if not is_inside(end):
                end = start + 0.5 * reach * direction
                if not is_inside(end):
                    continue
            thinner = max(0.79 * radius, _THINNEST_MM)
            branches.append(Branch(Tube(_point(start), _point(end), radius, thinner), generation))
            tips += [(end, turned, thinner) for turned in _fork(rng, direction)]
        front = tips
    return tuple(branches)


def _fork(rng: np.random.Generator, direction: Float[np.ndarray, "3"]) -> list[Float[np.ndarray, "3"]]:
    count = 2 if rng.random() < 0.7 else 3
    across = np.cross(direction, rng.standard_normal(3))
    across /= np.linalg.norm(across)
    other = np.cross(direction, across)
    turned = []
    for child in range(count):
        angle, around = np.radians(rng.uniform(20, 50)), 2 * np.pi * child / count + rng.uniform(-0.4, 0.4)
        sideways = np.cos(around) * across + np.sin(around) * other
        turned.append(np.cos(angle) * direction + np.sin(angle) * sideways)
    return turned


def _point(vector: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in vector)
    return x, y, z
