"""Files of reports: references and predictions of the same studies, in every layout in use, as one record.

CSV in the authors' two layouts and in ours, or JSON lines with the same names; with or without region headings; with or
without columns of labels (``GT_Cardiomegaly``, ``Pred_Cardiomegaly``, ...). A file that cannot be used is refused in
one line that says in which row and column; rows are counted as a spreadsheet does, the header is row 1.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

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
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_JSON_KINDS = {
    list: "list",
    dict: "object",
    str: "text",
    int: "number",
    float: "number",
    bool: "truth value",
    type(None): "null",
}


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
            key = self.keys[with_regions.index(False)]
            raise InputError(
                f"{self.source}, column {self.columns[0]}: the reference of {key!r} has no region, others have; write "
                "'The region 0 is NAME: ...' in all references or in none"
            )
        return pairs


def read_reports(path: Path) -> ReportTable:
    """Reads a file of reports.

    Raises:
        InputError: if it cannot be read, lacks a column, a key or a reference, or has a key twice.
    """
    columns, rows = read_cells(path)
    key_column = next((name for name in KEY_COLUMNS if name in columns), None)
    if key_column is None:
        advice = _renaming(KEY_COLUMNS, columns) or "; give each study a name in it"
        raise InputError(f"{path}, row 1: expected the column AccNum, found {_listed(columns)}{advice}")
    report_columns = _report_columns(path, columns)
    if not rows:
        raise InputError(f"{path}: expected at least one row of reports below the header, found none")
    seen: dict[str, int] = {}
    for number, row in rows:
        key = row[key_column].strip()
        if not key:
            raise InputError(f"{path}, row {number}, column {key_column}: the cell is empty; name each study")
        if study_name(key) in seen:
            raise InputError(
                f"{path}, row {number}, column {key_column}: {key!r} is in row {seen[study_name(key)]} already; "
                "keep one row per study"
            )
        seen[study_name(key)] = number
        if not row[report_columns[0]].strip():
            raise InputError(
                f"{path}, row {number}, column {report_columns[0]}: the reference of {key!r} is empty; "
                "give its text or leave the row out"
            )
    return ReportTable(
        source=str(path),
        keys=tuple(row[key_column].strip() for _, row in rows),
        references=tuple(row[report_columns[0]] for _, row in rows),
        predictions=tuple(row[report_columns[1]] for _, row in rows),
        columns=report_columns,
        reference_labels=_labels(path, columns, rows, "GT_"),
        predicted_labels=_labels(path, columns, rows, "Pred_"),
    )


def match_studies(first: ReportTable, second: ReportTable) -> ReportTable:
    """The second table with its studies in the order of the first, matched by name.

    Raises:
        InputError: unless both have the same studies with the same references.
    """
    places = {study_name(key): place for place, key in enumerate(second.keys)}
    known = {study_name(key) for key in first.keys}
    missing = [key for key in first.keys if study_name(key) not in places]
    surplus = [key for key in second.keys if study_name(key) not in known]
    for keys, verb, total in ((missing, "lacks", len(first.keys)), (surplus, "alone has", len(second.keys))):
        if keys:
            raise InputError(
                f"{second.source}: it {verb} {keys[0]!r} ({len(keys)} of {total} studies), compared with "
                f"{first.source}; keep the same studies in both files"
            )
    order = [places[study_name(key)] for key in first.keys]
    matched = replace(
        second,
        keys=first.keys,
        references=tuple(second.references[place] for place in order),
        predictions=tuple(second.predictions[place] for place in order),
        reference_labels=None if second.reference_labels is None else second.reference_labels[order],
        predicted_labels=None if second.predicted_labels is None else second.predicted_labels[order],
    )
    for key, one, other in zip(first.keys, first.references, matched.references, strict=True):
        if " ".join(one.split()) != " ".join(other.split()):
            raise InputError(
                f"{second.source}, column {second.columns[0]}: the reference of {key!r} is not that of "
                f"{first.source}; figures on different references do not compare, give both files the same references"
            )
    return matched


def study_name(key: str) -> str:
    """A study's name as it is matched: files of volumes go by their names with or without the ending.

    >>> study_name("valid_1_a_1.nii.gz"), study_name("1334")
    ('valid_1_a_1', '1334')
    """
    return key.removesuffix(".nii.gz").removesuffix(".nii")


Row = tuple[int, dict[str, str]]
"""A row's number, and its cells by column."""


def read_cells(path: Path) -> tuple[list[str], list[Row]]:
    """The columns and the rows of a CSV file, or of JSON lines.

    Raises:
        InputError: if it cannot be read.
    """
    return _read_json_lines(path) if path.suffix.lower() in _JSON_LINES else _read_csv(path)


def require_columns(path: Path, expected: Sequence[str], columns: Sequence[str]) -> None:
    """Raises InputError if a column is missing."""
    missing = [name for name in expected if name not in columns]
    if missing:
        advice = _renaming(missing, columns) or "; add it"
        raise InputError(f"{path}, row 1: the column {missing[0]} is missing, found {_listed(columns)}{advice}")


def _report_columns(path: Path, columns: Sequence[str]) -> tuple[str, str]:
    complete = [pair for pair in REPORT_COLUMNS if set(pair) <= set(columns)]
    if len(complete) > 1:
        both = " as well as ".join(" and ".join(pair) for pair in complete)
        raise InputError(f"{path}, row 1: it has the columns {both}; remove or rename those that are not to be scored")
    if complete:
        return complete[0]
    for pair in REPORT_COLUMNS:
        if set(pair) & set(columns):
            require_columns(path, pair, columns)
    expected = " or ".join(f"{reference} and {prediction}" for reference, prediction in REPORT_COLUMNS)
    advice = _renaming([name for pair in REPORT_COLUMNS for name in pair], columns) or "; rename those with the reports"
    raise InputError(f"{path}, row 1: expected the columns {expected}, found {_listed(columns)}{advice}")


def _renaming(expected: Sequence[str], columns: Sequence[str]) -> str:
    """What to rename where columns differ from those expected in nothing but capitals, blanks and signs.

    >>> _renaming(["AccNum", "reference"], ["acc_num", "Reference", "age"])
    '; rename acc_num to AccNum, Reference to reference'
    """
    found = {_letters(name): name for name in columns}
    pairs = [f"{found[_letters(name)]} to {name}" for name in expected if _letters(name) in found]
    return f"; rename {', '.join(pairs[:3])}" if pairs else ""


def _letters(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(columns[:6]) + (", ..." if len(columns) > 6 else "") if columns else "nothing"


def _labels(
    path: Path, columns: Sequence[str], rows: Sequence[Row], prefix: str
) -> Bool[np.ndarray, "study 18"] | None:
    names = [prefix + name for name in ABNORMALITY_NAMES]
    missing = [name for name in names if name not in columns]
    advice = _renaming(missing, columns)
    if len(missing) == len(names) and not advice:
        return None
    if missing:
        raise InputError(
            f"{path}, row 1: the column {missing[0]} is missing{advice}; give all 18 {prefix} labels or none"
        )
    values = {"0": False, "0.0": False, "False": False, "1": True, "1.0": True, "True": True}
    labels = np.zeros((len(rows), len(names)), bool)
    for place, (number, row) in enumerate(rows):
        for column, name in enumerate(names):
            cell = row[name].strip()
            if cell not in values:
                raise InputError(
                    f"{path}, row {number}, column {name}: expected 0 or 1, found {cell!r}; give every study a label, "
                    f"or remove the {prefix} labels"
                )
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
        row = text[: text.index(chr(0))].count(chr(10)) + 1
        raise InputError(f"{path}, row {row}: not a CSV text in UTF-8; export it as one")
    usual_limit = csv.field_size_limit(len(text) + 1)
    try:
        lines = list(_numbered(path, csv.reader(io.StringIO(text, newline=""))))
    finally:
        csv.field_size_limit(usual_limit)
    columns = [name.strip() for name in lines[0][1]]
    separator = next((sign for sign in _SEPARATORS if len(columns) == 1 and sign in columns[0]), None)
    if separator:
        raise InputError(
            f"{path}, row 1: the cells are separated by {_SEPARATORS[separator]}; export it with commas between them"
        )
    repeated = next((name for name in columns if name and columns.count(name) > 1), None)
    if repeated:
        raise InputError(f"{path}, row 1: the column {repeated} is there twice; remove or rename one")
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
    text = _read_text(path)
    if text.lstrip().startswith("["):
        raise InputError(
            f"{path}: expected one JSON object per line, found a JSON list; write each object on a line of its own"
        )
    rows: list[Row] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            place = (
                f", character {error.colno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else f": {error}"
            )
            raise InputError(
                f"{path}, row {number}{place}; write one JSON object per line, with nothing else on it"
            ) from error
        if not isinstance(record, dict):
            raise InputError(
                f"{path}, row {number}: expected a JSON object, found a {_JSON_KINDS[type(record)]}; write one object "
                "per line"
            )
        rows.append((number, {name: _json_cell(path, number, name, value) for name, value in record.items()}))
        if rows[-1][1].keys() != rows[0][1].keys():
            odd = sorted(rows[-1][1].keys() ^ rows[0][1].keys())[0]
            raise InputError(
                f"{path}, row {number}, column {odd}: some rows have it, others do not; give it to all, with null for "
                "nothing"
            )
    _check_encoding(path, rows)
    return list(rows[0][1]) if rows else [], rows


def _json_cell(path: Path, number: int, name: str, value: Any) -> str:
    texts = (*KEY_COLUMNS, *(column for pair in REPORT_COLUMNS for column in pair))
    if isinstance(value, list | dict) and name in texts:
        raise InputError(
            f"{path}, row {number}, column {name}: expected a text, found a {_JSON_KINDS[type(value)]}; join its parts"
        )
    return "" if value is None else str(value)


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
