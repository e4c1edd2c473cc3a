"""The program's tasks become ten regions; a stand-in for it writes true label maps."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from reg2rg.errors import InputError
from reg2rg.load import load_study
from reg2rg.nifti import read_labels, read_volume
from reg2rg.regions import REGION_NAMES
from reg2rg.segment.program import VARIABLE
from reg2rg.segment.structures import TABLES, read_table, total_names
from reg2rg.segment.totalsegmentator import FURTHER_TASKS, segment
from reg2rg.volume import Volume

SIZE, AFFINE = (12, 10, 9), np.array([[3.0, 0, 0, -18], [0, 3, 0, 5], [0, 0, 4, 100], [0, 0, 0, 1]])
CT = Volume(np.arange(np.prod(SIZE), dtype=np.int16).reshape(SIZE) - 1000, AFFINE)

STAND_IN = """#!{python}
import pathlib, shutil, sys
if sys.argv[1:] == ["--version"]:
    sys.exit(print("2.9.9"))
task, out = sys.argv[sys.argv.index("--task") + 1], sys.argv[sys.argv.index("-o") + 1]
folder = pathlib.Path(__file__).parent
pathlib.Path(sys.argv[sys.argv.index("-i") + 1]).resolve(strict=True)
answer = folder / (task + ".nii.gz")
if not answer.exists():
    sys.exit("invalid choice: " + task)
shutil.copy(answer, out)
"""

Answer = Callable[..., None]


def save_labels(path: Path, array: np.ndarray, names: dict[int, str], affine: np.ndarray = AFFINE) -> None:
    """A label map with its table in the header, as the program writes it."""
    image = nib.Nifti1Image(array.astype(np.uint8), affine)
    rows = "".join(f'<Label Key="{k}" Red="1"><![CDATA[{name}]]></Label>' for k, name in names.items())
    if names:
        image.header.extensions.append(nib.nifti1.Nifti1Extension(0, f"<LabelTable>{rows}</LabelTable>".encode()))
    nib.save(image, path)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder whose files ``<task>.nii.gz`` the stand-in answers with."""
    path = tmp_path / "program" / "TotalSegmentator"
    path.parent.mkdir()
    path.write_text(STAND_IN.format(python=sys.executable))
    path.chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(path))
    return path.parent


def answer_all(folder: Path, affine: np.ndarray = AFFINE, flip: tuple[int, ...] = ()) -> dict[str, np.ndarray]:
    """An answer to each task: rows of voxels along x, a structure each; the arrays by structure."""
    answers = {
        "total": [
            "liver",
            "heart",
            "aorta",
            "lung_upper_lobe_left",
            "esophagus",
            "trachea",
            "thyroid_gland",
            "rib_left_1",
        ],
        "lung_vessels": ["lung_airways", "lung_airways_wall", "lung_veins"],
        "breasts": ["breast"],
        "trunk_cavities": ["abdominal_cavity", "thoracic_cavity", "pericardium", "mediastinum"],
        "pleural_pericard_effusion": ["lung_pleural", "pleural_effusion", "pericardial_effusion"],
    }
    drawn = {}
    for row, (task, structures) in enumerate(answers.items()):
        array = np.zeros(SIZE, np.uint8)
        for label, name in enumerate(structures, start=1):
            array[label, row] = label
            if name == "thoracic_cavity":
                array[4, 1] = label  # beside the lobe
            drawn[name] = array == label
        if task == "total":
            array[9, :, :] = 9  # the twelfth vertebra, from the lowest slice to the middle one
            array[9, :, 5:] = 0
        names = dict(enumerate([*structures, "vertebrae_T12"][:9], start=1))
        save_labels(folder / f"{task}.nii.gz", np.flip(array, flip), names, affine)
    return drawn


def test_ten_regions_from_five_tasks(program: Path) -> None:
    drawn = answer_all(program)
    found = segment(CT)
    assert found.warnings == ()
    assert found.masks.present == REGION_NAMES
    assert found.masks.sources == dict.fromkeys(REGION_NAMES, "segmenter:totalsegmentator 2.9.9")
    assert found.masks.grid.matches(CT.grid)
    mask = found.masks.mask
    np.testing.assert_array_equal(mask("heart"), drawn["heart"])
    np.testing.assert_array_equal(mask("breast"), drawn["breast"])
    airways = drawn["trachea"] | drawn["lung_airways"] | drawn["lung_airways_wall"]
    np.testing.assert_array_equal(mask("trachea and bronchie"), airways)
    below = np.arange(SIZE[2]) < 2  # the middle of the vertebra's slices 0 to 4
    np.testing.assert_array_equal(
        mask("abdomen"), drawn["liver"] | drawn["abdominal_cavity"] | (drawn["aorta"] & below)
    )
    np.testing.assert_array_equal(mask("mediastinum"), drawn["mediastinum"] | (drawn["aorta"] & ~below))
    assert mask("pleura")[drawn["pleural_effusion"]].all()
    shell = mask("pleura") & ~drawn["pleural_effusion"]
    assert shell.any() and (shell <= drawn["thoracic_cavity"]).all()


def test_the_answer_is_read_by_its_affine(program: Path) -> None:
    affine = AFFINE @ np.array([[-1, 0, 0, 11], [0, -1, 0, 9], [0, 0, 1, 0], [0, 0, 0, 1]])
    drawn = answer_all(program, affine, (0, 1))
    np.testing.assert_array_equal(segment(CT).masks.mask("heart"), drawn["heart"])


@pytest.mark.parametrize("task", FURTHER_TASKS)
def test_a_further_task_that_fails_is_a_warning(program: Path, task: str) -> None:
    answer_all(program)
    (program / f"{task}.nii.gz").unlink()
    found = segment(CT)
    assert found.warnings == (
        f"TotalSegmentator, task {task}, failed (invalid choice: {task}): the regions were drawn without it",
    )
    lost = {"breasts": {"breast"}}.get(task, set())
    assert set(REGION_NAMES) - set(found.masks.present) == lost


def test_answers_that_cannot_be_used(program: Path) -> None:
    answer_all(program)
    save_labels(program / "breasts.nii.gz", np.ones(SIZE), {})
    (program / "lung_vessels.nii.gz").write_text("no NIfTI")
    warnings = segment(CT).warnings
    assert "task lung_vessels, wrote a file that cannot be read" in warnings[0]
    assert warnings[1].startswith("TotalSegmentator, task breasts, wrote labels without names")
    save_labels(program / "total.nii.gz", np.full(SIZE, 51), {})
    assert segment(CT).masks.mask("heart").all(), "the labels of total are known"


def test_total_must_succeed(program: Path) -> None:
    with pytest.raises(InputError, match=r"^TotalSegmentator, task total, failed \(invalid choice: total\)$"):
        segment(CT)
    for task in ("total", *FURTHER_TASKS):
        save_labels(program / f"{task}.nii.gz", np.zeros(SIZE), {1: "heart"})
    with pytest.raises(InputError, match="found no region in this CT: expected a chest CT"):
        segment(CT)


def test_a_missing_program_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=f"was not found: install it in an environment of its own .* {VARIABLE}"):
        segment(CT)


def test_a_true_output_gives_the_same_masks_run_or_given(shared: Path, program: Path) -> None:
    ct, true = (shared / "ct" / f"upper_abdomen_{name}.nii.gz" for name in ("ct", "totalsegmentator"))
    shutil.copy(true, program / "total.nii.gz")
    ran, given = load_study(ct, segmenter="totalsegmentator"), load_study(ct, [true])
    np.testing.assert_array_equal(ran.masks.array, given.masks.array)
    assert ran.masks.present == ("abdomen", "bone", "lung", "mediastinum", "pleura")
    labels = read_labels(true)
    assert labels.affine == pytest.approx(read_volume(ct).affine, abs=1e-3)
    aorta = np.count_nonzero(labels.array == 52)
    thoracic = np.count_nonzero(ran.masks.mask("mediastinum"))
    assert 0 < thoracic < aorta


def test_the_installed_program_calls_its_structures_as_our_tables_do() -> None:
    program = shutil.which("totalseg_info")
    if program is None:
        pytest.skip("needs TotalSegmentator (totalseg_info), which is not installed")
    for task in ("total", *FURTHER_TASKS):
        run = [program, "--classes", "--task", task, "--json"]
        classes = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
        known = {row["name"] for table in TABLES[:2] for row in read_table(table)}
        assert set(classes.values()) <= known, task
        if task == "total":
            assert {int(label) for label in classes} == set(total_names())
