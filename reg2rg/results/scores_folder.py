"""The folder of an evaluation: ``scores.json``, tables, ``scores.html``, ``run.json``; all of them or none."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from reg2rg.evaluate.examples import Example
from reg2rg.evaluate.scores import Scores
from reg2rg.files import sha256, staged_folder, write_json, write_record
from reg2rg.results.run_record import run_record
from reg2rg.results.scores_csv import write_tables
from reg2rg.results.scores_html import scores_to_html


def write_scores(out: Path, scores: Scores, examples: Sequence[Example], force: bool = False) -> None:
    """Writes the folder.

    Args:
        out: the folder; it must be new or empty unless `force`.
        scores: what to write.
        examples: studies that the page shows side by side.
        force: replace what is there.

    Raises:
        InputError: if the folder cannot be written.
    """
    content = scores_to_json(scores)
    with staged_folder(out, force) as folder:
        write_json(folder / "scores.json", content)
        write_tables(folder, scores)
        (folder / "scores.html").write_text(scores_to_html(scores, examples), encoding="utf-8")
        write_record(
            folder, run_record("evaluate", {"recipe": scores.recipe, **scores.settings}, sha256=content["sha256"])
        )


def scores_to_json(scores: Scores) -> dict[str, Any]:
    """What ``scores.json`` holds: the scores, the program's version, and the SHA-256 of each file that was read."""
    sources = [scores.source, *(other.scores.source for other in (scores.comparison, scores.control) if other)]
    if scores.settings["labels"]:
        sources.append(scores.settings["labels"])
    digests = {source: sha256(Path(source)) for source in sources}
    return {**scores.to_json(), "version": version("reg2rg"), "sha256": digests}
