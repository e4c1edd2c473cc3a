from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reg2rg.errors import InputError
from reg2rg.phantom.world import make_phantom
from reg2rg.segment import auto, threshold
from reg2rg.segment.program import NAME, VARIABLE
from reg2rg.segment.segmentation import Segmentation
from reg2rg.volume import RegionMasks, Volume

NO_LUNGS = Volume(np.zeros((9, 9, 9), np.int16), np.eye(4))
DRAWN = Segmentation(RegionMasks(np.ones((9, 9, 9), np.uint16), np.eye(4)), ("from thresholds",))


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))


def install(folder: Path) -> None:
    """A program on PATH that fails whatever it is asked."""
    (folder / NAME).write_text("#!/bin/sh\necho out of memory\nexit 1\n")
    (folder / NAME).chmod(0o755)


def test_the_masks_and_warnings_of_threshold() -> None:
    volume = make_phantom(7).study.volume
    right_half = Volume(volume.array[volume.array.shape[0] // 2 :], volume.affine)
    drawn, plain = auto.segment(right_half), threshold.segment(right_half)
    np.testing.assert_array_equal(drawn.masks.array, plain.masks.array)
    assert drawn.masks.sources == plain.masks.sources
    assert drawn.masks.grid.matches(right_half.grid)
    assert len(plain.warnings) > 1 and drawn.warnings == plain.warnings
    assert "approximate" in plain.warnings[0] and "--masks" in plain.warnings[0]


def test_no_lungs_are_refused_as_threshold_does() -> None:
    with pytest.raises(InputError, match=r"^no lungs found"):
        auto.segment(NO_LUNGS)


def test_totalsegmentator_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path)
    better = replace(DRAWN, warnings=())
    monkeypatch.setattr(auto, "segment_by_totalsegmentator", lambda _: better)
    assert auto.segment(NO_LUNGS) is better


def test_thresholds_where_totalsegmentator_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path)
    monkeypatch.setattr(auto, "segment_by_threshold", lambda _: DRAWN)
    failed = "TotalSegmentator, task total, failed (out of memory)"
    assert auto.segment(NO_LUNGS).warnings == (failed, "from thresholds")


def test_a_variable_that_names_no_program_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/nowhere/TotalSegmentator")
    with pytest.raises(InputError, match=f"^{VARIABLE}=/nowhere/TotalSegmentator: expected a program"):
        auto.segment(NO_LUNGS)
