"""The demo: a phantom's files, reported as one's own scan would be."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from reg2rg.cli import main
from reg2rg.demo import Demo, run_demo
from reg2rg.errors import InputError
from reg2rg.nifti import read_region_masks
from reg2rg.report import ModelSource, RegionReport, Report, Sentence


def test_demo_shows_truth_beside_report(tmp_path: Path, untrained: Path) -> None:
    demo = run_demo(tmp_path / "demo", seed=3, model=str(untrained))
    text = demo.to_text(100)
    assert "drawn in the phantom" in text
    assert all(name in text for name in demo.truth)
    assert max(map(len, text.splitlines()[3:5])) <= 100
    out = tmp_path / "demo"
    report = json.loads((out / "report.json").read_text())
    assert report["study"]["source"] == str(out / "phantom" / "ct.nii.gz")
    scan = nib.load(out / "phantom" / "ct.nii.gz")
    masks = read_region_masks(out / "regions.nii.gz")
    assert masks is not None
    assert masks.grid.size_xyz == scan.shape
    np.testing.assert_allclose(masks.affine, scan.affine)
    lung = nib.load(out / "phantom" / "masks" / "lung.nii.gz").get_fdata() > 0
    np.testing.assert_array_equal(masks.mask("lung"), lung)


def test_demo_counts_hits_and_misses() -> None:
    truth = {"lung": "A nodule of 12 mm in the left upper lobe. Mild emphysema.", "pleura": "No effusion."}
    written = {"lung": "A nodule of 9 mm in the left upper lobe.", "pleura": "A small left effusion."}
    box = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    regions = tuple(
        RegionReport(index, name, name, (Sentence(text),), 1.0, box, index + 1)
        for index, (name, text) in enumerate(written.items())
    )
    report = Report("1", "", (1.0, 1.0, 1.0), (9, 9, 9), "LPS", ModelSource("phantom", "", "", ""), regions)
    shown = " ".join(Demo(truth, report).to_text(100).split())
    assert "1 of 2 kinds of findings stated where they are drawn. Missed: Emphysema (lung)." in shown
    assert "Stated, but not drawn: Pleural effusion (pleura)." in shown


def test_demo_refuses_what_is_there(tmp_path: Path, untrained: Path) -> None:
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(InputError, match="not empty"):
        run_demo(tmp_path, seed=3, model=str(untrained))
    with pytest.raises(InputError, match="--seed"):
        run_demo(tmp_path / "new", seed=-1, model=str(untrained))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_demo_verb_prints_json(tmp_path: Path, untrained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", str(tmp_path / "d"), "--seed", "4", "--model", str(untrained), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert set(shown["truth"]) == {region["name"] for region in shown["report"]["regions"]}
