"""A scan becomes a canonical study, and what is drawn on the study lands on the scan's own voxels again."""

import sys
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff
from scanner import CORONAL, block, make_series, save

from reg2rg import load
from reg2rg.errors import InputError
from reg2rg.geometry import reorient
from reg2rg.load import load_study, read_scan, to_native
from reg2rg.nifti import write_labels, write_region_masks, write_volume
from reg2rg.segment.segmentation import Segmentation
from reg2rg.volume import RegionMasks, Study, Volume

CODES = ["".join(letters) for axes in permutations(("LR", "PA", "IS")) for letters in product(*axes)]
SIZE = (5, 4, 3)
STRAIGHT = np.array([[0.75, 0, 0, -20], [0, 0.5, 0, 30], [0, 0, 2.5, -100], [0, 0, 0, 1]])
TILT = np.array([[1, 0, 0, 0], [0, 0.96, -0.28, 0], [0, 0.28, 0.96, 0], [0, 0, 0, 1]]) @ STRAIGHT


def affine_of(code: str, affine: np.ndarray = STRAIGHT, size: tuple[int, int, int] = SIZE) -> np.ndarray:
    """An affine whose axes grow as `code` says, rounded as a file holds it."""
    return (affine @ inv_ornt_aff(axcodes2ornt(code), size)).astype(np.float32).astype(np.float64)


def place_mm(affine: np.ndarray, index: tuple[float, ...]) -> np.ndarray:
    return (affine @ [*index, 1])[:3]


def write_scan(folder: Path, affine: np.ndarray) -> tuple[Path, np.ndarray, np.ndarray]:
    """A CT in which no two voxels are alike, and two overlapping masks; the scan's path, its HU and its bits."""
    hu = np.arange(60, dtype=np.int16).reshape(SIZE) - 1024
    lung, heart = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    lung[1:5, 0:2, 1:3], heart[4, 1:4, 0:2] = 1, 1
    write_volume(folder / "ct_1_a_1.nii.gz", Volume(hu, affine))
    write_labels(folder / "masks/lung.nii.gz", lung, affine)
    write_labels(folder / "masks/heart.nii.gz", heart, affine)
    return folder / "ct_1_a_1.nii.gz", hu, (lung * 32 + heart * 16).astype(np.uint16)


@pytest.mark.parametrize(
    ("code", "base"), [(c, STRAIGHT) for c in ("RAS", "LPS", "SAR", "IRP", "PSL")] + [("LAI", TILT)]
)
def test_every_voxel_stays_at_its_millimetres_and_masks_go_back(tmp_path: Path, code: str, base: np.ndarray) -> None:
    affine = affine_of(code, base)
    path, hu, bits = write_scan(tmp_path, affine)
    study = load_study(path, [tmp_path / "masks"])
    assert study.volume.grid.orientation == "RAS"
    assert study.volume.array.dtype == np.int16
    for stored_index in np.ndindex(SIZE):
        index = tuple(np.argwhere(study.volume.array == hu[stored_index])[0].tolist())
        np.testing.assert_allclose(place_mm(study.volume.affine, index), place_mm(affine, stored_index), atol=1e-6)
        assert study.masks.array[index] == bits[stored_index]

    assert study.native_grid.size_xyz == SIZE
    native = to_native(study, study.masks)
    np.testing.assert_array_equal(native.array, bits)
    write_region_masks(tmp_path / "regions.nii.gz", native)
    written, scan = nib.load(tmp_path / "regions.nii.gz"), nib.load(path)
    np.testing.assert_array_equal(written.affine, scan.affine)
    assert written.header["pixdim"][:4].tolist() == scan.header["pixdim"][:4].tolist()
    again = load_study(path, [tmp_path / "regions.nii.gz"])
    np.testing.assert_array_equal(again.masks.array, study.masks.array)


@pytest.mark.parametrize("code", CODES)
def test_to_native_undoes_every_orientation(code: str) -> None:
    native = Volume(np.arange(60, dtype=np.int16).reshape(SIZE), affine_of(code))
    masks = RegionMasks(np.arange(60, dtype=np.uint16).reshape(SIZE), native.affine, {"lung": "a"})
    study = Study("one", reorient(native), reorient(masks), native_affine=native.affine)
    assert study.native_grid.matches(native.grid)
    back = to_native(study, study.masks)
    np.testing.assert_array_equal(back.array, masks.array)
    np.testing.assert_array_equal(back.affine, native.affine)
    assert back.sources == masks.sources


def test_the_affine_comes_back_to_the_last_digit() -> None:
    """A qform's affine has all digits of a double: turned there and back, it would be off in the last ones."""
    affine = np.array([[-0.7, 0, 0, 0.1], [0, -0.7, 0, 0.2], [0, 0, 1.1, -0.3], [0, 0, 0, 1]])
    native = Volume(np.zeros((37, 41, 29), np.int16), affine)
    canonical = reorient(native)
    assert (reorient(canonical, "LPS").affine != affine).any()
    masks = RegionMasks(np.ones((37, 41, 29), np.uint16), canonical.affine)
    study = Study("one", canonical, masks, native_affine=affine)
    np.testing.assert_array_equal(to_native(study, masks).affine, affine)


def test_a_study_that_was_never_stored_otherwise_is_native_as_it_is() -> None:
    volume = Volume(np.zeros(SIZE, np.int16), STRAIGHT)
    study = Study("one", volume, RegionMasks(np.ones(SIZE, np.uint16), STRAIGHT))
    back = to_native(study, study.masks)
    np.testing.assert_array_equal(back.array, study.masks.array)
    np.testing.assert_array_equal(back.affine, STRAIGHT)


def test_masks_on_another_grid_come_to_the_same_place(tmp_path: Path) -> None:
    """A mask file with other axes, half the spacing and a margin around; one voxel of the CT is marked."""
    path, hu, _ = write_scan(tmp_path, affine_of("LPS"))
    fine = affine_of("SRA", STRAIGHT @ np.diag([0.5, 0.5, 0.5, 1]), (14, 12, 10))
    marked = place_mm(affine_of("LPS"), (3, 1, 2))
    mask = np.zeros((10, 14, 12), np.uint8)
    for index in np.ndindex(mask.shape):
        offset = np.abs(place_mm(fine, index) - marked) / [0.75, 0.5, 2.5]
        mask[index] = offset.max() < 0.4
    assert mask.any()
    write_labels(tmp_path / "other.nii.gz", mask, fine)
    study = load_study(path, [f"heart={tmp_path / 'other.nii.gz'}"])
    np.testing.assert_array_equal(study.volume.array[study.masks.mask("heart")], [hu[3, 1, 2]])


def test_what_a_study_says_of_itself(tmp_path: Path) -> None:
    path, _, _ = write_scan(tmp_path, affine_of("LPS"))
    study = load_study(str(path), [tmp_path / "masks"])
    assert (study.study_id, study.source) == ("ct_1_a_1", str(path))
    assert load_study(path, [tmp_path / "masks"], study_id="A7").study_id == "A7"
    assert study.masks.sources == {"heart": "heart.nii.gz", "lung": "lung.nii.gz"}
    absent = "abdomen, bone, breast, esophagus, mediastinum, pleura, thyroid, trachea and bronchie"
    doubt = "17% of it lies in the lung"
    assert study.warnings == (f"no mask, and so no report, of: {absent}", f"the mask of heart: {doubt}")
    assert study.mask_doubts == {"heart": (doubt,)}


def test_a_scan_without_air_is_doubted(tmp_path: Path) -> None:
    path, hu, _ = write_scan(tmp_path, affine_of("LPS"))
    for lowest, is_doubted in ((-1024, False), (-900, False), (-899, True), (0, True)):
        write_volume(path, Volume(hu - hu.min() + np.int16(lowest), affine_of("LPS")))
        warnings = load_study(path, [tmp_path / "masks"]).warnings
        assert any(f"no voxel is near air (-1000 HU), the lowest is {lowest}" in w for w in warnings) is is_doubted


class Drawn:
    """A stand-in for a segmenter: lung everywhere, heart and bone in halves; remembers what it was asked."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.volumes: list[Volume] = []

    def find(self, name: str) -> "Drawn":
        self.names.append(name)
        return self

    def __call__(self, volume: Volume) -> Segmentation:
        self.volumes.append(volume)
        everywhere, lower = np.ones(SIZE, bool), np.zeros(SIZE, bool)
        lower[:, :, :2] = True
        masks = {"lung": everywhere, "heart": lower, "bone": lower}
        return Segmentation(
            RegionMasks.from_masks(masks, volume.affine, dict.fromkeys(masks, "drawn")), ("approximate",)
        )


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    stand_in = Drawn()
    monkeypatch.setattr(load, "find_segmenter", stand_in.find)
    return stand_in


def test_given_masks_win_and_a_named_segmenter_draws_the_others(tmp_path: Path, drawn: Drawn) -> None:
    path, _, _ = write_scan(tmp_path, affine_of("RAS"))
    (tmp_path / "masks/heart.nii.gz").unlink()
    given = load_study(path, [tmp_path / "masks"])
    assert drawn.names == [], "none is asked where masks are given and no segmenter is named"
    study = load_study(path, [tmp_path / "masks"], segmenter="threshold")
    assert drawn.names == ["threshold"]
    assert study.masks.sources == {"lung": "lung.nii.gz", "bone": "drawn", "heart": "drawn"}
    np.testing.assert_array_equal(study.masks.mask("lung"), given.masks.mask("lung"))
    for name in ("heart", "bone"):
        assert study.masks.mask(name)[:, :, :2].all() and not study.masks.mask(name)[:, :, 2].any()
    assert study.warnings[0] == "approximate"


def test_without_masks_all_is_drawn_on_the_canonical_volume(tmp_path: Path, drawn: Drawn) -> None:
    path, _, _ = write_scan(tmp_path, affine_of("LPI"))
    study = load_study(path)
    assert drawn.names == ["auto"]
    assert drawn.volumes[0].grid.orientation == "RAS"
    assert study.masks.present == ("bone", "heart", "lung")
    lowest_slices = to_native(study, study.masks).mask("bone")
    assert lowest_slices[:, :, 1:].all() and not lowest_slices[:, :, 0].any(), "stored from the top down"
    load_study(path, segmenter="threshold")
    assert drawn.names == ["auto", "threshold"]


def test_a_segmenter_that_finds_nothing_names_the_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _, _ = write_scan(tmp_path, affine_of("RAS"))

    def find_nothing(_: Volume) -> Segmentation:
        raise InputError("no lungs found")

    monkeypatch.setattr(load, "find_segmenter", lambda _: find_nothing)
    with pytest.raises(InputError, match=r"ct_1_a_1\.nii\.gz: no lungs found$"):
        load_study(path)


def test_an_unknown_segmenter_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown segmenter 'magic'"):
        load_study(tmp_path / "missing.nii.gz", segmenter="magic")


@pytest.mark.parametrize("name", ["scan.png", "scan.gz", "scan"])
def test_other_kinds_of_files_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("no CT")
    with pytest.raises(InputError, match=f"{name}: expected a CT as .nii, .nii.gz or DICOM"):
        read_scan(tmp_path / name)


@pytest.mark.parametrize("name", ["missing.nii.gz", "missing"])
def test_a_missing_scan_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: no such file"):
        load_study(tmp_path / name, [tmp_path])


def test_dicom_becomes_a_study_in_ras(tmp_path: Path) -> None:
    hu = block()
    folder = save(tmp_path / "ct", make_series(hu))
    save(folder, make_series(block(1), CORONAL, series_uid="2.25.3"), "other")
    native, remarks, _ = read_scan(folder)
    write_labels(tmp_path / "lung.nii.gz", (hu > 0).astype(np.uint8), native.affine)
    study = load_study(folder, [f"lung={tmp_path / 'lung.nii.gz'}"])
    assert (study.study_id, study.source) == ("ct", str(folder))
    assert study.volume.grid.orientation == "RAS"
    np.testing.assert_array_equal(study.volume.array, hu[::-1, ::-1])
    np.testing.assert_array_equal(study.masks.mask("lung"), study.volume.array > 0)
    np.testing.assert_array_equal(to_native(study, study.masks).affine, native.affine)
    assert remarks[0] in study.warnings and "took series 2.25.2 - axial" in remarks[0]
    other = load_study(folder, [f"lung={tmp_path / 'lung.nii.gz'}"], series="2.25.3")
    np.testing.assert_array_equal(np.sort(other.volume.array, axis=None), np.sort(block(1), axis=None))


def test_a_series_of_what_has_none_is_refused(tmp_path: Path) -> None:
    path, _, _ = write_scan(tmp_path, affine_of("RAS"))
    with pytest.raises(InputError, match=r"--series 2\.25\.1: only DICOM has series"):
        load_study(path, [tmp_path / "masks"], series="2.25.1")


def test_without_pydicom_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reg2rg.dicom.read", None)
    with pytest.raises(InputError, match=r"reading DICOM needs pydicom; pip install 'reg2rg\[dicom\]'"):
        read_scan(save(tmp_path / "ct", make_series(block())))


@pytest.mark.parametrize("code", [0, 1])
def test_a_file_that_does_not_say_which_side_is_left(tmp_path: Path, code: int) -> None:
    for name, array in (("ct", np.arange(60).reshape(SIZE) - 1024), ("lung", np.ones(SIZE))):
        image = nib.Nifti1Image(array.astype(np.int16), STRAIGHT)
        image.set_sform(STRAIGHT, code=code)
        image.set_qform(None, code=0)
        nib.save(image, tmp_path / f"{name}.nii.gz")
    study = load_study(tmp_path / "ct.nii.gz", [("lung", tmp_path / "lung.nii.gz")])
    assert any("which side is left" in warning for warning in study.warnings) == (code == 0)
