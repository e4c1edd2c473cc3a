"""Is it a chest CT: phantoms and real scans, and what is made of them."""

from pathlib import Path

import numpy as np
import pytest

from reg2rg.chest import admit_chest, check_chest
from reg2rg.errors import InputError
from reg2rg.geometry import crop, reorient
from reg2rg.nifti import read_volume
from reg2rg.phantom.world import Phantom, make_phantom
from reg2rg.volume import Box, Volume


@pytest.fixture(scope="module")
def chest(phantom_study: Phantom) -> Volume:
    return phantom_study.study.volume


def part(volume: Volume, **slices: slice) -> Volume:
    ranges = [slices.get(axis, slice(None)).indices(n) for axis, n in zip("xyz", volume.array.shape, strict=True)]
    (x0, x1, _), (y0, y1, _), (z0, z1, _) = ranges
    return crop(volume, Box((x0, y0, z0), (x1, y1, z1)))


def with_spacing(volume: Volume, *spacing_mm: float) -> Volume:
    return Volume(volume.array, np.diag([*spacing_mm, 1.0]))


@pytest.mark.parametrize("seed", range(20))
def test_every_small_phantom_is_a_chest_ct(seed: int) -> None:
    check = check_chest(make_phantom(seed).study.volume)
    assert check.refusal is None
    assert not check.cut_off
    assert all("mm apart" in warning or "contrast medium" in warning for warning in check.warnings)


def test_a_standard_phantom_is_measured_as_the_small_one() -> None:
    small, standard = (check_chest(make_phantom(4, size=size).study.volume) for size in ("small", "standard"))
    assert standard.refusal is None
    assert standard.lungs_ml == pytest.approx(small.lungs_ml, rel=0.05)
    assert standard.air_share == pytest.approx(small.air_share, abs=0.05)


def test_what_is_no_chest_ct_has_its_own_line(chest: Volume) -> None:
    rng = np.random.default_rng(0)
    air = rng.normal(-1000, 20, chest.array.shape).astype(np.int16)
    foam = np.where(rng.random(chest.array.shape) < 0.5, -1000, 1500).astype(np.int16)
    cases = {
        "its values are HU + 1024, from 0 to": Volume(chest.array + np.int16(1024), chest.affine),
        "its values are HU + 1000": Volume(np.maximum(chest.array, -1000) + np.int16(1000), chest.affine),
        "nothing is near air": Volume(np.clip(chest.array, -160, 240), chest.affine),
        "an MR, or no HU": Volume(np.abs(rng.normal(300, 200, chest.array.shape)).astype(np.int16), chest.affine),
        "air, and no patient": Volume(air, chest.affine),
        "within 200 HU of water": Volume(foam, with_spacing(chest, 12.0, 4.0, 4.0).affine / [3, 1, 1, 1]),
        "ml of aerated lung, expected at least 400 ml": Volume(
            np.where((chest.array > -940) & (chest.array < -400), 40, chest.array), chest.affine
        ),
        "12 mm apart": with_spacing(chest, 4.0, 4.0, 12.0),
        "more than a scanner can": Volume(
            np.pad(chest.array, ((40, 0), (0, 0), (0, 0)), mode="edge"), np.diag([9.9, 9.9, 8.0, 1.0])
        ),
        "too little for lungs": part(chest, z=slice(20, 35)),
    }
    for reason, volume in cases.items():
        refusal = check_chest(volume).refusal or ""
        assert refusal.startswith("not a chest CT: "), reason
        assert reason in refusal
        assert "\n" not in refusal


def test_what_a_reader_should_know(chest: Volume) -> None:
    half = check_chest(part(chest, x=slice(25, None)))
    assert half.cut_off == ("left",)
    assert "cut off by the field of view (left)" in half.warnings[0]
    metal = chest.array.copy()
    metal[40:42, 40:42, 40] = 3071
    assert any("3000 HU" in warning for warning in check_chest(Volume(metal, chest.affine)).warnings)
    bright = np.where((chest.array > 20) & (chest.array < 110), 300, chest.array).astype(np.int16)
    assert any("contrast medium" in warning for warning in check_chest(Volume(bright, chest.affine)).warnings)
    thick = check_chest(part(chest.moved(chest.array[:, :, ::2], chest.affine @ np.diag([1, 1, 2, 1.0]))))
    assert any("mm apart" in warning for warning in thick.warnings)


def test_admitted_or_refused(chest: Volume) -> None:
    assert admit_chest(chest) == check_chest(chest).warnings
    shifted = Volume(chest.array + np.int16(1024), chest.affine)
    with pytest.raises(InputError, match=r"not a chest CT.*--any-scan"):
        admit_chest(shifted)
    assert admit_chest(shifted, even_others=True)[0] == check_chest(shifted).refusal


def test_real_scans(shared: Path) -> None:
    def check(name: str):  # type: ignore[no-untyped-def]
        return check_chest(reorient(read_volume(shared / "ct" / name)))

    chest = check("chest_cta.nii.gz")
    assert chest.refusal is None
    assert chest.cut_off == ("left", "right", "back", "upper end")
    assert [word in " ".join(chest.warnings) for word in ("cut off", "contrast", "metal")] == [True] * 3
    for name, reason in {
        "upper_abdomen_ct.nii.gz": "too little for lungs",
        "abdomen_pelvis_ct.nii.gz": "116 ml of aerated lung",
        "not_ct_mr.nii.gz": "an MR",
    }.items():
        assert reason in (check(name).refusal or "")
