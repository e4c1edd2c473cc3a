"""Studies come in: complete, once, and in nobody's way."""

import io
import os
import struct
import zipfile
from pathlib import Path

import pytest
from house import PATIENT, House, as_file
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage

from reg2rg.serve.inbox import read_study_uid
from reg2rg.serve.job import Origin, State
from reg2rg.serve.queue import Queue
from reg2rg.serve.refusal import Reason, Refusal


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def end(house: House, job_id: str, state: State = State.DONE, keep_source: bool = False) -> None:
    """What the worker leaves behind."""
    assert house.queue.claim(0).id == job_id
    if state is State.FAILED:
        house.queue.fail(job_id, "for a reason")
        return
    house.queue.finish(job_id)
    if not keep_source:
        house.folder.remove(house.folder.source(job_id))


def test_a_study_is_queued_when_it_was_quiet(house: House, slices: list[Dataset]) -> None:
    job = house.receive(slices[:3])
    house.now[0] += 29
    assert house.inbox.close_quiet(30) == []
    assert house.receive(slices[3:]).id == job.id
    house.now[0] += 29
    assert house.inbox.close_quiet(30) == []
    house.now[0] += 1
    (closed,) = house.inbox.close_quiet(30)
    assert (closed.id, closed.state, closed.origin) == (job.id, State.QUEUED, Origin.DICOM)
    assert len(house.files(job)) == len(slices)
    assert sorted((house.folder.source(job.id) / name).read_bytes() for name in house.files(job)) == sorted(
        as_file(dataset) for dataset in slices
    )
    assert not list(house.folder.temporary.iterdir())


def test_two_studies_are_two_jobs(house: House, slices: list[Dataset]) -> None:
    one = house.receive(slices)
    for dataset in slices:
        dataset.StudyInstanceUID = "2.25.77"
    assert house.receive(slices).id != one.id
    assert len(house.close()) == 2


def test_the_same_object_twice_is_there_once(house: House, slices: list[Dataset]) -> None:
    job = house.receive([*slices, *slices])
    assert len(house.files(job)) == len(slices)


def test_late_objects_join_a_job_that_has_not_begun(house: House, slices: list[Dataset]) -> None:
    job = house.receive(slices[:3])
    house.close()
    assert house.receive(slices[3:]).id == job.id
    assert house.queue.claim(0) is None
    assert [closed.id for closed in house.close()] == [job.id]
    assert len(house.files(job)) == len(slices)


def test_what_is_sent_again_after_the_report_is_not_done_again(house: House, slices: list[Dataset]) -> None:
    job = house.receive(slices)
    house.close()
    end(house, job.id)
    again = house.receive(slices[1:3])
    assert again.id != job.id
    assert house.close() == []
    assert house.queue.ids() == [job.id]
    assert not house.folder.source(again.id).exists()


def test_what_is_sent_again_during_the_report_is_not_done_again(house: House, slices: list[Dataset]) -> None:
    job = house.receive(slices)
    house.close()
    house.queue.claim(0)
    house.receive(slices)
    assert house.close() == []
    assert house.queue.ids() == [job.id]


def test_objects_that_come_during_the_report_make_a_job_of_the_whole_study(house: House, slices: list[Dataset]) -> None:
    job = house.receive(slices[:3])
    house.close()
    assert house.queue.claim(0).id == job.id
    late = house.receive(slices[3:])
    assert len(house.files(job)) == 3  # what the worker reads does not change
    assert [closed.state for closed in house.close()] == [State.QUEUED]
    assert house.queue.claim(1) is None  # one study is not worked on twice at once
    house.queue.finish(job.id)
    house.folder.remove(house.folder.source(job.id))
    assert house.queue.claim(0).id == late.id
    assert len(house.files(late)) == len(slices)


def test_objects_that_come_after_the_report_alone_are_no_study(house: House, slices: list[Dataset]) -> None:
    job = house.receive(slices[:3])
    house.close()
    end(house, job.id)
    house.receive(slices[3:])
    (late,) = house.close()
    assert late.state is State.FAILED
    assert "send the whole study again" in late.problem
    whole = house.receive(slices)
    assert [(closed.id, closed.state) for closed in house.close()] == [(whole.id, State.QUEUED)]


def test_kept_files_make_late_objects_a_study(house: House, slices: list[Dataset]) -> None:
    job = house.receive(slices[:3])
    house.close()
    end(house, job.id, keep_source=True)
    late = house.receive(slices[3:])
    assert [closed.state for closed in house.close()] == [State.QUEUED]
    assert len(house.files(late)) == len(slices)


def test_a_failed_study_may_be_sent_again(house: House, slices: list[Dataset]) -> None:
    job = house.receive(slices)
    house.close()
    end(house, job.id, State.FAILED)
    again = house.receive(slices)
    assert [(closed.id, closed.state) for closed in house.close()] == [(again.id, State.QUEUED)]


def test_a_study_of_which_something_was_refused_is_not_reported(house: House, slices: list[Dataset]) -> None:
    house.receive(slices[:2])
    house.folder.free_mib = 2**40
    with pytest.raises(Refusal) as caught:
        house.receive(slices[2:3])
    assert caught.value.reason is Reason.DISK_FULL
    house.folder.free_mib = 0
    (failed,) = house.close()
    assert failed.state is State.FAILED
    assert failed.problem.startswith("1 objects of the study were refused")


def test_what_was_refused_may_come_again(house: House, slices: list[Dataset]) -> None:
    house.folder.free_mib = 2**40
    with pytest.raises(Refusal):
        house.receive(slices[:1])
    house.folder.free_mib = 0
    house.receive(slices)
    assert [closed.state for closed in house.close()] == [State.QUEUED]


def test_a_study_has_a_largest_size(house: House, slices: list[Dataset]) -> None:
    for dataset in slices:
        dataset.Rows, dataset.Columns, dataset.PixelData = 512, 400, bytes(400 * 1024)
    with pytest.raises(Refusal, match="study is larger"):
        house.receive(slices)
    slices[0].PixelData = bytes(2**20)
    with pytest.raises(Refusal, match="object is larger"):
        house.receive(slices)


@pytest.mark.parametrize("content", [b"", b"hello", bytes(128) + b"DICM", bytes(128) + b"DICM" + os.urandom(200)])
def test_what_is_no_dicom_is_refused(house: House, content: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        house.inbox.receive(content)
    assert caught.value.reason is Reason.NOT_DICOM
    assert house.queue.ids() == []


def test_other_objects_are_refused(house: House, slices: list[Dataset]) -> None:
    slices[0].SOPClassUID = MRImageStorage
    with pytest.raises(Refusal, match="object of another kind"):
        house.receive(slices[:1])
    del slices[1].StudyInstanceUID
    with pytest.raises(Refusal):
        house.receive(slices[1:2])
    assert house.queue.ids() == []


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID"])
@pytest.mark.parametrize("value", ["../../../etc/passwd", PATIENT, "1" * 65])
@pytest.mark.filterwarnings("ignore:.*for VR UI")
def test_what_is_no_uid_is_refused(house: House, slices: list[Dataset], keyword: str, value: str) -> None:
    setattr(slices[0], keyword, value)
    with pytest.raises(Refusal, match="are UIDs") as caught:
        house.receive(slices[:1])
    assert value not in str(caught.value)
    assert house.queue.ids() == []


def test_uids_name_no_files(house: House, slices: list[Dataset]) -> None:
    slices[0].SOPInstanceUID = ".."
    (name,) = house.files(house.receive(slices[:1]))
    assert len(name) == len("0" * 32 + ".dcm")


def test_a_zip_is_unpacked_under_names_of_our_own(house: House, slices: list[Dataset], tmp_path: Path) -> None:
    members = {f"../../{PATIENT}/{k}": as_file(dataset) for k, dataset in enumerate(slices)}
    archive = make_zip(tmp_path / "a.zip", {**members, f"{PATIENT}.txt": b"a letter"})
    job, is_new = house.inbox.take_zip(archive, "digest")
    assert is_new
    assert job.state is State.QUEUED
    assert len(house.files(job)) == len(slices)
    assert all(name[:6].isdigit() for name in house.files(job))
    assert not archive.exists()
    assert not list(house.folder.temporary.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_the_same_zip_is_the_same_job_unless_it_failed(house: House, slices: list[Dataset], tmp_path: Path) -> None:
    members = {"1": as_file(slices[0])}
    first, _ = house.inbox.take_zip(make_zip(tmp_path / "a.zip", members), "digest")
    again, is_new = house.inbox.take_zip(make_zip(tmp_path / "a.zip", members), "digest")
    assert (again.id, is_new) == (first.id, False)
    end(house, first.id, State.FAILED)
    third, is_new = house.inbox.take_zip(make_zip(tmp_path / "a.zip", members), "digest")
    assert is_new
    assert third.id != first.id


def a_bomb(path: Path) -> Path:
    return make_zip(path, {"bomb": bytes(128) + b"DICM" + bytes(2 * 2**20)})


def many_small_bombs(path: Path) -> Path:
    return make_zip(path, {str(k): bytes(128) + b"DICM" + bytes(2**19) for k in range(3)})


def a_lie_about_its_size(path: Path) -> Path:
    """The directory declares 100 bytes, the member unpacks to more: zipfile stops at what was declared."""
    make_zip(path, {"1": bytes(128) + b"DICM" + bytes(2**20)})
    content = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        struct.pack_into("<I", content, content.rindex(signature) + place, 200)
    path.write_bytes(content)
    return path


def no_dicom_in_it(path: Path) -> Path:
    return make_zip(path, {f"{PATIENT}.txt": b"hello"})


def cut_off(path: Path) -> Path:
    content = make_zip(path, {PATIENT: bytes(128) + b"DICM" + os.urandom(5000)}).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def no_zip(path: Path) -> Path:
    path.write_bytes(b"hello")
    return path


@pytest.mark.parametrize("make", [a_bomb, many_small_bombs, a_lie_about_its_size, no_dicom_in_it, cut_off, no_zip])
def test_hostile_zips_are_refused_and_leave_nothing(house: House, tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    archive = make(tmp_path / "a.zip")
    with pytest.raises(Refusal) as caught:
        house.inbox.take_zip(archive, "digest")
    assert PATIENT not in str(caught.value)
    assert str(caught.value).count("\n") == 0
    assert house.queue.ids() == []
    assert not archive.exists()
    assert not list(house.folder.temporary.iterdir())
    assert not list(house.folder.sources.iterdir())


def test_a_study_is_known_by_its_uid_whichever_way_it_came(house: House, slices: list[Dataset], tmp_path: Path) -> None:
    sent = house.receive(slices)
    members = {"0": bytes(128) + b"DICM" + os.urandom(100), "1": as_file(slices[0])}
    uploaded, _ = house.inbox.take_zip(make_zip(tmp_path / "a.zip", members), "digest")
    assert read_study_uid(house.folder.source(sent.id)) == slices[0].StudyInstanceUID
    assert read_study_uid(house.folder.source(uploaded.id)) == slices[0].StudyInstanceUID
    assert read_study_uid(house.folder.temporary) is None


def test_a_reference_is_queued_once(house: House) -> None:
    first, is_new = house.inbox.take_reference("1.2.3", "1.2.4")
    assert is_new
    assert house.inbox.take_reference("1.2.3", "1.2.4") == (first, False)
    assert house.inbox.take_reference("1.2.3")[1]


def test_a_deleted_job_leaves_nothing(house: House, slices: list[Dataset]) -> None:
    job = house.receive(slices)
    house.close()
    house.queue.claim(0)
    with pytest.raises(Refusal) as caught:
        house.inbox.delete(job.id)
    assert caught.value.reason is Reason.NOT_POSSIBLE
    house.queue.finish(job.id)
    house.folder.result(job.id).mkdir()
    assert house.inbox.delete(job.id)
    assert not house.inbox.delete(job.id)
    assert not list(house.folder.sources.iterdir())
    assert not list(house.folder.results.iterdir())
    assert house.queue.instances(job.id) == frozenset()


def test_what_a_kill_left_is_swept(house: House, slices: list[Dataset]) -> None:
    job = house.receive(slices)
    for place in (house.folder.temporary, house.folder.sources, house.folder.results):
        (place / "left").mkdir()
        (place / "left" / "file").write_bytes(b"x")
    house.folder.sweep(Queue(house.folder.queue).ids())
    assert [path.name for path in house.folder.sources.iterdir()] == [job.id]
    assert len(house.files(job)) == len(slices)
    assert not list(house.folder.results.iterdir())
    assert not list(house.folder.temporary.iterdir())


def test_a_kill_before_the_answer_loses_nothing_that_was_answered(house: House, slices: list[Dataset]) -> None:
    """The file is in its place and the transaction is not committed: the sender sends it again."""
    job = house.receive(slices[:2])
    before = house.files(job)

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    note, house.queue.note_instance = house.queue.note_instance, die
    with pytest.raises(Killed):
        house.receive(slices[2:3])
    house.queue.note_instance = note
    assert set(house.files(job)) > set(before)
    assert len(house.queue.instances(job.id)) == 2
    house.receive(slices[2:])
    assert [closed.state for closed in house.close()] == [State.QUEUED]
    assert len(house.files(job)) == len(slices) == len(house.queue.instances(job.id))


def test_a_kill_while_a_late_job_is_put_together_is_made_good(house: House, slices: list[Dataset]) -> None:
    job = house.receive(slices[:3])
    house.close()
    end(house, job.id, keep_source=True)
    late = house.receive(slices[3:])

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    move, house.queue.move = house.queue.move, die
    with pytest.raises(Killed):
        house.close()
    house.queue.move = move
    assert len(house.queue.instances(late.id)) == 2
    assert [(closed.id, closed.state) for closed in house.close()] == [(late.id, State.QUEUED)]
    assert len(house.files(late)) == len(slices)


def test_an_encrypted_zip_is_refused(house: House, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("1", bytes(128) + b"DICM")
    content = bytearray(buffer.getvalue())
    for signature, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        content[content.rindex(signature) + place] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(Refusal, match="encrypted"):
        house.inbox.take_zip(tmp_path / "a.zip", "digest")
