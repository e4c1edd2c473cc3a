"""Labels that are given: CT-RATE's label files, and the authors' file of inferred labels."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.errors import InputError
from reg2rg.evaluate.tables import read_cells, require_columns, study_name

_KEY_COLUMNS = ("VolumeName", "AccNum")
_REFERENCE, _PREDICTION = "GT_", "Pred_"
_TEXT = "whole_report"


@dataclass(frozen=True)
class InferredLabels:
    """A file of the authors: pairs of texts with the labels that a labeler inferred from each.

    Attributes:
        keys: AccNum, one per pair.
        references: the radiologists' texts.
        predictions: the model's texts.
        reference_labels: what the references assert.
        predicted_labels: what the predictions assert.
    """

    keys: tuple[str, ...]
    references: tuple[str, ...]
    predictions: tuple[str, ...]
    reference_labels: Bool[np.ndarray, "study abnormality"]
    predicted_labels: Bool[np.ndarray, "study abnormality"]


def read_labels(path: Path, keys: Sequence[str]) -> Bool[np.ndarray, "study abnormality"]:
    """Gold labels of these studies from a file in CT-RATE's format.

    Args:
        path: a CSV file (or JSON lines) with the column VolumeName (or AccNum) and one column of 0 and 1 per
            abnormality; further columns and further studies are not used.
        keys: the studies, with or without ``.nii.gz``.

    Returns:
        One row per key, in their order, columns in the order of ABNORMALITY_NAMES.

    Raises:
        InputError: if the file is no such table, or lacks a study or has it twice with different labels.
    """
    by_study: dict[str, list[bool]] = {}
    for row, where in _rows(path, ABNORMALITY_NAMES):
        key_column = next((column for column in _KEY_COLUMNS if column in row), None)
        if key_column is None:
            raise InputError(
                f"{path}, row 1: expected the column VolumeName or AccNum, found neither; give each study's name in it"
            )
        study, labels = study_name(row[key_column].strip()), _read_row(row, "", where)
        if by_study.setdefault(study, labels) != labels:
            raise InputError(f"{where}: {study} occurs a second time with other labels; keep one row per study")
    missing = [key for key in keys if study_name(key) not in by_study]
    if missing:
        raise InputError(
            f"{path}: no labels for {missing[0]} ({len(missing)} of {len(keys)} studies are missing); "
            "give the label file of this split"
        )
    return np.array([by_study[study_name(key)] for key in keys], bool).reshape(len(keys), len(ABNORMALITY_NAMES))


def read_inferred_labels(path: Path) -> InferredLabels:
    """Reads ``label_inferred.csv`` as the authors write it.

    Args:
        path: a CSV file with AccNum and, for GT and Pred, the columns ``GT_whole_report`` and ``GT_Lung nodule`` etc.

    Raises:
        InputError: if the file is no such table.
    """
    sides = (_REFERENCE, _PREDICTION)
    columns = ("AccNum", *(side + name for side in sides for name in (_TEXT, *ABNORMALITY_NAMES)))
    rows = list(_rows(path, columns))
    if not rows:
        raise InputError(f"{path}: expected a row per study below the header, found none")
    labels = np.array([[_read_row(row, side, where) for row, where in rows] for side in sides], bool)
    return InferredLabels(
        tuple(row["AccNum"] for row, _ in rows),
        tuple(row[_REFERENCE + _TEXT] for row, _ in rows),
        tuple(row[_PREDICTION + _TEXT] for row, _ in rows),
        *labels,
    )


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[dict[str, str], str]]:
    """The rows of a file, each with where it stands, for messages."""
    found, rows = read_cells(path)
    require_columns(path, columns, found)
    for number, row in rows:
        yield row, f"{path}, row {number}"


def _read_row(row: Mapping[str, str], prefix: str, where: str) -> list[bool]:
    return [_read_label(row[prefix + name], prefix + name, where) for name in ABNORMALITY_NAMES]


def _read_label(cell: str, column: str, where: str) -> bool:
    if cell.strip() not in ("0", "1", "0.0", "1.0"):
        raise InputError(f"{where}, column {column}: expected 0 or 1, found {cell.strip() or 'nothing'}; give 0 or 1")
    return float(cell) == 1
