"""What a segmenter gives, and how one is found by its name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module

from reg2rg.errors import InputError
from reg2rg.segment import SEGMENTERS
from reg2rg.volume import RegionMasks, Volume


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Region masks of one volume, on its grid.

    Attributes:
        masks: the masks; a region that was not found is absent.
        warnings: what the reader should know about them, a sentence each.
        doubts: by region, what makes its mask doubtful from the start.
    """

    masks: RegionMasks
    warnings: tuple[str, ...] = ()
    doubts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


Segmenter = Callable[[Volume], Segmentation]
"""Draws the regions of a canonical (RAS+) volume in HU; raises InputError where it finds none."""


def find_segmenter(name: str) -> Segmenter:
    """The segmenter of this name, imported now.

    Raises:
        InputError: if there is none; the message lists those there are.

    >>> find_segmenter("threshold").__module__
    'reg2rg.segment.threshold'
    """
    if name not in SEGMENTERS:
        raise InputError(f"unknown segmenter {name!r}: expected one of {', '.join(SEGMENTERS)}")
    segmenter: Segmenter = import_module(f"{__package__}.{name}").segment
    return segmenter
