"""The ten regions and the 18 abnormalities as coded concepts, as DICOM objects and FHIR resources name them.

A code is taken, in this order, from

- a context group (CID) of DICOM PS3.16, of which pydicom's dictionary (`pydicom.sr.codedict`) holds a copy: all
  regions, and the abnormalities marked with their CID;
- SNOMED CT itself, where no context group has the concept: the fully specified name is given beside it;
- a concept of PS3.16 that says less than the abnormality's name, where neither has it: marked "coarser". Whoever writes
  a code writes the name beside it.

CID 12248 of PS3.16 has 287272002 as Cardiomegaly, which SNOMED CT calls "Enlarged septal foramen of heart": the code
of SNOMED CT is used instead.
"""

from dataclasses import dataclass

from reg2rg.regions import get_region


@dataclass(frozen=True)
class Code:
    """A coded concept, the triplet of PS3.3, section 8.

    Attributes:
        scheme: the coding scheme's designator: ``SCT`` is SNOMED CT, ``DCM`` the DICOM Controlled Terminology, ``LN``
            LOINC.
        value: the code; text, whatever it looks like.
        meaning: what it stands for, in words.
    """

    scheme: str
    value: str
    meaning: str


ANATOMICAL_STRUCTURE = Code("SCT", "91723000", "Anatomical Structure")  # CID 7150
"""The category to which every region belongs."""

CHEST_CT_REPORT = Code("LN", "24627-2", "CT Chest Report")  # CID 7000
"""What kind of document a report is."""

FINDINGS = Code("LN", "59776-5", "Findings")  # CID 7001
"""What is said about a region."""

VOLUME = Code("SCT", "118565006", "Volume")  # CID 7472

PRESENT = Code("SCT", "52101004", "Present")  # CID 240
"""What is said of an abnormality."""

_REGION_CODES: dict[str, Code] = {
    "abdomen": Code("SCT", "818981001", "Abdomen"),  # CID 7151
    "bone": Code("SCT", "272673000", "Bone"),  # CID 8134
    "breast": Code("SCT", "76752008", "Breast"),  # CID 7151
    "esophagus": Code("SCT", "32849002", "Esophagus"),  # CID 6102
    "heart": Code("SCT", "80891009", "Heart"),  # CID 6100
    "lung": Code("SCT", "39607008", "Lung"),  # CID 6100
    "mediastinum": Code("SCT", "72410000", "Mediastinum"),  # CID 6100
    "pleura": Code("SCT", "3120008", "Pleura"),  # CID 7151
    "thyroid": Code("SCT", "69748006", "Thyroid"),  # CID 7151
    "trachea and bronchie": Code("SCT", "110726009", "Trachea and bronchus"),  # CID 7151
}

_ABNORMALITY_CODES: dict[str, Code] = {
    "Medical material": Code("SCT", "260787004", "Physical object"),  # CID 7150; coarser: any device or implant
    "Arterial wall calcification": Code("SCT", "237897009", "Vascular Calcification"),  # CID 3491; coarser: veins, too
    "Cardiomegaly": Code("SCT", "8186001", "Cardiomegaly"),  # Cardiomegaly (disorder)
    "Pericardial effusion": Code("SCT", "373945007", "Pericardial effusion"),  # CID 12236
    "Coronary artery wall calcification": Code(
        "SCT", "445512009", "Calcification of coronary artery"
    ),  # Calcification of coronary artery (disorder)
    "Hiatal hernia": Code("SCT", "84089009", "Hiatal hernia"),  # Hiatal hernia (disorder)
    "Lymphadenopathy": Code("SCT", "30746006", "Lymphadenopathy"),  # CID 6347
    "Emphysema": Code("SCT", "87433001", "Pulmonary emphysema"),  # Pulmonary emphysema (disorder)
    "Atelectasis": Code("SCT", "46621007", "Atelectasis"),  # Atelectasis (disorder)
    "Lung nodule": Code("SCT", "786838002", "Nodule of lung"),  # Nodule of lung (disorder)
    "Lung opacity": Code("DCM", "112001", "Opacity"),  # CID 6104; coarser: of whatever organ
    "Pulmonary fibrotic sequela": Code("SCT", "12402003", "Scar tissue"),  # CID 6102; coarser: of whatever organ
    "Pleural effusion": Code("SCT", "60046008", "Pleural effusion"),  # CID 8134
    "Mosaic attenuation pattern": Code("DCM", "112130", "Mosaic pattern"),  # CID 6106
    "Peribronchial thickening": Code(
        "SCT", "49755003", "Morphologically Abnormal Structure"
    ),  # CID 7150; coarser: any change of form
    "Consolidation": Code("SCT", "95436008", "Lung consolidation"),  # Lung consolidation (disorder)
    "Bronchiectasis": Code("SCT", "12295008", "Bronchiectasis"),  # Bronchiectasis (disorder)
    "Interlobular septal thickening": Code("DCM", "112114", "Septal line(s)"),  # CID 6103
}


def region_code(name: str) -> Code:
    """The code of a region, by its name or a synonym.

    Raises:
        InputError: if there is no such region.

    >>> region_code("lungs")
    Code(scheme='SCT', value='39607008', meaning='Lung')
    """
    return _REGION_CODES[get_region(name).name]


def abnormality_code(name: str) -> Code:
    """The code of one of CT-RATE's 18 abnormalities, by the name in `reg2rg.abnormalities`.

    >>> abnormality_code("Lung nodule").value
    '786838002'
    """
    return _ABNORMALITY_CODES[name]
