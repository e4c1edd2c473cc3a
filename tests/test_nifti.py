"""NIfTI in every dress a CT comes in, and every fault that must be refused in one line."""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from reg2rg import deflate
from reg2rg.errors import InputError
from reg2rg.nifti import (
    is_nifti,
    read_labels,
    read_region_masks,
    read_volume,
    stem,
    write_labels,
    write_region_masks,
    write_volume,
)
from reg2rg.volume import RegionMasks, Volume

LPS = np.array([[-0.7, 0, 0, 100], [0, -0.8, 0, 120.5], [0, 0, 2.5, -300.25], [0, 0, 0, 1]])
NUMBERS = np.arange(24).reshape(2, 3, 4)
HEADER_BYTES = 348


def save(path: Path, array: np.ndarray, affine: np.ndarray = LPS, **fields: object) -> Path:
    """A file as nibabel writes it, with header fields set afterwards, byte for byte as given."""
    dtype = array.dtype
    header = nib.Nifti1Header(endianness=">" if dtype.byteorder == ">" else "<")
    header.set_data_dtype(dtype)
    content = bytearray(nib.Nifti1Image(array, affine, header).to_bytes())
    header = nib.Nifti1Header(bytes(content[:HEADER_BYTES]))
    for name, value in fields.items():
        header[name] = value
    content[:HEADER_BYTES] = header.binaryblock
    path.write_bytes(gzip.compress(bytes(content), mtime=0) if path.name.endswith(".gz") else bytes(content))
    return path


def refused(read: Callable[[Path], object], path: Path) -> str:
    """The message with which a file is refused: one line that begins with its name."""
    with pytest.raises(InputError) as error:
        read(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("name", "is_one", "its_stem"),
    [
        ("valid_1_a_1.nii.gz", True, "valid_1_a_1"),
        ("CT.NII.GZ", True, "CT"),
        ("a.b.nii", True, "a.b"),
        ("scan.gz", False, "scan.gz"),
        ("1334", False, "1334"),
        ("nii", False, "nii"),
    ],
)
def test_names_of_files(name: str, is_one: bool, its_stem: str) -> None:
    assert is_nifti(Path("folder.nii") / name) is is_one
    assert stem(Path("folder.nii") / name) == its_stem


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", "u2", "i4", "u4", "i8", "u8", "<f4", ">f4", "f8"])
def test_a_ct_of_any_type_is_read(tmp_path: Path, dtype: str, ending: str) -> None:
    volume = read_volume(save(tmp_path / f"ct{ending}", NUMBERS.astype(dtype)))
    assert volume.array.dtype == (np.float32 if "f" in dtype else np.int16)
    assert volume.array.dtype.isnative
    np.testing.assert_array_equal(volume.array, NUMBERS)
    np.testing.assert_allclose(volume.affine, LPS, rtol=1e-7)


@pytest.mark.parametrize(
    ("stored", "slope", "intercept", "expected"),
    [
        (NUMBERS.astype("i2"), 1, -1024, (NUMBERS - 1024).astype("i2")),
        (NUMBERS.astype("u2"), 2, -1000, (2 * NUMBERS - 1000).astype("i2")),
        (NUMBERS.astype("u1"), -1, 0, (-NUMBERS).astype("i2")),
        (NUMBERS.astype("i2") + 32000, 2, 0, (2 * NUMBERS + 64000).astype("i4")),
        (NUMBERS.astype("u2") + 65000, 1, 0, (NUMBERS + 65000).astype("i4")),
        (NUMBERS.astype("u2") + 65000, 1, -66000, (NUMBERS - 1000).astype("i2")),
        (NUMBERS.astype("i2"), 0.5, -1000.25, (0.5 * NUMBERS - 1000.25).astype("f4")),
        (NUMBERS.astype("f4") / 4, 2, -10, (0.5 * NUMBERS - 10).astype("f4")),
        (NUMBERS.astype("i2"), 0, -1024, NUMBERS.astype("i2")),  # by the standard, a slope of 0 means unscaled
        (NUMBERS.astype("i2"), np.nan, np.nan, NUMBERS.astype("i2")),
    ],
)
def test_slope_and_intercept(
    tmp_path: Path, stored: np.ndarray, slope: float, intercept: float, expected: np.ndarray
) -> None:
    for name in ("ct.nii", "ct.nii.gz"):
        array = read_volume(save(tmp_path / name, stored, scl_slope=slope, scl_inter=intercept)).array
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected)


def turned_about_z(degrees: float) -> dict[str, float]:
    """The quaternion of a turn about z, and an offset, as qform fields."""
    return {"quatern_b": 0, "quatern_c": 0, "quatern_d": np.sin(np.deg2rad(degrees) / 2), "qoffset_x": 7}


def test_the_sform_holds_and_without_one_the_qform(tmp_path: Path) -> None:
    q = turned_about_z(90) | {"qoffset_y": 8, "qoffset_z": 9, "pixdim": [1, 2, 3, 4, 0, 0, 0, 0]}
    expected = np.array([[0, -3, 0, 7], [2, 0, 0, 8], [0, 0, 4, 9], [0, 0, 0, 1]])
    array = NUMBERS.astype("i2")
    both = read_volume(save(tmp_path / "both.nii", array, qform_code=1, sform_code=1, **q))
    np.testing.assert_allclose(both.affine, LPS, rtol=1e-7)
    by_qform = read_volume(save(tmp_path / "qform.nii", array, qform_code=1, sform_code=0, **q))
    np.testing.assert_allclose(by_qform.affine, expected, atol=1e-6)
    assert by_qform.grid.orientation == "ALS"
    left_handed = q | {"pixdim": [-1, 2, 3, 4, 0, 0, 0, 0]}
    mirrored = read_volume(save(tmp_path / "mirrored.nii", array, qform_code=1, sform_code=0, **left_handed))
    assert mirrored.grid.orientation == "ALI"


def test_one_volume_may_have_more_axes_than_three(tmp_path: Path) -> None:
    for shape in ((2, 3, 4, 1), (2, 3, 4, 1, 1)):
        path = save(tmp_path / "ct.nii.gz", NUMBERS.astype("i2").reshape(shape))
        np.testing.assert_array_equal(read_volume(path).array, NUMBERS)
        np.testing.assert_array_equal(read_labels(path).array, NUMBERS)


def test_nifti_2(tmp_path: Path) -> None:
    path = tmp_path / "ct.nii.gz"
    nib.save(nib.Nifti2Image(NUMBERS.astype("i2"), LPS), path)
    np.testing.assert_array_equal(read_volume(path).array, NUMBERS)
    np.testing.assert_array_equal(read_volume(path).affine, LPS)


INT16 = NUMBERS.astype("i2")
NAN, INFINITE = NUMBERS.astype("f4"), NUMBERS.astype("f4")
NAN[1, 2, 3], INFINITE[0, 0, 0] = np.nan, -np.inf
LARGE, LARGER = NUMBERS.astype("i8"), NUMBERS.astype("u8")
LARGE[0, 0, 0], LARGER[0, 0, 0] = -(2**40), 2**64 - 1
RGB = np.zeros((2, 3, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])


@pytest.mark.parametrize(
    ("array", "fields", "reason"),
    [
        (NAN, {}, "expected HU, found NaN or infinite values"),
        (INFINITE, {}, "expected HU, found NaN or infinite values"),
        (np.where(NUMBERS == 3, -1.7e308, NUMBERS), {}, "expected HU, found NaN or infinite values"),
        (LARGE, {}, f"expected HU, found values from {-(2**40)} to 23"),
        (LARGER, {}, f"expected HU, found values from 1 to {2**64 - 1}"),
        (INT16, {"scl_slope": 1e30, "scl_inter": 0}, "expected HU, found values from 0 to 23"),
        (np.full((2, 3, 4), -1000, "i2"), {}, "all voxels have the value -1000"),
        (np.full((2, 3, 4), 0.5, "f4"), {}, "all voxels have the value 0.5"),
        (
            INT16,
            {"pixdim": [1, 1, 0, 1, 0, 0, 0, 0]},
            "expected a voxel spacing in mm, the header says [1.0, 0.0, 1.0]",
        ),
        (INT16, {"pixdim": [1, 1, 1, np.nan, 0, 0, 0, 0]}, "expected a voxel spacing in mm"),
        (INT16, {"xyzt_units": 3}, "expected millimetres, the header declares micron"),
        (INT16, {"srow_x": [np.nan, 0, 0, 0]}, "an affine is a 4x4 matrix of finite numbers"),
        (INT16, {"srow_y": [0, 0, 0, 0]}, "the affine is singular"),
        (np.zeros((2, 3), "i2"), {}, "expected one 3D volume, found 2 axes of (2, 3)"),
        (np.zeros((2, 3, 4, 5), "i2"), {}, "expected one 3D volume, found 4 axes of (2, 3, 4, 5)"),
        (RGB, {}, "expected one number per voxel"),
        (NUMBERS.astype("c8"), {}, "expected one number per voxel, found complex64"),
        (INT16, {"dim": [3, 2000, 2000, 2000, 1, 1, 1, 1]}, "expected at most 1073741824 voxels"),
        (INT16, {"dim": [3, -2, 3, 4, 1, 1, 1, 1]}, "the header says (-2, 3, 4)"),
        (INT16, {"dim": [3, 2, 3, 400, 1, 1, 1, 1]}, "the file is damaged or cut off"),
        (INT16, {"magic": b"abcd"}, "expected a NIfTI file (.nii or .nii.gz)"),
        (INT16, {"datatype": 9999}, "expected a NIfTI file (.nii or .nii.gz)"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_is_no_ct_is_refused_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, array: np.ndarray, fields: dict[str, object], reason: str
) -> None:
    for name in ("ct.nii", "ct.nii.gz"):
        assert reason in refused(read_volume, save(tmp_path / name, array, **fields))
    assert not caplog.records, "nibabel's remarks would make it more than one line"


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(-1000, 1000, (10, 11, 12)).astype("i2")
    whole = save(tmp_path / name, noise).read_bytes()
    for length in (0, 1, 10, 200, 347, 351, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        (tmp_path / name).write_bytes(whole[:length])
        assert (
            "damaged or cut off" in (message := refused(read_volume, tmp_path / name)) or "expected a NIfTI" in message
        )
        refused(read_labels, tmp_path / name)


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
def test_what_follows_the_voxels_is_ignored(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    padded = save(tmp_path / "ct.nii", INT16).read_bytes() + bytes(5000)
    path.write_bytes(gzip.compress(padded) if name.endswith(".gz") else padded)
    np.testing.assert_array_equal(read_volume(path).array, INT16)


def test_a_damaged_archive_is_refused_wherever_the_damage_is(tmp_path: Path) -> None:
    """Most flipped bits give other voxels and nothing else: only the checksum at the end tells."""
    path = tmp_path / "ct.nii.gz"
    rng = np.random.default_rng(0)
    write_volume(path, Volume(rng.normal(0, 100, (20, 20, 20)).astype("i2"), LPS))
    whole = path.read_bytes()
    for place in rng.integers(20, len(whole) - 8, 40).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        refused(read_volume, path)
        refused(read_labels, path)


def test_other_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(read_volume, tmp_path / "missing.nii.gz") == "no such file"
    (tmp_path / "folder.nii").mkdir()
    assert refused(read_volume, tmp_path / "folder.nii") == "no such file"
    (tmp_path / "letter.nii").write_text("Dear colleague, the CT follows by post. " * 50)
    assert "expected a NIfTI file" in refused(read_volume, tmp_path / "letter.nii")
    (tmp_path / "plain.nii.gz").write_bytes(save(tmp_path / "ct.nii", INT16).read_bytes())
    assert "expected a NIfTI file" in refused(read_volume, tmp_path / "plain.nii.gz")
    nib.save(nib.MGHImage(NUMBERS.astype("f4"), LPS), tmp_path / "brain.mgz")
    assert refused(read_volume, tmp_path / "brain.mgz") == "expected a NIfTI file, found MGHImage; convert it first"

    def deny(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(nib, "load", deny)  # the tests may run as root, who may read everything
    assert refused(read_volume, tmp_path / "ct.nii") == "no permission to read it"


@pytest.mark.parametrize("dtype", ["i2", "i4", "u1", "f4"])
@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "CT.NII.GZ"])
def test_a_volume_comes_back_as_written(tmp_path: Path, name: str, dtype: str) -> None:
    affine = LPS.astype(np.float32).astype(np.float64)  # as every affine that was read from a file
    affine[0, 1], affine[1, 2] = 0.125, -0.25
    path = tmp_path / "new" / name
    write_volume(path, Volume(NUMBERS.astype(dtype), affine))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, NUMBERS)
    np.testing.assert_array_equal(volume.affine, affine)
    stored = nib.load(path)
    assert stored.get_data_dtype() == dtype
    assert stored.header.get_xyzt_units()[0] == "mm"
    assert (path.read_bytes()[:2] == b"\x1f\x8b") is name.lower().endswith("gz")


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
@pytest.mark.parametrize("order", ["C", "F", "flipped"])
def test_the_bytes_are_those_that_nibabel_writes(tmp_path: Path, dtype: str, order: str) -> None:
    array = np.asarray(NUMBERS, dtype, order="F" if order == "F" else "C")
    array = array[::-1, :, ::-1] if order == "flipped" else array
    image = nib.Nifti1Image(array, LPS)
    image.header.set_xyzt_units("mm")
    for name in ("ct.nii", "ct.nii.gz"):
        write_volume(tmp_path / name, Volume(array, LPS))
        content = (tmp_path / name).read_bytes()
        assert (gzip.decompress(content) if name.endswith("gz") else content) == image.to_bytes()


def test_the_bytes_with_a_key_are_those_that_nibabel_writes(tmp_path: Path) -> None:
    write_region_masks(tmp_path / "regions.nii.gz", RegionMasks(NUMBERS.astype("u2"), LPS))
    image = nib.load(tmp_path / "regions.nii.gz")
    assert gzip.decompress((tmp_path / "regions.nii.gz").read_bytes()) == image.to_bytes()


def test_the_same_masks_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first.nii.gz", tmp_path / "second.nii.gz"
    for path in (first, second):
        write_labels(path, NUMBERS.astype("u2"), LPS)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes()[4:8] == bytes(4), "no time of day in gzip's header"


def test_a_file_that_cannot_be_written_whole_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ct.nii.gz"
    write_volume(path, Volume(INT16, LPS))
    before = path.read_bytes()

    def break_off(*parts: bytes) -> Iterator[bytes]:
        yield parts[0]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(deflate, "deflate", break_off)
    for target in (path, tmp_path / "other.nii.gz"):
        with pytest.raises(InputError, match=f"{target.name}: the disk is full"):
            write_volume(target, Volume(INT16 + 1, LPS))
    assert [file.name for file in tmp_path.iterdir()] == ["ct.nii.gz"]
    assert path.read_bytes() == before


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
def test_labels_come_as_stored(tmp_path: Path, dtype: str) -> None:
    labels = read_labels(save(tmp_path / "labels.nii.gz", NUMBERS.astype(dtype)))
    assert labels.array.dtype.kind in "iu"
    np.testing.assert_array_equal(labels.array, NUMBERS)
    assert labels.names == {}
    assert labels.grid.size_xyz == (2, 3, 4)
    assert labels.grid.orientation == "LPS"


def test_interpolated_labels_are_rounded_half_up(tmp_path: Path) -> None:
    stored = np.array([0.49, 0.5, 0.51, 1.5, 2.5, -0.5, 0.0, 1.0], "f4").reshape(2, 2, 2)
    array = read_labels(save(tmp_path / "soft.nii", stored)).array
    assert array.ravel().tolist() == [0, 1, 1, 2, 3, 0, 0, 1]
    halves = read_labels(save(tmp_path / "scaled.nii", INT16, scl_slope=0.5, scl_inter=0)).array
    np.testing.assert_array_equal(halves, (NUMBERS + 1) // 2)


def test_an_empty_mask_is_read_and_one_of_nan_refused(tmp_path: Path) -> None:
    assert not read_labels(save(tmp_path / "empty.nii", np.zeros((2, 3, 4), "u1"))).array.any()
    huge = np.where(NUMBERS == 3, 1e300, NUMBERS)
    for array in (NAN, INFINITE, huge):
        assert "expected labels, found NaN, infinite or huge values" in refused(
            read_labels, save(tmp_path / "mask.nii", array)
        )


@pytest.mark.parametrize("code", [0, 6, 30, 32, 99], ids=["none", "comment", "caret", "cifti", "unknown"])
def test_the_label_table_of_the_file(tmp_path: Path, code: int) -> None:
    """Whatever kind of header extension it stands in."""
    table = (
        '<CaretExtension><LabelTable>\n<Label Key="1" Red="0.5"><![CDATA[liver]]></Label>\n'
        '<Label Key="23" Red="1" Alpha="1">\n<![CDATA[rib_left_1]]></Label></LabelTable></CaretExtension>'
    )
    image = nib.Nifti1Image(NUMBERS.astype("u1"), LPS)
    image.header.extensions.append(nib.nifti1.Nifti1Extension(code, table.encode()))
    path = tmp_path / "labels.nii.gz"
    nib.save(image, path)
    assert read_labels(path).names == {1: "liver", 23: "rib_left_1"}
    assert read_region_masks(path) is None


def test_region_masks_come_back_with_their_bits(tmp_path: Path) -> None:
    field = np.array([0, 1, 2, 32, 33, 512, 1023, 0], np.uint16).reshape(2, 2, 2)
    path = tmp_path / "regions.nii.gz"
    write_region_masks(path, RegionMasks(field, LPS, {"lung": "drawn"}))
    masks = read_region_masks(path)
    assert masks is not None
    np.testing.assert_array_equal(masks.array, field)
    np.testing.assert_allclose(masks.affine, LPS, rtol=1e-7)
    assert masks.present[0] == "abdomen" and masks.present[-1] == "trachea and bronchie"
    assert masks.sources["lung"] == "regions.nii.gz"
    assert nib.load(path).get_data_dtype() == np.uint16
    assert b'"lung": 5' in nib.load(path).header.extensions[0].content, "the key says which bit is which"


def test_a_file_without_our_key_holds_no_region_masks(tmp_path: Path) -> None:
    write_labels(tmp_path / "labels.nii.gz", NUMBERS.astype("u2"), LPS)
    assert read_region_masks(tmp_path / "labels.nii.gz") is None
