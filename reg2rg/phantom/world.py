"""One phantom from one seed: a study with its report, and the truth behind it."""

import zlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt32

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.errors import InputError
from reg2rg.phantom.abnormalities import DRAWERS
from reg2rg.phantom.acquisition import acquire, sample_acquisition, scan_grid
from reg2rg.phantom.body import Anatomy, sample_anatomy
from reg2rg.phantom.canvas import MAX_LESIONS
from reg2rg.phantom.finding import Finding
from reg2rg.phantom.organs import draw_chest
from reg2rg.phantom.report import write_report
from reg2rg.regions import REGION_NAMES, get_region
from reg2rg.volume import RegionMasks, Study, Volume

DEFAULT_PREVALENCE = 0.25

# Regions that a segmenter may miss, and how often: never one in which this world draws abnormalities, so that a
# missing mask says nothing about them.
MISSING_MASKS = {"breast": 0.08, "abdomen": 0.03, "bone": 0.02}


@dataclass(frozen=True, eq=False)
class Phantom:
    """A phantom study and its truth.

    Attributes:
        seed: what it was made from.
        anatomy: the person, healthy or with an enlarged heart.
        study: volume (int16 HU, RAS+), region masks and region texts.
        findings: what is wrong, in the order of drawing; `finding.lesion` is its bit in `lesions`.
        lesions: bit k of a voxel says whether it belongs to the lesion of finding k.
    """

    seed: int
    anatomy: Anatomy
    study: Study
    findings: tuple[Finding, ...]
    lesions: UInt32[np.ndarray, "x y z"]

    @property
    def abnormalities(self) -> frozenset[str]:
        """Names of the abnormalities that this phantom has."""
        return frozenset(finding.abnormality for finding in self.findings)

    def lesion_mask(self, finding: Finding) -> Bool[np.ndarray, "x y z"]:
        """The voxels of one finding's lesion."""
        return (self.lesions & np.uint32(1 << (finding.lesion or 0))) != 0


def make_phantom(
    seed: int, size: str = "small", prevalence: float | None = None, only: tuple[str, ...] | None = None
) -> Phantom:
    """Makes a phantom.

    Every part of the world draws from a random stream of its own, named by the part: with `only`, an abnormality can
    be left out while body, texture, noise and the other lesions stay as they are. Two exceptions: a lung lesion may
    move when an effusion leaves that stood in its place, and without cardiomegaly heart and voxels have another size.

    Args:
        seed: any whole number from 0; the same seed gives the same phantom.
        size: ``small`` (3 to 5 mm), ``standard`` (1.5 to 2 mm) or ``clinical`` (512 x 512, 1 mm slices).
        prevalence: how often each abnormality occurs, independently; None for a quarter.
        only: the abnormalities that may occur; None for all that this world can draw.

    Raises:
        InputError: if the size or an abnormality is unknown, the seed is negative, or the prevalence is no share.

    >>> phantom = make_phantom(7, prevalence=1.0, only=("Pleural effusion",))
    >>> phantom.abnormalities, phantom.study.volume.grid.orientation
    (frozenset({'Pleural effusion'}), 'RAS')
    """
    share = DEFAULT_PREVALENCE if prevalence is None else prevalence
    _check(seed, share, only)
    present = {
        name for name in DRAWERS if _stream(seed, f"has {name}").random() < share and (only is None or name in only)
    }
    anatomy = sample_anatomy(_stream(seed, "anatomy"), "Cardiomegaly" in present)
    acquisition = sample_acquisition(_stream(seed, "acquisition"), anatomy, size)
    grid = scan_grid(anatomy, acquisition, size)
    chest = draw_chest(anatomy, grid, _stream(seed, "organs"))

    findings: list[Finding] = []
    for name in (name for name in DRAWERS if name in present):
        findings += DRAWERS[name](chest, _stream(seed, name), len(findings))
    assert len(findings) <= MAX_LESIONS

    canvas = chest.canvas
    missing = _stream(seed, "missing masks")
    for region, chance in MISSING_MASKS.items():
        if missing.random() < chance:
            canvas.regions[...] &= np.uint16(0xFFFF ^ get_region(region).bit)
    volume = Volume(acquire(canvas.hu, acquisition, _stream(seed, "noise")), grid.affine)
    masks = RegionMasks(canvas.regions, grid.affine, dict.fromkeys(REGION_NAMES, "phantom"))
    texts = write_report(findings, _stream(seed, "report"))
    study = Study(
        study_id=f"phantom_{seed}",
        volume=volume,
        masks=masks,
        source=f"phantom seed {seed}, size {size}",
        native_affine=grid.affine,
        reference={region: texts[region] for region in masks.present},
    )
    return Phantom(seed, anatomy, study, tuple(findings), canvas.lesions)


def _stream(seed: int, part: str) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(part.encode())]))


def _check(seed: int, prevalence: float, only: tuple[str, ...] | None) -> None:
    if seed < 0:
        raise InputError(f"a phantom's seed is a whole number from 0, got {seed}; choose another --seed")
    if not 0 <= prevalence <= 1:
        raise InputError(f"prevalence is a share from 0 to 1, got {prevalence}")
    for name in only or ():
        if name not in DRAWERS:
            reason = "is not drawn yet" if name in ABNORMALITY_NAMES else "is no abnormality"
            raise InputError(f"{name!r} {reason}: expected some of {', '.join(DRAWERS)}")
