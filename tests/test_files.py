"""Output is complete or absent, whatever happens in between, and nothing is left beside it."""

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from reg2rg import files
from reg2rg.errors import InputError
from reg2rg.files import check_free, check_writable, sha256, staged_file, staged_folder, write_json, write_record


class Interrupted(BaseException):
    """As Ctrl-C: no Exception, so that nothing catches it by accident."""


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder, hidden ones too, and what it holds; empty folders end in a slash."""
    return {
        str(path.relative_to(folder)) + ("/" if path.is_dir() else ""): "" if path.is_dir() else path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() or not any(path.iterdir())
    }


def test_a_staged_file_appears_at_the_end_and_only_then(tmp_path: Path) -> None:
    out = tmp_path / "new" / "deep" / "report.nii.gz"
    with staged_file(out) as staging:
        assert staging.parent == out.parent, "on the same disk, or renaming is copying"
        assert staging.name.startswith(".") and staging.name.endswith("report.nii.gz")
        staging.write_text("whole")
        assert not out.exists()
    assert tree(tmp_path) == {"new/deep/report.nii.gz": "whole"}
    assert out.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, Interrupted])
def test_a_file_that_fails_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    for before in ({}, {"scores.json": "old"}):
        for name, text in before.items():
            (tmp_path / name).write_text(text)
        with pytest.raises(error), staged_file(tmp_path / "scores.json") as staging:
            staging.write_text("hal")
            raise error
        assert tree(tmp_path) == before


def test_a_staged_file_replaces_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("old and longer")
    with staged_file(tmp_path / "a.csv") as staging:
        staging.write_text("new")
    assert tree(tmp_path) == {"a.csv": "new"}


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    with staged_file(tmp_path / "a") as first, staged_file(tmp_path / "a") as second:
        first.write_text("first")
        second.write_text("second")
    assert tree(tmp_path) == {"a": "first"}, "the last to end wins, whole"


def test_a_staged_folder_appears_at_the_end_and_only_then(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with staged_folder(out) as staging:
        (staging / "sub").mkdir()
        (staging / "sub/a").write_text("1")
        assert not out.exists()
    assert tree(tmp_path) == {"new/out/sub/a": "1"}
    assert out.stat().st_mode & 0o777 == 0o755


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with staged_folder(tmp_path / "out") as staging:
        (staging / "a").write_text("1")
    assert tree(tmp_path) == {"out/a": "1"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, Interrupted])
def test_a_folder_that_fails_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    out = tmp_path / "out"
    for has_results in (False, True):
        if has_results:
            write_results(out)
        before = tree(tmp_path)
        with pytest.raises(error), staged_folder(out, force=True) as staging:
            (staging / "half").write_text("hal")
            raise error
        assert tree(tmp_path) == before


def write_results(out: Path) -> None:
    """A folder as a run leaves it."""
    with staged_folder(out) as staging:
        (staging / "phantom" / "masks").mkdir(parents=True)
        (staging / "scores.csv").write_text("old")
        (staging / "phantom" / "masks" / "lung").write_text("old")
        write_record(staging, {"command": "evaluate"})


def test_force_replaces_what_a_run_left(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_results(out)
    before = tree(out)
    with staged_folder(out, force=True) as staging:
        (staging / "new").write_text("new")
        assert tree(out) == before, "until the end"
    assert tree(tmp_path) == {"out/new": "new"}


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("mydata.csv", "mydata.csv is not of that"),
        (".hidden", ".hidden is not of that"),
        ("mine/", "mine is not of that"),
        ("mine/deep.txt", "mine is not of that"),
        ("phantom/masks/mine", "phantom/masks/mine is not of that"),
        ("scores.csv", "scores.csv has been changed since"),
    ],
)
@pytest.mark.parametrize("comes", ["before", "during the work"])
def test_force_refuses_to_lose_what_is_not_its_own(tmp_path: Path, name: str, verdict: str, comes: str) -> None:
    out = tmp_path / "out"
    write_results(out)

    def put() -> None:
        path = out / name
        path.mkdir() if name.endswith("/") else path.parent.mkdir(exist_ok=True)
        if not name.endswith("/"):
            path.write_text("mine")

    if comes == "before":
        put()
    with pytest.raises(InputError, match=verdict) as refused, staged_folder(out, force=True) as staging:
        if comes == "before":
            pytest.fail("refused before the work")
        (staging / "new").write_text("new")
        put()
    assert str(refused.value).startswith(f"{out}: --force replaces only what reg2rg wrote")
    kept = tree(tmp_path)
    assert kept.get(f"out/{name}") == ("" if name.endswith("/") else "mine")
    assert {"out/run.json", "out/phantom/masks/lung"} <= kept.keys()
    assert all(path.startswith("out/") for path in kept)


@pytest.mark.parametrize("record", [None, "{", "[]", '{"command": "train"}'])
def test_force_refuses_a_folder_without_a_list_of_files(tmp_path: Path, record: str | None) -> None:
    (tmp_path / "run.json" if record else tmp_path / "scores.csv").write_text(record or "mine")
    before = tree(tmp_path)
    with pytest.raises(InputError, match="is not of that"), staged_folder(tmp_path, force=True):
        pytest.fail("refused before the work")
    assert tree(tmp_path) == before


def test_force_refuses_a_link(tmp_path: Path) -> None:
    out, mine = tmp_path / "out", tmp_path / "mine"
    write_results(out)
    mine.write_text("old")
    (out / "scores.csv").unlink()
    (out / "scores.csv").symlink_to(mine)
    with pytest.raises(InputError, match=r"scores\.csv is not of that"), staged_folder(out, force=True):
        pytest.fail("refused before the work")
    assert mine.read_text() == "old"


def test_force_replaces_a_models_folder_and_no_other_model(tmp_path: Path, untrained: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    shutil.copytree(untrained, ours)
    with staged_folder(ours, force=True) as staging:
        (staging / "new").write_text("new")
    assert tree(ours) == {"new": "new"}
    shutil.copytree(untrained, theirs)
    write_json(theirs / "config.json", {"model_type": "llama"})
    with pytest.raises(InputError, match=r"config\.json is not of that"), staged_folder(theirs, force=True):
        pytest.fail("refused before the work")


def test_a_record_lists_what_lies_beside_it(tmp_path: Path) -> None:
    write_results(tmp_path / "out")
    record = json.loads((tmp_path / "out/run.json").read_text())
    old = hashlib.sha256(b"old").hexdigest()
    assert record == {"command": "evaluate", "files": {"phantom/masks/lung": old, "scores.csv": old}}


def test_a_folder_in_use_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    for refuse in (lambda: check_free(tmp_path), lambda: staged_folder(tmp_path).__enter__()):
        with pytest.raises(InputError, match=r"not empty.*--force") as refused:
            refuse()
        assert str(tmp_path) in str(refused.value)
    assert tree(tmp_path) == {"old": "old"}
    with pytest.raises(InputError, match="old is not of that"):
        check_free(tmp_path, force=True)
    check_writable(tmp_path)
    check_free(tmp_path / "new" / "deep")
    assert tree(tmp_path) == {"old": "old"}, "asking creates nothing"


def test_a_file_where_a_folder_should_be_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(InputError, match="expected a folder to write into, found a file"):
        check_free(file, force=True)
    with pytest.raises(InputError, match="is not a writable folder"):
        check_free(file / "out")
    with pytest.raises(InputError, match="cannot write there"), staged_file(file / "out"):
        pass
    assert tree(tmp_path) == {"file": "mine"}


def test_a_folder_where_a_file_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(InputError, match=r"expected a file.*found a folder"), staged_file(tmp_path / "out.csv"):
        pytest.fail("refused before the work")
    assert tree(tmp_path) == {"out.csv/": ""}


def test_a_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in for the system's answer: the tests may run as root, who may write everywhere."""
    monkeypatch.setattr(files.os, "access", lambda path, mode: (Path(path), mode) != (tmp_path, os.W_OK | os.X_OK))
    with pytest.raises(InputError, match=f"{tmp_path} is not a writable folder"):
        check_free(tmp_path / "out")
    monkeypatch.undo()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.tempfile, "mkstemp", refuse)
    monkeypatch.setattr(files.tempfile, "mkdtemp", refuse)
    for staged in (staged_file, staged_folder):
        with (
            pytest.raises(InputError, match=r"out: cannot write there \(Permission denied\)"),
            staged(tmp_path / "out"),
        ):
            pytest.fail("refused before the work")


@pytest.mark.parametrize("is_mount", [True, False])
def test_the_current_and_a_mounted_folder_are_filled_if_empty(
    is_mount: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path if is_mount else Path()
    if is_mount:
        monkeypatch.setattr(Path, "is_mount", lambda folder: folder == tmp_path)
        monkeypatch.setattr(files.os, "access", lambda folder, _: folder == tmp_path)  # what it is mounted in is not
    else:
        monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError), staged_folder(out) as staging:
        (staging / "half").write_text("hal")
        raise RuntimeError
    assert tree(tmp_path) == {}
    with staged_folder(out) as staging:
        (staging / "sub").mkdir()
        (staging / "sub/a").write_text("1")
        (staging / "b").write_text("2")
        assert list(tmp_path.iterdir()) == [staging.absolute()]
    assert tree(tmp_path) == {"b": "2", "sub/a": "1"}
    with pytest.raises(InputError, match="is not replaced; choose one inside it"), staged_folder(out, force=True):
        pytest.fail("refused before the work")
    assert tree(tmp_path) == {"b": "2", "sub/a": "1"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_in_one_line_and_leaves_nothing(tmp_path: Path, number: int) -> None:
    for staged in (staged_file, staged_folder):
        with pytest.raises(InputError, match=r"out: the disk is full; make room"), staged(tmp_path / "out") as staging:
            (staging / "half" if staging.is_dir() else staging).write_text("hal")
            raise OSError(number, "as the system says it")
        with pytest.raises(IsADirectoryError), staged(tmp_path / "out"):
            raise IsADirectoryError(errno.EISDIR, "other errors are not about the disk")
    assert tree(tmp_path) == {}


def test_json_is_readable_and_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"name": "Ödem – 3 mm", "values": [1, 2.5, None, True]})
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == {"name": "Ödem – 3 mm", "values": [1, 2.5, None, True]}
    assert "Ödem – 3 mm" in text and text.endswith("}\n") and "\n  " in text
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert tree(tmp_path) == {"a.json": text}


def test_sha256_of_a_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4099  # longer than a read buffer
    (tmp_path / "a").write_bytes(content)
    assert sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()
    (tmp_path / "empty").touch()
    assert sha256(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
