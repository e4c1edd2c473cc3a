"""Hostile files through the command line: one line on standard error, exit 2, nothing left behind."""

import gzip
import json
import pickle
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pytest import CaptureFixture
from safetensors.torch import load_file, save_file
from scanner import block, make_series, save

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.cli import main
from reg2rg.nifti import write_labels, write_volume
from reg2rg.phantom.world import Phantom

Arguments = list[str | Path]
IS_LINUX = sys.platform == "linux"
DIM, DATATYPE, PIXDIM, VOX_OFFSET, SLOPE, QFORM_CODE, SFORM, MAGIC = 40, 70, 76, 108, 112, 252, 280, 344  # NIfTI-1


@pytest.fixture
def folder(tmp_path: Path, phantom_study: Phantom, untrained: Path) -> Path:
    """``ct.nii`` (a chest CT), ``lung.nii.gz`` (its mask) and ``model`` (a whole one)."""
    folder = tmp_path / "in"
    folder.mkdir()
    study = phantom_study.study
    write_volume(folder / "ct.nii", study.volume)
    write_labels(folder / "lung.nii.gz", study.masks.mask("lung").astype(np.uint8), study.volume.affine)
    shutil.copytree(untrained, folder / "model")
    return folder


def patched(folder: Path, *changes: tuple[int, Any], name: str = "x.nii") -> Arguments:
    """The CT with other bytes at some places of its header."""
    data = bytearray((folder / "ct.nii").read_bytes())
    for place, value in changes:
        data[place : place + len(value.tobytes())] = value.tobytes()
    (folder / name).write_bytes(gzip.compress(data, 1) if name.endswith("gz") else data)
    return [folder / name]


def remade(folder: Path, make: Callable[[np.ndarray], np.ndarray]) -> Arguments:
    """The CT with other voxels."""
    image = nib.load(folder / "ct.nii")
    nib.Nifti1Image(make(np.asarray(image.dataobj)), image.affine).to_filename(folder / "x.nii")
    return [folder / "x.nii"]


def written(folder: Path, content: bytes, name: str = "x.nii.gz") -> Arguments:
    (folder / name).write_bytes(content)
    return [folder / name]


def cut(folder: Path, length: int) -> Arguments:
    return written(folder, (folder / "ct.nii").read_bytes()[:length], "x.nii")


def bomb(folder: Path) -> Arguments:
    header = bytearray((folder / "ct.nii").read_bytes()[:352])
    header[DIM : DIM + 8] = np.array([3, 512, 512, 256], "i2").tobytes()
    with gzip.open(folder / "x.nii.gz", "wb", 1) as packed:
        packed.write(header)
        for _ in range(256):
            packed.write(bytes(2 * 512 * 512))
    return [folder / "x.nii.gz"]


def looped(folder: Path) -> Arguments:
    (folder / "x.nii.gz").symlink_to(folder / "y.nii.gz")
    (folder / "y.nii.gz").symlink_to(folder / "x.nii.gz")
    return [folder / "x.nii.gz"]


def named(folder: Path, name: str) -> Arguments:
    (folder / name).mkdir()
    return [folder / name]


def mask(folder: Path, make: Callable[[np.ndarray], np.ndarray], affine: np.ndarray | None = None) -> Arguments:
    """The CT with a changed lung mask."""
    image = nib.load(folder / "lung.nii.gz")
    array = make(np.asarray(image.dataobj))
    nib.Nifti1Image(array, image.affine if affine is None else affine).to_filename(folder / "m.nii")
    return [folder / "ct.nii", "--masks", f"lung={folder / 'm.nii'}"]


def given(folder: Path, argument: str) -> Arguments:
    return [folder / "ct.nii", "--masks", argument]


def model(folder: Path, name: str, content: bytes | None) -> Arguments:
    """A model with another file of this name, or without it."""
    (folder / "model" / name).unlink(missing_ok=True)
    if content is not None:
        (folder / "model" / name).write_bytes(content)
    return [folder / "ct.nii", "--masks", f"lung={folder / 'lung.nii.gz'}", "--model", folder / "model"]


def config(folder: Path, **changes: Any) -> Arguments:
    values = json.loads((folder / "model/config.json").read_text())
    return model(folder, "config.json", json.dumps(values | changes).encode())


def weights(folder: Path, change: Callable[[dict[str, Any]], None]) -> Arguments:
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / "model/model.safetensors").items()}
    change(tensors)
    (folder / "model/model.safetensors").unlink()
    save_file(tensors, folder / "model/model.safetensors", {"format": "pt"})
    return [folder / "ct.nii", "--masks", f"lung={folder / 'lung.nii.gz'}", "--model", folder / "model"]


def out_folder(folder: Path) -> Path:
    return folder.parent / "out"


def many(folder: Path, name: Callable[[int], str]) -> Arguments:
    """A folder of 5,000 tiny files."""
    (folder / "many").mkdir()
    for number in range(5000):
        (folder / "many" / name(number)).write_bytes(bytes(number % 7))
    return [folder / "many"]


def many_masks(folder: Path, name: Callable[[int], str]) -> Arguments:
    return [folder / "ct.nii", "--masks", *many(folder, name)]


def escaping(folder: Path, target: Path) -> Arguments:
    """The CT with a folder of masks, of which one is a link to somewhere else."""
    (folder / "masks").mkdir()
    (folder / "masks/lung.nii.gz").symlink_to(target)
    return [folder / "ct.nii", "--masks", folder / "masks"]


def index(folder: Path, file: str) -> Arguments:
    """A model whose index says that its weights are in this file."""
    content = json.dumps({"weight_map": {"a": file}}).encode()
    arguments = model(folder, "model.safetensors.index.json", content)
    (folder / "model/model.safetensors").rename(folder / "weights.safetensors")
    return arguments


def first_to(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array = array.astype(np.float32)
        array[0, 0, 0] = value
        return array

    return change


def series(folder: Path, change: Callable[[list[Dataset]], list[Dataset]]) -> Arguments:
    """A small DICOM series with something wrong in it."""
    return [save(folder / "series", change(make_series(block())))]


def linked_series(folder: Path) -> Arguments:
    """A folder in which every slice is a link to a file elsewhere."""
    slices = save(folder / "elsewhere", make_series(block()))
    (folder / "series").mkdir()
    for file in slices.iterdir():
        (folder / "series" / file.name).symlink_to(file)
    return [folder / "series"]


def zipped(folder: Path, *members: tuple[str, bytes]) -> Arguments:
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return [folder / "x.zip"]


def zip_bomb(folder: Path) -> Arguments:
    """A zip that says it unpacks to 3 GiB."""
    (path,) = zipped(folder, ("zeros.dcm", bytes(2**20)))
    content = bytearray(Path(path).read_bytes())
    at = content.index(b"PK\1\2") + 24
    content[at : at + 4] = (3 * 2**30).to_bytes(4, "little")
    Path(path).write_bytes(content)
    return [path]


def in_slice(keyword: str, value: object) -> Callable[[list[Dataset]], list[Dataset]]:
    def change(datasets: list[Dataset]) -> list[Dataset]:
        setattr(datasets[2], keyword, value)
        return datasets

    return change


def damaged_files(folder: Path) -> Arguments:
    """Slices that all end in the middle of their header."""
    slices = save(folder / "series", make_series(block()))
    for file in slices.iterdir():
        file.write_bytes(file.read_bytes()[:200])
    return [slices]


F4, I2 = (lambda *v: np.array(v, "f4")), (lambda *v: np.array(v, "i2"))
NO_CHEST = "not a chest CT:"

SCANS: dict[str, tuple[Callable[[Path], Arguments], str]] = {
    "empty file": (lambda f: written(f, b""), "NIfTI"),
    "one byte": (lambda f: cut(f, 1), "NIfTI"),
    "half a header": (lambda f: cut(f, 174), "NIfTI"),
    "header only": (lambda f: cut(f, 352), "cut off"),
    "one slice short": (lambda f: cut(f, -2000), "cut off"),
    "empty gzip": (lambda f: written(f, gzip.compress(b"")), "NIfTI"),
    "gzip of text": (lambda f: written(f, gzip.compress(b"Dear colleague " * 99)), "NIfTI"),
    "5,000 tiny files": (lambda f: many(f, lambda n: f"{n}.dcm"), "expected DICOM images, found none in 5000 files"),
    "gzip magic only": (lambda f: written(f, b"\x1f\x8b\x08"), "x.nii.gz"),
    "wrong magic": (lambda f: patched(f, (MAGIC, np.bytes_(b"abc"))), "NIfTI"),
    "unknown datatype": (lambda f: patched(f, (DATATYPE, I2(31000))), "NIfTI"),
    "nan affine": (lambda f: patched(f, (SFORM, F4(np.nan))), "affine"),
    "infinite affine": (lambda f: patched(f, (SFORM, F4(np.inf))), "affine"),
    "axes coincide": (lambda f: patched(f, (SFORM, F4(1, 0, 0, 0, 1, 0, 0, 0))), "singular"),
    "infinite spacing": (lambda f: patched(f, (PIXDIM + 4, F4(np.inf))), "spacing"),
    "nan spacing": (lambda f: patched(f, (PIXDIM + 8, F4(np.nan))), "spacing"),
    "zero axis": (lambda f: patched(f, (DIM, I2(3, 0, 10, 10))), "voxels along every axis"),
    "negative axis": (lambda f: patched(f, (DIM, I2(3, -5, 10, 10))), "voxels along every axis"),
    "nine axes": (lambda f: patched(f, (DIM, I2(9, 10, 10, 10))), "x.nii"),
    "absurd size": (lambda f: patched(f, (DIM, I2(3, 32767, 32767, 32767))), "at most"),
    "absurd size, packed": (lambda f: patched(f, (DIM, I2(3, 32767, 32767, 32767)), name="x.nii.gz"), "at most"),
    "large size without data": (lambda f: patched(f, (DIM, I2(3, 1024, 1024, 1000))), "cut off"),
    "large size without data, packed": (
        lambda f: written(f, gzip.compress(patched(f, (DIM, I2(3, 1024, 1024, 1000)))[0].read_bytes()[:352])),
        "cut off",
    ),
    "voxels behind the end": (lambda f: patched(f, (VOX_OFFSET, F4(1e9))), "cut off"),
    "slope of infinity": (lambda f: patched(f, (SLOPE, F4(np.inf, 0))), "x.nii"),
    "slope without end": (lambda f: patched(f, (SLOPE, F4(1e30, 0))), "expected HU"),
    "gzip bomb": (bomb, "all voxels have the value"),
    "nan voxel": (lambda f: remade(f, first_to(np.nan)), "NaN"),
    "infinite voxel": (lambda f: remade(f, first_to(np.inf)), "infinite"),
    "complex": (lambda f: remade(f, lambda a: a.astype(np.complex64)), "one number per voxel"),
    "rgb": (
        lambda f: remade(f, lambda a: np.zeros(a.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])),
        "one number per voxel",
    ),
    "two axes": (lambda f: remade(f, lambda a: a[:, :, 0]), "3D volume"),
    "five axes": (lambda f: remade(f, lambda a: np.stack([a[:9, :9, :9]] * 2, -1)[:, :, :, None]), "3D volume"),
    "two time points": (lambda f: remade(f, lambda a: np.stack([a, a], -1)), "give one time point"),
    "zero spacing": (
        lambda f: patched(f, (PIXDIM + 4, F4(0)), (QFORM_CODE, I2(0, 0))),
        "expected a voxel spacing in mm",
    ),
    "an axis without length": (lambda f: patched(f, (SFORM, F4(0, 0, 0, 0))), "singular"),
    "one slice": (lambda f: remade(f, lambda a: a[:, :, 30:31]), NO_CHEST),
    "one voxel": (lambda f: remade(f, lambda a: a[:1, :1, :1]), "all voxels have the value"),
    "huge spacing": (lambda f: patched(f, (SFORM, F4(9e5, 0, 0, 0, 0, 9e5, 0, 0, 0, 0, 9e5, 0))), NO_CHEST),
    "tiny spacing": (lambda f: patched(f, (SFORM, F4(1e-2, 0, 0, 0, 0, 1e-2, 0, 0, 0, 0, 1e-2, 0))), NO_CHEST),
    "whole numbers from 0": (lambda f: remade(f, lambda a: a + np.int16(1024)), "HU + 1024"),
    "eight bits": (lambda f: remade(f, lambda a: ((a.clip(-1000, 400) + 1000) // 6).astype("u1")), NO_CHEST),
    "air": (lambda f: remade(f, lambda a: a // 100 - 1000), NO_CHEST),
    "symlink loop": (looped, "no such file"),
    "folder called nii": (lambda f: named(f, "x.nii.gz"), "x.nii.gz"),
    "name too long": (lambda f: [f / ("x" * 300 + ".nii")], "long"),
    "nul in the name": (lambda f: [str(f / "x\0.nii")], "x"),
    "no ending": (lambda f: written(f, (f / "ct.nii").read_bytes(), "x.mha"), "expected a CT"),
    "a pickle": (lambda f: written(f, pickle.dumps([1]), "x.nii"), "NIfTI"),
    "DICOM: one slice": (lambda f: series(f, lambda d: d[:1]), "at least 3 slices, found 1"),
    "DICOM: a slice is missing": (lambda f: series(f, lambda d: d[:3] + d[4:]), "slices are missing between"),
    "DICOM: no chest": (lambda f: series(f, lambda d: d), NO_CHEST),
    "DICOM: no spacing": (lambda f: series(f, in_slice("PixelSpacing", [0, 0])), "expected a PixelSpacing in mm"),
    "DICOM: no direction": (lambda f: series(f, in_slice("ImageOrientationPatient", [0] * 6)), "at right angles"),
    "DICOM: too few pixels": (lambda f: series(f, in_slice("PixelData", bytes(10))), "damaged or cut off"),
    "DICOM: absurd size": (lambda f: series(f, in_slice("Rows", 65535)), "mixes sizes"),
    "DICOM: headers cut off": (damaged_files, "series"),
    "DICOM: links out of the folder": (linked_series, "found no files (links are not followed)"),
    "DICOM: a single file of text": (lambda f: written(f, b"Dear colleague", "x.dcm"), "x.dcm"),
    "DICOM: an empty folder": (lambda f: named(f, "series"), "series"),
    "zip of text": (lambda f: zipped(f, ("a.txt", b"Dear colleague")), "found none"),
    "zip that climbs out": (lambda f: zipped(f, ("../../climbed.dcm", bytes(200))), "found none"),
    "zip of nothing": (lambda f: zipped(f), "the zip is empty"),
    "zip that is none": (lambda f: written(f, b"Dear colleague", "x.zip"), "the zip is damaged"),
    "zip bomb": (zip_bomb, "expected at most 8 GiB"),
}
MASKS: dict[str, tuple[Callable[[Path], Arguments], str]] = {
    "empty": (lambda f: mask(f, np.zeros_like), "empty"),
    "nan": (lambda f: mask(f, first_to(np.nan)), "NaN"),
    "negative": (lambda f: mask(f, lambda a: a.astype("i2") - 1), "expected a mask"),
    "the CT": (lambda f: given(f, f"lung={f / 'ct.nii'}"), "is it the CT"),
    "complex": (lambda f: mask(f, lambda a: a.astype(np.complex64)), "one number per voxel"),
    "four axes": (lambda f: mask(f, lambda a: np.stack([a, a], -1)), "3D volume"),
    "floats below one half": (lambda f: mask(f, lambda a: a.astype("f4") / 3), "empty"),
    "another shape, elsewhere": (lambda f: mask(f, lambda a: a[:9, :9, :9] + 1, np.diag([1, 1, 1, 1e-7])), "m.nii"),
    "another shape, far": (
        lambda f: mask(f, lambda a: a[:9, :9, :9] + 1, np.eye(4) + 9e4 * np.eye(4, k=3)),
        "elsewhere",
    ),
    "unknown region": (lambda f: given(f, f"spleen={f / 'lung.nii.gz'}"), "spleen"),
    "no file": (lambda f: given(f, f"lung={f / 'absent.nii.gz'}"), "no such file"),
    "a folder as file": (lambda f: given(f, f"lung={f}"), "folder"),
    "text": (lambda f: given(f, f"lung={written(f, b'mask', 'm.nii')[0]}"), "NIfTI"),
    "5,000 files of other names": (
        lambda f: many_masks(f, lambda n: f"{n}.nii.gz"),
        "expected masks named after regions",
    ),
    "a link out of the folder": (lambda f: escaping(f, Path("/etc/passwd")), "NIfTI"),
    "a link to the CT": (lambda f: escaping(f, f / "ct.nii"), "lung.nii.gz"),
    "a link to a device": (lambda f: escaping(f, Path("/dev/zero")), "no .nii.gz file"),
    "a link to a folder": (lambda f: escaping(f, f), "no .nii.gz file"),
}
MODELS: dict[str, tuple[Callable[[Path], Arguments], str]] = {
    "missing tensor": (lambda f: weights(f, lambda t: t.pop(sorted(t)[0])), "missing"),
    "extra tensor": (lambda f: weights(f, lambda t: t.update(extra=t[sorted(t)[0]].clone())), "left over"),
    "tensor of another shape": (lambda f: weights(f, lambda t: t.update({sorted(t)[0]: t[sorted(t)[0]][:1]})), "shape"),
    "weights cut off": (lambda f: model(f, "model.safetensors", b"\x10" + bytes(7) + b"{}"), "safetensors"),
    "weights a pickle": (lambda f: model(f, "model.safetensors", pickle.dumps({})), "safetensors"),
    "no weights": (lambda f: model(f, "model.safetensors", None), "model.safetensors"),
    "no configuration": (lambda f: model(f, "config.json", None), "config.json"),
    "configuration no JSON": (lambda f: model(f, "config.json", b"{"), "JSON"),
    "configuration a list": (lambda f: model(f, "config.json", b"[]"), "list"),
    "configuration not text": (lambda f: model(f, "config.json", b"\xff\xfe"), "JSON"),
    "configuration without end": (lambda f: model(f, "config.json", b"[" * 100_000), "JSON"),
    "index of a file elsewhere": (lambda f: index(f, "../weights.safetensors"), "no such file"),
    "index of a file by its whole path": (lambda f: index(f, "/dev/zero"), "no such file"),
    "unknown format": (lambda f: config(f, format="reg2rg.model/9"), "format"),
    "wrong type": (lambda f: config(f, vision="large"), "vision: expected an object"),
    "unknown key": (lambda f: config(f, attention="flash"), "attention"),
    "no tokenizer": (lambda f: model(f, "tokenizer.json", None), "token"),
    "tokenizer no JSON": (lambda f: model(f, "tokenizer.json", b"{"), "token"),
}


HEADER = "AccNum,GT_combined_report,Pred_combined_report\n"
LABELS = ",".join(f"GT_{name}" for name in ABNORMALITY_NAMES)


def reports(folder: Path, text: str | bytes, name: str = "p.csv") -> Arguments:
    """A file of reports."""
    return written(folder, text if isinstance(text, bytes) else text.encode(), name)


def compared(folder: Path, option: str, text: str) -> Arguments:
    """A file that is fine, and a second one."""
    return [*reports(folder, HEADER + "a,x,y\nb,x,y\n"), option, *reports(folder, text, "second.csv")]


EVALUATIONS: dict[str, tuple[Callable[[Path], Arguments], str]] = {
    "no file": (lambda f: [f / "p.csv"], "cannot read it"),
    "a folder": (lambda f: named(f, "p.csv"), "cannot read it"),
    "empty": (lambda f: reports(f, ""), "empty"),
    "blanks": (lambda f: reports(f, " \n\t\n"), "empty"),
    "header only": (lambda f: reports(f, HEADER), "at least one row"),
    "no key": (lambda f: reports(f, "GT_combined_report,Pred_combined_report\nx,y\n"), "AccNum"),
    "no prediction": (lambda f: reports(f, "AccNum,GT_combined_report\na,x\n"), "Pred_combined_report is missing"),
    "a column twice": (lambda f: reports(f, "AccNum,AccNum," + HEADER), "twice"),
    "a study twice": (lambda f: reports(f, HEADER + "a,x,y\na,x,y\n"), "row 2 already"),
    "a cell too few": (lambda f: reports(f, HEADER + "a,x\n"), "2 cells"),
    "a quote without end": (lambda f: reports(f, HEADER + 'a,"x,y\n'), "p.csv"),
    "no reference": (lambda f: reports(f, HEADER + "a,,y\n"), "is empty"),
    "nul": (lambda f: reports(f, HEADER + "a,x\0,y\n"), "row 2"),
    "another encoding": (lambda f: reports(f, (HEADER + "a,Herzgröße,y\n").encode("latin-1")), "UTF-8"),
    "utf-16": (lambda f: reports(f, (HEADER + "a,x,y\n").encode("utf-16")), "UTF-8"),
    "gzip": (lambda f: reports(f, gzip.compress(HEADER.encode())), "p.csv"),
    "labels between": (
        lambda f: reports(f, f"{HEADER.strip()},{LABELS}\na,x,y" + ",0.5" * len(ABNORMALITY_NAMES)),
        "expected 0 or 1",
    ),
    "JSON cut off": (lambda f: reports(f, '{"AccNum": "a", ', "p.jsonl"), "row 1"),
    "JSON without end": (lambda f: reports(f, "[" * 100_000, "p.jsonl"), "found a JSON list"),
    "JSON numbers": (lambda f: reports(f, "1\n2\n", "p.jsonl"), "row 1: expected a JSON object, found a number"),
    "JSON of nothing": (lambda f: reports(f, "{}\n", "p.jsonl"), "AccNum"),
    "other studies": (lambda f: compared(f, "--compare", HEADER + "a,x,y\nc,x,y\n"), "second.csv"),
    "other references": (lambda f: compared(f, "--control", HEADER + "a,x,y\nb,z,y\n"), "second.csv"),
    "no such labels": (lambda f: compared(f, "--labels", "VolumeName\na\n"), "second.csv"),
    "unknown metric": (lambda f: [*reports(f, HEADER + "a,x,y\n"), "--metrics", "bleurt"], "bleurt"),
}
OUTPUTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a file": (lambda f: f / "ct.nii", "found a file"),
    "below a file": (lambda f: f / "ct.nii/out", "not a writable folder"),
    "the scan's folder": (lambda f: f, "not empty"),
    "name too long": (lambda f: f / ("o" * 300), "long"),
    "dangling link": (lambda f: linked(f, f / "absent"), "leads nowhere"),
    "link to itself": (lambda f: linked(f, f / "o"), "leads nowhere"),
    "link to a folder in use": (lambda f: linked(f, f / "model"), "not empty"),
}


def linked(folder: Path, target: Path) -> Path:
    (folder / "o").symlink_to(target)
    return folder / "o"


def peak_kib() -> int:
    """The most memory this process has held since `forget_peak`."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def refused(capsys: CaptureFixture[str], folder: Path, command: Arguments, reason: str) -> None:
    """Runs a command that must fail in one line, in less than 3 GB, and leave no file behind."""
    before = sorted(str(path) for path in folder.parent.rglob("*"))
    if IS_LINUX:
        forget_peak()
    code = main([*map(str, command)])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.count("\n") == 1, err
    assert reason in err
    assert sorted(str(path) for path in folder.parent.rglob("*")) == before
    if IS_LINUX:
        assert peak_kib() < 3_000_000


@pytest.mark.parametrize("case", SCANS)
def test_a_scan_is_refused(case: str, folder: Path, capsys: CaptureFixture[str]) -> None:
    make, reason = SCANS[case]
    refused(capsys, folder, ["report", *make(folder), "--segmenter", "threshold", "--out", out_folder(folder)], reason)


@pytest.mark.parametrize("case", MASKS)
def test_a_mask_is_refused(case: str, folder: Path, capsys: CaptureFixture[str]) -> None:
    make, reason = MASKS[case]
    refused(capsys, folder, ["report", *make(folder), "--out", out_folder(folder)], reason)


@pytest.mark.parametrize("case", MODELS)
def test_a_model_is_refused(case: str, folder: Path, capsys: CaptureFixture[str]) -> None:
    make, reason = MODELS[case]
    refused(capsys, folder, ["report", *make(folder), "--out", out_folder(folder)], reason)


@pytest.mark.parametrize("case", EVALUATIONS)
def test_a_file_of_reports_is_refused(case: str, folder: Path, capsys: CaptureFixture[str]) -> None:
    make, reason = EVALUATIONS[case]
    refused(capsys, folder, ["evaluate", *make(folder), "--out", out_folder(folder)], reason)


@pytest.mark.parametrize("case", OUTPUTS)
def test_an_output_folder_is_refused_before_the_work(case: str, folder: Path, capsys: CaptureFixture[str]) -> None:
    make, reason = OUTPUTS[case]
    scan = ["report", folder / "ct.nii", "--masks", f"lung={folder / 'absent.nii'}"]  # no work gets so far
    refused(capsys, folder, [*scan, "--out", make(folder)], reason)


@pytest.mark.skipif(not IS_LINUX, reason="needs Linux, whose /proc tells the peak of memory")
def test_a_size_in_the_header_takes_no_memory(folder: Path, capsys: CaptureFixture[str]) -> None:
    """Two gigabytes are declared and none is there."""
    header = patched(folder, (DIM, np.array([3, 1024, 1024, 1000], "i2")))[0].read_bytes()[:352]  # type: ignore[union-attr]
    forget_peak()
    before = peak_kib()
    command = ["report", *written(folder, gzip.compress(header)), "--out", out_folder(folder)]
    refused(capsys, folder, command, "cut off")
    assert peak_kib() - before < 500_000


def test_swapped_axes_are_no_reason_to_refuse(folder: Path, capsys: CaptureFixture[str]) -> None:
    image = nib.load(folder / "ct.nii")
    turned = nib.Nifti1Image(np.asarray(image.dataobj).transpose(2, 0, 1), image.affine[:, [2, 0, 1, 3]])
    turned.to_filename(folder / "x.nii.gz")
    out = folder.parent / "out"
    model = ["--model", str(folder / "model"), "--max-new-tokens", "2"]
    lung = ["--masks", f"lung={folder / 'lung.nii.gz'}"]
    assert main(["report", str(folder / "x.nii.gz"), *lung, *model, "--out", str(out)]) == 0
    capsys.readouterr()
    assert json.loads((out / "report.json").read_text())["study"]["size_xyz"] == list(turned.shape)


def test_any_scan_goes_on_with_a_warning(folder: Path, capsys: CaptureFixture[str]) -> None:
    scan = remade(folder, lambda array: array + np.int16(1024))[0]
    out = folder.parent / "out"
    asked = ["report", str(scan), "--masks", f"lung={folder / 'lung.nii.gz'}", "--model", str(folder / "model")]
    asked += ["--max-new-tokens", "2", "--out", str(out)]
    for refused in (asked, [*asked, "--force"]):
        assert main(refused) == 2
        assert "not a chest CT: its values are HU + 1024" in capsys.readouterr().err
    assert main([*asked, "--any-scan"]) == 0
    warnings = json.loads((out / "report.json").read_text())["warnings"]
    assert warnings[0].startswith("not a chest CT: its values are HU + 1024")
    assert "Warning: not a chest CT: its values are HU + 1024" in capsys.readouterr().out
    for name in ("report.html", "report.md"):
        assert "not a chest CT: its values are HU + 1024" in (out / name).read_text(), name


def test_one_of_several_scans_is_no_chest_ct(folder: Path, capsys: CaptureFixture[str]) -> None:
    scan = remade(folder, lambda array: array + np.int16(1024))[0]
    out = folder.parent / "out"
    asked = ["report", str(folder / "ct.nii"), str(scan), "--segmenter", "threshold", "--max-new-tokens", "2"]
    assert main([*asked, "--model", str(folder / "model"), "--out", str(out)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert "not a chest CT" in (out / "index.csv").read_text()
    assert sorted(path.name for path in out.iterdir()) == ["ct", "index.csv"]
