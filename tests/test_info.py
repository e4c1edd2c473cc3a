"""What is installed: versions as the packages say them, and how to get what is missing."""

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy
import pytest

from reg2rg import info
from reg2rg.info import installation
from reg2rg.models import ShippedModel
from reg2rg.segment import GIVEN_MASKS, SEGMENTERS
from reg2rg.segment.program import NAME, VARIABLE


def test_what_is_installed_here() -> None:
    found = installation()
    assert found["versions"]["python"] == platform.python_version()
    assert found["versions"]["numpy"] == numpy.__version__
    assert found["models"]["phantom"] == "ready"
    assert set(found["segmenters"]) == set(SEGMENTERS)
    assert found["segmenters"]["threshold"] == f"ready: {SEGMENTERS['threshold']}"
    assert found["masks"] == {name: f"ready, by --masks: {what}" for name, what in GIVEN_MASKS.items()}
    assert int(found["machine"]["cores"]) >= 1


def test_a_missing_extra_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package in ("matplotlib", "peft"):
            raise PackageNotFoundError(package)
        return "1.0"

    monkeypatch.setattr(info, "version", version)
    found = installation()
    assert found["extras"]["train"] == "not installed (pip install 'reg2rg[train]')"
    assert found["extras"]["dicom"] == "installed"
    assert found["versions"]["peft"] == "not installed"
    assert found["versions"]["torch"] == "1.0"


def test_missing_weights_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ShippedModel, "folder", tmp_path)
    assert installation()["models"] == {"phantom": "weights missing"}


def test_which_segmenters_can_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = installation()["segmenters"]
    assert found["auto"].startswith("ready, by threshold: ")
    assert found["totalsegmentator"].startswith("not found (pip install TotalSegmentator in an environment of its own")
    program = tmp_path / NAME
    program.touch(0o755)
    found = installation()["segmenters"]
    assert found["auto"].startswith("ready, by totalsegmentator: ")
    assert found["totalsegmentator"].startswith(f"ready ({program}): ")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone"))
    found = installation()["segmenters"]
    for name in ("auto", "totalsegmentator"):
        assert found[name].startswith(f"{VARIABLE}={tmp_path / 'gone'}: expected a program")


def test_no_heavy_package_is_imported() -> None:
    code = (
        "import sys; from reg2rg.info import installation; installation(); print({'torch', 'scipy'} & {*sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
