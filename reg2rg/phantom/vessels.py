"""Branching trees of tubes: the vessels and the bronchi of a lung, in mm, before they are drawn."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from reg2rg.phantom.shapes import Tube

_THINNEST_MM = 0.7
_SHRINK = 0.5 ** (1 / 3)


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
    is_inside: Callable[[Float[np.ndarray, "point 3"]], Bool[np.ndarray, "point"]],
) -> tuple[Branch, ...]:
    """Grows a tree: one first branch per direction, then forks of two or three, shorter and thinner each time.

    A fork turns by 20 to 50 degrees; radii fall by 0.79 per fork, the cube root of a half (Murray's law for equal
    daughters). Branches that would end outside are cut to half their length, then left out.

    Args:
        rng: source of the forks.
        root_mm: where the first branches begin.
        directions: where they go; any length.
        length_mm, radius_mm: of the first branches, radius at their root.
        generations: number of branches from root to tip, at least 1.
        is_inside: whether a tree may end at each of some points.
    """
    branches: list[Branch] = []
    starts = np.repeat(root_mm[None], len(directions), axis=0)
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    for generation in range(generations):
        reach = length_mm * 0.82**generation * rng.uniform(0.85, 1.15, size=(len(starts), 1))
        reach = np.where(is_inside(starts + reach * directions)[:, None], reach, 0.5 * reach)
        ends = starts + reach * directions
        grows = is_inside(ends)
        radius, thinner = (max(radius_mm * _SHRINK**g, _THINNEST_MM) for g in (generation, generation + 1))
        branches += [
            Branch(Tube((x0, y0, z0), (x1, y1, z1), radius, thinner), generation)
            for (x0, y0, z0), (x1, y1, z1) in zip(starts[grows].tolist(), ends[grows].tolist(), strict=True)
        ]
        starts, directions = _fork(rng, ends[grows], directions[grows])
    return tuple(branches)


def _fork(
    rng: np.random.Generator, ends: Float[np.ndarray, "branch 3"], directions: Float[np.ndarray, "branch 3"]
) -> tuple[Float[np.ndarray, "child 3"], Float[np.ndarray, "child 3"]]:
    """Where the daughters of some branches start, and where they go."""
    daughters = np.where(rng.random(len(ends)) < 0.7, 2, 3)
    across = np.cross(directions, rng.standard_normal((len(ends), 3)))
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    parents = np.repeat(np.arange(len(ends)), daughters)
    rank = np.arange(len(parents)) - np.repeat(np.cumsum(daughters) - daughters, daughters)
    around = 2 * np.pi * rank / daughters[parents] + rng.uniform(-0.4, 0.4, len(parents))
    angle = np.radians(rng.uniform(20, 50, len(parents)))[:, None]
    forward, across = directions[parents], across[parents]
    sideways = np.cos(around)[:, None] * across + np.sin(around)[:, None] * np.cross(forward, across)
    return ends[parents], np.cos(angle) * forward + np.sin(angle) * sideways
