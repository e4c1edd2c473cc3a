"""Output that is complete or absent: written beside its place, then renamed into it."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from reg2rg.errors import InputError

RECORD = "run.json"
"""The record of a run in its folder."""

TOKENIZER_FILES = (
    "tokenizer.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
)
"""What a Hugging Face tokenizer may consist of, and what comes with it."""

_MODEL_FILES = (
    "config.json",
    "model.safetensors",
    "model-?????-of-?????.safetensors",
    "model.safetensors.index.json",
    *TOKENIZER_FILES,
)
"""What a model's folder holds, which has no run record; it is known by the format that its config.json names."""


@contextmanager
def staged_folder(out: Path, force: bool = False) -> Iterator[Path]:
    """A folder to write into, which becomes `out` when the block ends well and vanishes when it does not.

    The current folder and a mounted one (a container's volume) cannot be replaced: if empty, they are filled instead.
    With `force` a folder is replaced if all that it holds was written by this program and not changed since.

    Raises:
        InputError: if `out` is a file, holds something and `force` is false, holds anything that is not this program's,
            or cannot be written or replaced, or the disk is full.
    """
    check_free(out, force)
    stays = _cannot_be_renamed(out)
    staging = _beside(out / "content" if stays else out, make_folder=True)
    try:
        with _full_disk_said(out):
            yield staging
        if stays:
            for path in list(staging.iterdir()):
                path.rename(out / path.name)
        elif out.exists():
            _replace(out, staging)
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
    """Raises InputError now, before the work, if `out` could not be written or replaced as a folder at its end."""
    check_writable(out)
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not force:
        raise InputError(f"{out}: the folder is not empty; choose another --out, or add --force to replace it")
    if _cannot_be_renamed(out):
        raise InputError(f"{out}: a current or mounted folder that is not empty is not replaced; choose one inside it")
    _check_replaceable(out, out)


def check_writable(out: Path) -> None:
    """Raises InputError if `out` is no folder into which files can be written; it may hold others."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: expected a folder to write into, found a file; choose another --out")
    if out.is_symlink() and not out.exists():
        raise InputError(f"{out}: a link that leads nowhere; remove it, or choose another --out")
    place = out if _cannot_be_renamed(out) else next(folder for folder in out.absolute().parents if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{out}: cannot write there ({place} is not a writable folder); choose another --out")


def check_room(folder: Path, needed: int, what: str) -> None:
    """Raises InputError if a folder's disk has no room for so many bytes."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{folder}: {what} need about {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free; make room, or "
            "choose another folder"
        )


def write_json(path: Path, value: Any) -> None:
    """Writes readable JSON, complete or not at all."""
    with staged_file(path) as staging:
        staging.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Writes ``run.json``, last of all: it lists the folder's files and their digests, by which --force knows them."""
    files = {path.relative_to(folder).as_posix(): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    write_json(folder / RECORD, {**record, "files": files})


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _replace(out: Path, staging: Path) -> None:
    """Puts the new folder in the old one's place; what came into the old one during the work is not lost."""
    old = _beside(out, make_folder=True) / out.name
    out.rename(old)
    try:
        _check_replaceable(old, out)
        staging.rename(out)
    except BaseException:
        old.rename(out)
        old.parent.rmdir()
        raise
    shutil.rmtree(old.parent)


def _check_replaceable(folder: Path, out: Path) -> None:
    """Raises InputError, in the name of `out`, if a folder holds anything that this program did not write."""
    if folder.is_dir() and (objection := _objection(folder)):
        raise InputError(
            f"{out}: --force replaces only what reg2rg wrote, and {objection}; move it away, or choose another --out"
        )


def _objection(folder: Path) -> str | None:
    """Why a folder cannot be given up, if there is a reason."""
    written = _written(folder)
    subfolders = {parent.as_posix() for name in written for parent in PurePosixPath(name).parents}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or name not in (subfolders if path.is_dir() else written):
            return f"{name} is not of that"
        if (digest := written.get(name)) is not None and digest != sha256(path):
            return f"{name} has been changed since"
    return None


def _written(folder: Path) -> dict[str, str | None]:
    """The files in a folder that this program knows to be its own, and the digests they were written with, if known."""
    files = _read_object(folder / RECORD).get("files")
    if isinstance(files, dict):
        return {RECORD: None, **files}
    if str(_read_object(folder / "config.json").get("format")).startswith("reg2rg.model/"):
        return {path.name: None for pattern in _MODEL_FILES for path in folder.glob(pattern) if path.is_file()}
    return {}


def _read_object(path: Path) -> dict[str, Any]:
    """What a JSON file holds; nothing if it is missing, or no JSON object."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


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
