"""Output that is complete or absent: written beside its place, then renamed into it."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reg2rg.errors import InputError


@contextmanager
def staged_folder(out: Path, force: bool = False) -> Iterator[Path]:
    """A folder to write into, which becomes `out` when the block ends well and vanishes when it does not.

    The current folder and a mounted one (a container's volume) cannot be replaced: if empty, they are filled instead.

    Raises:
        InputError: if `out` is a file, holds something and `force` is false, or cannot be written or replaced, or the
            disk is full.
    """
    check_free(out, force)
    stays = _cannot_be_renamed(out)
    if stays and any(out.iterdir()):
        raise InputError(f"{out}: a current or mounted folder that is not empty is not replaced; choose one inside it")
    staging = _beside(out / "content" if stays else out, make_folder=True)
    try:
        with _full_disk_said(out):
            yield staging
        if stays:
            for path in list(staging.iterdir()):
                path.rename(out / path.name)
        elif out.exists():
            old = _beside(out, make_folder=True)
            out.rename(old / "old")
            staging.rename(out)
            shutil.rmtree(old)
        else:
            staging.rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def staged_file(out: Path) -> Iterator[Path]:
    """A file path to write to, which becomes `out` when the block ends well and vanishes when it does not.

    Raises:
        InputError: if `out` is a folder, or cannot be written, or the disk is full.
    """
    if out.is_dir():
        raise InputError(f"{out}: expected a file to write, found a folder; choose another --out")
    staging = _beside(out, make_folder=False)
    try:
        with _full_disk_said(out):
            yield staging
        staging.replace(out)
    finally:
        staging.unlink(missing_ok=True)


def check_free(out: Path, force: bool = False) -> None:
    """Raises InputError now, before the work, if `out` could not be written as a folder at its end."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: expected a folder to write into, found a file; choose another --out")
    if out.is_dir() and not force and any(out.iterdir()):
        raise InputError(f"{out}: the folder is not empty; choose another --out, or add --force to replace it")
    place = out if _cannot_be_renamed(out) else next(folder for folder in out.absolute().parents if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{out}: cannot write there ({place} is not a writable folder); choose another --out")


def write_json(path: Path, value: Any) -> None:
    """Writes readable JSON, complete or not at all."""
    with staged_file(path) as staging:
        staging.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _full_disk_said(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InputError(f"{out}: the disk is full; make room, or choose another --out") from error


def _cannot_be_renamed(out: Path) -> bool:
    return out.is_dir() and (out.is_mount() or out.samefile(Path.cwd()))


def _beside(out: Path, make_folder: bool) -> Path:
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        prefix, folder = f".{out.name}.", out.absolute().parent
        if make_folder:
            staging = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
            staging.chmod(0o755)
            return staging
        # The ending stays last: writers such as nibabel choose the format by it.
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=out.name, dir=folder)
        os.close(handle)
        Path(name).chmod(0o644)
        return Path(name)
    except OSError as error:
        raise InputError(f"{out}: cannot write there ({error.strerror}); choose another --out") from error
