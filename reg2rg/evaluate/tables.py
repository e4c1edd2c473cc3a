"""Files of reports: references and predictions of the same studies, in every layout in use, as one record.

CSV in the authors' two layouts and in ours, or JSON lines with the same names; with or without region headings; with or
without columns of labels (``GT_Cardiomegaly``, ``Pred_Cardiomegaly``, ...). A file that cannot be used is refused in
one line that says in which row and column; rows are counted as a spreadsheet does, the header is row 1.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.errors import InputError
from reg2rg.prompt import ParsedReport, parse_report

KEY_COLUMNS = ("AccNum", "VolumeName", "study_id")
REPORT_COLUMNS = (
    ("GT_combined_report", "Pred_combined_report"),
    ("GT_whole_report", "Pred_whole_report"),
    ("reference", "prediction"),
)
_JSON_LINES = (".jsonl", ".ndjson", ".json")


@dataclass(frozen=True)
class ReportTable:
    """References and predictions.

    Attributes:
        source: the file.
        keys: what each study is called.
        references: the reports to compare with, as written in the file.
        predictions: the generated reports; may be empty.
        columns: what the columns of references and predictions are called.
        reference_labels: study by abnormality, where the file has them.
        predicted_labels: likewise.
    """

    source: str
    keys: tuple[str, ...]
    references: tuple[str, ...]
    predictions: tuple[str, ...]
    columns: tuple[str, str] = REPORT_COLUMNS[2]
    reference_labels: Bool[np.ndarray, "study 18"] | None = None
    predicted_labels: Bool[np.ndarray, "study 18"] | None = None

    @cached_property
    def parsed(self) -> tuple[tuple[ParsedReport, ParsedReport], ...] | None:
        """Reference and prediction of each study taken apart; None if the references have no region headings.

        Raises:
            InputError: if some references have headings and others do not.
        """
        pairs = tuple(
            (parse_report(reference), parse_report(prediction))
            for reference, prediction in zip(self.references, self.predictions, strict=True)
        )
        with_regions = [bool(reference.findings or reference.other) for reference, _ in pairs]
        if not any(with_regions):
            return None
        if not all(with_regions):
            row = with_regions.index(False)
            raise InputError(
                f"{self.source}, row {row + 2}, column {self.columns[0]}: the reference of {self.keys[row]} has no "
                f"region, others have; write 'The region 0 is NAME: ...' in all references or in none"
            )
        return pairs


def read_reports(path: Path) -> ReportTable:
    """Reads a file of reports.

    Raises:
        InputError: if it cannot be read, lacks a column, a key or a reference, or has a key twice.
    """
    columns, rows = _read_json_lines(path) if path.suffix.lower() in _JSON_LINES else _read_csv(path)
    key_column = next((name for name in KEY_COLUMNS if name in columns), None)
    if key_column is None:
        raise InputError(f"{path}, row 1: expected the column AccNum, found {_listed(columns)}; name each study")
    report_columns = _report_columns(path, columns)
    if not rows:
        raise InputError(f"{path}: expected at least one row of reports below the header, found none")
    seen: dict[str, int] = {}
    for number, row in rows:
        key = row[key_column].strip()
        if not key:
            raise InputError(f"{path}, row {number}, column {key_column}: the cell is empty; name each study")
        if key in seen:
            raise InputError(
                f"{path}, row {number}, column {key_column}: {key!r} is in row {seen[key]} already; "
                "keep one row per study"
            )
        seen[key] = number
        if not row[report_columns[0]].strip():
            raise InputError(
                f"{path}, row {number}, column {report_columns[0]}: the reference of {key!r} is empty; "
                "give its text or leave the row out"
            )
    return ReportTable(
        source=str(path),
        keys=tuple(seen),
        references=tuple(row[report_columns[0]] for _, row in rows),
        predictions=tuple(row[report_columns[1]] for _, row in rows),
        columns=report_columns,
        reference_labels=_labels(path, columns, rows, "GT_"),
        predicted_labels=_labels(path, columns, rows, "Pred_"),
    )


def check_same_studies(first: ReportTable, second: ReportTable) -> None:
    """Raises InputError unless both tables have the same studies in the same order, with the same references."""
    for row, (one, other) in enumerate(zip(first.keys, second.keys, strict=False)):
        if one != other:
            raise InputError(
                f"{second.source}, row {row + 2}, column AccNum: {other!r}, but {first.source} has {one!r} there; "
                "both files must hold the same studies in the same order"
            )
    if len(first.keys) != len(second.keys):
        shorter, longer = sorted((first, second), key=lambda table: len(table.keys))
        raise InputError(
            f"{shorter.source}, row {len(shorter.keys) + 2}, column AccNum: {longer.keys[len(shorter.keys)]!r} is "
            f"missing, which {longer.source} has; both files must hold the same studies in the same order"
        )
    for row, (one, other) in enumerate(zip(first.references, second.references, strict=True)):
        if " ".join(one.split()) != " ".join(other.split()):
            raise InputError(
                f"{second.source}, row {row + 2}, column {second.columns[0]}: the reference of {first.keys[row]!r} is "
                f"not that of {first.source}; figures on different references do not compare"
            )


Row = tuple[int, dict[str, str]]
"""A row's number, and its cells by column."""


def _report_columns(path: Path, columns: Sequence[str]) -> tuple[str, str]:
    for reference, prediction in REPORT_COLUMNS:
        if reference in columns and prediction in columns:
            return reference, prediction
        if reference in columns or prediction in columns:
            missing = prediction if reference in columns else reference
            raise InputError(f"{path}, row 1: the column {missing} is missing; found {_listed(columns)}")
    expected = " or ".join(f"{reference} and {prediction}" for reference, prediction in REPORT_COLUMNS)
    raise InputError(f"{path}, row 1: expected the columns {expected}, found {_listed(columns)}")


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(columns[:6]) + (", ..." if len(columns) > 6 else "") if columns else "nothing"


def _labels(
    path: Path, columns: Sequence[str], rows: Sequence[Row], prefix: str
) -> Bool[np.ndarray, "study 18"] | None:
    names = [prefix + name for name in ABNORMALITY_NAMES]
    missing = [name for name in names if name not in columns]
    if len(missing) == len(names):
        return None
    if missing:
        raise InputError(f"{path}, row 1: the column {missing[0]} is missing; give all 18 {prefix} labels or none")
    values = {"0": False, "0.0": False, "False": False, "1": True, "1.0": True, "True": True}
    labels = np.zeros((len(rows), len(names)), bool)
    for place, (number, row) in enumerate(rows):
        for column, name in enumerate(names):
            cell = row[name].strip()
            if cell not in values:
                raise InputError(f"{path}, row {number}, column {name}: expected 0 or 1, found {cell!r}")
            labels[place, column] = values[cell]
    return labels


def _read_text(path: Path) -> str:
    """The text, with a surrogate for each byte that is not UTF-8."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: expected a file of reports, cannot read it ({error.strerror})") from error
    if not data.strip():
        raise InputError(f"{path}: the file is empty; expected a header and rows of reports")
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="surrogateescape")


def _read_csv(path: Path) -> tuple[list[str], list[Row]]:
    text = _read_text(path)
    if "\0" in text:
        raise InputError(f"{path}, row {text[: text.index(chr(0))].count(chr(10)) + 1}: not a CSV text in UTF-8")
    usual_limit = csv.field_size_limit(len(text) + 1)
    try:
        lines = list(_numbered(path, csv.reader(io.StringIO(text, newline=""))))
    finally:
        csv.field_size_limit(usual_limit)
    columns = [name.strip() for name in lines[0][1]]
    repeated = next((name for name in columns if name and columns.count(name) > 1), None)
    if repeated:
        raise InputError(f"{path}, row 1: the column {repeated} is there twice")
    rows = []
    for number, cells in lines[1:]:
        if len(cells) != len(columns):
            raise InputError(
                f"{path}, row {number}, column {columns[min(len(cells), len(columns)) - 1]}: the row has {len(cells)} "
                f"cells, the header {len(columns)}; put texts with commas between double quotes"
            )
        rows.append((number, dict(zip(columns, cells, strict=True))))
    _check_encoding(path, [(1, dict(zip(columns, columns, strict=True))), *rows])
    return columns, rows


def _numbered(path: Path, reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    number = 0
    try:
        for number, cells in enumerate(reader, start=1):
            if cells:
                yield number, cells
    except csv.Error as error:
        raise InputError(f"{path}, row {number + 1}: expected CSV ({error}); export it again") from error


def _read_json_lines(path: Path) -> tuple[list[str], list[Row]]:
    rows: list[Row] = []
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, row {number}: expected one JSON object per line ({error})") from error
        if not isinstance(record, dict):
            raise InputError(f"{path}, row {number}: expected a JSON object, found {line.strip()[:40]}")
        cells = {name: "" if value is None else str(value) for name, value in record.items()}
        if rows and cells.keys() != rows[0][1].keys():
            odd = sorted(cells.keys() ^ rows[0][1].keys())[0]
            raise InputError(f"{path}, row {number}, column {odd}: some rows have it, others do not")
        rows.append((number, cells))
    _check_encoding(path, rows)
    return list(rows[0][1]), rows


def _check_encoding(path: Path, rows: Sequence[Row]) -> None:
    for number, row in rows:
        for column, cell in row.items():
            odd = next((character for character in cell if "\udc80" <= character <= "\udcff"), None)
            if odd:
                raise InputError(
                    f"{path}, row {number}, column {_printable(column)}: byte 0x{ord(odd) - 0xDC00:02X} is not UTF-8; "
                    "save the file as UTF-8"
                )


def _printable(text: str) -> str:
    return text.encode("utf-8", errors="replace").decode("utf-8")
