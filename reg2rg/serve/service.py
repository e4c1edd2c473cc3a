"""The service: both doors, the workers, and what is looked after every second."""

import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import uvicorn

from reg2rg.errors import InputError
from reg2rg.models import find_model
from reg2rg.segment.segmentation import find_segmenter
from reg2rg.serve.data_folder import DataFolder
from reg2rg.serve.inbox import Inbox
from reg2rg.serve.job import State
from reg2rg.serve.log import LOG, set_up_log
from reg2rg.serve.metrics import Metrics
from reg2rg.serve.queue import Queue
from reg2rg.serve.receiver import Receiver
from reg2rg.serve.refusal import Refusal
from reg2rg.serve.settings import ServeSettings, read_dicomweb_authorization, read_token
from reg2rg.serve.supervisor import Supervisor
from reg2rg.serve.web import create_app
from reg2rg.serve.worker import place_of

_BACKLOG = 128
_LOCK_WAIT_S = 30.0  # for the workers of a service that was killed
_STOP_S = 20.0  # less than the 90 s after which systemd kills
_LOOK_EVERY_S = 0.5
_CLEAN_EVERY_S = 3600.0
_DAY_S = 86400.0


def serve(settings: ServeSettings) -> None:
    """Runs the service until it is told to stop (SIGTERM, SIGINT).

    Raises:
        InputError: if a setting cannot be used here: a port, a folder, a token, a model.
    """
    token = read_token(settings)
    read_dicomweb_authorization(settings)
    find_model(settings.model)
    find_segmenter(settings.segmenter)
    if settings.ca_file and not Path(settings.ca_file).is_file():
        raise InputError(f"--ca-file {settings.ca_file}: expected a file with certificates")
    folder = DataFolder(Path(settings.data).absolute(), settings.free_mib)
    folder.create()
    lock = folder.lock(_LOCK_WAIT_S)
    queue = Queue(folder.queue)
    interrupted = queue.give_back()
    folder.sweep(queue.ids())
    inbox = Inbox(queue, folder, settings.max_study_mib, settings.max_instance_mib)
    metrics = Metrics(queue, folder)
    supervisor = Supervisor(settings, queue, folder.temporary, lock)
    metrics.watch_workers(lambda: supervisor.num_ready)

    def missing() -> list[str]:
        """What is missing for the service to be ready."""
        reasons = [] if supervisor.num_ready else ["no worker has its model loaded"]
        try:
            folder.check_room()
        except Refusal as error:
            reasons.append(str(error))
        return reasons

    app = create_app(settings, token, inbox, queue, folder, metrics, missing)
    web = _Web(app, settings)
    set_up_log()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    receiver = Receiver(settings, inbox, metrics)
    LOG.info("HTTP at http://%s:%d, %s a token", settings.listen, web.port, "with" if token else "without")
    LOG.info("DICOM at %s@%s:%d", settings.ae_title, settings.listen, receiver.port)
    for job in interrupted:
        LOG.info("job %s: taken up again", job.id)
    supervisor.start()
    web.start()
    try:
        _look_after(settings, queue, folder, inbox, supervisor, stopping)
    finally:
        LOG.info("stopping")
        receiver.stop()
        web.stop()
        supervisor.stop(_STOP_S)
        queue.close()
    if supervisor.problem:
        raise InputError(supervisor.problem)


def _look_after(
    settings: ServeSettings,
    queue: Queue,
    folder: DataFolder,
    inbox: Inbox,
    supervisor: Supervisor,
    stopping: threading.Event,
) -> None:
    """What is done every half second, and every hour, until the service stops or its workers cannot start."""
    last_cleaned = 0.0
    while not stopping.is_set() and supervisor.problem is None:
        _safely(lambda: _close_quiet(inbox, settings.quiet_seconds))
        _safely(supervisor.stop_overdue)
        if time.monotonic() - last_cleaned > _CLEAN_EVERY_S or not last_cleaned:
            last_cleaned = time.monotonic()
            _safely(lambda: clean(queue, folder, inbox, settings))
        stopping.wait(_LOOK_EVERY_S)


def clean(queue: Queue, folder: DataFolder, inbox: Inbox, settings: ServeSettings) -> None:
    """Removes jobs that ended long ago, and studies of jobs that were done when the service was killed."""
    for job in queue.ended_before(settings.keep_days * _DAY_S):
        inbox.delete(job.id)
        LOG.info("job %s: removed after its time", job.id)
    if not settings.keep_source:
        for job in queue.in_state(State.DONE):
            with queue.transaction():
                folder.remove(folder.source(job.id))


def _close_quiet(inbox: Inbox, quiet_s: float) -> None:
    for job in inbox.close_quiet(quiet_s):
        LOG.info("job %s: %s (%s)", job.id, job.state, job.origin)


def _safely(action: Callable[[], None]) -> None:
    """Does something that is done again soon; if it fails, that is said, and the service goes on."""
    try:
        action()
    except Exception as error:
        LOG.error("looking after the queue: %s", place_of(error))


class _Web:
    """The HTTP server, in a thread; it listens from its making.

    Raises:
        InputError: if the port cannot be had.
    """

    def __init__(self, app: object, settings: ServeSettings) -> None:
        family = socket.AF_INET6 if ":" in settings.listen else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((settings.listen, settings.port))
            self._socket.listen(_BACKLOG)
        except OSError as error:
            raise InputError(
                f"--port {settings.port}: cannot listen there ({error.strerror}); choose another"
            ) from error
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,  # type: ignore[arg-type]
                log_config=None,
                access_log=False,
                server_header=False,
                limit_concurrency=128,
                timeout_graceful_shutdown=5,
            )
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="http", daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Takes nothing more and ends what is under way."""
        self._server.should_exit = True
        self._thread.join()
