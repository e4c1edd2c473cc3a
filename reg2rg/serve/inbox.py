"""What came in: safe on the disk before the sender hears so, gathered by study, queued when it is complete.

DICOM objects are gathered by StudyInstanceUID. A study is complete when nothing of it came for the quiet time; then its
job is queued. What comes later:

- before work on the study began: it joins the job, which waits for the quiet time again;
- afterwards, and nothing new (the same SOPInstanceUIDs were in a job that runs or is done): it is dropped, since that
  study is not done twice;
- afterwards, and something new: a new job for the whole study, with the earlier objects as long as they are there. If
  they were removed after the report, the late ones alone would make a misleading report: the job fails and says that
  the whole study must be sent again.
"""

import hashlib
import os
import re
import zipfile
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
)

from reg2rg.dicom.files import begins_as_dicom, open_files
from reg2rg.errors import InputError
from reg2rg.serve.data_folder import DataFolder, sync_folder, sync_tree, write_safely
from reg2rg.serve.job import Job, Origin, State
from reg2rg.serve.queue import Queue
from reg2rg.serve.refusal import Reason, Refusal

CT_CLASSES = (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
"""SOP classes that are accepted."""

_UID = re.compile(r"[0-9.]{1,64}")  # PS3.5, section 9.1; leading zeros are in use
_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID")
_EARLIER_GONE = "objects came after the study was reported and its files were removed; send the whole study again"
_REFUSED = "{} objects of the study were refused and did not come again; send the whole study again"
_CHUNK = 2**20
_MIB = 2**20


class Inbox:
    """Takes studies into the queue."""

    def __init__(self, queue: Queue, folder: DataFolder, max_study_mib: int, max_instance_mib: int) -> None:
        self._queue = queue
        self._folder = folder
        self._max_study_bytes = max_study_mib * _MIB
        self._max_instance_bytes = max_instance_mib * _MIB

    def receive(self, content: bytes) -> Job:
        """Takes one DICOM file; it is safe on the disk when this returns.

        Raises:
            Refusal: if it is no CT image, too large, or there is no room.
        """
        sop_uid, study_uid = read_uids(content)
        name, key = _file_name(sop_uid), f"dicom:{study_uid}"
        staging = self._folder.new_path()
        try:
            if len(content) > self._max_instance_bytes:
                raise Refusal(Reason.TOO_LARGE, "the object is larger than the service accepts")
            self._folder.check_room(len(content))
            write_safely(staging, content)
            with self._queue.transaction():
                job = self._gathering(key, study_uid)
                if self._queue.count_bytes(job.id) + len(content) > self._max_study_bytes:
                    raise Refusal(Reason.TOO_LARGE, "the study is larger than the service accepts")
                self._place(staging, job, name)
                self._queue.note_instance(job.id, name, len(content))
            return job
        except Refusal:  # the study is not complete without this one
            with self._queue.transaction():
                self._queue.note_instance(self._gathering(key, study_uid).id, name, None)
            raise
        finally:
            staging.unlink(missing_ok=True)

    def _place(self, staging: Path, job: Job, name: str) -> None:
        source = self._folder.source(job.id)
        if not source.is_dir():
            source.mkdir(mode=0o700)
            sync_folder(source.parent)
        staging.rename(source / name)
        sync_folder(source)

    def _gathering(self, key: str, study_uid: str) -> Job:
        return self._open_job(key) or self._queue.add(Origin.DICOM, key, State.RECEIVED, study_uid)

    def _open_job(self, key: str) -> Job | None:
        """The study's job that can still take objects: it is gathering, or work on it has not begun."""
        for job in self._queue.with_key(key):
            if job.state is State.RECEIVED:
                return job
            if job.state is State.QUEUED and not job.starts and not self._folder.result(job.id).exists():
                self._queue.move(job.id, State.RECEIVED)
                return job
        return None

    def close_quiet(self, quiet_s: float) -> list[Job]:
        """Queues the studies that are complete; gives their jobs."""
        closed = []
        for job in self._queue.quiet(quiet_s):
            with self._queue.transaction():
                now = self._queue.find(job.id)
                if now is None or now.state is not State.RECEIVED or now.changed_at != job.changed_at:
                    continue  # something came since
                self._close(now)
            closed += [after] if (after := self._queue.find(job.id)) else []
        return closed

    def _close(self, job: Job) -> None:
        others = [other for other in self._queue.with_key(job.key) if other.id != job.id]
        working = [other for other in others if other.state in (State.QUEUED, State.RUNNING, State.DONE)]
        came = self._queue.instances(job.id)
        if not self._queue.count_refused(job.id) and any(came <= self._queue.instances(other.id) for other in working):
            self._queue.forget(job.id)
            self._folder.remove(self._folder.source(job.id))
            return
        for other in others:
            self._link(other, job)
        if refused := self._queue.count_refused(job.id):
            self._queue.fail(job.id, _REFUSED.format(refused))
        elif any(not self._queue.instances(other.id) <= self._queue.instances(job.id) for other in working):
            self._queue.fail(job.id, _EARLIER_GONE)
        else:
            self._queue.move(job.id, State.QUEUED)

    def _link(self, earlier: Job, job: Job) -> None:
        """Gives a job the objects of an earlier one of the same study, without copying."""
        source = self._folder.source(job.id)
        for path in _files_in(self._folder.source(earlier.id)):
            source.mkdir(mode=0o700, exist_ok=True)
            if not (source / path.name).exists():
                os.link(path, source / path.name)
            self._queue.note_instance(job.id, path.name, path.stat().st_size)
        if source.is_dir():
            sync_folder(source)

    def take_zip(self, archive: Path, sha256: str) -> tuple[Job, bool]:
        """Takes an uploaded zip of DICOM files; it is safe on the disk when this returns, and `archive` is gone.

        No name in the zip is ever used for a file or repeated in a message.

        Returns:
            The job, and whether it is new: the same zip again is the same job, unless that has failed.

        Raises:
            Refusal: if it is no zip of DICOM files, unpacks to too much, or there is no room.
        """
        key = f"upload:{sha256}"
        if job := self._alive(key):
            archive.unlink()
            return job, False
        unpacked = self._folder.new_path()
        try:
            self._unpack(archive, unpacked)
            sync_tree(unpacked)
            with self._queue.transaction():
                if job := self._alive(key):
                    return job, False
                job = self._queue.add(Origin.UPLOAD, key, State.QUEUED)
                unpacked.rename(self._folder.source(job.id))
                sync_folder(self._folder.sources)
            return job, True
        finally:
            archive.unlink(missing_ok=True)
            self._folder.remove(unpacked)

    def _unpack(self, archive: Path, folder: Path) -> None:
        """Writes the DICOM files of a zip as ``000001.dcm`` and so on."""
        folder.mkdir(mode=0o700)
        room = self._max_study_bytes
        try:
            with open_files(archive) as files:
                for number, member in enumerate(files, start=1):
                    with member.open() as packed:
                        if not begins_as_dicom(packed):
                            continue
                    with member.open() as packed, (folder / f"{number:06d}.dcm").open("xb") as file:
                        while chunk := packed.read(_CHUNK):
                            room -= len(chunk)
                            if room < 0 or file.tell() + len(chunk) > self._max_instance_bytes:
                                raise Refusal(Reason.TOO_LARGE, "the zip unpacks to more than the service accepts")
                            self._folder.check_room(len(chunk))
                            file.write(chunk)
        except Refusal:
            raise
        except (InputError, zipfile.BadZipFile, NotImplementedError, EOFError, OSError, RuntimeError) as error:
            raise Refusal(Reason.NOT_DICOM, "expected a zip of DICOM files, not damaged, encrypted or huge") from error
        if not any(folder.iterdir()):
            raise Refusal(Reason.NOT_DICOM, "expected a zip of DICOM files, found none in it")

    def take_reference(self, study_uid: str, series_uid: str = "") -> tuple[Job, bool]:
        """Queues a study that the worker is to fetch; the job, and whether it is new, as for a zip."""
        key = f"dicomweb:{study_uid}/{series_uid}"
        with self._queue.transaction():
            if job := self._alive(key):
                return job, False
            return self._queue.add(Origin.DICOMWEB, key, State.QUEUED, study_uid, series_uid), True

    def _alive(self, key: str) -> Job | None:
        return next((job for job in self._queue.with_key(key) if job.state is not State.FAILED), None)

    def delete(self, job_id: str) -> bool:
        """Removes a job and everything of it; False if there is none.

        Raises:
            Refusal: if it is being worked on.
        """
        with self._queue.transaction():
            job = self._queue.find(job_id)
            if job is None:
                return False
            if job.state is State.RUNNING:
                raise Refusal(Reason.NOT_POSSIBLE, "the job is running; delete it when it has ended")
            self._queue.forget(job_id)
        self._folder.remove(self._folder.source(job_id))
        self._folder.remove(self._folder.result(job_id))
        return True


def read_uids(content: bytes) -> tuple[str, str]:
    """SOPInstanceUID and StudyInstanceUID of a CT's file.

    Raises:
        Refusal: if it is no DICOM file, no CT image, or has no such UIDs.
    """
    try:
        header = pydicom.dcmread(BytesIO(content), stop_before_pixels=True, specific_tags=list(_UIDS))
        sop_class, sop_uid, study_uid = (str(header[name].value) for name in _UIDS)
    except Exception as error:  # pydicom raises many kinds for bytes that are no header
        raise Refusal(Reason.NOT_DICOM, "expected a DICOM CT image with its UIDs") from error
    if sop_class not in CT_CLASSES:
        raise Refusal(Reason.NOT_DICOM, "expected a CT image, found an object of another kind")
    if not (_UID.fullmatch(sop_uid) and _UID.fullmatch(study_uid)):
        raise Refusal(Reason.NOT_DICOM, "expected a CT image whose SOPInstanceUID and StudyInstanceUID are UIDs")
    return sop_uid, study_uid


def read_study_uid(folder: Path) -> str | None:
    """StudyInstanceUID of the first file in a folder that has one; None if there is none."""
    for path in _files_in(folder):
        try:
            study_uid = str(pydicom.dcmread(path, specific_tags=["StudyInstanceUID"]).StudyInstanceUID)
        except Exception:  # pydicom raises many kinds for bytes that are no header
            continue
        if _UID.fullmatch(study_uid):
            return study_uid
    return None


def _file_name(sop_uid: str) -> str:
    """A name that no sender can choose."""
    return hashlib.sha256(sop_uid.encode()).hexdigest()[:32] + ".dcm"


def _files_in(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
