from dataclasses import replace

import numpy as np
import pytest

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.errors import InputError
from reg2rg.phantom import world
from reg2rg.phantom.abnormalities import DRAWERS
from reg2rg.phantom.finding import KINDS, Finding
from reg2rg.phantom.report import read_findings
from reg2rg.phantom.world import MISSING_MASKS, make_phantom


def test_the_same_seed_gives_the_same_phantom() -> None:
    one, other = make_phantom(11, prevalence=0.5), make_phantom(11, prevalence=0.5)
    assert (one.study.volume.array == other.study.volume.array).all()
    assert (one.study.masks.array == other.study.masks.array).all()
    assert (one.lesions == other.lesions).all()
    assert one.findings == other.findings and one.study.reference == other.study.reference


def test_another_seed_gives_another_person() -> None:
    one, other = make_phantom(11, prevalence=0.0), make_phantom(12, prevalence=0.0)
    assert one.anatomy != other.anatomy


def test_making_a_phantom_leaves_numpys_global_generator_alone() -> None:
    before = np.random.get_state()[1].copy()
    make_phantom(1)
    assert (np.random.get_state()[1] == before).all()


def test_a_study_is_canonical_whole_hu_with_all_records_in_step() -> None:
    made = make_phantom(21)
    volume = made.study.volume
    assert volume.array.dtype == np.int16 and volume.grid.orientation == "RAS"
    assert made.lesions.shape == volume.array.shape
    assert tuple(made.study.reference) == made.study.masks.present
    assert volume.array.min() >= -1024 and volume.array.max() <= 3071
    assert 3e5 < volume.array.size < 2e6


def without_ratio(finding: Finding) -> Finding:
    return replace(finding, percent=None) if finding.abnormality == "Cardiomegaly" else finding


@pytest.mark.parametrize("seed", range(4))
def test_the_report_says_what_was_drawn(seed: int) -> None:
    made = make_phantom(seed, prevalence=0.6)
    read = [finding for region, text in made.study.reference.items() for finding in read_findings(text, region)]
    # Equal findings are stated once, and a heart may be called large without a number.
    assert set(map(without_ratio, read)) == set(map(without_ratio, made.findings))
    assert len(read) == len(set(made.findings))


def test_prevalence_none_and_all() -> None:
    assert make_phantom(3, prevalence=0.0).findings == ()
    assert not make_phantom(3, prevalence=0.0).lesions.any()
    # Not of any seed: where heart, fluid and hernia fill the chest, a plaque or a node finds no room and is not stated.
    assert make_phantom(0, prevalence=1.0).abnormalities == set(DRAWERS), "a woman with room for everything"
    crowded = make_phantom(3, prevalence=1.0)
    assert set(DRAWERS) - crowded.abnormalities <= {"Breast mass", "Arterial wall calcification", "Lymphadenopathy"}


def test_leaving_an_abnormality_out_leaves_all_else_as_it_is() -> None:
    both = make_phantom(5, prevalence=1.0, only=("Hiatal hernia", "Pericardial effusion"))
    one = make_phantom(5, prevalence=1.0, only=("Hiatal hernia",))
    assert [finding for finding in both.findings if finding.abnormality == "Hiatal hernia"] == list(one.findings)
    fluid = next(finding for finding in both.findings if finding.abnormality == "Pericardial effusion")
    away = np.ones(both.lesions.shape, bool)
    away[tuple(slice(max(i.min() - 3, 0), i.max() + 4) for i in np.nonzero(both.lesion_mask(fluid)))] = False
    assert away.mean() > 0.5
    assert (both.study.volume.array[away] == one.study.volume.array[away]).all()


def test_a_region_without_mask_has_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make_phantom(21, prevalence=0.0).study
    monkeypatch.setattr(world, "MISSING_MASKS", {"breast": 1.0})
    lacking = make_phantom(21, prevalence=0.0).study
    assert set(whole.masks.present) - set(lacking.masks.present) == {"breast"}
    assert "breast" not in lacking.reference
    assert (whole.volume.array == lacking.volume.array).all()


def test_masks_go_missing_now_and_then_but_never_of_a_region_of_the_eighteen() -> None:
    assert all(0 < chance < 0.1 for chance in MISSING_MASKS.values())
    assert not set(MISSING_MASKS) & {KINDS[name].region for name in ABNORMALITY_NAMES}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "from 0, got -1"),
        ({"seed": 1, "size": "tiny"}, "unknown phantom size 'tiny'"),
        ({"seed": 1, "prevalence": 1.5}, "0 to 1, got 1.5"),
        ({"seed": 1, "only": ("Sunburn",)}, "'Sunburn' is no abnormality"),
    ],
)
def test_bad_input_is_one_line(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make_phantom(**arguments)
    assert "\n" not in str(caught.value)


def test_a_heart_that_is_no_longer_large_lies_in_the_same_voxels() -> None:
    large = next(phantom for phantom in map(make_phantom, range(40)) if "Cardiomegaly" in phantom.abnormalities)
    normal = make_phantom(large.seed, without=("Cardiomegaly",))
    before, after = large.study, normal.study
    np.testing.assert_array_equal(after.volume.affine, before.volume.affine)
    assert after.masks.volume_ml("heart") < before.masks.volume_ml("heart")
    for name in ("breast", "thyroid"):
        np.testing.assert_array_equal(after.masks.mask(name), before.masks.mask(name))
    small = make_phantom(large.seed, only=())
    assert small.anatomy == normal.anatomy
