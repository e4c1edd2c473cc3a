"""A worker: one job after the other, each in steps that may be repeated.

A job's steps are: fetch the study, report it, send the results, mark the job as done, remove the study. Each leaves its
whole result or nothing, and is left out if its result is there. The objects that are sent have the same UIDs each time,
so that a server which was sent them twice has them once.

The worker is a process of its own (``python -m reg2rg.serve.worker``). It reads its settings from standard input and
ends when that does, with everything that it started: a service that was killed leaves no worker behind.
"""

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from reg2rg.errors import InputError
from reg2rg.serve.data_folder import DataFolder, sync_folder, sync_tree
from reg2rg.serve.inbox import read_study_uid
from reg2rg.serve.job import Job
from reg2rg.serve.log import LOG, set_up_log
from reg2rg.serve.queue import Queue
from reg2rg.serve.refusal import Unreachable
from reg2rg.serve.settings import ServeSettings, read_dicomweb_authorization

READY = "ready"
"""What the process prints when its model is loaded."""

CANNOT_START = "cannot start: "
"""What it prints instead, before a reason in one line."""

_PACKAGE = Path(__file__).parent.parent
_NOTHING_TO_SEND = "no DICOM objects were made and sent; the report's warnings say why"
_FIRST_PAUSE_S = 5.0
_MOST_DOUBLINGS = 7  # of the pause: it grows to 640 s
_LOOK_EVERY_S = 0.5

Report = Callable[[Path, Path], None]
Fetch = Callable[[Job, Path], None]
Send = Callable[[Sequence[Path]], None]


class Worker:
    """Works on the jobs of a queue.

    Args:
        number: which of the workers it is.
        queue: the queue.
        folder: where studies and results lie.
        report: makes the results of a folder of DICOM files, complete and on the disk, or not at all.
        fetch: brings a job's study into a folder, complete or not at all.
        send: sends DICOM files to where results belong.
        keep_source: do not remove the DICOM of reported studies.
        retry_s: for how long a server that does not answer is tried again.
    """

    def __init__(
        self,
        number: int,
        queue: Queue,
        folder: DataFolder,
        report: Report,
        fetch: Fetch,
        send: Send,
        keep_source: bool = False,
        retry_s: float = 0.0,
    ) -> None:
        self._number = number
        self._queue = queue
        self._folder = folder
        self._report = report
        self._fetch = fetch
        self._send = send
        self._keep_source = keep_source
        self._retry_s = retry_s

    def work_once(self) -> bool:
        """Takes up the next job; whether there was one."""
        job = self._queue.claim(self._number)
        if job is None:
            return False
        LOG.info("job %s: begun", job.id)
        try:
            self._do(job)
        except Unreachable as error:
            self._postpone(job, str(error))
        except InputError as error:
            self._queue.fail(job.id, self._without_folder(str(error)))
            LOG.warning("job %s: failed, see its problem", job.id)
        except Exception as error:  # nothing that a study does may end the service
            self._queue.crashed(self._number)
            LOG.error("job %s: %s", job.id, place_of(error))
        else:
            LOG.info("job %s: done", job.id)
        return True

    def _do(self, job: Job) -> None:
        source, result = self._folder.source(job.id), self._folder.result(job.id)
        if not result.is_dir():
            if not source.is_dir():
                self._fetch(job, source)
            self._report(source, result)
            sync_folder(result.parent)
        files = sorted((result / "dicom").glob("*.dcm"))
        if files:
            self._send(files)
        self._queue.finish(job.id, "" if files else _NOTHING_TO_SEND)
        if not self._keep_source:
            with self._queue.transaction():  # nobody may be linking its files meanwhile
                self._folder.remove(source)

    def _postpone(self, job: Job, problem: str) -> None:
        if job.postponed_at and job.changed_at - job.postponed_at > self._retry_s:
            self._queue.fail(job.id, f"{problem}, for {job.tries + 1} tries")
            LOG.warning("job %s: failed, see its problem", job.id)
            return
        pause_s = _FIRST_PAUSE_S * 2 ** min(job.tries, _MOST_DOUBLINGS)
        self._queue.postpone(job.id, problem, pause_s)
        LOG.warning("job %s: waits %.0f s for another server", job.id, pause_s)

    def _without_folder(self, problem: str) -> str:
        """A message without the folders of this machine, which say nothing to those who sent the study."""
        return problem.replace(f"{self._folder.sources}{os.sep}", "").replace(f"{self._folder.results}{os.sep}", "")


def place_of(error: BaseException) -> str:
    """Kind and place of an unexpected error; its message might hold something of a patient, and is left out."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _PACKAGE in Path(frame.filename).parents]
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


def main() -> None:
    """The process: settings from standard input, one line of JSON; then jobs until it is told to stop."""
    said = _silence_others()
    given = json.loads(sys.stdin.readline())
    threading.Thread(target=_die_with_service, daemon=True).start()
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    try:
        worker = build_worker(ServeSettings(**given["settings"]), given["number"])
    except InputError as error:
        print(CANNOT_START + " ".join(str(error).split()), file=said, flush=True)
        return
    except Exception as error:  # such as a device without memory: the supervisor tries again
        LOG.error("worker %d: cannot start: %s", given["number"], place_of(error))
        sys.exit(1)
    print(READY, file=said, flush=True)
    while not stopping.is_set():
        if not worker.work_once():
            stopping.wait(_LOOK_EVERY_S)


def build_worker(settings: ServeSettings, number: int) -> Worker:
    """The worker of these settings, its model loaded.

    Raises:
        InputError: if the model or the device cannot be used.
    """
    from reg2rg.files import staged_folder
    from reg2rg.generate import Reporter
    from reg2rg.results.folder import write_results
    from reg2rg.scan import ScanOptions, make_results
    from reg2rg.serve.dicom_node import DicomNode
    from reg2rg.serve.dicomweb import DicomWebServer

    folder = DataFolder(Path(settings.data), settings.free_mib)
    options = ScanOptions(
        segmenter=settings.segmenter, model=settings.model, device=settings.device, precision=settings.precision
    )
    reporter = Reporter.load(settings.model, settings.device, settings.precision)
    authorization = read_dicomweb_authorization(settings)

    def report(source: Path, result: Path) -> None:
        # Called by its UID, a study has the same report, and so the same objects, whichever way it came.
        results = make_results(source, options, reporter, read_study_uid(source))
        with staged_folder(result) as staging:
            write_results(staging, results)
            sync_tree(staging)

    def fetch(job: Job, source: Path) -> None:
        if not settings.dicomweb:
            raise InputError("the study is to be fetched, but no DICOMweb server is named any more; see --dicomweb")
        server = DicomWebServer(settings.dicomweb, authorization, settings.ca_file)
        server.fetch(job.study_uid, job.series_uid, source, folder, settings.max_study_mib)

    def send(files: Sequence[Path]) -> None:
        if node := settings.push_node:
            DicomNode(*node, settings.ae_title).store(files)
        elif settings.push:
            DicomWebServer(settings.push, authorization, settings.ca_file).store(files)

    return Worker(
        number,
        Queue(folder.queue),
        folder,
        report,
        fetch,
        send,
        keep_source=settings.keep_source,
        retry_s=settings.retry_hours * 3600,
    )


def _silence_others() -> TextIO:
    """Standard output as it was; from now on whatever a library prints, in C too, is lost, for it may quote headers."""
    said = os.fdopen(os.dup(1), "w", encoding="utf-8")
    set_up_log(os.fdopen(os.dup(2), "w", encoding="utf-8"))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return said


def _die_with_service() -> None:
    sys.stdin.buffer.read()
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
