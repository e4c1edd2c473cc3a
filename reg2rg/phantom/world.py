"""One phantom from one seed: a study with its report, and the truth behind it."""

import zlib
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, UInt32

from reg2rg.errors import InputError
from reg2rg.phantom.abnormalities import DRAWERS
from reg2rg.phantom.acquisition import acquire, sample_acquisition, scan_grid
from reg2rg.phantom.body import Anatomy, sample_anatomy
from reg2rg.phantom.canvas import MAX_LESIONS
from reg2rg.phantom.finding import KINDS, Finding
from reg2rg.phantom.occurrence import sample_age, sample_present
from reg2rg.phantom.organs import Chest, draw_chest
from reg2rg.phantom.report import write_report
from reg2rg.regions import REGION_NAMES, get_region
from reg2rg.volume import RegionMasks, Study, Volume

# Regions that a segmenter may miss, and how often: none in which one of CT-RATE's 18 lies. What can lie in them is not
# drawn where the mask is missing, as nobody would report it.
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
    seed: int,
    size: str = "small",
    prevalence: float | None = None,
    only: tuple[str, ...] | None = None,
    without: tuple[str, ...] = (),
) -> Phantom:
    """Makes a phantom.

    Every part of the world draws from a random stream of its own, named by the part: with `only`, an abnormality can
    be left out while body, texture, noise and the other lesions stay as they are. Two exceptions: a lung lesion may
    move when an effusion leaves that stood in its place (not with `without`), and without cardiomegaly the heart has
    another size, and with `only` voxels have, too.

    Args:
        seed: any whole number from 0; the same seed gives the same phantom.
        size: ``small`` (3 to 5 mm), ``standard`` (1.5 to 2 mm) or ``clinical`` (512 x 512, 1 mm slices).
        prevalence: how often each abnormality occurs, one share for all; None for `occurrence.PREVALENCE`.
        only: the abnormalities that may occur; None for all that this world can draw.
        without: abnormalities to take out of what would be drawn; all else stays where it was, lung lesions, too.

    Raises:
        InputError: if the size or an abnormality is unknown, the seed is negative, or the prevalence is no share.

    >>> phantom = make_phantom(7, prevalence=1.0, only=("Pleural effusion",))
    >>> phantom.abnormalities, phantom.study.volume.grid.orientation
    (frozenset({'Pleural effusion'}), 'RAS')
    """
    _check(seed, prevalence, only, without)
    stream = partial(_stream, seed)
    present = sample_present(stream, DRAWERS if only is None else only, prevalence)
    missing = _missing_masks(stream("missing masks"))
    anatomy = sample_anatomy(stream("anatomy"), "Cardiomegaly" in present, sample_age(stream))
    acquisition = sample_acquisition(_stream(seed, "acquisition"), anatomy, size)
    grid = scan_grid(anatomy, acquisition, size)
    if "Cardiomegaly" in without:  # in the same voxels
        anatomy = sample_anatomy(stream("anatomy"), False, sample_age(stream))
    chest = draw_chest(anatomy, grid, _stream(seed, "organs"))

    findings: list[Finding] = []
    for name in DRAWERS:
        if name not in present or KINDS[name].region in missing:
            continue
        if name in without:
            _leave_out(name, chest, _stream(seed, name), len(findings))
        else:
            findings += DRAWERS[name](chest, _stream(seed, name), len(findings))
    assert len(findings) <= MAX_LESIONS

    canvas = chest.canvas
    for region in missing:
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


def _leave_out(name: str, chest: Chest, rng: np.random.Generator, first_lesion: int) -> None:
    """Draws an abnormality and takes it back; what it took from the lung stays taken, so that others lie as before."""
    canvas = chest.canvas
    fields = canvas.hu, canvas.regions, canvas.lesions
    before = [field.copy() for field in fields]
    DRAWERS[name](chest, rng, first_lesion)
    for field, old in zip(fields, before, strict=True):
        field[...] = old


def _missing_masks(rng: np.random.Generator) -> tuple[str, ...]:
    return tuple(region for region, chance in MISSING_MASKS.items() if rng.random() < chance)


def _stream(seed: int, part: str) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, zlib.crc32(part.encode())]))


def _check(seed: int, prevalence: float | None, only: tuple[str, ...] | None, without: tuple[str, ...]) -> None:
    if seed < 0:
        raise InputError(f"a phantom's seed is a whole number from 0, got {seed}; choose another --seed")
    if prevalence is not None and not 0 <= prevalence <= 1:
        raise InputError(f"prevalence is a share from 0 to 1, got {prevalence}")
    for name in (*(only or ()), *without):
        if name not in DRAWERS:
            reason = "is not drawn yet" if name in KINDS else "is no abnormality"
            raise InputError(f"{name!r} {reason}: expected some of {', '.join(DRAWERS)}")
