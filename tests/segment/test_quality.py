"""Masks that cannot be what they say are doubted; those of phantoms, and true ones, are not."""

from pathlib import Path

import numpy as np
import pytest

from reg2rg.generate import Reporter
from reg2rg.load import load_study
from reg2rg.nifti import write_labels, write_volume
from reg2rg.phantom.world import make_phantom
from reg2rg.regions import REGION_NAMES
from reg2rg.segment.quality import find_doubts
from reg2rg.volume import RegionMasks

AFFINE = np.diag([5.0, 5.0, 5.0, 1.0])  # +x is the patient's right
Block = tuple[slice, slice, slice]


def block(x: tuple[int, int], y: tuple[int, int] = (15, 30), z: tuple[int, int] = (10, 40)) -> Block:
    return slice(*x), slice(*y), slice(*z)


CHEST: dict[str, list[Block]] = {
    "bone": [block((28, 32), (5, 14), (0, 50))],
    "heart": [block((24, 33), (16, 28), (14, 34))],
    "lung": [block((8, 23)), block((37, 52))],
    "thyroid": [block((27, 29), (20, 23), (44, 47)), block((31, 33), (20, 23), (44, 47))],
}


def doubts(**changed: list[Block]) -> dict[str, tuple[str, ...]]:
    """Of a plausible chest of blocks, with some of its regions drawn otherwise."""
    masks = {}
    for name, blocks in {**CHEST, **changed}.items():
        masks[name] = np.zeros((60, 40, 50), bool)
        for part in blocks:
            masks[name][part] = True
    return find_doubts(RegionMasks.from_masks(masks, AFFINE))


def test_a_plausible_chest() -> None:
    assert doubts() == {}


@pytest.mark.parametrize("seed", range(12))
def test_true_masks_of_phantoms(seed: int) -> None:
    assert find_doubts(make_phantom(seed).study.masks) == {}


def test_volumes() -> None:
    assert doubts(heart=[block((27, 30), (16, 20), (14, 18))]) == {
        "heart": ("its volume is 6 ml, expected 250 to 3000 ml in an adult",)
    }
    (doubt,) = doubts(thyroid=[block((20, 40), (25, 39), (30, 48))])["thyroid"]
    assert doubt == "its volume is 630 ml, expected 2 to 400 ml in an adult"


def test_a_region_that_the_scan_cuts_off_may_be_small() -> None:
    assert doubts(heart=[block((28, 29), (16, 18), (0, 2))]) == {}
    assert doubts(bone=[block((29, 31), (5, 6), (0, 2))]) == {}


def test_heart_and_lung_that_the_scan_cuts_off() -> None:
    lungs = [block((8, 23), z=(0, 40)), block((37, 52), z=(10, 40))]
    assert doubts(lung=lungs) == {"lung": ("the scan cuts it off, over 56 cm2",)}
    assert doubts(lung=[block((8, 23)), block((37, 52)), block((8, 10), (15, 18), (0, 10))]) == {}, "1.5 cm2"


def test_pieces() -> None:
    apart = [block((23, 30), (14, 28), (8, 20)), block((23, 30), (14, 28), (28, 40))]
    assert doubts(heart=apart) == {"heart": ("it lies in 2 pieces, of which the largest holds 50%",)}
    assert doubts(heart=[block((24, 33), (16, 28), (12, 22)), block((24, 33), (16, 28), (23, 33))]) == {}, "5 mm apart"
    three = [block((8, 23)), block((37, 52), z=(10, 24)), block((37, 52), z=(28, 40))]
    assert doubts(lung=three) == {"lung": ("it lies in 3 pieces, of which the largest 2 hold 79%",)}


def test_sides() -> None:
    assert doubts(heart=[block((28, 37), (16, 28), (14, 34))]) == {
        "heart": ("it lies in the right half of the chest: left and right may be exchanged",)
    }
    assert doubts(lung=[block((37, 52))])["lung"] == ("100% of it lies on the patient's right: one lung is missing",)
    assert doubts(lung=[block((8, 23))])["lung"] == ("100% of it lies on the patient's left: one lung is missing",)


def test_a_flipped_phantom_is_noticed() -> None:
    masks = make_phantom(7).study.masks
    flipped = find_doubts(masks.moved(masks.array[::-1].copy(), masks.affine))
    assert flipped["heart"] == ("it lies in the right half of the chest: left and right may be exchanged",)


def test_a_heart_in_the_lung() -> None:
    (doubt,) = doubts(heart=[block((18, 30), (16, 28), (14, 34))])["heart"]
    assert doubt == "42% of it lies in the lung"


def test_masks_of_thresholds_on_a_true_scan(shared: Path) -> None:
    """Its sides are cut off, and the lungs with them; the true heart lies on the left and outside of the lungs."""
    heart = shared / "ct" / "chest_cta_heart_larger_grid.nii.gz"
    study = load_study(shared / "ct" / "chest_cta.nii.gz", [f"heart={heart}"], segmenter="threshold")
    assert set(study.mask_doubts) == {"abdomen", "lung"}, "the abdomen is a box, and says so"
    (doubt,) = study.mask_doubts["lung"]
    assert doubt.startswith("the scan cuts it off, over ")
    assert f"the mask of lung: {doubt}" in study.warnings


def test_doubts_come_into_the_report(tmp_path: Path, scripted: Reporter) -> None:
    phantom = make_phantom(7).study
    write_volume(tmp_path / "ct.nii.gz", phantom.volume)
    empty = np.zeros(phantom.volume.array.shape, np.uint8)
    empty[10:12, 10:12, 10:12] = 1
    write_labels(tmp_path / "heart.nii.gz", empty, phantom.volume.affine)
    write_labels(tmp_path / "lung.nii.gz", phantom.masks.mask("lung").astype(np.uint8), phantom.volume.affine)
    study = load_study(tmp_path / "ct.nii.gz", [tmp_path / "heart.nii.gz", tmp_path / "lung.nii.gz"])
    scripted.model.texts = ("The region 0 is heart: Normal. The region 1 is lung: Clear.",)
    report = scripted.report([study])[0]
    by_name = {region.name: region.mask_doubts for region in report.regions}
    assert by_name["lung"] == () and by_name["heart"] == study.mask_doubts["heart"] != ()
    assert f"the mask of heart: {by_name['heart'][0]}" in report.warnings


def test_no_masks_at_all() -> None:
    assert find_doubts(RegionMasks(np.zeros((4, 4, 4), np.uint16), np.eye(4))) == {}
    everything = RegionMasks(np.full((4, 4, 4), (1 << len(REGION_NAMES)) - 1, np.uint16), np.eye(4))
    assert set(find_doubts(everything)) <= set(REGION_NAMES)
