"""``report.json``: the report as data, by the schema ``reg2rg.report/1`` that the package ships."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from reg2rg.files import write_json
from reg2rg.report import DISCLAIMER, Report

SCHEMA_ID = "reg2rg.report/1"


def report_to_json(report: Report) -> dict[str, Any]:
    """The report as it stands in ``report.json``."""
    return {
        "schema": SCHEMA_ID,
        "disclaimer": DISCLAIMER,
        "study": {
            "id": report.study_id,
            "source": report.source,
            "spacing_mm": [round(mm, 6) for mm in report.spacing_mm],
            "size_xyz": list(report.size_xyz),
            "orientation": report.orientation,
        },
        "model": {
            "name": report.model.name,
            "sha256": report.model.sha256,
            "version": report.model.version,
            "notice": report.model.notice,
        },
        "report": report.text,
        "generated": report.generated,
        "regions": [
            {
                "index": region.index,
                "name": region.name,
                "recognized_as": region.recognized_as,
                "agrees": region.agrees,
                "text": region.text,
                "sentences": [
                    {
                        "text": sentence.text,
                        "abnormalities": None if sentence.abnormalities is None else list(sentence.abnormalities),
                    }
                    for sentence in region.sentences
                ],
                "volume_ml": round(region.volume_ml, 3),
                "box_mm": [[round(mm, 3) for mm in corner] for corner in region.box_mm],
                "label": region.label,
                "mask_source": region.mask_source,
                "mask_doubts": list(region.mask_doubts),
            }
            for region in report.regions
        ],
        "other": report.other,
        "recognition_accuracy": round(report.recognition_accuracy, 6),
        "warnings": list(report.warnings),
        "seconds": {stage: round(seconds, 3) for stage, seconds in report.seconds.items()},
    }


def write_report_json(path: Path, report: Report) -> None:
    """Writes ``report.json``."""
    write_json(path, report_to_json(report))


def report_schema() -> dict[str, Any]:
    """The JSON Schema of ``report.json``.

    >>> report_schema()["title"]
    'reg2rg.report/1'
    """
    schema: dict[str, Any] = json.loads(files("reg2rg").joinpath("schema/report-1.json").read_text("utf-8"))
    return schema
