"""The command line as a user meets it: verbs, one-line refusals, nothing half-written."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from pytest import CaptureFixture

from reg2rg.cli import INTERRUPTED, main
from reg2rg.nifti import write_labels, write_volume
from reg2rg.phantom.world import Phantom


@pytest.fixture
def scan(tmp_path: Path, phantom_study: Phantom) -> Path:
    """A folder with a CT and its masks."""
    folder = tmp_path / "in"
    (folder / "masks").mkdir(parents=True)
    write_volume(folder / "ct.nii.gz", phantom_study.study.volume)
    for name in ("lung", "heart"):
        mask = phantom_study.study.masks.mask(name).astype(np.uint8)
        write_labels(folder / "masks" / f"{name}.nii.gz", mask, phantom_study.study.volume.affine)
    return folder


def refusal(capsys: CaptureFixture[str], *arguments: str | Path) -> str:
    """Runs a verb that must refuse; gives its one line."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as exit:
        code = int(exit.code or 0)
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err


def ct(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nib.Nifti1Image(array, np.eye(4) if affine is None else affine).to_filename(path)
    return path


def no_such_file(folder: Path) -> list[str | Path]:
    return [folder / "absent.nii.gz"]


def not_nifti(folder: Path) -> list[str | Path]:
    (folder / "x.nii.gz").write_bytes(b"hello")
    return [folder / "x.nii.gz"]


def cut_off(folder: Path) -> list[str | Path]:
    data = (folder / "ct.nii.gz").read_bytes()
    (folder / "x.nii.gz").write_bytes(data[: len(data) // 2])
    return [folder / "x.nii.gz"]


def four_axes(folder: Path) -> list[str | Path]:
    return [ct(folder / "x.nii.gz", np.random.default_rng(0).integers(-1000, 100, (4, 4, 4, 3)).astype(np.int16))]


def all_zeros(folder: Path) -> list[str | Path]:
    return [ct(folder / "x.nii.gz", np.zeros((4, 4, 4), np.int16))]


def not_a_number(folder: Path) -> list[str | Path]:
    array = np.random.default_rng(0).normal(size=(4, 4, 4)).astype(np.float32)
    array[0, 0, 0] = np.nan
    return [ct(folder / "x.nii.gz", array)]


def no_spacing(folder: Path) -> list[str | Path]:
    path = ct(folder / "x.nii", np.arange(64, dtype=np.int16).reshape(4, 4, 4))
    raw = bytearray(path.read_bytes())
    raw[80:84] = np.float32(0).tobytes()
    path.write_bytes(raw)
    return [path]


def masks_elsewhere(folder: Path) -> list[str | Path]:
    far = np.eye(4)
    far[:3, 3] = 5000
    write_labels(folder / "far.nii.gz", np.ones((4, 4, 4), np.uint8), far)
    return [folder / "ct.nii.gz", "--masks", f"heart={folder / 'far.nii.gz'}"]


def empty_masks(folder: Path) -> list[str | Path]:
    shape, affine = nib.load(folder / "ct.nii.gz").shape, nib.load(folder / "ct.nii.gz").affine
    write_labels(folder / "empty.nii.gz", np.zeros(shape, np.uint8), affine)
    return [folder / "ct.nii.gz", "--masks", f"heart={folder / 'empty.nii.gz'}"]


def no_masks_there(folder: Path) -> list[str | Path]:
    (folder / "nothing").mkdir()
    return [folder / "ct.nii.gz", "--masks", folder / "nothing"]


def no_region_at_all(folder: Path) -> list[str | Path]:
    noise = np.random.default_rng(0).normal(40, 10, (30, 30, 30)).astype(np.int16)
    return [ct(folder / "x.nii.gz", noise, np.diag([3.0, 3, 3, 1])), "--segmenter", "threshold"]


def unknown_model(folder: Path) -> list[str | Path]:
    return [folder / "ct.nii.gz", "--masks", folder / "masks", "--model", "chexpert"]


def a_pickle(folder: Path) -> list[str | Path]:
    (folder / "model").mkdir()
    (folder / "model" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    return [folder / "ct.nii.gz", "--masks", folder / "masks", "--model", folder / "model"]


def a_pickle_called_safetensors(folder: Path) -> list[str | Path]:
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")
    (folder / "model" / "model.safetensors").write_bytes(b"\x80\x04.")
    return [folder / "ct.nii.gz", "--masks", folder / "masks", "--model", folder / "model"]


def unknown_segmenter(folder: Path) -> list[str | Path]:
    return [folder / "ct.nii.gz", "--segmenter", "magic"]


def unknown_device(folder: Path) -> list[str | Path]:
    return [folder / "ct.nii.gz", "--masks", folder / "masks", "--device", "abacus"]


CASES = {
    no_such_file: "no such file",
    not_nifti: "expected a NIfTI file",
    cut_off: "damaged or cut off",
    four_axes: "expected one 3D volume",
    all_zeros: "all voxels have the value 0",
    not_a_number: "NaN",
    no_spacing: "spacing",
    masks_elsewhere: "far.nii.gz",
    empty_masks: "empty",
    no_masks_there: "lung.nii.gz",
    no_region_at_all: "not a chest CT",
    unknown_model: "unknown model 'chexpert'",
    a_pickle: "pytorch_model.bin",
    a_pickle_called_safetensors: "safetensors",
    unknown_segmenter: "magic",
    unknown_device: "abacus",
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_bad_input_is_one_line_and_leaves_nothing(
    case, scan: Path, tmp_path: Path, capsys: CaptureFixture[str]
) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "out"
    line = refusal(capsys, "report", *case(scan), "--out", out)
    assert CASES[case].lower() in line.lower()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_output_that_cannot_be_written(scan: Path, tmp_path: Path, capsys: CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert "file" in refusal(capsys, "report", scan / "ct.nii.gz", "--out", tmp_path / "file" / "out")
    assert "found a file" in refusal(capsys, "report", scan / "ct.nii.gz", "--out", tmp_path / "file")
    assert "not empty" in refusal(capsys, "report", scan / "ct.nii.gz", "--out", scan)
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in scan.iterdir()) == ["ct.nii.gz", "masks"]


def test_who_interrupts_is_told_what_goes_on(monkeypatch: pytest.MonkeyPatch, capsys: CaptureFixture[str]) -> None:
    def interrupt(args: object) -> None:
        raise KeyboardInterrupt

    for name in ("_generate", "_evaluate"):
        monkeypatch.setattr(f"reg2rg.cli.{name}", interrupt)
    assert main(["generate", "data", "--out", "p.csv"]) == INTERRUPTED
    assert capsys.readouterr().err == "reg2rg generate: interrupted; the same command goes on from here\n"
    assert main(["evaluate", "p.csv"]) == INTERRUPTED
    assert capsys.readouterr().err == "reg2rg evaluate: interrupted\n"


def without_gpu_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize(
    "work",
    [lambda: torch.empty(2**50), lambda: np.empty(2**50), without_gpu_memory, lambda: bytes(2**50)],
    ids=["torch", "numpy", "GPU", "Python"],
)
def test_lack_of_memory_is_one_line(
    work: Callable[[], object], monkeypatch: pytest.MonkeyPatch, capsys: CaptureFixture[str]
) -> None:
    monkeypatch.setattr("reg2rg.cli._regions", lambda args: work())
    assert "memory ran out" in refusal(capsys, "regions")


def test_other_errors_are_no_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(args: object) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr("reg2rg.cli._regions", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        main(["regions"])


def test_report_writes_a_whole_folder(scan: Path, untrained: Path, tmp_path: Path, capsys: CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    asked = ["report", scan / "ct.nii.gz", "--masks", scan / "masks", "--model", untrained, "--out", out]
    assert main([*map(str, asked), "--max-new-tokens", "4", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "report.json").read_text())
    assert [region["name"] for region in printed["regions"]] == ["heart", "lung"]
    assert sorted(path.name for path in out.iterdir()) == [
        "fhir.json", "regions.nii.gz", "report.html", "report.json", "report.md", "report.pdf", "run.json",
    ]  # fmt: skip
    run = json.loads((out / "run.json").read_text())
    assert run["settings"]["generation"]["max_new_tokens"] == 4
    assert len(run["input"]["sha256"]) == 64
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_several_studies_get_a_folder_each(
    scan: Path, untrained: Path, tmp_path: Path, capsys: CaptureFixture[str]
) -> None:
    good, bad = scan / "ct.nii.gz", not_nifti(scan)[0]
    out = tmp_path / "out"
    asked = ["report", good, bad, "--segmenter", "threshold", "--model", untrained, "--out", out, "--max-new-tokens", 3]
    line = refusal(capsys, *map(str, asked))
    assert "1 of 2 studies" in line
    assert (out / "ct" / "report.json").is_file()
    assert (out / "index.csv").read_text().count("reported") == 1
    (out / "mine.txt").write_text("mine")
    refusal(capsys, *map(str, asked))
    assert "kept" in (out / "index.csv").read_text()
    refusal(capsys, *map(str, asked), "--force")
    assert "kept" not in (out / "index.csv").read_text()
    (out / "ct" / "mine.txt").write_text("mine")
    refusal(capsys, *map(str, asked), "--force")
    assert "mine.txt is not of that" in (out / "index.csv").read_text()
    assert (out / "mine.txt").read_text() == (out / "ct" / "mine.txt").read_text() == "mine"


def test_lists(capsys: CaptureFixture[str]) -> None:
    assert main(["regions", "--json"]) == 0
    regions = json.loads(capsys.readouterr().out)["regions"]
    assert [region["bit"] for region in regions] == [1 << k for k in range(10)]
    assert main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["default"] == "phantom"
    assert main(["info", "--json"]) == 0
    assert "threshold" in json.loads(capsys.readouterr().out)["segmenters"]
    for verb in ("regions", "models", "info"):
        assert main([verb]) == 0
    assert "trachea and bronchie" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["regions", "models", "info"])
def test_lists_start_without_torch(verb: str) -> None:
    script = f"import sys; from reg2rg.cli import main; main(['{verb}']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0


def test_every_verb_has_help(capsys: CaptureFixture[str]) -> None:
    verbs = ("demo", "report", "phantom", "train", "generate", "convert", "regions", "models", "info")
    for verb in verbs:
        try:
            code = main([verb, "--help"])
        except SystemExit as exit:
            code = int(exit.code or 0)
        assert code == 0
        assert "usage: reg2rg" in capsys.readouterr().out


def test_wrong_options_are_one_line(capsys: CaptureFixture[str], tmp_path: Path) -> None:
    assert "--help" in refusal(capsys, "report", "x.nii.gz")
    assert "--help" in refusal(capsys, "sing")
    assert "perhaps --temperature); see reg2rg report --help" in refusal(
        capsys, "report", "x.nii.gz", "--out", tmp_path, "--temprature", ".3"
    )
    assert "unrecognized arguments: --step 5" in refusal(capsys, "train", "--step", "5")
    assert "unrecognized arguments: --dat x" in refusal(capsys, "serve", "--dat", "x")
    assert "unknown: --mask" in refusal(capsys, "report", "x.nii.gz", "--out", tmp_path, "--mask", "m")
    assert "--help" in refusal(capsys, "train", "--steps", "many")
    assert "--count" in refusal(capsys, "phantom", tmp_path, "--count", "0", "--seed", "1")
    assert "no such" in refusal(capsys, "generate", tmp_path / "absent", "--out", tmp_path / "p.csv")
    assert "--vit3d and --perceiver together" in refusal(capsys, "convert", "--llm", tmp_path, "--out", tmp_path / "o")


def test_convert_reads_the_files_it_is_given(capsys: CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "llm").mkdir()
    (tmp_path / "broken").write_bytes(b"no checkpoint")
    llm = ("--llm", tmp_path / "llm", "--out", tmp_path / "out")
    assert "config.json" in refusal(capsys, "convert", tmp_path / "broken", *llm)
    radfm = ("--vit3d", tmp_path / "broken", "--perceiver", tmp_path / "broken")
    assert "config.json" in refusal(capsys, "convert", *radfm, *llm)
    assert not (tmp_path / "out").exists()


def test_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "reg2rg", "regions"]
    assert "thyroid" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_phantom_verb_writes_the_layout(tmp_path: Path, capsys: CaptureFixture[str]) -> None:
    asked = ["phantom", str(tmp_path), "--count", "1", "--seed", "3", "--split", "valid", "--workers", "1"]
    assert main([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 1
    assert (tmp_path / "dataset/valid_preprocessed/valid_1/valid_1a/valid_1_a_1.nii.gz").is_file()
