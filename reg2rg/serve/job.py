"""One study on its way through the service."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where a job stands: it goes down this list, and back to queued when its work was interrupted."""

    RECEIVED = "received"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Origin(StrEnum):
    """How a study came in."""

    DICOM = "dicom"
    UPLOAD = "upload"
    DICOMWEB = "dicomweb"


@dataclass(frozen=True)
class Job:
    """One study on its way.

    Attributes:
        id: random; says nothing about the study. The only thing about a study that is ever logged.
        key: what the study is known by, so that the same one is not done twice.
        origin: how it came in.
        state: where it stands.
        study_uid: StudyInstanceUID; empty for an upload.
        series_uid: SeriesInstanceUID where one was asked for.
        created_at: seconds since the epoch.
        changed_at: of the last change of state, or of the last instance that came.
        starts: how often work on it began.
        crashes: how often it took its worker down.
        postponed_at: since when another server has not answered; 0 if none is waited for.
        tries: how often that server was tried.
        problem: why it failed or waits, or what its results lack, one line; empty otherwise.
    """

    id: str
    key: str
    origin: Origin
    state: State
    study_uid: str
    series_uid: str
    created_at: float
    changed_at: float
    starts: int
    crashes: int
    postponed_at: float
    tries: int
    problem: str
