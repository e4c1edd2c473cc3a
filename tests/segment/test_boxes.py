"""Heart and abdomen as boxes: of block-shaped lungs with known edges, of a real CT, and what a report says."""

from pathlib import Path

import numpy as np
import pytest

from reg2rg.geometry import reorient, resample
from reg2rg.load import load_study
from reg2rg.nifti import read_labels, write_labels, write_volume
from reg2rg.phantom.world import Phantom
from reg2rg.segment.boxes import DOUBTS, find_abdomen, find_heart
from reg2rg.segment.spine import Spine
from reg2rg.segment.thorax import hull_slices
from reg2rg.volume import RegionMasks

SPACING_MM = (4.0, 5.0, 6.0)
SIZE = (60, 40, 50)
BOTTOM_Z, TOP_Z, CARINA_Z = 12, 48, 34
HEART_TOP_Z = 31  # the carina is at 204 mm; 15 mm below it is 189 mm, between slices 31 and 32
HEART_BACK_Y = 17  # the lungs' backs are at 4, and 60 mm, of their depth of 150 mm, is 12 voxels
Parts = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Spine]


@pytest.fixture(scope="module")
def parts() -> Parts:
    """Lungs of blocks, their hulls, a vertebra, a body around them, and the middle plane between the lungs."""
    lungs = np.zeros(SIZE, bool)
    for x in (slice(6, 20), slice(40, 54)):
        lungs[x, 4:34, BOTTOM_Z:TOP_Z] = True
    bones = np.zeros(SIZE, bool)
    bones[25:35, 4:15] = True
    body = np.zeros(SIZE, bool)
    body[2:58, 1:38] = True
    aside = np.abs(np.arange(SIZE[0]) - 29.5)[:, None, None] * SPACING_MM[0] * np.ones((1, 1, SIZE[2]))
    ahead = (np.arange(SIZE[1])[None, :, None] - 4) * SPACING_MM[1] * np.ones((1, 1, SIZE[2]))
    return lungs, hull_slices(lungs), bones, body, Spine(aside, ahead)


def test_the_heart_lies_between_the_lungs(parts: Parts) -> None:
    lungs, thorax, bones, _, spine = parts
    heart = find_heart(lungs, thorax, bones, CARINA_Z, spine, SPACING_MM)
    expected = np.zeros(SIZE, bool)
    expected[20:40, HEART_BACK_Y:34, BOTTOM_Z : HEART_TOP_Z + 1] = True
    missing, added = expected & ~heart, heart & ~expected
    assert not added.any()
    assert missing.sum() / expected.sum() < 0.05, "corners alone are rounded"
    guessed = find_heart(lungs, thorax, bones, None, spine, SPACING_MM)
    assert np.flatnonzero(guessed.any(axis=(0, 1)))[-1] == round(TOP_Z - 0.35 * (TOP_Z - BOTTOM_Z)) - 3


def test_thin_and_lone_pieces_are_no_heart(parts: Parts) -> None:
    lungs, thorax, bones, _, spine = parts
    plate = bones.copy()
    plate[:, :, 17] = True
    heart = find_heart(lungs, thorax, plate, CARINA_Z, spine, SPACING_MM)
    assert heart[:, :, 18:].any() and not heart[:, :, :18].any()
    grid = bones.copy()
    grid[::2] = True
    assert not find_heart(lungs, thorax, grid, CARINA_Z, spine, SPACING_MM).any()


def test_the_abdomen_lies_below_the_lungs(parts: Parts) -> None:
    lungs, thorax, bones, body, spine = parts
    expected = np.zeros(SIZE, bool)
    expected[6:54, 5:34, :BOTTOM_Z] = True
    np.testing.assert_array_equal(find_abdomen(lungs, thorax, bones, body, spine), expected & ~bones)


def test_a_scan_that_ends_in_the_lungs_shows_no_abdomen(parts: Parts) -> None:
    lungs, thorax, bones, body, spine = parts
    cut = slice(BOTTOM_Z + 2, None)
    spine = Spine(spine.aside_mm[:, :, cut], spine.ahead_mm[:, :, cut])
    assert not find_abdomen(lungs[:, :, cut], thorax[:, :, cut], bones[:, :, cut], body[:, :, cut], spine).any()


def test_a_real_heart(shared: Path) -> None:
    """Dice 0.76 in a CT whose given mask reaches further up, around the roots of the large vessels."""
    study = load_study(shared / "ct" / "chest_cta.nii.gz", segmenter="threshold")
    labels = read_labels(shared / "ct" / "chest_cta_heart_larger_grid.nii.gz")
    given = RegionMasks(labels.array.astype(np.uint16), labels.affine)
    true = resample(reorient(given), study.masks.grid).array > 0
    drawn = study.masks.mask("heart")
    assert 2 * np.count_nonzero(drawn & true) / (np.count_nonzero(drawn) + np.count_nonzero(true)) >= 0.70
    assert study.masks.mask("abdomen")[true].mean() < 0.06
    assert study.masks.mask("lung")[study.masks.mask("abdomen")].sum() == 0


def test_a_box_is_marked_as_doubtful_unless_a_mask_is_given(phantom_study: Phantom, tmp_path: Path) -> None:
    volume = phantom_study.study.volume
    write_volume(tmp_path / "ct.nii.gz", volume)
    drawn = load_study(tmp_path / "ct.nii.gz", segmenter="threshold")
    for region, (doubt,) in DOUBTS.items():
        assert drawn.mask_doubts[region][0] == doubt
        assert f"the mask of {region}: {doubt}" in drawn.warnings
    heart = phantom_study.study.masks.mask("heart").astype(np.uint8)
    write_labels(tmp_path / "heart.nii.gz", heart, volume.affine)
    given = load_study(tmp_path / "ct.nii.gz", [f"heart={tmp_path / 'heart.nii.gz'}"], segmenter="threshold")
    assert "heart" not in given.mask_doubts
    assert given.mask_doubts["abdomen"][0] == DOUBTS["abdomen"][0]
