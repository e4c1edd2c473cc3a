"""Is it a chest CT? What can be told from HU and millimetres alone, before any segmenter or model looks at a scan.

A model writes a fluent report of whatever it is given: an MR, an abdomen, values that are no HU. So a scan is measured
first. What cannot be a chest CT is refused; what a reader should know of a chest CT becomes a warning. The work is done
on voxels of about 3 mm (`_WORKING_MM`). The limits lie far from what was measured on the phantoms and on
public CT of chest and abdomen.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from reg2rg.errors import InputError
from reg2rg.geometry import mask_box
from reg2rg.intensity import AIR_HU
from reg2rg.segment.morphology import Spacing, erode, shrink
from reg2rg.segment.thorax import SMALLEST_LUNGS_ML, TISSUE_HU, find_air, find_lung_air
from reg2rg.volume import Volume

_WORKING_MM = 3.0
_LARGEST_SPACING_MM = 10.0  # between slices; beyond it most of the lung lies between them
_THICK_SLICES_MM = 5.0  # a nodule that is smaller, as most are, does not fill a slice
_SMALLEST_SIDE_MM = 100.0  # of the field of view: an infant's chest is as wide, a spine's or a heart's cut-out is not
_LARGEST_SIDE_MM = (1000.0, 1000.0, 2500.0)  # a scanner's bore is 0.7 to 0.9 m wide, its table's travel about 2 m
_AIR_HU = (AIR_HU - 100, AIR_HU + 100)  # noise included
_SMALLEST_AIR_SHARE = 0.001  # of all voxels; 0.027 in a chest CT whose sides are cut off, above 0.2 in whole ones
_WATER_HU = (-200, 200)  # fat, water, muscle, organs
_SMALLEST_TISSUE_SHARE = 0.02  # of all voxels denser than lung; 0.45 and more in chests, less of an infant's
_SMALLEST_TISSUE_SHARE_SHIFTED = 0.2  # the same where HU + 1024 are supposed: an MR has less
_SMALLEST_WATER_SHARE = 0.3  # of those; 0.7 and more in chests, with contrast too
_ADDED_TO_HU = (1024, 1000)  # by exports that store whole numbers without a sign
_CUT_CM2 = 10.0  # of lung in the last slice; the trachea alone, which may leave the field of view, has less
_SIDES = (("left", "right"), ("back", "front"), ("lower end", "upper end"))  # low and high end of each axis, RAS+
_METAL_HU = 3000  # denser than any bone or calcification
_METAL_ML = 0.1  # a few voxels at least
_CONTRAST_HU = (130, 700)  # blood without contrast medium stays below, spongy bone does not
_CONTRAST_CORE_MM = 6.0  # heart and large vessels have voxels so deep, ribs and sternum have none
_CONTRAST_ML = 60.0  # 301 in a CT with contrast medium, up to 25 (spongy bone, calcifications) in phantoms without
_FRONT_SHARE = 0.6  # of the depth of the lungs: heart and large vessels, but no spine


@dataclass(frozen=True)
class ChestCheck:
    """What was measured on a scan, and what follows.

    What a refusal made pointless to measure stays None or empty.

    Attributes:
        size_mm: of the field of view, along x, y, z.
        spacing_mm: between voxels, along x, y, z.
        range_hu: lowest and highest value.
        air_share: voxels near air (-1000 HU), of all.
        tissue_share: voxels denser than lung, of all.
        water_share: voxels within 200 HU of water, of those denser than lung.
        lungs_ml: aerated lung.
        cut_off: sides of the field of view that cut through the lungs.
        contrast_ml: depth of heart and large vessels that is brighter than blood can be without contrast medium.
        metal_ml: voxels above 3000 HU.
        refusal: why this is no chest CT and what to do; None if it is one.
        warnings: what the reader should know, a sentence each.
    """

    size_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    range_hu: tuple[float, float]
    air_share: float | None = None
    tissue_share: float | None = None
    water_share: float | None = None
    lungs_ml: float | None = None
    cut_off: tuple[str, ...] = ()
    contrast_ml: float | None = None
    metal_ml: float | None = None
    refusal: str | None = None
    warnings: tuple[str, ...] = ()


def admit_chest(volume: Volume, even_others: bool = False) -> tuple[str, ...]:
    """The warnings of `check_chest`.

    Args:
        volume: canonical (RAS+), in HU.
        even_others: admit what is no chest CT too; the refusal is then the first warning.

    Raises:
        InputError: if it is no chest CT.
    """
    check = check_chest(volume)
    if check.refusal is None:
        return check.warnings
    if not even_others:
        raise InputError(f"{check.refusal} (--any-scan goes on all the same)")
    return (check.refusal, *check.warnings)


def check_chest(volume: Volume) -> ChestCheck:
    """Measures a canonical (RAS+) volume and says whether it can be a chest CT in HU.

    >>> air = np.full((40, 40, 40), -1000, np.int16)
    >>> check_chest(Volume(air, np.diag([4.0, 4.0, 4.0, 1.0]))).refusal
    'not a chest CT: 0% of it is denser than lung: air, and no patient; give another series'
    """
    grid = volume.grid
    x_mm, y_mm, z_mm = (n * spacing for n, spacing in zip(grid.size_xyz, grid.spacing_mm, strict=True))
    range_hu = (float(volume.array.min()), float(volume.array.max()))
    check = ChestCheck((x_mm, y_mm, z_mm), grid.spacing_mm, range_hu)
    if refusal := _doubt_spacing(check):
        return _refused(check, refusal)
    x, y, z = (min(n, _factor(spacing)) for n, spacing in zip(grid.size_xyz, grid.spacing_mm, strict=True))
    hu = shrink(volume.array, (x, y, z))
    spacing_mm = (grid.spacing_mm[0] * x, grid.spacing_mm[1] * y, grid.spacing_mm[2] * z)
    tissue = hu > TISSUE_HU
    check = replace(
        check,
        air_share=_share(hu, _AIR_HU),
        tissue_share=float(tissue.mean()),
        water_share=_share(hu[tissue], _WATER_HU),
        metal_ml=np.count_nonzero(volume.array > _METAL_HU) * grid.voxel_ml,
    )
    if refusal := _doubt_values(check, hu, spacing_mm) or _doubt_field_of_view(check):
        return _refused(check, refusal)
    lungs = find_lung_air(hu, find_air(hu).inside, spacing_mm)
    check = replace(
        check,
        lungs_ml=_volume_ml(lungs, spacing_mm),
        cut_off=_cut_sides(lungs, spacing_mm),
        contrast_ml=_volume_ml(_bright_blood(hu, lungs, spacing_mm), spacing_mm),
    )
    if refusal := _doubt_lungs(check):
        return _refused(check, refusal)
    return replace(check, warnings=_warnings(check))


def _refused(check: ChestCheck, reason: str) -> ChestCheck:
    return replace(check, refusal=f"not a chest CT: {reason}")


def _doubt_spacing(check: ChestCheck) -> str | None:
    spacing = max(check.spacing_mm)
    if spacing > _LARGEST_SPACING_MM:
        return (
            f"its voxels are {spacing:.4g} mm apart; expected at most {_LARGEST_SPACING_MM:g} mm: give a finer series"
        )
    if any(side > largest for side, largest in zip(check.size_mm, _LARGEST_SIDE_MM, strict=True)):
        return f"it covers {_spell(check.size_mm)}, more than a scanner can; correct the spacing in the file"
    return None


def _doubt_field_of_view(check: ChestCheck) -> str | None:
    if min(check.size_mm) < _SMALLEST_SIDE_MM:
        return (
            f"it covers {_spell(check.size_mm)}, too little for lungs; "
            f"expected at least {_SMALLEST_SIDE_MM:g} mm each way: give the whole series"
        )
    return None


def _spell(size_mm: tuple[float, float, float]) -> str:
    return " x ".join(f"{side:.0f}" for side in size_mm) + " mm (across, front to back, high)"


def _doubt_values(check: ChestCheck, hu: Float[np.ndarray, "x y z"], spacing_mm: Spacing) -> str | None:
    assert check.air_share is not None and check.tissue_share is not None and check.water_share is not None
    low, high = check.range_hu
    if check.air_share < _SMALLEST_AIR_SHARE:
        added = _likeliest_addend(hu)
        if _is_chest_without(added, hu, spacing_mm):
            return f"its values are HU + {added}, from {low:g} to {high:g}; subtract {added} (as rescale intercept)"
        return (
            f"nothing is near air ({AIR_HU} HU), the values go from {low:g} to {high:g}: an MR, or no HU; "
            "give a CT in HU"
        )
    if check.tissue_share < _SMALLEST_TISSUE_SHARE:
        return f"{check.tissue_share:.0%} of it is denser than lung: air, and no patient; give another series"
    if check.water_share < _SMALLEST_WATER_SHARE:
        return (
            f"{check.water_share:.0%} of what is denser than lung is within 200 HU of water, expected at least "
            f"{_SMALLEST_WATER_SHARE:.0%}: no HU, or no patient; give a CT in HU"
        )
    return None


def _likeliest_addend(hu: Float[np.ndarray, "x y z"]) -> int:
    """What was added to HU, if something was: air tells; the lowest value may be padding, or where it was cut off."""
    lowest = hu.min()
    air = hu[(hu > lowest) & (hu < lowest + _AIR_HU[1] - AIR_HU)]
    median = float(np.median(air)) if air.size else float(lowest)
    return min(_ADDED_TO_HU, key=lambda added: abs(median - added - AIR_HU))


def _is_chest_without(added: int, hu: Float[np.ndarray, "x y z"], spacing_mm: Spacing) -> bool:
    if hu.min() < -added / 2:
        return False
    check = check_chest(Volume(hu - np.float32(added), np.diag([*spacing_mm, 1.0])))
    return check.refusal is None and (check.tissue_share or 0) > _SMALLEST_TISSUE_SHARE_SHIFTED


def _doubt_lungs(check: ChestCheck) -> str | None:
    assert check.lungs_ml is not None
    if check.lungs_ml < SMALLEST_LUNGS_ML:
        return (
            f"{check.lungs_ml:.0f} ml of aerated lung, expected at least {SMALLEST_LUNGS_ML} ml: another part of the "
            "body, or no HU; give a CT of the chest"
        )
    return None


def _warnings(check: ChestCheck) -> tuple[str, ...]:
    assert check.contrast_ml is not None and check.metal_ml is not None
    warnings = []
    if check.cut_off:
        sides = ", ".join(check.cut_off)
        warnings.append(f"the lungs are cut off by the field of view ({sides}): what lies beyond it is not reported")
    if max(check.spacing_mm) > _THICK_SLICES_MM:
        warnings.append(f"the slices are {max(check.spacing_mm):.3g} mm apart: small findings are easily missed")
    if check.contrast_ml > _CONTRAST_ML:
        warnings.append("the blood is bright with contrast medium: the published weights were trained on scans without")
    if check.metal_ml > _METAL_ML:
        warnings.append(f"{check.metal_ml:.1f} ml are above {_METAL_HU} HU, as metal: expect streaks around it")
    return tuple(warnings)


def _cut_sides(lungs: Bool[np.ndarray, "x y z"], spacing_mm: Spacing) -> tuple[str, ...]:
    sides = []
    for axis, names in enumerate(_SIDES):
        voxel_cm2 = float(np.prod(spacing_mm)) / spacing_mm[axis] / 100
        for name, end in zip(names, (0, -1), strict=True):
            if np.count_nonzero(np.take(lungs, end, axis)) * voxel_cm2 > _CUT_CM2:
                sides.append(name)
    return tuple(sides)


def _bright_blood(
    hu: Float[np.ndarray, "x y z"], lungs: Bool[np.ndarray, "x y z"], spacing_mm: Spacing
) -> Bool[np.ndarray, "x2 y2 z2"]:
    """The depth of what is bright beside the front of the lungs."""
    box = mask_box(lungs)
    if box is None:
        return np.zeros_like(lungs)
    x, y, z = box.slices
    front = slice(round(y.stop - _FRONT_SHARE * (y.stop - y.start)), y.stop)
    part = hu[x, front, z]
    return erode((part > _CONTRAST_HU[0]) & (part < _CONTRAST_HU[1]), _CONTRAST_CORE_MM, spacing_mm)


def _share(hu: Float[np.ndarray, "..."], limits: tuple[int, int]) -> float:
    return float(((hu >= limits[0]) & (hu <= limits[1])).mean()) if hu.size else 0.0


def _volume_ml(mask: Bool[np.ndarray, "x y z"], spacing_mm: Spacing) -> float:
    return np.count_nonzero(mask) * float(np.prod(spacing_mm)) / 1000


def _factor(spacing_mm: float) -> int:
    return max(1, round(_WORKING_MM / spacing_mm))
