"""Keeps the workers alive, and stops those that take too long."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from reg2rg.serve.log import LOG
from reg2rg.serve.queue import Queue
from reg2rg.serve.settings import TOKEN_VARIABLE, ServeSettings
from reg2rg.serve.worker import CANNOT_START, READY, place_of

_MOST_DOUBLINGS = 6  # of the second between a worker's death and its successor
_LOOK_EVERY_S = 0.1


class Supervisor:
    """The workers of a service, each a process of its own.

    Args:
        settings: of the service.
        queue: whose jobs they work on.
        temporary: folder for their temporary files.
        lock: the file descriptor of the data folder's lock, which they keep as long as they live.
        command: what starts a worker.
    """

    def __init__(
        self,
        settings: ServeSettings,
        queue: Queue,
        temporary: Path,
        lock: int,
        command: Sequence[str] = (sys.executable, "-m", "reg2rg.serve.worker"),
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._temporary = temporary
        self._lock = lock
        self._command = tuple(command)
        self._stopping = threading.Event()
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._ready: set[int] = set()
        self._threads = [
            threading.Thread(target=self._keep, args=(number,), name=f"worker-{number}", daemon=True)
            for number in range(settings.workers)
        ]
        self.problem: str | None = None
        """Why workers cannot start; None as long as they can."""

    def start(self) -> None:
        """Starts all workers."""
        for thread in self._threads:
            thread.start()

    @property
    def num_ready(self) -> int:
        """Workers whose model is loaded."""
        return len(self._ready)

    def stop_overdue(self) -> None:
        """Stops workers that have been at one job for longer than the settings allow."""
        for number in self._queue.running_longer_than(self._settings.job_minutes * 60):
            LOG.error("worker %d: stopped, its job takes longer than job_minutes", number)
            self._kill(number)

    def stop(self, grace_s: float) -> None:
        """Lets each worker finish its job for some seconds; then takes the job away and gives it back to the queue."""
        self._stopping.set()
        for process in list(self._processes.values()):
            process.terminate()
        until = time.monotonic() + grace_s
        while time.monotonic() < until and any(thread.is_alive() for thread in self._threads):
            time.sleep(_LOOK_EVERY_S)
        for number in list(self._processes):
            self._kill(number)
        for thread in self._threads:
            thread.join()
        for job in self._queue.give_back():
            LOG.info("job %s: given back", job.id)

    def _keep(self, number: int) -> None:
        """Runs one worker until the service stops, a new one when it died."""
        deaths = 0
        while not self._stopping.is_set() and self.problem is None:
            was_ready = False
            try:
                was_ready = self._run(number)
                if self._stopping.is_set():
                    return
                job = self._queue.crashed(number)
                LOG.error("worker %d: died%s", number, f" at job {job.id}" if job else "")
            except (OSError, sqlite3.Error) as error:  # of a machine without memory or room: tried again
                LOG.error("worker %d: %s", number, place_of(error))
            deaths = 0 if was_ready else deaths + 1
            self._stopping.wait(2.0 ** min(deaths, _MOST_DOUBLINGS))

    def _run(self, number: int) -> bool:
        """Runs one worker to its end; whether it was ever ready."""
        environment = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=(self._lock,),
            process_group=0,
            env={**environment, "TMPDIR": str(self._temporary)},
        )
        self._processes[number] = process
        if self._stopping.is_set():  # it was started while `stop` looked
            self._kill(number)
        assert process.stdin is not None
        assert process.stdout is not None
        was_ready = False
        try:
            print(json.dumps({"settings": asdict(self._settings), "number": number}), file=process.stdin, flush=True)
            for line in process.stdout:
                if line.startswith(READY):
                    was_ready = True
                    self._ready.add(number)
                elif line.startswith(CANNOT_START):
                    self.problem = line.removeprefix(CANNOT_START).strip()
        except BrokenPipeError:
            pass
        finally:
            self._ready.discard(number)
            self._kill(number)
            process.wait()
            process.stdin.close()
            process.stdout.close()
        return was_ready

    def _kill(self, number: int) -> None:
        """Ends a worker and everything that it started."""
        process = self._processes[number]
        if process.returncode is None:  # its number belongs to it until it was waited for
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
