"""The queue on disk: jobs in SQLite, safe against a kill or a power cut at any moment.

Every change is one transaction in write-ahead mode with ``synchronous=FULL``: when a method has returned, what it did
is on the disk. Several processes may use one queue.
"""

import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from reg2rg.errors import InputError
from reg2rg.serve.job import Job, Origin, State

MOST_CRASHES = 3
"""A job that took its worker down this often has failed."""

MOST_STARTS = 20
"""A job that was begun this often has failed: it takes the whole service down, or is always interrupted."""

_VERSION = 1
_BUSY_S = 30.0
_SCHEMA = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    origin TEXT NOT NULL,
    state TEXT NOT NULL,
    study_uid TEXT NOT NULL,
    series_uid TEXT NOT NULL,
    created_at REAL NOT NULL,
    changed_at REAL NOT NULL,
    starts INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    postponed_at REAL NOT NULL DEFAULT 0,
    tries INTEGER NOT NULL DEFAULT 0,
    problem TEXT NOT NULL DEFAULT '',
    wait_until REAL NOT NULL DEFAULT 0,
    worker INTEGER
);
CREATE INDEX jobs_by_key ON jobs (key);
CREATE INDEX jobs_by_state ON jobs (state, created_at);
CREATE TABLE instances (
    job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE,
    name TEXT NOT NULL,
    bytes INTEGER,
    PRIMARY KEY (job, name)
) WITHOUT ROWID;
CREATE TABLE totals (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
"""
_COLUMNS = ", ".join(field.name for field in fields(Job))


class Queue:
    """All jobs. Its methods may be called from any thread."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._depth = 0
        try:
            self._database = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.execute("PRAGMA foreign_keys=ON")
            self._create(path)
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path}: expected the queue of reg2rg serve, could not open it ({error})") from error

    def _create(self, path: Path) -> None:
        with self.transaction():
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA user_version={_VERSION}")
            elif version != _VERSION:
                raise InputError(
                    f"{path}: expected a queue of version {_VERSION}, found {version}; use the reg2rg that made it"
                )

    def close(self) -> None:
        """Ends the connection."""
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything in the block happens for other processes at once, or not at all; blocks may be nested."""
        with self._lock:
            if self._depth == 0:
                self._database.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._database.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._database.execute("COMMIT")

    def add(self, origin: Origin, key: str, state: State, study_uid: str = "", series_uid: str = "") -> Job:
        """A new job."""
        job_id, now = secrets.token_hex(16), self._clock()
        with self.transaction():
            self._database.execute(
                "INSERT INTO jobs (id, key, origin, state, study_uid, series_uid, created_at, changed_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (job_id, key, origin, state, study_uid, series_uid, now, now),
            )
            return self._get(job_id)

    def find(self, job_id: str) -> Job | None:
        """The job of this id, if there is one."""
        found = self._select("WHERE id = ?", job_id)
        return found[0] if found else None

    def with_key(self, key: str) -> list[Job]:
        """The jobs of one study, the oldest first."""
        return self._select("WHERE key = ? ORDER BY created_at, rowid", key)

    def in_state(self, state: State) -> list[Job]:
        """The jobs in one state, the oldest first."""
        return self._select("WHERE state = ? ORDER BY created_at, rowid", state)

    def latest(self, count: int) -> list[Job]:
        """The newest jobs, the newest first."""
        return self._select("ORDER BY created_at DESC, rowid DESC LIMIT ?", count)

    def ids(self) -> list[str]:
        """Of all jobs."""
        return [job_id for (job_id,) in self._rows("SELECT id FROM jobs")]

    def counts(self) -> dict[State, int]:
        """How many jobs are in each state."""
        found = dict(self._rows("SELECT state, COUNT(*) FROM jobs GROUP BY state"))
        return {state: found.get(state, 0) for state in State}

    def totals(self) -> dict[str, float]:
        """Jobs that ended and seconds that were worked on them, since the queue was made."""
        return dict(self._rows("SELECT name, value FROM totals"))

    def note_instance(self, job_id: str, name: str, size: int | None) -> None:
        """A DICOM object of `size` bytes came for a job, or was refused (None); it waits for the next one from now."""
        with self.transaction():
            self._database.execute("INSERT OR REPLACE INTO instances VALUES (?, ?, ?)", (job_id, name, size))
            self._update(job_id, "state = state")

    def instances(self, job_id: str) -> frozenset[str]:
        """Names of the DICOM objects that came for a job."""
        rows = self._rows("SELECT name FROM instances WHERE job = ? AND bytes IS NOT NULL", job_id)
        return frozenset(name for (name,) in rows)

    def count_instances(self, job_id: str) -> int:
        """How many DICOM objects came for a job."""
        return self._rows("SELECT COUNT(*) FROM instances WHERE job = ? AND bytes IS NOT NULL", job_id)[0][0]

    def count_refused(self, job_id: str) -> int:
        """How many DICOM objects of a job were refused and did not come again."""
        return self._rows("SELECT COUNT(*) FROM instances WHERE job = ? AND bytes IS NULL", job_id)[0][0]

    def count_bytes(self, job_id: str) -> int:
        """Bytes of the DICOM objects that came for a job."""
        return self._rows("SELECT COALESCE(SUM(bytes), 0) FROM instances WHERE job = ?", job_id)[0][0]

    def quiet(self, quiet_s: float) -> list[Job]:
        """Jobs for which nothing came for this long."""
        return self._select(
            "WHERE state = ? AND changed_at <= ? ORDER BY created_at", State.RECEIVED, self._clock() - quiet_s
        )

    def move(self, job_id: str, state: State) -> None:
        """Puts a job into a state that says nothing else about it."""
        self._update(job_id, "state = ?, problem = ''", state)

    def claim(self, worker: int) -> Job | None:
        """The next job for a worker, running from now on; None if there is nothing to do.

        The oldest comes first, but not before another one of the same study that is running has ended.
        """
        with self.transaction():
            found = self._select(
                "AS one WHERE state = ? AND wait_until <= ? AND NOT EXISTS "
                "(SELECT 1 FROM jobs AS other WHERE other.key = one.key AND other.state = ?) "
                "ORDER BY created_at, rowid LIMIT 1",
                State.QUEUED,
                self._clock(),
                State.RUNNING,
            )
            if not found:
                return None
            self._update(found[0].id, "state = ?, worker = ?, starts = starts + 1", State.RUNNING, worker)
            return self._get(found[0].id)

    def finish(self, job_id: str, problem: str = "") -> None:
        """The job is done: its results are complete and where they belong; `problem` says what they lack."""
        with self.transaction():
            self._count_end(job_id, State.DONE)
            self._update(job_id, "state = ?, worker = NULL, problem = ?", State.DONE, problem)

    def fail(self, job_id: str, problem: str) -> None:
        """The job cannot be done, for the reason given in one line."""
        with self.transaction():
            self._count_end(job_id, State.FAILED)
            self._update(job_id, "state = ?, worker = NULL, problem = ?", State.FAILED, " ".join(problem.split()))

    def postpone(self, job_id: str, problem: str, pause_s: float) -> None:
        """The job waits for another server and is taken up again after a pause."""
        now = self._clock()
        self._update(
            job_id,
            "state = ?, worker = NULL, problem = ?, wait_until = ?, tries = tries + 1, starts = starts - 1, "
            "postponed_at = CASE postponed_at WHEN 0 THEN ? ELSE postponed_at END",
            State.QUEUED,
            " ".join(problem.split()),
            now + pause_s,
            now,
        )

    def crashed(self, worker: int) -> Job | None:
        """A worker died by itself: what it worked on is tried again, `MOST_CRASHES` times. Gives that job."""
        with self.transaction():
            found = self._select("WHERE state = ? AND worker = ?", State.RUNNING, worker)
            if not found:
                return None
            job = found[0]
            self._update(job.id, "state = ?, worker = NULL, crashes = crashes + 1", State.QUEUED)
            if job.crashes + 1 >= MOST_CRASHES:
                self.fail(job.id, f"reporting it stopped the worker {MOST_CRASHES} times")
            return self._get(job.id)

    def give_back(self) -> list[Job]:
        """No worker is alive: what was running is queued again, and given; what waited for instances waits anew.

        While the service was down, nothing could come: the quiet time begins with the service.
        """
        with self.transaction():
            interrupted = self.in_state(State.RUNNING)
            for job in interrupted:
                self._update(job.id, "state = ?, worker = NULL", State.QUEUED)
                if job.starts >= MOST_STARTS:
                    self.fail(job.id, f"reporting it was interrupted {MOST_STARTS} times")
            for job in self.in_state(State.RECEIVED):
                self._update(job.id, "state = state")
            return interrupted

    def ended_before(self, age_s: float) -> list[Job]:
        """Jobs that ended longer ago than this."""
        return self._select("WHERE state IN (?, ?) AND changed_at < ?", State.DONE, State.FAILED, self._clock() - age_s)

    def running_longer_than(self, seconds: float) -> list[int]:
        """Workers that have been at their job for longer than this."""
        rows = self._rows(
            "SELECT worker FROM jobs WHERE state = ? AND changed_at < ?", State.RUNNING, self._clock() - seconds
        )
        return [worker for (worker,) in rows]

    def forget(self, job_id: str) -> None:
        """Removes a job from the queue."""
        with self.transaction():
            self._database.execute("DELETE FROM jobs WHERE id = ?", (job_id,))

    def _count_end(self, job_id: str, state: State) -> None:
        job = self._get(job_id)
        counted: dict[str, float] = {state: 1.0}
        if job.state is State.RUNNING:
            counted["seconds"] = max(0.0, self._clock() - job.changed_at)
        for name, value in counted.items():
            self._database.execute(
                "INSERT INTO totals VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                (name, value),
            )

    def _update(self, job_id: str, assignments: str, *values: object) -> None:
        with self.transaction():
            self._database.execute(
                f"UPDATE jobs SET {assignments}, changed_at = ? WHERE id = ?", (*values, self._clock(), job_id)
            )

    def _get(self, job_id: str) -> Job:
        (job,) = self._select("WHERE id = ?", job_id)
        return job

    def _select(self, condition: str, *values: object) -> list[Job]:
        rows = self._rows(f"SELECT {_COLUMNS} FROM jobs {condition}", *values)
        return [Job(row[0], row[1], Origin(row[2]), State(row[3]), *row[4:]) for row in rows]

    def _rows(self, statement: str, *values: object) -> list[tuple]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()
