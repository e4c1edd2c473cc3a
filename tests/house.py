"""A service without its network: queue, folder and inbox, with a clock that is set by hand."""

from dataclasses import dataclass, field
from io import BytesIO

from pydicom.dataset import Dataset

from reg2rg.serve.data_folder import DataFolder
from reg2rg.serve.inbox import Inbox
from reg2rg.serve.job import Job
from reg2rg.serve.queue import Queue

PATIENT = "PLANTED^NAME"
"""What must appear in no log and no answer."""


@dataclass
class House:
    folder: DataFolder
    queue: Queue
    inbox: Inbox
    now: list[float] = field(default_factory=lambda: [1000.0])

    def receive(self, datasets: list[Dataset]) -> Job:
        return [self.inbox.receive(as_file(dataset)) for dataset in datasets][-1]

    def close(self) -> list[Job]:
        """What is queued after the quiet time."""
        self.now[0] += 31
        return self.inbox.close_quiet(30)

    def files(self, job: Job) -> list[str]:
        return sorted(path.name for path in self.folder.source(job.id).iterdir())


def as_file(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
