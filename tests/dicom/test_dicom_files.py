"""Folders, zips, DICOMDIRs and single files, friendly and hostile; nothing is left behind, nothing outside is read."""

import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, MediaStorageDirectoryStorage
from scanner import block, make_enhanced, make_series, save

from reg2rg.dicom import files
from reg2rg.dicom.files import is_dicom
from reg2rg.dicom.read import read_dicom
from reg2rg.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save(tmp_path / "ct", make_series(block()))


def pack(folder: Path, path: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{prefix}{file.relative_to(folder)}")
    return path


def write_dicomdir(folder: Path, names: list[list[str]]) -> Path:
    directory = Dataset()
    directory.FileSetID = "SET"
    directory.DirectoryRecordSequence = []
    for parts in [None, *names]:
        record = Dataset()
        record.DirectoryRecordType = "IMAGE" if parts else "PATIENT"
        if parts:
            record.ReferencedFileID = parts
        directory.DirectoryRecordSequence.append(record)
    directory.file_meta = FileMetaDataset()
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = "2.25.4"
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.save_as(folder / "DICOMDIR", enforce_file_format=True)
    return folder / "DICOMDIR"


def test_folders_are_searched_to_their_depth_and_other_files_ignored(tmp_path: Path) -> None:
    datasets = make_series(block())
    save(tmp_path / "ct/a/b", datasets[:4])
    save(tmp_path / "ct/c", datasets[4:])
    (tmp_path / "ct/a/readme.txt").write_text("no DICOM")
    (tmp_path / "ct/empty").touch()
    write_dicomdir(tmp_path / "ct", [["A"]])
    np.testing.assert_array_equal(read_dicom(tmp_path / "ct").volume.array, block())


def test_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    outside = save(tmp_path / "outside", make_series(block(9, (12, 10, 20)), series_uid="2.25.66"))
    (folder / "away").symlink_to(outside)
    (folder / "one").symlink_to(outside / "IM0003")
    (folder / "round").symlink_to(folder)
    (folder / "nowhere").symlink_to(tmp_path / "missing")
    scan = read_dicom(folder)
    np.testing.assert_array_equal(scan.volume.array, block())
    assert scan.remarks == ()
    links = tmp_path / "links"
    links.mkdir()
    (links / "one").symlink_to(outside / "IM0003")
    with pytest.raises(InputError, match=r"found no files \(links are not followed\)"):
        read_dicom(links)


def test_what_is_no_regular_file_is_not_opened(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    np.testing.assert_array_equal(read_dicom(folder).volume.array, block())


def test_a_zip_is_read_without_unpacking(folder: Path, tmp_path: Path) -> None:
    path = pack(folder, tmp_path / "study.ZIP", "deep/below/")
    before = sorted(tmp_path.rglob("*"))
    assert is_dicom(path)
    np.testing.assert_array_equal(read_dicom(path).volume.array, block())
    assert sorted(tmp_path.rglob("*")) == before


def test_a_zip_that_would_climb_out_writes_nothing(folder: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    path = pack(folder, inner / "study.zip", "../../climbed/")
    before = sorted(tmp_path.rglob("*"))
    np.testing.assert_array_equal(read_dicom(path).volume.array, block())
    assert sorted(tmp_path.rglob("*")) == before


def test_zips_that_cannot_be_read_are_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = pack(folder, tmp_path / "study.zip").read_bytes()
    cases = {
        "cut.zip": (good[: len(good) // 2], "the zip is damaged"),
        "text.zip": (b"no zip", "the zip is damaged"),
        "nothing.zip": (b"PK\5\6" + bytes(18), "the zip is empty"),
    }
    for name, (content, match) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: .*{match}"):
            read_dicom(tmp_path / name)
    locked = bytearray(good)
    at = locked.index(b"PK\1\2")
    locked[at + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    with pytest.raises(InputError, match=r"locked.zip: the zip is encrypted; unpack it"):
        read_dicom(tmp_path / "locked.zip")
    monkeypatch.setattr(files, "_MAX_FILES", 3)
    for path in (tmp_path / "study.zip", folder):
        with pytest.raises(InputError, match="expected at most 3 files, found more"):
            read_dicom(path)


def test_a_zip_bomb_is_refused_by_what_it_declares(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(2**20))
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\1\2") + 24
    content[at : at + 4] = struct.pack("<I", 3 * 2**30)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"the zip unpacks to 3\.0 GiB, expected at most 8 GiB and 1 GiB in a file"):
        read_dicom(path)


@pytest.mark.parametrize("slice_number", [4, 7])
def test_a_damaged_member_of_a_zip_is_left_out_and_missed(folder: Path, tmp_path: Path, slice_number: int) -> None:
    name = next(p.name for p in folder.iterdir() if pydicom.dcmread(p).InstanceNumber == slice_number)
    path = pack(folder, tmp_path / "study.zip")
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo(name).header_offset + 60
    content[start : start + 80] = b"\xff" * 80
    path.write_bytes(content)
    if slice_number == 4:
        with pytest.raises(InputError, match=r"study.zip: slices are missing between"):
            read_dicom(path)
    else:
        scan = read_dicom(path)
        np.testing.assert_array_equal(scan.volume.array, block()[:, :, :6])
        assert f"1 files could not be read and were left out, the first: {name}" in scan.remarks[0]


def test_a_deflated_bomb_is_not_inflated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_MAX_BYTES_EACH", 2**21)
    bomb = make_series(block())[0]
    bomb.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    bomb.save_as(folder / "bomb", enforce_file_format=True)
    scan = read_dicom(folder)
    assert scan.remarks == ("1 slices were stored more than once and used once",), "small ones are read"
    content = (folder / "bomb").read_bytes()
    meta = content[: 144 + int.from_bytes(content[140:144], "little")]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    (folder / "bomb").write_bytes(meta + packer.compress(bytes(2**22)) + packer.flush())
    assert "1 files could not be read and were left out, the first: bomb:" in read_dicom(folder).remarks[0]


def test_a_dicomdir_gives_the_files_it_lists(folder: Path) -> None:
    save(folder, make_series(block(4), series_uid="2.25.8"), "X")
    listed = [[path.name] for path in folder.glob("IM*")]
    path = write_dicomdir(folder, listed)
    scan = read_dicom(path)
    np.testing.assert_array_equal(scan.volume.array, block())
    assert scan.remarks == ()


def test_a_dicomdir_lists_files_in_folders(tmp_path: Path) -> None:
    save(tmp_path / "disc/A/B", make_series(block()))
    names = [list(path.relative_to(tmp_path / "disc").parts) for path in (tmp_path / "disc/A/B").iterdir()]
    path = write_dicomdir(tmp_path / "disc", names)
    np.testing.assert_array_equal(read_dicom(path).volume.array, block())


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ([["MISSING"]], "the DICOMDIR lists MISSING, which is missing"),
        ([["..", "SECRET"]], "which is not below its own folder"),
        ([["LINK"]], "which is not below its own folder"),
        ([], "the DICOMDIR lists no files"),
    ],
)
def test_dicomdirs_that_lead_nowhere_or_outside_are_refused(
    folder: Path, tmp_path: Path, names: list[list[str]], match: str
) -> None:
    (tmp_path / "SECRET").write_bytes((folder / "IM0000").read_bytes())
    (folder / "LINK").symlink_to(tmp_path / "SECRET")
    with pytest.raises(InputError, match=match):
        read_dicom(write_dicomdir(folder, names))


def test_a_dicomdir_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + b"nonsense" * 9)
    with pytest.raises(InputError, match="expected a DICOMDIR, could not read it as one"):
        read_dicom(tmp_path / "DICOMDIR")


def test_single_files(folder: Path, tmp_path: Path) -> None:
    whole = save(tmp_path / "whole", [make_enhanced(make_series(block()))]) / "IM0000"
    assert is_dicom(whole)
    np.testing.assert_array_equal(read_dicom(whole).volume.array, block())
    with pytest.raises(InputError, match="at least 3 slices, found 1; give all of them"):
        read_dicom(folder / "IM0000")


def test_what_is_dicom(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no DICOM")
    assert is_dicom(folder) and is_dicom(folder / "IM0000")
    assert not is_dicom(tmp_path / "text") and not is_dicom(tmp_path / "missing.dcm")


def test_folders_without_dicom_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected DICOM images, found no files"):
        read_dicom(tmp_path)
    for k in range(40):
        (tmp_path / f"{k}.dcm").write_bytes(b"x" * k)
    with pytest.raises(InputError, match="expected DICOM images, found none in 40 files"):
        read_dicom(tmp_path)
