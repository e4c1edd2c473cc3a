"""Given masks: whatever they are called and however they lie, each voxel of the CT gets the nearest voxel's region."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.processing import resample_from_to

from reg2rg.errors import InputError
from reg2rg.nifti import read_labels, write_labels, write_region_masks
from reg2rg.regions import REGION_NAMES, get_region
from reg2rg.segment.given import MaskArgument, read_masks
from reg2rg.segment.structures import total_names
from reg2rg.volume import Grid, RegionMasks

CT = Grid((9, 8, 7), np.array([[2.0, 0, 0, -30], [0, 2, 0, 12], [0, 0, 3, 200], [0, 0, 0, 1]]))


def block(*ranges: tuple[int, int], grid: Grid = CT) -> np.ndarray:
    """A mask with a box of voxels."""
    mask = np.zeros(grid.size_xyz, np.uint8)
    mask[tuple(slice(start, stop) for start, stop in ranges)] = 1
    return mask


A, B = block((1, 4), (2, 6), (0, 5)), block((3, 7), (4, 8), (3, 7))  # they overlap


def save(path: Path, array: np.ndarray, affine: np.ndarray = CT.affine, names: dict[int, str] | None = None) -> Path:
    """Writes a mask or label file, with a label table in the header if there are names."""
    image = nib.Nifti1Image(array, affine)
    if names is not None:
        rows = "".join(f'<Label Key="{k}" Red="1"><![CDATA[{name}]]></Label>' for k, name in names.items())
        image.header.extensions.append(nib.nifti1.Nifti1Extension(0, f"<LabelTable>{rows}</LabelTable>".encode()))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def refusal(arguments: list[MaskArgument], grid: Grid = CT) -> str:
    with pytest.raises(InputError) as caught:
        read_masks(arguments, grid)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_folder_of_masks(tmp_path: Path) -> None:
    save(tmp_path / "lung.nii.gz", A)
    save(tmp_path / "heart.nii.gz", 7 * B)  # any value above 0
    (tmp_path / "notes.txt").write_text("no mask")
    given = read_masks([tmp_path], CT)
    assert given.masks.present == ("heart", "lung") and given.warnings == ()
    np.testing.assert_array_equal(given.masks.mask("lung"), A > 0)
    np.testing.assert_array_equal(given.masks.mask("heart"), B > 0)
    assert (A & B).any(), "the regions overlap, and both are kept"
    assert given.masks.sources == {"heart": "heart.nii.gz", "lung": "lung.nii.gz"}
    assert given.masks.grid.matches(CT)


@pytest.mark.parametrize(
    ("file", "region"),
    [
        ("Lungs.nii.gz", "lung"),
        ("HEART.NII.GZ", "heart"),
        ("trachea.nii.gz", "trachea and bronchie"),
        ("trachea and bronchie.nii", "trachea and bronchie"),
        ("Trachea_and-bronchi.nii.gz", "trachea and bronchie"),
        ("airways.nii.gz", "trachea and bronchie"),
        ("oesophagus.nii", "esophagus"),
        ("skeleton.nii.gz", "bone"),
        ("pleurae.nii.gz", "pleura"),
        ("breasts.nii.gz", "breast"),
        ("thyroid_gland.nii.gz", "thyroid"),
        ("upper_abdomen.nii.gz", "abdomen"),
        ("mediastinum.nii.gz", "mediastinum"),
    ],
)
def test_other_spellings_of_a_region(tmp_path: Path, file: str, region: str) -> None:
    save(tmp_path / file, A)
    for argument in (tmp_path, tmp_path / file):
        given = read_masks([argument], CT)
        assert given.masks.present == (region,) and given.masks.sources == {region: file}
        np.testing.assert_array_equal(given.masks.mask(region), A > 0)


def test_structures_of_one_region_are_united(tmp_path: Path) -> None:
    save(tmp_path / "liver.nii.gz", A)
    save(tmp_path / "spleen.nii.gz", B)
    save(tmp_path / "rib_left_7.nii.gz", A)
    save(tmp_path / "gluteus_maximus_left.nii.gz", A)  # known, and of no region
    save(tmp_path / "tumour.nii.gz", A)
    given = read_masks([tmp_path], CT)
    assert given.masks.present == ("abdomen", "bone")
    np.testing.assert_array_equal(given.masks.mask("abdomen"), (A | B) > 0)
    assert given.masks.sources == {"abdomen": "liver.nii.gz and 1 more", "bone": "rib_left_7.nii.gz"}
    assert given.warnings == (
        f"{tmp_path.name}: not used, since no region is called so: tumour.nii.gz",
        "bone: rib_left_7.nii.gz is the only part of it that is given; it has others",
    )


@pytest.mark.parametrize("region", ["heart", "Trachea", "pleural"])
def test_a_region_and_its_file(tmp_path: Path, region: str) -> None:
    path = save(tmp_path / "mask_of_reader_2.nii.gz", A)
    for argument in (f"{region}={path}", (region, path), (region, str(path))):
        given = read_masks([argument], CT)
        name = get_region(region).name
        assert given.masks.present == (name,) and given.masks.sources == {name: path.name}
        np.testing.assert_array_equal(given.masks.mask(name), A > 0)


def test_what_exists_is_a_path_even_with_an_equals_sign_in_it(tmp_path: Path) -> None:
    path = save(tmp_path / "heart=ed" / "lung.nii.gz", A)
    assert read_masks([str(path)], CT).masks.present == ("lung",)
    assert read_masks([str(path.parent)], CT).masks.present == ("lung",)
    assert read_masks([f"bone={path}"], CT).masks.present == ("bone",)


def test_several_arguments(tmp_path: Path) -> None:
    save(tmp_path / "folder" / "lung.nii.gz", A)
    labels = save(tmp_path / "labels.nii.gz", B * 3, names={3: "heart"})
    bone = save(tmp_path / "x.nii.gz", A | B)
    given = read_masks([tmp_path / "folder", str(labels), f"bone={bone}"], CT)
    assert given.masks.present == ("bone", "heart", "lung") and given.warnings == ()
    assert given.masks.sources == {"bone": "x.nii.gz", "heart": "labels.nii.gz", "lung": "lung.nii.gz"}
    for name, mask in {"bone": A | B, "heart": B, "lung": A}.items():
        np.testing.assert_array_equal(given.masks.mask(name), mask > 0)


def test_a_label_map_by_the_table_in_its_header(tmp_path: Path) -> None:
    array = np.zeros(CT.size_xyz, np.uint16)
    array[0], array[1], array[2], array[3], array[4] = 1, 300, 5, 9, 12
    names = {1: "liver", 300: "heart", 5: "spleen", 9: "cyst", 77: "lung"}
    given = read_masks([save(tmp_path / "labels.nii.gz", array, names=names)], CT)
    assert given.masks.present == ("abdomen", "heart")
    np.testing.assert_array_equal(given.masks.mask("abdomen"), np.isin(array, (1, 5)))
    np.testing.assert_array_equal(given.masks.mask("heart"), array == 300)
    assert given.masks.sources == dict.fromkeys(given.masks.present, "labels.nii.gz")
    assert given.warnings == ("labels.nii.gz: not used, since no region is known for these labels: 9 (cyst), 12",)


def test_a_label_map_without_a_table_is_of_totalsegmentator(tmp_path: Path) -> None:
    array = np.zeros(CT.size_xyz, np.uint8)
    array[0], array[1], array[2], array[3], array[4] = 51, 10, 92, 80, 200
    given = read_masks([save(tmp_path / "total.nii.gz", array)], CT)
    assert given.masks.present == ("bone", "heart", "lung", "pleura")
    assert given.masks.sources["pleura"] == "derived from other masks"
    np.testing.assert_array_equal(given.masks.array[:4, 0, 0] & ~np.uint16(1 << 7), [1 << 4, 1 << 5, 1 << 1, 0])
    assert given.warnings == ("total.nii.gz: not used, since no region is known for these labels: 200",)


def test_a_long_list_of_unknown_labels_is_cut_short(tmp_path: Path) -> None:
    array = np.zeros(CT.size_xyz, np.uint8)
    array.flat[:11] = [51, *range(200, 210)]
    (warning,) = read_masks([save(tmp_path / "total.nii.gz", array)], CT).warnings
    assert warning.endswith(": 200, 201, 202, 203, 204, 205, 206, 207 and 2 more")


def test_our_own_file_comes_back_as_it_was(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 1 << len(REGION_NAMES), CT.size_xyz).astype(np.uint16)
    array &= np.uint16(0xFFFF ^ get_region("breast").bit)
    write_region_masks(tmp_path / "regions.nii.gz", RegionMasks(array, CT.affine))
    given = read_masks([tmp_path / "regions.nii.gz"], CT)
    np.testing.assert_array_equal(given.masks.array, array)
    assert given.masks.present == tuple(name for name in REGION_NAMES if name != "breast")
    assert set(given.masks.sources.values()) == {"regions.nii.gz"} and given.warnings == ()


def test_labels_of_a_file_that_is_said_to_be_one_region(tmp_path: Path) -> None:
    path = save(tmp_path / "lobes.nii.gz", A + 2 * B)
    given = read_masks([f"lung={path}"], CT)
    np.testing.assert_array_equal(given.masks.mask("lung"), (A | B) > 0)
    assert given.warnings == ("lobes.nii.gz: all of its labels (1, 2, 3) are taken as lung",)


def test_an_interpolated_mask_is_cut_at_one_half(tmp_path: Path) -> None:
    array = np.zeros(CT.size_xyz, np.float32)
    array[0], array[1], array[2], array[3] = 0.49, 0.5, 1.0, 0.02
    given = read_masks([save(tmp_path / "lung.nii.gz", array)], CT)
    assert given.masks.mask("lung").any(axis=(1, 2)).tolist() == [False, True, True] + [False] * 6


def turned(degrees: float) -> np.ndarray:
    matrix, turn = np.eye(4), np.deg2rad(degrees)
    matrix[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    return matrix


OTHER_GRIDS = {
    "stored the other way round": np.array([[-2.0, 0, 0, -14], [0, -2, 0, 26], [0, 0, -3, 218], [0, 0, 0, 1]]),
    "finer, between the voxels": np.array([[1.3, 0, 0, -34.2], [0, 1.7, 0, 9.3], [0, 0, 2.1, 196.7], [0, 0, 0, 1]]),
    "other axes": np.array([[0, 0, -1.9, -13.3], [2.3, 0, 0, 9.9], [0, 2.7, 0, 199.2], [0, 0, 0, 1]]),
    "turned": turned(20) @ np.array([[1.9, 0, 0, -22], [0, 2.1, 0, 18.7], [0, 0, 2.9, 198.8], [0, 0, 0, 1]]),
}  # fmt: skip


@pytest.mark.parametrize("affine", OTHER_GRIDS.values(), ids=OTHER_GRIDS.keys())
def test_a_mask_on_another_grid_gives_each_voxel_the_nearest_one(tmp_path: Path, affine: np.ndarray) -> None:
    array = np.random.default_rng(1).integers(0, 2, (12, 9, 10)).astype(np.uint8)
    given = read_masks([save(tmp_path / "heart.nii.gz", array, affine)], CT)
    expected = np.zeros(CT.size_xyz, bool)
    to_source = np.linalg.inv(affine) @ CT.affine
    for index in np.ndindex(CT.size_xyz):
        nearest = np.rint((to_source @ [*index, 1])[:3]).astype(int)
        if ((nearest >= 0) & (nearest < array.shape)).all():
            expected[index] = array[tuple(nearest)]
    assert 0.2 < expected.mean() < 0.6
    np.testing.assert_array_equal(given.masks.mask("heart"), expected)


def test_a_real_mask_on_a_larger_grid(shared: Path) -> None:
    ct = nib.load(shared / "ct" / "chest_cta.nii.gz")
    path = shared / "ct" / "chest_cta_heart_larger_grid.nii.gz"
    assert nib.load(path).shape != ct.shape
    expected = resample_from_to(nib.load(path), (ct.shape, ct.affine), order=0).get_fdata() > 0
    heart = read_masks([f"heart={path}"], Grid(ct.shape, ct.affine)).masks.mask("heart")
    assert np.count_nonzero(expected) > 100_000
    np.testing.assert_array_equal(heart, expected)  # the grids differ by whole voxels: no rounding to disagree on


PLAIN_TABLE = {
    "abdomen": (*range(1, 10), 18, 19, 20, 63, 64),
    "bone": (*range(30, 34), 79, *range(98, 104), *range(110, 116), 117),
    "lung": (10, 11, 13, 14),
    "mediastinum": (52,),
}
"""The labels of the true TotalSegmentator output, sorted into regions by hand; 86 to 89 are muscles."""


@pytest.mark.parametrize("has_table", [True, False], ids=["its own table", "our table"])
def test_a_true_output_of_totalsegmentator(shared: Path, tmp_path: Path, has_table: bool) -> None:
    path = shared / "ct" / "upper_abdomen_totalsegmentator.nii.gz"
    labels = read_labels(path)
    assert set(np.unique(labels.array)) == {0, 86, 87, 88, 89, *sum(PLAIN_TABLE.values(), ())}
    if not has_table:
        path = tmp_path / path.name
        write_labels(path, labels.array, labels.affine)
        assert not read_labels(path).names
    given = read_masks([path], Grid(labels.array.shape, labels.affine))
    assert given.masks.present == (*PLAIN_TABLE, "pleura") and given.warnings == ()
    height = np.nonzero(labels.array == 32)[2].mean()  # of the twelfth vertebra; the slices are stored upwards
    assert labels.affine[2, 2] > 0 and not labels.affine[2, :2].any()
    is_abdominal = (labels.array == 52) & (np.arange(labels.array.shape[2]) < height)
    for region, numbers in PLAIN_TABLE.items():
        expected = np.isin(labels.array, numbers)
        if region == "abdomen":
            expected |= is_abdominal
        if region == "mediastinum":
            expected &= ~is_abdominal
        np.testing.assert_array_equal(given.masks.mask(region), expected, region)
    assert {name: np.count_nonzero(given.masks.mask(name)) for name in PLAIN_TABLE} == {
        "abdomen": 80089 + np.count_nonzero(is_abdominal),
        "bone": 10377,
        "lung": 4307,
        "mediastinum": 997 - np.count_nonzero(is_abdominal),
    }
    assert 0 < np.count_nonzero(is_abdominal) < 997


def test_our_table_calls_every_label_as_a_true_output_does(shared: Path) -> None:
    names = read_labels(shared / "ct" / "upper_abdomen_totalsegmentator.nii.gz").names
    assert len(names) == 117
    assert names == total_names()


def test_outputs_of_several_tasks_are_united(tmp_path: Path) -> None:
    total = save(tmp_path / "total.nii.gz", A, names={1: "trachea"})
    airways = save(tmp_path / "lung_vessels.nii.gz", B, names={1: "lung_airways"})
    own = save(tmp_path / "trachea.nii.gz", A)
    given = read_masks([total, airways], CT)
    np.testing.assert_array_equal(given.masks.mask("trachea and bronchie"), (A | B) > 0)
    assert given.masks.sources == {"trachea and bronchie": "total.nii.gz and 1 more"}
    message = refusal([total, own])
    assert message == "trachea and bronchie: two masks are given, total.nii.gz and trachea.nii.gz; give one"


def test_labels_of_no_region_are_no_error_beside_others(tmp_path: Path) -> None:
    effusion = save(tmp_path / "effusion.nii.gz", A, names={1: "lung_pleural", 2: "pleural_effusion"})
    heart = save(tmp_path / "heart.nii.gz", B)
    given = read_masks([effusion, heart], CT)
    assert given.masks.present == ("heart",) and given.warnings == ("effusion.nii.gz: holds no mask",)


def test_no_common_ground(tmp_path: Path) -> None:
    beyond = CT.affine.copy()
    beyond[2, 3] += 3 * 7  # the block of voxels begins where the CT ends
    touching = save(tmp_path / "heart.nii.gz", A, beyond)
    assert "no voxel of the masks lies inside the CT" in refusal([touching])
    beyond[2, 3] += 1
    apart = save(tmp_path / "lung.nii.gz", A, beyond)
    message = refusal([apart])
    assert message.startswith(f"{apart}: the masks lie elsewhere than the CT")
    assert "at [-22, 19, 231] mm, the CT's at [-22, 19, 209] mm" in message
    assert "no voxel of the masks lies inside the CT" in refusal([save(tmp_path / "bone.nii.gz", *away_from_ct())])


def away_from_ct() -> tuple[np.ndarray, np.ndarray]:
    """A large grid around the CT, with a mask in its corner only."""
    affine = CT.affine.copy()
    affine[:3, 3] -= 40
    array = np.zeros((50, 50, 40), np.uint8)
    array[0, 0, 0] = 1
    return array, affine


def test_masks_without_a_voxel_in_the_ct_are_named(tmp_path: Path) -> None:
    save(tmp_path / "lung.nii.gz", A)
    save(tmp_path / "heart.nii.gz", 0 * A)
    save(tmp_path / "thyroid.nii.gz", *away_from_ct())
    given = read_masks([tmp_path], CT)
    assert given.masks.present == ("lung",) and given.masks.sources == {"lung": "lung.nii.gz"}
    assert given.warnings == (
        "heart: the given mask (heart.nii.gz) is empty",
        "thyroid: the given mask (thyroid.nii.gz) has no voxel inside the CT",
    )


def test_a_label_map_without_labels_is_named(tmp_path: Path) -> None:
    empty, lung = save(tmp_path / "total.nii.gz", 0 * A), save(tmp_path / "lung.nii.gz", A)
    assert read_masks([empty, lung], CT).warnings == ("total.nii.gz: holds no mask",)


@pytest.mark.parametrize("argument", [str, Path, lambda path: f"heart={path}", lambda path: ("heart", path)])
def test_empty_masks_alone(tmp_path: Path, argument: Callable[[Path], MaskArgument]) -> None:
    path = save(tmp_path / "heart.nii.gz", 0 * A)
    message = refusal([argument(path)])
    assert message.removeprefix("heart=") == f"{path}: the masks are empty; expected voxels above 0 in at least one"


def test_the_same_region_twice(tmp_path: Path) -> None:
    lung, other = save(tmp_path / "a" / "lung.nii.gz", A), save(tmp_path / "b.nii.gz", B)
    assert refusal([lung.parent, f"lung={other}"]) == "lung: two masks are given, lung.nii.gz and b.nii.gz; give one"
    save(lung.with_name("lungs.nii"), B)
    message = refusal([lung.parent])
    assert message == f"{lung.parent}: two masks are given of lung, lung.nii.gz and lungs.nii; keep one"


def test_each_bad_input_has_its_line(tmp_path: Path) -> None:
    empty_folder = tmp_path / "empty"
    empty_folder.mkdir()
    strangers = save(tmp_path / "strangers" / "total.nii.gz", A).parent
    muscles = save(tmp_path / "muscles" / "iliopsoas_left.nii.gz", A).parent
    ct = save(tmp_path / "ct.nii.gz", (A.astype(np.int16) - 1) * 1000)
    wide = save(tmp_path / "wide.nii.gz", A.astype(np.int32) * 65536)
    text = tmp_path / "text.nii.gz"
    text.write_text("no NIfTI")
    not_finite = save(tmp_path / "nan.nii.gz", np.full(CT.size_xyz, np.nan, np.float32))
    alone = save(tmp_path / "alone.nii.gz", A)
    unknown = save(tmp_path / "unknown.nii.gz", A * 150)
    named = save(tmp_path / "named.nii.gz", A * 2, names={2: "tumour", 3: "lung"})
    own = tmp_path / "regions.nii.gz"
    write_region_masks(own, RegionMasks(A.astype(np.uint16), CT.affine))
    missing = tmp_path / "missing.nii.gz"
    cases: list[tuple[MaskArgument, str]] = [
        (missing, f"{missing}: no such file or folder; expected region masks"),
        (f"lung={missing}", f"{missing}: no such file"),
        (f"lunge={alone}", "unknown region 'lunge': expected one of abdomen, bone,"),
        (("", alone), "unknown region ''"),
        (f"lung={empty_folder}", f"{empty_folder}: expected a mask file for lung, found a folder"),
        (empty_folder, f"{empty_folder}: expected masks named after regions, such as lung.nii.gz; found no .nii.gz"),
        (strangers, f"{strangers}: expected masks named after regions, such as lung.nii.gz; found total.nii.gz"),
        (muscles, f"{muscles}: expected masks named after regions"),
        (f"lung={ct}", f"{ct}: expected a mask, found values from -1000 to 0; is it the CT?"),
        (ct, f"{ct}: expected a mask, found values from -1000 to 0; is it the CT?"),
        (wide, f"{wide}: expected a mask, found values from 0 to 65536"),
        (text, f"{text}: expected a NIfTI file"),
        (f"lung={not_finite}", f"{not_finite}: expected labels, found NaN"),
        (alone, f"{alone}: holds one mask and does not say of which region; give it as REGION=alone.nii.gz"),
        (unknown, f"{unknown}: expected labels of regions by the table of TotalSegmentator's task total, found 150;"),
        (named, f"{named}: expected labels of regions by its own label table, found 2 (tumour);"),
        (f"lung={own}", f"{own}: holds masks of several regions; give it without naming one"),
    ]
    for argument, start in cases:
        assert refusal([argument]).startswith(start), argument
