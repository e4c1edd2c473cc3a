"""The series of a study, and which of them is the chest CT."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reg2rg.dicom.frames import Image, read_frames
from reg2rg.errors import InputError
from reg2rg.nifti import MAX_VOXELS

_CHEST = re.compile("CHEST|THORA|LUNG")
_HU_TYPES = ("", "HU", "US")  # RescaleType; "unspecified" is in use for HU, too
_AXIAL_COSINE = 0.7  # of the angle between normal and body axis; 45 degrees, as anatomical axes are named
# What the makers' names of convolution kernels mean for a chest: first match wins.
_KERNELS = (
    ("lung", re.compile(r"LUNG|CHST_L|^BL\d|^FC(5\d|8\d)|^L$|^Y[A-D]$")),
    ("bone", re.compile(r"BONE|EDGE|ULTRA|^FC3\d|^[BHQU][RFVP]?(5[5-9]|[6-9]\d)|^[DE]$")),
    ("soft", re.compile(r"STANDARD|STND|SOFT|DETAIL|CHST|BODY|^FC[01]\d|^[BQ][RFVP]?[1-5]\d|^(S|I|Y)?[ABC]$")),
)
_KERNEL_RANK = {"soft": 0, "lung": 1, "": 2, "bone": 3}
_NAMED_OTHERS = 3  # how many series are named that were not taken


@dataclass(frozen=True, eq=False)
class Series:
    """The objects of one series, of CTs without localizers and other pictures that are no slices."""

    uid: str
    study_uid: str
    modality: str
    images: tuple[Image, ...]

    @property
    def num_slices(self) -> int:
        """Image planes."""
        return sum(image.num_frames for image in self.images)

    @property
    def num_voxels(self) -> int:
        """Of all slices."""
        return sum(image.num_voxels for image in self.images)

    @property
    def orientation(self) -> str:
        """axial, coronal, sagittal, or unplaced where the first slice does not say."""
        if self.images[0].num_voxels > MAX_VOXELS:
            return "unplaced"
        try:
            normal = np.abs(read_frames(self.images[0])[0].normal)
        except (InputError, IndexError):
            return "unplaced"
        if normal[2] > _AXIAL_COSINE:
            return "axial"
        return "coronal" if normal[1] > normal[0] else "sagittal"

    @property
    def kernel(self) -> str:
        """The maker's name of the convolution kernel; empty if not stated."""
        return self.images[0].text("ConvolutionKernel").split("\\")[0]

    @property
    def description(self) -> str:
        """What tells it from the others, in a few words without anything about the patient."""
        words = [self.uid or "(no UID)", "-", self.orientation, f"{self.num_slices} slices"]
        return " ".join([*words, *([f"kernel {self.kernel}"] if self.kernel else [])])

    @property
    def rank(self) -> tuple[object, ...]:
        """Less is more of a chest CT: in HU, axial, of the chest, then the number of slices and the kernel."""
        first = self.images[0]
        body_part = first.text("BodyPartExamined").upper()
        return (
            first.text("RescaleType").upper() not in _HU_TYPES,
            self.orientation != "axial",
            not _CHEST.search(body_part) if body_part else True,
            -self.num_slices,
            _KERNEL_RANK[kernel_kind(self.kernel)],
            "SECONDARY" in first.text("ImageType").upper(),
            self.uid,
        )


def kernel_kind(kernel: str) -> str:
    """What a convolution kernel shows well: soft, lung, bone, or nothing if its name is not known.

    >>> [kernel_kind(name) for name in ("B30f", "Br40d", "STANDARD", "LUNG", "FC51", "Bl57", "B80f", "BONEPLUS", "?")]
    ['soft', 'soft', 'soft', 'lung', 'lung', 'lung', 'bone', 'bone', '']
    """
    name = kernel.strip().upper()
    return next((kind for kind, pattern in _KERNELS if pattern.search(name)), "")


def group_series(images: Sequence[Image]) -> list[Series]:
    """All series of these objects, CT or not, in the order in which they come."""
    members: dict[tuple[str, str], list[Image]] = {}
    for image in images:
        if image.modality != "CT" or image.is_slice:
            members.setdefault((image.text("SeriesInstanceUID"), image.modality), []).append(image)
    return [
        Series(uid, grouped[0].text("StudyInstanceUID"), modality, tuple(grouped))
        for (uid, modality), grouped in members.items()
    ]


def choose_series(series: Sequence[Series], uid: str | None = None) -> tuple[Series, tuple[str, ...]]:
    """The chest CT among the series, and a remark on the choice where there was one.

    Args:
        series: all that there are.
        uid: the SeriesInstanceUID of the one that is wanted; None for the likeliest chest CT.

    Raises:
        InputError: if there is no CT, none or another modality has the wanted UID, or there are several studies.
    """
    if uid is not None:
        return _named(series, uid), ()
    ranked = sorted((one for one in series if one.modality == "CT"), key=lambda one: one.rank)
    if not ranked:
        raise InputError(f"expected a CT series, found {_modalities(series)}; give the chest CT")
    studies = {one.study_uid for one in ranked}
    if len(studies) > 1:
        raise InputError(
            f"expected one study, found {len(studies)} with {len(ranked)} CT series; give the folder of one study, or "
            f"--series with one of: {_list(ranked)}"
        )
    chosen, others = ranked[0], ranked[1:]
    if not others:
        return chosen, ()
    return chosen, (
        f"took series {chosen.description}, the likeliest chest CT of {len(ranked)} series by orientation, body part, "
        f"number of slices and kernel (others: {_list(others)}); --series takes another",
    )


def _named(series: Sequence[Series], uid: str) -> Series:
    found = [one for one in series if one.uid == uid]
    if not found:
        cts = [one for one in series if one.modality == "CT"]
        there = _list(cts) if cts else _modalities(series)
        raise InputError(f"--series {uid}: no such series here; expected one of: {there}")
    if all(one.modality != "CT" for one in found):
        raise InputError(f"--series {uid}: expected a CT, found {found[0].modality}; name a CT series")
    return next(one for one in found if one.modality == "CT")


def _list(series: Sequence[Series]) -> str:
    more = f"; and {len(series) - _NAMED_OTHERS} more" if len(series) > _NAMED_OTHERS else ""
    return "; ".join(one.description for one in series[:_NAMED_OTHERS]) + more


def _modalities(series: Sequence[Series]) -> str:
    counts: dict[str, int] = {}
    for one in series:
        counts[one.modality] = counts.get(one.modality, 0) + 1
    return (
        ", ".join(f"{count} series of {modality}" for modality, count in sorted(counts.items()))
        or "only localizers or other pictures"
    )
