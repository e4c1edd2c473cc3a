"""Where DICOM files are: a folder, a zip, a DICOMDIR, one file. Nothing is ever unpacked to disk."""

import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BufferedIOBase
from pathlib import Path, PurePosixPath
from typing import cast

from reg2rg.errors import InputError

DICOMDIR = "DICOMDIR"
_MAX_FILES = 100_000
_MAX_BYTES = 8 * 2**30  # of all files of a zip together, unpacked
_MAX_BYTES_EACH = 2**30
_PREAMBLE = 128
_MAGIC = b"DICM"
_META_LENGTH = slice(140, 144)  # bytes of the value of (0002,0000)
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_CHUNK = 2**20
_GROUP_8 = b"\x08\x00"  # how a file without preamble begins
_ENCRYPTED = 1  # bit of a zip member's flags


@dataclass(frozen=True)
class DicomFile:
    """A file that may be DICOM.

    Attributes:
        name: what to call it in messages: its place in the folder or zip.
        open: gives its bytes, from the start.
    """

    name: str
    open: Callable[[], BufferedIOBase]


def is_dicom(path: Path) -> bool:
    """Whether `path` is what `open_files` takes: a folder, a zip, or a file that begins as DICOM files do."""
    if path.is_dir():
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return path.suffix.lower() == ".zip" or begins_as_dicom(file)


def begins_as_dicom(file: BufferedIOBase) -> bool:
    """Whether the bytes begin with DICOM's preamble, or without it but with a tag of group 8, as old files do."""
    start = file.read(_PREAMBLE + len(_MAGIC))
    return start[_PREAMBLE:] == _MAGIC or start.startswith(_GROUP_8)


def inflates_too_far(file: BufferedIOBase) -> bool:
    """Whether a file of the deflated transfer syntax unpacks to more than a file of a zip may.

    pydicom unpacks such files at once, however large they become. What is deflated begins after the file meta
    information, whose length stands in its first element (PS3.10, section 7.1).
    """
    start = file.read(_META_LENGTH.stop)
    group = file.read(int.from_bytes(start[_META_LENGTH], "little"))
    if _DEFLATED not in group:
        return False
    inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while packed := inflater.unconsumed_tail or file.read(_CHUNK):
        size += len(inflater.decompress(packed, _CHUNK))
        if size > _MAX_BYTES_EACH:
            return True
    return False


def single_file(path: Path) -> DicomFile:
    """A file on its own, called by its path."""
    return DicomFile(str(path), partial(_open, path))


@contextmanager
def open_files(path: Path) -> Iterator[list[DicomFile]]:
    """The files of a folder, a zip, a DICOMDIR or a single file, in order of their names; open while the block runs.

    Folders are searched to their depth; symbolic links in them are not followed. Files that are no DICOM are among
    them: whoever reads them finds out.

    Raises:
        InputError: if there is no file, a zip is damaged, encrypted or too large, or a DICOMDIR lists missing files.
    """
    if path.is_dir():
        yield _in_folder(path)
    elif path.suffix.lower() == ".zip":
        try:
            with zipfile.ZipFile(path) as archive:
                yield _in_zip(archive)
        except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
            raise InputError("the zip is damaged or of an unknown kind; copy it again, or unpack it") from error
    elif path.name.upper() == DICOMDIR:
        yield _in_dicomdir(path)
    else:
        yield [DicomFile(path.name, partial(_open, path))]


def _in_folder(folder: Path) -> list[DicomFile]:
    files = []
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            if stat.S_ISREG(path.lstat().st_mode) and name.upper() != DICOMDIR:
                files.append(DicomFile(path.relative_to(folder).as_posix(), partial(_open, path)))
        _check_count(len(files))
    if not files:
        raise InputError(
            "expected DICOM images, found no files (links are not followed); give the folder that has them"
        )
    return files


def _in_zip(archive: zipfile.ZipFile) -> list[DicomFile]:
    members = sorted((member for member in archive.infolist() if not member.is_dir()), key=lambda m: m.filename)
    _check_count(len(members))
    if any(member.flag_bits & _ENCRYPTED for member in members):
        raise InputError("the zip is encrypted; unpack it and give the folder")
    # zipfile gives no more bytes of a member than are declared here, whatever the packed bytes hold.
    sizes = [member.file_size for member in members]
    if sum(sizes) > _MAX_BYTES or max(sizes, default=0) > _MAX_BYTES_EACH:
        raise InputError(
            f"the zip unpacks to {sum(sizes) / 2**30:.1f} GiB, expected at most {_MAX_BYTES / 2**30:.0f} GiB and "
            f"{_MAX_BYTES_EACH / 2**30:.0f} GiB in a file; unpack it and give the folder"
        )
    if not members:
        raise InputError("expected DICOM images, the zip is empty")
    return [DicomFile(member.filename, partial(_open_member, archive, member)) for member in members]


def _in_dicomdir(path: Path) -> list[DicomFile]:
    """The images that a DICOMDIR lists, all below its own folder (PS3.10, section 8)."""
    import pydicom

    try:
        records = pydicom.dcmread(path, specific_tags=["DirectoryRecordSequence"]).DirectoryRecordSequence
        listed = [_parts(record.ReferencedFileID) for record in records if "ReferencedFileID" in record]
    except Exception as error:  # pydicom raises many kinds for bytes that are no header
        raise InputError("expected a DICOMDIR, could not read it as one; give the folder instead") from error
    _check_count(len(listed))
    files = []
    for parts in listed:
        name = PurePosixPath(*parts)
        file = path.parent.joinpath(name)
        if ".." in parts or name.is_absolute() or not file.resolve().is_relative_to(path.parent.resolve()):
            raise InputError(f"the DICOMDIR lists {name}, which is not below its own folder; give the folder instead")
        if not file.is_file():
            raise InputError(f"the DICOMDIR lists {name}, which is missing; copy the disc again, or give the folder")
        files.append(DicomFile(name.as_posix(), partial(_open, file)))
    if not files:
        raise InputError("the DICOMDIR lists no files; give the folder instead")
    return files


def _open(path: Path) -> BufferedIOBase:
    return path.open("rb")


def _open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> BufferedIOBase:
    return cast(BufferedIOBase, archive.open(member))


def _parts(file_id: object) -> list[str]:
    """The components of a file ID, which pydicom gives as a string if there is one and as a list if there are more."""
    return [file_id] if isinstance(file_id, str) else [str(part) for part in file_id]  # type: ignore[attr-defined]


def _check_count(count: int) -> None:
    if count > _MAX_FILES:
        raise InputError(f"expected at most {_MAX_FILES} files, found more; give the folder of one study")
