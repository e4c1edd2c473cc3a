"""Tables of region texts: a row per study and region."""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from reg2rg.errors import InputError
from reg2rg.nifti import stem
from reg2rg.prompt import OTHER_TITLE
from reg2rg.regions import find_region, normalize_name

_COLUMNS = ("Volumename", "Anatomy", "Sentence")


@dataclass(frozen=True)
class RegionTexts:
    """What a table says.

    Attributes:
        by_study: file name of the volume without its ending, to region (or ``other``), to text.
        duplicates: by study, regions with several rows; the last one was taken, as published.
        unknown_regions: names that are none of the ten, and how often they occur; their texts are not used.
    """

    by_study: dict[str, dict[str, str]] = field(default_factory=dict)
    duplicates: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unknown_regions: dict[str, int] = field(default_factory=dict)


def read_region_texts(path: Path, with_other: bool = False) -> RegionTexts:
    """Reads a table with the columns Volumename (with or without ``.nii.gz``), Anatomy, Sentence.

    A row without Anatomy is the whole report and no region's text. An empty cell or ``nan`` is an empty text. Runs of
    blanks become one.

    Args:
        path: the CSV file; if there is none, nothing is known of any study.
        with_other: the table has texts called ``other``, which belong to no region.

    Raises:
        InputError: if the file is no such table.
    """
    if not path.exists():
        return RegionTexts()
    by_study: dict[str, dict[str, str]] = {}
    rows: Counter[tuple[str, str]] = Counter()
    unknown: Counter[str] = Counter()
    for row in read_rows(path, _COLUMNS):
        study = stem(Path(row["Volumename"].strip()))
        texts = by_study.setdefault(study, {})
        anatomy = clean_text(row["Anatomy"])
        region = find_region(anatomy)
        if region is not None or (with_other and normalize_name(anatomy) == OTHER_TITLE):
            title = region.name if region else OTHER_TITLE
            texts[title] = clean_text(row["Sentence"])
            rows[study, title] += 1
        elif anatomy:
            unknown[anatomy] += 1
    duplicates: dict[str, tuple[str, ...]] = {}
    for (study, title), count in rows.items():
        if count > 1:
            duplicates[study] = (*duplicates.get(study, ()), title)
    return RegionTexts(by_study, duplicates, dict(unknown))


def read_rows(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """The rows of a CSV file that has at least these columns; cells that a row lacks are empty.

    Raises:
        InputError: if the file cannot be read, is no CSV text, or lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restkey="", restval="")
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            if missing:
                found = ", ".join(reader.fieldnames or ()) or "nothing"
                raise InputError(f"{path}: expected the columns {', '.join(columns)}; {missing[0]} is not in: {found}")
            yield from reader
    except OSError as error:
        raise InputError(f"{path}: expected a CSV file, cannot read it ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a CSV file in UTF-8 ({error}); export it again") from error


def clean_text(cell: str) -> str:
    """A cell's text with single blanks; '' for the ``nan`` that some programs write for nothing.

    >>> clean_text(" No effusion. \\n"), clean_text("nan")
    ('No effusion.', '')
    """
    text = " ".join(cell.split())
    return "" if text.lower() == "nan" else text
