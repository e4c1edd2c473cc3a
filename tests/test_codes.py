"""Codes of regions and abnormalities: in DICOM's dictionary, or at least well-formed identifiers of SNOMED CT."""

import pytest

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.codes import (
    ANATOMICAL_STRUCTURE,
    CHEST_CT_REPORT,
    FINDINGS,
    PRESENT,
    VOLUME,
    Code,
    abnormality_code,
    region_code,
)
from reg2rg.errors import InputError
from reg2rg.regions import REGION_NAMES

REGION_CODES = [region_code(name) for name in REGION_NAMES]
ABNORMALITY_CODES = [abnormality_code(name) for name in ABNORMALITY_NAMES]
FROM_SNOMED_CT_ITSELF = {
    "Cardiomegaly",
    "Coronary artery wall calcification",
    "Hiatal hernia",
    "Emphysema",
    "Atelectasis",
    "Lung nodule",
    "Consolidation",
    "Bronchiectasis",
}


def in_dicom(code: Code) -> bool:
    """Whether pydicom's copy of PS3.16 has the code with this very meaning, in one of its context groups."""
    concepts = pytest.importorskip("pydicom.sr._concepts_dict").concepts[code.scheme]
    found = [entries[code.value] for entries in concepts.values() if code.value in entries]
    return any(meaning == code.meaning and groups for meaning, groups in found)


def check_digit_is_right(identifier: str) -> bool:
    """Whether the last digit is Verhoeff's check digit, as that of every SNOMED CT identifier is."""
    symmetry = [[i, (i + 1) % 5, (i + 2) % 5, (i + 3) % 5, (i + 4) % 5] for i in range(5)]
    product = [
        [symmetry[a][b % 5] + 5 * (b >= 5) if a < 5 else 0 for b in range(10)] if a < 5 else [0] * 10 for a in range(10)
    ]
    for a in range(5, 10):  # the dihedral group D5: a reflection times a rotation turns the other way round
        product[a] = [(a - b) % 5 + 5 if b < 5 else (a - b) % 5 for b in range(10)]
    permutation = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    check = 0
    for place, digit in enumerate(reversed(identifier)):
        value = int(digit)
        for _ in range(place % 8):
            value = permutation[value]
        check = product[check][value]
    return check == 0


def test_every_region_has_a_code_of_a_context_group() -> None:
    assert [code.meaning for code in (*REGION_CODES, ANATOMICAL_STRUCTURE) if not in_dicom(code)] == []


def test_words_of_a_report_have_codes_of_context_groups() -> None:
    assert [code.meaning for code in (CHEST_CT_REPORT, FINDINGS, PRESENT, VOLUME) if not in_dicom(code)] == []


def test_abnormalities_have_codes_of_context_groups_unless_none_has_them() -> None:
    missing = {name for name in ABNORMALITY_NAMES if not in_dicom(abnormality_code(name))}
    assert missing == FROM_SNOMED_CT_ITSELF


def test_snomed_identifiers_are_well_formed() -> None:
    identifiers = [code.value for code in (*REGION_CODES, *ABNORMALITY_CODES) if code.scheme == "SCT"]
    assert all(check_digit_is_right(identifier) for identifier in identifiers)
    assert not check_digit_is_right("39607009")
    assert not check_digit_is_right("36907008")


def test_no_two_share_a_code_and_meanings_fit_into_dicom() -> None:
    codes = [*REGION_CODES, *ABNORMALITY_CODES]
    assert len({(code.scheme, code.value) for code in codes}) == len(codes)
    assert all(len(code.meaning) <= 64 and len(code.value) <= 16 for code in codes)


def test_synonyms_and_unknown_names() -> None:
    assert region_code("airways") == region_code("trachea and bronchie")
    with pytest.raises(InputError, match="unknown region 'spleen'"):
        region_code("spleen")
