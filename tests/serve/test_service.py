"""The service as a whole: what it refuses to start with, and what it clears away. test_orthanc.py runs all of it."""

import socket
from pathlib import Path

import pytest
from house import House
from pydicom.dataset import Dataset

from reg2rg.cli import main
from reg2rg.serve import service
from reg2rg.serve.data_folder import DataFolder
from reg2rg.serve.job import State
from reg2rg.serve.service import clean
from reg2rg.serve.settings import TOKEN_VARIABLE, ServeSettings

DAY_S = 86400.0


def refusal(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> str:
    """Starts a service that must not start; gives its one line."""
    assert main(["serve", "--data", str(folder), "--port", "0", "--dicom-port", "0", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


def test_it_does_not_start_with_what_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    data = tmp_path / "data"
    assert "unknown model" in refusal(capsys, data, "--model", "chexpert")
    assert "segmenter" in refusal(capsys, data, "--segmenter", "nobody")
    assert "certificates" in refusal(capsys, data, "--ca-file", str(tmp_path / "missing.pem"))
    assert "token" in refusal(capsys, data, "--listen", "0.0.0.0", "--allow-ae", "CT1")
    assert not data.exists()
    (tmp_path / "file").write_text("x")
    assert "cannot write there" in refusal(capsys, tmp_path / "file")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"--port {port}: cannot listen there" in refusal(capsys, data, "--port", port)


def test_two_services_do_not_share_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_LOCK_WAIT_S", 0.0)
    folder = DataFolder(tmp_path / "data")
    folder.create()
    folder.lock()
    assert "another reg2rg serve uses it" in refusal(capsys, folder.root)


def test_nobody_else_can_look_into_the_folder(house: House) -> None:
    assert house.folder.root.stat().st_mode & 0o077 == 0


def test_old_jobs_are_removed_and_others_stay(house: House, slices: list[Dataset]) -> None:
    settings = ServeSettings(str(house.folder.root), keep_days=2)
    old = house.receive(slices)
    house.close()
    house.queue.claim(0)
    house.folder.result(old.id).mkdir()
    house.queue.finish(old.id)
    house.now[0] += 1.5 * DAY_S
    waiting, _ = house.inbox.take_reference("1.2.3")
    clean(house.queue, house.folder, house.inbox, settings)
    assert house.queue.find(old.id).state is State.DONE
    assert not house.folder.source(old.id).exists()  # the service was killed before it could remove them
    assert house.folder.result(old.id).is_dir()
    house.now[0] += DAY_S
    clean(house.queue, house.folder, house.inbox, settings)
    assert house.queue.ids() == [waiting.id]
    assert not house.folder.result(old.id).exists()


def test_files_are_kept_where_that_is_wanted(house: House, slices: list[Dataset]) -> None:
    job = house.receive(slices)
    house.close()
    house.queue.finish(house.queue.claim(0).id)
    clean(house.queue, house.folder, house.inbox, ServeSettings(str(house.folder.root), keep_source=True))
    assert len(house.files(job)) == len(slices)
