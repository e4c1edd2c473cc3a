"""The one folder in which the service keeps everything."""

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from reg2rg.errors import InputError
from reg2rg.serve.log import LOG
from reg2rg.serve.refusal import Reason, Refusal

_LOCK_PAUSE_S = 0.2


class DataFolder:
    """Where things lie: ``queue.sqlite``, ``sources/JOB/``, ``results/JOB/``, and ``temporary/``.

    What is in `sources` and `results` under a job's name is complete: it was written under `temporary` or beside its
    place, then renamed.
    """

    def __init__(self, root: Path, free_mib: int = 0) -> None:
        self.root = root
        self.free_mib = free_mib
        self.queue = root / "queue.sqlite"
        self.sources = root / "sources"
        self.results = root / "results"
        self.temporary = root / "temporary"

    def create(self) -> None:
        """Makes what is missing, readable by this user alone.

        Raises:
            InputError: if it cannot be made or written.
        """
        try:
            for folder in (self.root, self.sources, self.results, self.temporary):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.chmod(0o700)
        except OSError as error:
            raise InputError(f"--data {self.root}: cannot write there ({error.strerror}); choose another") from error

    def lock(self, wait_s: float = 0.0) -> int:
        """Takes the folder for this process and for those that inherit the file descriptor.

        The lock ends with the last of them: a service that is started after another was killed waits here until the
        workers of that one are gone, too.

        Raises:
            InputError: if another service still has the folder after `wait_s` seconds.
        """
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        until, said = time.monotonic() + wait_s, False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                if not said and wait_s:
                    LOG.warning("waits up to %.0f s for another reg2rg serve to leave %s", wait_s, self.root)
                    said = True
                if time.monotonic() >= until:
                    os.close(descriptor)
                    raise InputError(f"--data {self.root}: another reg2rg serve uses it; choose another") from None
                time.sleep(_LOCK_PAUSE_S)

    def source(self, job_id: str) -> Path:
        """The folder of a job's DICOM files."""
        return self.sources / job_id

    def result(self, job_id: str) -> Path:
        """The folder of a job's results."""
        return self.results / job_id

    def new_path(self) -> Path:
        """A name under `temporary` that nothing has."""
        return self.temporary / secrets.token_hex(8)

    def check_room(self, more_bytes: int = 0) -> None:
        """Raises Refusal if `more_bytes` would leave less than `free_mib` on the disk."""
        if self.free_bytes - more_bytes < self.free_mib * 2**20:
            raise Refusal(Reason.DISK_FULL, "the disk of the service is full; send the study again later")

    @property
    def free_bytes(self) -> int:
        """Of the disk."""
        return shutil.disk_usage(self.root).free

    def remove(self, path: Path) -> None:
        """Removes a file or folder at once for all who look, and then from the disk."""
        gone = self.new_path()
        try:
            path.rename(gone)
        except FileNotFoundError:
            return
        if gone.is_dir():
            shutil.rmtree(gone)
        else:
            gone.unlink()

    def sweep(self, job_ids: Iterable[str]) -> None:
        """Removes what a killed service left behind: temporary files, and folders of no job. For the start only."""
        known = set(job_ids)
        shutil.rmtree(self.temporary)
        self.temporary.mkdir(mode=0o700)
        for path in (*self.sources.iterdir(), *self.results.iterdir()):
            if path.name not in known:
                self.remove(path)


def write_safely(path: Path, content: bytes) -> None:
    """Writes a file that is on the disk when this returns."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Brings the names in a folder to the disk: what was renamed into it stays there."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Brings a whole folder to the disk: files, names, and its own name."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            sync_folder(path)
    sync_folder(folder)
    sync_folder(folder.parent)
