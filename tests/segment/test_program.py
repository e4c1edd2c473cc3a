"""A program that stands in for TotalSegmentator: found, asked, listened to, and blamed with its last line."""

import logging
import sys
from pathlib import Path

import pytest

from reg2rg.errors import InputError
from reg2rg.segment.program import NAME, VARIABLE, find_program, program_version, run_task

PREFIX = f"#!{sys.executable}\nimport sys, pathlib\nout = pathlib.Path(sys.argv[4]) if len(sys.argv) > 4 else None\n"


def script(folder: Path, body: str, name: str = NAME) -> str:
    path = folder / name
    path.write_text(PREFIX + body)
    path.chmod(0o755)
    return str(path)


def test_the_variable_comes_before_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = script(tmp_path, "")
    named = script(tmp_path, "", "other")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    assert find_program() == on_path
    monkeypatch.setenv(VARIABLE, named)
    assert find_program() == named
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(InputError, match=f"^{VARIABLE}=.*gone: expected a program that can be run"):
        find_program()
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert find_program() is None


@pytest.mark.parametrize(
    ("body", "version"),
    [
        ("print('2.4.0')", "2.4.0"),
        ("print('warning', file=sys.stderr, flush=True); print('2.4.0')", "2.4.0"),
        ("sys.exit('none')", "unknown version"),
        ("", "unknown version"),
    ],
)
def test_versions(tmp_path: Path, body: str, version: str) -> None:
    assert program_version(script(tmp_path, "assert sys.argv[1:] == ['--version']\n" + body)) == version


def test_the_documented_command_line_and_the_progress(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    program = script(
        tmp_path,
        "print('Predicting')\nsys.stdout.flush()\nsys.stderr.write(' 50%\\r100%\\n')\nsys.stderr.flush()\n"
        "print(' '.join(sys.argv[1:4:2] + sys.argv[5:]))\nout.write_text('done')",
    )
    ct, out = tmp_path / "ct.nii.gz", tmp_path / "total.nii.gz"
    with caplog.at_level(logging.INFO, logger="reg2rg.segment"):
        run_task(program, "total", ct, out)
    assert out.read_text() == "done"
    assert caplog.messages == ["Predicting", "50%", "100%", "-i -o --ml --task total"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("print('Loading'); sys.exit('no licence')", "TotalSegmentator, task breasts, failed (no licence)"),
        ("sys.exit(3)", "TotalSegmentator, task breasts, failed (exit code 3)"),
        ("print('Done')", "TotalSegmentator, task breasts, wrote no file (Done)"),
        ("print('x' * 999); sys.exit(1)", f"TotalSegmentator, task breasts, failed ({'x' * 200})"),
    ],
)
def test_failures_give_the_last_line(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        run_task(script(tmp_path, body), "breasts", tmp_path / "ct.nii.gz", tmp_path / "out.nii.gz")
    assert str(caught.value) == message


def test_what_is_no_program_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/nowhere/python\n")
    broken.chmod(0o755)
    with pytest.raises(InputError, match="could not be started"):
        run_task(str(broken), "total", tmp_path / "ct.nii.gz", tmp_path / "out.nii.gz")
    assert program_version(str(broken)) == "unknown version"
