"""A job's steps: each done once, whatever happens between them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from house import PATIENT, House
from pydicom.dataset import Dataset

from reg2rg.errors import InputError
from reg2rg.files import staged_folder
from reg2rg.serve.job import Job, State
from reg2rg.serve.refusal import Unreachable
from reg2rg.serve.worker import Worker, place_of


class Killed(BaseException):
    """What a kill -9 looks like from within: nothing after it runs."""


@dataclass
class Plot:
    """Steps that do what the test says, and note what was done."""

    done: list[str] = field(default_factory=list)
    objects: tuple[str, ...] = ("b.dcm", "a.dcm")
    trouble: dict[str, BaseException] = field(default_factory=dict)

    def _do(self, step: str) -> None:
        self.done.append(step)
        if step in self.trouble:
            raise self.trouble[step]

    def fetch(self, job: Job, source: Path) -> None:
        self._do("fetch")
        source.mkdir()

    def report(self, source: Path, result: Path) -> None:
        assert source.is_dir()
        self._do("report")
        with staged_folder(result) as folder:
            (folder / "dicom").mkdir()
            for name in self.objects:
                (folder / "dicom" / name).write_bytes(b"DICOM")
            (folder / "report.json").write_text("{}")

    def send(self, files: Sequence[Path]) -> None:
        assert [path.name for path in files] == sorted(self.objects)
        self._do("send")

    def worker(self, house: House, keep_source: bool = False, retry_s: float = 100.0) -> Worker:
        return Worker(0, house.queue, house.folder, self.report, self.fetch, self.send, keep_source, retry_s)


@pytest.fixture
def plot() -> Plot:
    return Plot()


def test_a_received_study_is_reported_sent_and_removed(house: House, slices: list[Dataset], plot: Plot) -> None:
    job = house.receive(slices)
    assert not plot.worker(house).work_once()
    house.close()
    assert plot.worker(house).work_once()
    assert plot.done == ["report", "send"]
    assert house.queue.find(job.id).state is State.DONE
    assert not house.folder.source(job.id).exists()
    assert (house.folder.result(job.id) / "report.json").is_file()
    assert not plot.worker(house).work_once()


def test_a_report_without_objects_is_done_and_says_so(house: House, plot: Plot) -> None:
    job, _ = house.inbox.take_reference("1.2.3")
    plot.objects = ()
    plot.worker(house).work_once()
    assert plot.done == ["fetch", "report"]
    done = house.queue.find(job.id)
    assert done.state is State.DONE
    assert "no DICOM objects" in done.problem


def test_a_reference_is_fetched_and_kept_where_wanted(house: House, plot: Plot) -> None:
    job, _ = house.inbox.take_reference("1.2.3")
    plot.worker(house, keep_source=True).work_once()
    assert plot.done == ["fetch", "report", "send"]
    assert house.folder.source(job.id).is_dir()


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("fetch", ["fetch", "fetch", "report", "send"]),
        ("report", ["fetch", "report", "report", "send"]),
        ("send", ["fetch", "report", "send", "send"]),
    ],
)
def test_killed_at_a_step_it_goes_on_from_there(house: House, plot: Plot, step: str, expected: list[str]) -> None:
    job, _ = house.inbox.take_reference("1.2.3")
    plot.trouble[step] = Killed()
    with pytest.raises(Killed):
        plot.worker(house).work_once()
    assert house.queue.find(job.id).state is State.RUNNING
    house.queue.give_back()
    plot.trouble.clear()
    plot.worker(house).work_once()
    assert plot.done == expected
    assert house.queue.find(job.id).state is State.DONE


def test_a_study_that_cannot_be_reported_says_why_without_our_folders(
    house: House, slices: list[Dataset], plot: Plot
) -> None:
    job = house.receive(slices)
    house.close()
    plot.trouble["report"] = InputError(f"{house.folder.source(job.id)}: no chest CT,\ngive another")
    plot.worker(house).work_once()
    failed = house.queue.find(job.id)
    assert failed.state is State.FAILED
    assert failed.problem == f"{job.id}: no chest CT, give another"
    assert len(house.files(job)) == len(slices)  # for those who look why


def test_a_server_that_is_down_is_tried_again_and_the_report_is_not_made_again(
    house: House, slices: list[Dataset], plot: Plot
) -> None:
    job = house.receive(slices)
    house.close()
    plot.trouble["send"] = Unreachable("it does not answer")
    worker = plot.worker(house, retry_s=12.0)
    worker.work_once()
    assert house.queue.find(job.id).state is State.QUEUED
    assert not worker.work_once()
    house.now[0] += 5
    assert worker.work_once()
    plot.trouble.clear()
    house.now[0] += 10
    assert worker.work_once()
    assert plot.done == ["report", "send", "send", "send"]
    assert house.queue.find(job.id).state is State.DONE


def test_a_server_that_stays_down_fails_the_job_in_the_end(house: House, slices: list[Dataset], plot: Plot) -> None:
    job = house.receive(slices)
    house.close()
    plot.trouble["send"] = Unreachable("it does not answer")
    worker = plot.worker(house, retry_s=20.0)
    for _ in range(20):
        worker.work_once()
        house.now[0] += 5
    failed = house.queue.find(job.id)
    assert failed.state is State.FAILED
    assert failed.problem == "it does not answer, for 4 tries"
    assert house.folder.result(job.id).is_dir()


def test_an_unexpected_error_is_tried_again_and_named_without_its_text(
    house: House, slices: list[Dataset], plot: Plot, caplog: pytest.LogCaptureFixture
) -> None:
    job = house.receive(slices)
    house.close()
    plot.trouble["report"] = ZeroDivisionError(PATIENT)
    worker = plot.worker(house)
    while worker.work_once():
        pass
    assert plot.done == ["report"] * 3
    failed = house.queue.find(job.id)
    assert failed.state is State.FAILED
    assert PATIENT not in failed.problem + caplog.text
    assert "ZeroDivisionError at worker.py:" in caplog.text


def test_an_error_from_elsewhere_has_no_place() -> None:
    assert place_of(ZeroDivisionError(PATIENT)) == "ZeroDivisionError"


def test_the_place_is_ours_whatever_the_folders_above_are_called(tmp_path: Path) -> None:
    elsewhere = tmp_path / "reg2rg" / "lib" / "library.py"
    with pytest.raises(ZeroDivisionError) as raised:
        exec(compile("1 / 0", str(elsewhere), "exec"))
    assert place_of(raised.value) == "ZeroDivisionError"
