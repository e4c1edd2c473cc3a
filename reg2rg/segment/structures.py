"""Structures that other segmenters name, the region each belongs to, and what follows for regions from landmarks.

Three tables beside this file: `totalsegmentator_total.csv` (the labels of TotalSegmentator's task ``total``),
`totalsegmentator_tasks.csv` (its other tasks that are of use here) and `sat.csv` (the names of SAT's masks as
RadGenome-ChestCT has them). ``docs/REGIONS.md`` shows them by region.

A mask on its way to the ten regions is a bit field as in `RegionMasks`, with bits above the ten for landmarks:
structures that decide where another region ends. `complete` uses them up.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Integer, Shaped, UInt16

from reg2rg.geometry import axis_bits, bits_box, memory_axes
from reg2rg.nifti import LabelMap
from reg2rg.regions import REGIONS, find_region, get_region, normalize_name
from reg2rg.segment.thorax import pleural_shell
from reg2rg.volume import Box, Grid, RegionMasks

LANDMARKS: dict[str, int] = {
    name: 1 << (len(REGIONS) + position)
    for position, name in enumerate(("aorta", "T12", "lumbar", "thoracic cavity", "effusion", "lung"))
}
"""Bit of each landmark; ``lung`` is a lung or lobe that a segmenter drew, beside which it has no pleura."""

TOTAL_TABLE = "totalsegmentator_total.csv"
SAT_TABLE = "sat.csv"
TABLES = (TOTAL_TABLE, "totalsegmentator_tasks.csv", SAT_TABLE)

_SLICES = 4  # painted at once: their labels and bits fit into the processor's cache
_ALL_REGIONS = np.uint16((1 << len(REGIONS)) - 1)


@dataclass(frozen=True)
class Structure:
    """A name that a mask may have.

    Attributes:
        region: the region it belongs to, "" for none.
        landmark: a key of `LANDMARKS`, "" for none.
    """

    region: str
    landmark: str = ""

    @property
    def bits(self) -> int:
        """What a voxel of it gets: 0 if it is of no use."""
        region = get_region(self.region).bit if self.region else 0
        return region | (LANDMARKS[self.landmark] if self.landmark else 0)


def find_structure(name: str) -> Structure | None:
    """What is called so: a region (or synonym), or a structure of one of the tables; None for an unknown name.

    >>> find_structure("heart"), find_structure("left lung upper lobe")
    (Structure(region='heart', landmark=''), Structure(region='lung', landmark='lung'))
    >>> find_structure("gluteus_maximus_left"), find_structure("tumour")
    (Structure(region='', landmark=''), None)
    """
    region = find_region(name)
    return Structure(region.name) if region else _structures().get(normalize_name(name))


@cache
def read_table(name: str) -> tuple[dict[str, str], ...]:
    """The rows of one of `TABLES`."""
    with Path(__file__).with_name(name).open(newline="", encoding="utf-8") as file:
        return tuple(csv.DictReader(file))


@cache
def total_names() -> dict[int, str]:
    """Label to name in TotalSegmentator's task ``total``; label 26 is vertebrae_S1 in version 2, L6 in version 3."""
    return {int(row["label"]): row["name"] for row in reversed(read_table(TOTAL_TABLE))}


@cache
def _structures() -> dict[str, Structure]:
    rows = [row for table in TABLES for row in read_table(table)]
    return {normalize_name(row["name"]): Structure(row["region"], row["landmark"]) for row in rows}


@dataclass(frozen=True, eq=False)
class PaintedLabels:
    """A label map, and the bits that each of its labels stands for.

    Attributes:
        map: the labels as stored.
        bits: by label, up to the highest; landmarks included, 0 for what is of no use.
        sources: as in RegionMasks; its keys are the regions that the file speaks of.
    """

    map: LabelMap
    bits: UInt16[np.ndarray, " label"]
    sources: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, labels: LabelMap, structures: Mapping[int, Structure | None]) -> "PaintedLabels":
        """Labels and their structures; what is not in `structures` is of no use."""
        bits = np.zeros(max(int(labels.array.max()), *structures, 1) + 1, np.uint16)
        for label, structure in structures.items():
            bits[label] = structure.bits if structure else 0
        return cls(labels, bits)

    @property
    def array(self) -> Integer[np.ndarray, "x y z"]:
        """The labels."""
        return self.map.array

    @property
    def grid(self) -> Grid:
        """Where the voxels lie."""
        return self.map.grid

    def moved(self, array: Integer[np.ndarray, "x2 y2 z2"], affine: Shaped[np.ndarray, "4 4"]) -> "PaintedLabels":
        """The same record with other labels on another grid."""
        return replace(self, map=self.map.moved(array, affine))

    @cached_property
    def box(self) -> Box | None:
        """The box outside of which all labels are 0."""
        return bits_box(axis_bits(self.map.array))

    def to_masks(self) -> RegionMasks:
        """The bits of each voxel, on the file's own grid."""
        array = np.zeros_like(self.map.array, np.uint16)
        self.add_to(array)
        return RegionMasks(array, self.map.affine, self.sources)

    def add_to(self, array: UInt16[np.ndarray, "x y z"]) -> None:
        """Or-s the bits into an array on the same grid; only the box of the labels is looked at."""
        if self.box is None or len(self.bits) < 2:
            return
        labels, target = self.map.array[self.box.slices], array[self.box.slices]
        is_one = bool((self.bits[1:] == self.bits[1]).all())
        slowest = memory_axes(labels)[0]
        for start in range(0, labels.shape[slowest], _SLICES):
            part: tuple[slice, ...] = (slice(None),) * slowest + (slice(start, start + _SLICES),)
            target[part] |= (labels[part] != 0) * self.bits[1] if is_one else self.bits[labels[part]]


def paint(labels: LabelMap, structures: Mapping[int, Structure | None]) -> RegionMasks:
    """The bits of each voxel's structure, landmarks included; 0 for labels that are not in `structures`."""
    return PaintedLabels.of(labels, structures).to_masks()


def complete(masks: RegionMasks) -> RegionMasks:
    """The ten regions alone, after what the landmarks say of them.

    - The aorta is mediastinum above the diaphragm and abdomen below it. It passes the diaphragm at the twelfth thoracic
      vertebra (Gray's Anatomy, aortic hiatus): the middle of that vertebra's mask divides it. Where the vertebra is
      missing, the aorta is abdomen beside lumbar vertebrae and mediastinum otherwise.
    - The pleura, which no segmenter draws, is a shell at the surface of the lungs, inside the thoracic cavity if that
      is known, and the effusion. A pleura that is given stays as it is.

    Args:
        masks: as `paint` leaves them, on any grid.
    """
    if not np.bitwise_or.reduce(masks.array, axis=None) & ~_ALL_REGIONS:
        return masks
    array = masks.array.copy(order="K")
    _divide_aorta(array, masks.affine)
    _add_pleura(array, masks.grid.spacing_mm)
    return replace(masks, array=array & _ALL_REGIONS)


def _divide_aorta(array: UInt16[np.ndarray, "x y z"], affine: Shaped[np.ndarray, "4 4"]) -> None:
    aorta = np.argwhere(_has(array, "aorta"))
    vertebra = np.argwhere(_has(array, "T12"))
    up = affine[2, :3]
    if len(vertebra):
        below = aorta[aorta @ up < (vertebra @ up).mean()]
    else:
        below = aorta if _has(array, "lumbar").any() else aorta[:0]
    place = tuple(below.T)
    array[place] = (array[place] & ~np.uint16(get_region("mediastinum").bit)) | np.uint16(get_region("abdomen").bit)


def _add_pleura(array: UInt16[np.ndarray, "x y z"], spacing_mm: tuple[float, float, float]) -> None:
    pleura = np.uint16(get_region("pleura").bit)
    is_given = ((array & pleura) != 0) & ~_has(array, "effusion")
    if is_given.any() or not _has(array, "lung").any():
        return
    shell = pleural_shell((array & np.uint16(get_region("lung").bit)) != 0, spacing_mm)
    cavity = _has(array, "thoracic cavity")
    if cavity.any():
        shell &= cavity
    array[shell] |= pleura


def _has(array: UInt16[np.ndarray, "x y z"], landmark: str) -> np.ndarray:
    return (array & np.uint16(LANDMARKS[landmark])) != 0
