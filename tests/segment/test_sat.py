"""Masks as SAT leaves them, without a position, come to the voxels they were drawn on."""

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from reg2rg.errors import InputError
from reg2rg.load import load_study
from reg2rg.nifti import write_labels, write_volume
from reg2rg.segment import sat
from reg2rg.segment.given import read_masks
from reg2rg.volume import Volume

AFFINE = np.array([[2.0, 0, 0, -50], [0, 1.5, 0, 20], [0, 0, 4, 300], [0, 0, 0, 1]])
BODY = (slice(3, 25), slice(4, 31), slice(2, 11))
ORGAN = (slice(8, 16), slice(10, 20), slice(4, 8))


def scan() -> Volume:
    """Air around a body of water and more, in which an organ is denser."""
    hu = np.full((30, 36, 14), -1000, np.int16)
    hu[BODY] = 40
    hu[ORGAN] = 200
    return Volume(hu, AFFINE)


def seen_by_sat(volume: Volume) -> np.ndarray:
    """What SAT's loader makes of it, by the slow obvious way: HU at every 1 x 1 x 3 mm, cut to what is above 0 HU."""
    size = np.array(volume.array.shape)
    steps = np.array([1, 1, 3]) / np.array(volume.grid.spacing_mm)
    shape = np.rint((size - 1) / steps + 1).astype(int)
    places = np.indices(shape) * steps.reshape(3, 1, 1, 1)
    hu = map_coordinates(volume.array.astype(float), places, order=1, mode="nearest")
    hits = [np.flatnonzero((hu > 0).any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    return hu[tuple(slice(hit[0], hit[-1] + 1) for hit in hits)]


def write_output(folder: Path, volume: Volume) -> Path:
    """A folder as SAT writes it: names in its own words, identity as affine."""
    organ = (seen_by_sat(volume) > 120).astype(np.float32).astype(np.uint8)
    for name in ("heart", "thyroid", "thyroid gland", "left lung upper lobe", "skin"):
        write_labels(folder / f"{name}.nii.gz", organ if name == "heart" else np.flip(organ, 0), np.eye(4))
    return folder


def test_a_folder_of_sat(tmp_path: Path) -> None:
    path = tmp_path / "ct.nii.gz"
    write_volume(path, scan())
    study = load_study(path, [write_output(tmp_path / "seg_ct", scan())])
    assert study.masks.present == ("heart", "lung", "pleura", "thyroid")
    assert sat.PLACED in study.warnings
    heart = study.masks.mask("heart")
    expected = np.zeros(heart.shape, bool)
    expected[ORGAN] = True
    overlap = 2 * np.count_nonzero(heart & expected) / (np.count_nonzero(heart) + np.count_nonzero(expected))
    assert overlap > 0.95


def test_masks_that_fit_no_cut_of_the_ct_are_refused(tmp_path: Path) -> None:
    volume = scan()
    folder = write_output(tmp_path / "seg_ct", volume)
    other = Volume(np.where(volume.array > 0, volume.array, np.int16(10)), AFFINE)  # nothing is cut away
    with pytest.raises(InputError, match=r"heart\.nii\.gz: the mask does not say where it lies .* the same scan"):
        read_masks([folder], other.grid, other)


def test_masks_of_two_sizes_are_refused(tmp_path: Path) -> None:
    folder = write_output(tmp_path / "seg_ct", scan())
    write_labels(folder / "liver.nii.gz", np.ones((3, 3, 3), np.uint8), np.eye(4))
    with pytest.raises(InputError, match=r"liver\.nii\.gz: expected \(\d+, \d+, \d+\) voxels as the other masks have"):
        read_masks([folder], scan().grid, scan())


def test_the_whole_ct_is_taken_where_sat_did_not_cut(tmp_path: Path) -> None:
    grid = sat.seen_grid(scan(), (59, 54, 18), tmp_path / "x.nii.gz")
    assert np.allclose(grid.affine, [[1, 0, 0, -50], [0, 1, 0, 20], [0, 0, 3, 300], [0, 0, 0, 1]])


def test_only_an_identity_lacks_a_position() -> None:
    ct, masks = scan().grid, Volume(np.zeros((3, 3, 3), np.int16), np.eye(4)).grid
    assert sat.lacks_position(masks, ct)
    assert not sat.lacks_position(ct, ct) and not sat.lacks_position(masks, masks)


def test_a_ct_that_is_not_stored_in_ras_is_placed_too(tmp_path: Path) -> None:
    path = tmp_path / "ct.nii.gz"
    flip = np.diag([-1.0, -1, 1, 1])
    flip[:2, 3] = (29, 35)
    write_volume(path, Volume(scan().array[::-1, ::-1].copy(), AFFINE @ flip))
    study = load_study(path, [write_output(tmp_path / "seg_ct", scan())])
    assert study.masks.mask("heart")[ORGAN].mean() > 0.9
