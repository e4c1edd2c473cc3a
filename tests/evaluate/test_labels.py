"""Label files: CT-RATE's, and the authors' file of inferred labels."""

import csv
from pathlib import Path

import pytest

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.errors import InputError
from reg2rg.evaluate.labels import read_inferred_labels, read_labels


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def row(key: str, *had: str, column: str = "VolumeName") -> dict[str, str]:
    return {column: key, **{name: "1" if name in had else "0" for name in reversed(ABNORMALITY_NAMES)}}


def test_labels_are_joined_by_study_in_the_order_asked(tmp_path: Path) -> None:
    path = write(
        tmp_path / "labels.csv",
        [row("valid_1_a_1.nii.gz", "Emphysema"), row("valid_2_a_1.nii.gz"), row("valid_3_a_1.nii.gz", "Lung nodule")],
    )
    labels = read_labels(path, ["valid_3_a_1", "valid_1_a_1.nii.gz"])
    assert labels.shape == (2, 18)
    assert labels.dtype == bool
    assert [ABNORMALITY_NAMES[labels[i].argmax()] for i in (0, 1)] == ["Lung nodule", "Emphysema"]
    assert labels.sum() == 2
    assert read_labels(path, []).shape == (0, 18)


def test_plain_ids_and_decimals_are_taken(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.csv", [row("1334", column="AccNum") | {"Emphysema": "1.0", "Lung nodule": "0.0"}])
    assert read_labels(path, ["1334"]).sum() == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [{"VolumeName": "a", "Emphysema": "1"}],
            "row 1: the column Medical material is missing, found VolumeName, Emphysema; add it",
        ),
        ([row("a", column="Study")], "VolumeName or AccNum"),
        ([{"VolumeName;Emphysema": "a;1"}], "row 1: the cells are separated by semicolons"),
        ([row("b")], r"no labels for a \(1 of 1"),
        ([row("a"), row("a", "Emphysema")], "row 3: a occurs a second time"),
        ([row("a") | {"Emphysema": "yes"}], "row 2, column Emphysema: expected 0 or 1, found yes"),
        ([row("a") | {"Emphysema": ""}], "found nothing"),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path: Path, rows: list[dict[str, str]], said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        read_labels(write(tmp_path / "labels.csv", rows), ["a"])
    assert "\n" not in str(refused.value)
    assert "labels.csv" in str(refused.value)


def inferred(key: str) -> dict[str, str]:
    sides = {side: {f"{side}whole_report": f"{side}{key}"} for side in ("GT_", "Pred_")}
    for side, cells in sides.items():
        cells.update({side + name: "0.0" for name in ABNORMALITY_NAMES})
    sides["GT_"]["GT_Emphysema"] = sides["Pred_"]["Pred_Atelectasis"] = "1.0"
    return {"AccNum": key, **sides["GT_"], **sides["Pred_"]}


def test_inferred_labels_are_read_as_they_are(tmp_path: Path) -> None:
    labels = read_inferred_labels(write(tmp_path / "label_inferred.csv", [inferred("7"), inferred("8")]))
    assert labels.keys == ("7", "8")
    assert (labels.references[1], labels.predictions[1]) == ("GT_8", "Pred_8")
    assert labels.reference_labels.sum() == labels.predicted_labels.sum() == 2
    assert labels.reference_labels[:, ABNORMALITY_NAMES.index("Emphysema")].all()
    assert labels.predicted_labels[:, ABNORMALITY_NAMES.index("Atelectasis")].all()


def test_files_without_labels_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "label_inferred.csv", [inferred("7")])
    path.write_text(path.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="expected a row per study below the header, found none"):
        read_inferred_labels(path)
    with pytest.raises(InputError, match="cannot read it"):
        read_inferred_labels(tmp_path / "nowhere.csv")
