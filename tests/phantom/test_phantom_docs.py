"""docs/PHANTOM.md lists the kinds as the program has them."""

from pathlib import Path

from reg2rg.phantom.finding import KINDS
from reg2rg.phantom.occurrence import PREVALENCE

PAGE = Path(__file__).parents[2] / "docs/PHANTOM.md"


def test_the_table_of_kinds_is_the_programs() -> None:
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines()]
    told = [(row[0], row[1], row[4], row[5]) for row in rows if row[0] in KINDS and len(row) == 6]
    assert told == [
        (name, kind.region, ", ".join(kind.states), f"{PREVALENCE[name]:.2f}".lstrip("0"))
        for name, kind in KINDS.items()
    ]
