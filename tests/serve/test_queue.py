"""Jobs on disk: what was said to be done is there after a kill, and nothing is done twice."""

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from house import House

from reg2rg.errors import InputError
from reg2rg.serve.job import Origin, State
from reg2rg.serve.queue import MOST_CRASHES, MOST_STARTS, Queue


def test_a_job_goes_down_its_states(house: House) -> None:
    job = house.queue.add(Origin.UPLOAD, "upload:1", State.QUEUED)
    assert house.queue.counts()[State.QUEUED] == 1
    claimed = house.queue.claim(0)
    assert claimed is not None
    assert (claimed.id, claimed.state, claimed.starts) == (job.id, State.RUNNING, 1)
    assert house.queue.claim(0) is None
    house.now[0] += 5
    house.queue.finish(job.id)
    done = house.queue.find(job.id)
    assert done is not None
    assert done.state is State.DONE
    assert house.queue.totals() == {"done": 1.0, "seconds": 5.0}


def test_the_oldest_comes_first(house: House) -> None:
    first, second = (house.queue.add(Origin.UPLOAD, key, State.QUEUED) for key in "ab")
    assert [house.queue.claim(0).id for _ in range(2)] == [first.id, second.id]


def test_one_study_is_not_worked_on_twice_at_once(house: House) -> None:
    first, second = (house.queue.add(Origin.DICOM, "dicom:1", State.QUEUED) for _ in range(2))
    assert house.queue.claim(0).id == first.id
    assert house.queue.claim(1) is None
    house.queue.finish(first.id)
    assert house.queue.claim(1).id == second.id


def test_a_job_that_kills_its_worker_fails_in_the_end(house: House) -> None:
    job = house.queue.add(Origin.UPLOAD, "upload:1", State.QUEUED)
    for _ in range(MOST_CRASHES):
        assert house.queue.claim(0).id == job.id
        assert house.queue.crashed(1) is None  # the other worker had nothing
        house.queue.crashed(0)
    assert house.queue.claim(0) is None
    failed = house.queue.find(job.id)
    assert failed.state is State.FAILED
    assert failed.problem == "reporting it stopped the worker 3 times"


def test_a_kill_of_the_service_is_not_the_jobs_fault_until_it_always_is(house: House) -> None:
    job = house.queue.add(Origin.UPLOAD, "upload:1", State.QUEUED)
    for _ in range(MOST_STARTS):
        assert house.queue.claim(0).id == job.id
        house.queue.give_back()
    assert house.queue.claim(0) is None
    assert "interrupted 20 times" in house.queue.find(job.id).problem
    assert house.queue.find(job.id).crashes == 0


def test_a_job_that_waits_for_a_server_comes_again_later(house: House) -> None:
    job = house.queue.add(Origin.UPLOAD, "upload:1", State.QUEUED)
    house.queue.claim(0)
    house.queue.postpone(job.id, "it does not\nanswer", 60)
    assert house.queue.claim(0) is None
    assert house.queue.find(job.id).problem == "it does not answer"
    house.now[0] += 61
    again = house.queue.claim(0)
    assert (again.id, again.tries, again.postponed_at) == (job.id, 1, 1000.0)


def test_quiet_begins_anew_with_the_service(house: House) -> None:
    job = house.queue.add(Origin.DICOM, "dicom:1", State.RECEIVED)
    house.now[0] += 100
    house.queue.give_back()
    assert house.queue.quiet(30) == []
    house.now[0] += 30
    assert [quiet.id for quiet in house.queue.quiet(30)] == [job.id]


def test_a_transaction_happens_or_not(house: House) -> None:
    with pytest.raises(ZeroDivisionError), house.queue.transaction():
        house.queue.add(Origin.UPLOAD, "upload:1", State.QUEUED)
        raise ZeroDivisionError
    assert house.queue.ids() == []
    with house.queue.transaction():
        house.queue.add(Origin.UPLOAD, "upload:1", State.QUEUED)
    assert len(house.queue.ids()) == 1


_FINISH_ONE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from reg2rg.serve.queue import Queue

queue = Queue(Path(sys.argv[1]))
queue.finish(queue.claim(0).id)
queue.claim(0)
with queue.transaction():
    queue.claim(0)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_finished_is_finished_after_a_kill(house: House) -> None:
    jobs = [house.queue.add(Origin.UPLOAD, str(number), State.QUEUED) for number in range(3)]
    killed = subprocess.run([sys.executable, "-c", _FINISH_ONE_AND_DIE, house.folder.queue], check=False)
    assert killed.returncode == -signal.SIGKILL
    house.queue.give_back()
    assert [house.queue.find(job.id).state for job in jobs] == [State.DONE, State.QUEUED, State.QUEUED]


def test_what_is_no_queue_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello, this is no database at all\n" * 10)
    with pytest.raises(InputError, match="expected the queue"):
        Queue(tmp_path / "text")
    with sqlite3.connect(tmp_path / "newer") as database:
        database.execute("PRAGMA user_version=7")
    with pytest.raises(InputError, match="version 1, found 7"):
        Queue(tmp_path / "newer")
