"""Fixtures of the service's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from house import PATIENT, House
from pydicom.dataset import Dataset
from scanner import block, make_series

from reg2rg.serve.data_folder import DataFolder
from reg2rg.serve.inbox import Inbox
from reg2rg.serve.queue import Queue


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    folder = DataFolder(tmp_path / "data")
    folder.create()
    now = [1000.0]
    queue = Queue(folder.queue, clock=lambda: now[0])
    yield House(folder, queue, Inbox(queue, folder, max_study_mib=1, max_instance_mib=1), now)
    queue.close()


@pytest.fixture
def slices() -> list[Dataset]:
    """A small CT of a patient whose name is known."""
    datasets = make_series(block(size=(12, 10, 5)))
    for dataset in datasets:
        dataset.PatientName = dataset.PatientID = PATIENT
    return datasets
