"""Workers are kept alive, and die with the service. The worker here is a few lines that behave badly on purpose."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from house import House

from reg2rg.errors import InputError
from reg2rg.serve.data_folder import DataFolder
from reg2rg.serve.job import Origin, State
from reg2rg.serve.settings import TOKEN_VARIABLE, ServeSettings
from reg2rg.serve.supervisor import Supervisor

BEGIN = """
import json, os, sys, threading, time
from pathlib import Path
from reg2rg.serve.queue import Queue
given = json.loads(sys.stdin.readline())
queue = Queue(Path(given["settings"]["data"]) / "queue.sqlite")
print("ready", flush=True)
"""
WORK = "while True:\n    job = queue.claim(given['number'])\n    time.sleep(0.05)\n    "

Keep = Callable[..., Supervisor]


@pytest.fixture
def lock(house: House) -> Iterator[int]:
    descriptor = house.folder.lock()
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def keep(house: House, lock: int) -> Iterator[Keep]:
    supervisors = []

    def make(work: str, **settings: object) -> Supervisor:
        given = ServeSettings(str(house.folder.root), **settings)  # type: ignore[arg-type]
        command = (sys.executable, "-c", BEGIN + work)
        supervisors.append(Supervisor(given, house.queue, house.folder.temporary, lock, command))
        supervisors[-1].start()
        return supervisors[-1]

    yield make
    for supervisor in supervisors:
        supervisor.stop(0)


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "waited for a minute"
        time.sleep(0.02)


def test_a_study_that_kills_its_worker_fails_and_the_next_is_done(house: House, keep: Keep) -> None:
    bad = house.queue.add(Origin.UPLOAD, "bad", State.QUEUED)
    good = house.queue.add(Origin.UPLOAD, "good", State.QUEUED)
    supervisor = keep(WORK + "if job: queue.finish(job.id) if job.key == 'good' else os.abort()")
    wait_for(lambda: house.queue.find(good.id).state is State.DONE)
    assert house.queue.find(bad.id).state is State.FAILED
    assert house.queue.find(bad.id).problem == "reporting it stopped the worker 3 times"
    wait_for(lambda: supervisor.num_ready == 1)


def test_a_job_that_takes_too_long_is_stopped_with_all_that_it_started(
    house: House, keep: Keep, tmp_path: Path
) -> None:
    job = house.queue.add(Origin.UPLOAD, "endless", State.QUEUED)
    started = tmp_path / "started"
    begin_child = "import subprocess\ndef begin_child():\n    return str(subprocess.Popen(['sleep', '600']).pid)\n"
    work = f"if job: Path({str(started)!r}).write_text(begin_child()); time.sleep(600)"
    supervisor = keep(begin_child + WORK + work, job_minutes=1)
    wait_for(lambda: started.is_file() and started.read_text() != "")
    child = int(started.read_text())
    house.now[0] = time.time()  # as the worker's own queue has it
    supervisor.stop_overdue()
    assert is_alive(child)
    house.now[0] += 61
    supervisor.stop_overdue()
    wait_for(lambda: house.queue.find(job.id).crashes == 1)
    wait_for(lambda: not is_alive(child))


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_worker_that_cannot_start_says_why(keep: Keep) -> None:
    supervisor = keep("print('cannot start: there is no such model', flush=True)")
    wait_for(lambda: supervisor.problem is not None)
    assert supervisor.problem == "there is no such model"


def test_a_machine_that_cannot_start_a_worker_now_may_do_so_later(
    house: House, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, refused = subprocess.Popen, []

    def refuse_once(*given: Any, **named: Any) -> Any:
        if not refused:
            refused.append(1)
            raise OSError("no memory")
        return begin(*given, **named)

    monkeypatch.setattr(subprocess, "Popen", refuse_once)
    supervisor = keep("time.sleep(600)")
    wait_for(lambda: supervisor.num_ready == 1)
    assert refused


def test_a_stop_gives_the_job_back(house: House, keep: Keep) -> None:
    job = house.queue.add(Origin.UPLOAD, "long", State.QUEUED)
    supervisor = keep(WORK + "if job: time.sleep(600)")
    wait_for(lambda: house.queue.find(job.id).state is State.RUNNING)
    supervisor.stop(0)
    stopped = house.queue.find(job.id)
    assert (stopped.state, stopped.crashes) == (State.QUEUED, 0)
    assert supervisor.num_ready == 0


def test_a_stop_lets_a_short_job_end(house: House, keep: Keep) -> None:
    job = house.queue.add(Origin.UPLOAD, "short", State.QUEUED)
    supervisor = keep(
        "import signal\nsignal.signal(signal.SIGTERM, lambda *_: None)\n"
        + WORK
        + "if job: time.sleep(0.5); queue.finish(job.id); break"
    )
    wait_for(lambda: house.queue.find(job.id).state is State.RUNNING)
    supervisor.stop(60)
    assert house.queue.find(job.id).state is State.DONE


def test_workers_do_not_know_the_token(
    house: House, keep: Keep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "0123456789abcdef")
    seen = tmp_path / "seen"
    keep(f"Path({str(seen)!r}).write_text(repr(dict(os.environ)))\ntime.sleep(600)")
    wait_for(lambda: seen.is_file() and seen.read_text() != "")
    assert "0123456789abcdef" not in seen.read_text()
    assert str(house.folder.temporary) in seen.read_text()


def test_the_folder_is_held_by_the_workers_of_a_killed_service(tmp_path: Path) -> None:
    """Else the next service would begin the same job while the orphan is still at it."""
    folder = DataFolder(tmp_path / "data")
    folder.create()
    lock = folder.lock()
    orphan = subprocess.Popen(["sleep", "600"], pass_fds=(lock,))
    os.close(lock)
    with pytest.raises(InputError, match="another reg2rg serve uses it"):
        folder.lock()
    orphan.send_signal(signal.SIGKILL)
    orphan.wait()
    os.close(folder.lock())
