"""Whose study a series is, in a few words: what pages and resources need to name a patient and a study."""

from dataclasses import dataclass
from typing import Any

from reg2rg.volume import DicomSeries


@dataclass(frozen=True)
class StudyIdentity:
    """Patient and study as the header of a series names them; empty where it does not say.

    Attributes:
        patient_id: the patient's ID, as its issuer gave it.
        issuer: who issued it.
        accession_number: the order's number.
        study_date: YYYYMMDD.
        study_description: what was done, in the scanner's words.
    """

    patient_id: str
    issuer: str
    accession_number: str
    study_date: str
    study_description: str


def identify(series: DicomSeries) -> StudyIdentity:
    """The identity in a series' header.

    >>> import numpy as np
    >>> from reg2rg.volume import Grid
    >>> header = {"00100020": {"vr": "LO", "Value": ["P1"]}, "00080020": {"vr": "DA"}}
    >>> identify(DicomSeries("1.2", "1.3", "", (), Grid((1, 1, 1), np.eye(4)), header))
    StudyIdentity(patient_id='P1', issuer='', accession_number='', study_date='', study_description='')
    """
    return StudyIdentity(
        patient_id=_text(series.header, "00100020"),
        issuer=_text(series.header, "00100021"),
        accession_number=_text(series.header, "00080050"),
        study_date=_text(series.header, "00080020"),
        study_description=_text(series.header, "00081030"),
    )


def _text(header: dict[str, Any], tag: str) -> str:
    """The first value of an element of the DICOM JSON model (PS3.18, annex F)."""
    values = header.get(tag, {}).get("Value") or [""]
    return "" if values[0] is None else str(values[0])
