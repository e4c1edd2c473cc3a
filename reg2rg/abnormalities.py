"""The 18 abnormalities of CT-RATE and the region in which each is reported.

Names and order are the columns of CT-RATE's label files (Hamamci et al. 2024).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Abnormality:
    """One of the 18 CT-RATE classes.

    Attributes:
        name: the column name in CT-RATE's label files.
        region: the region under which radiologists report it first.
    """

    name: str
    region: str


ABNORMALITIES: tuple[Abnormality, ...] = tuple(
    Abnormality(name, region)
    for name, region in (
        ("Medical material", "mediastinum"),
        ("Arterial wall calcification", "mediastinum"),
        ("Cardiomegaly", "heart"),
        ("Pericardial effusion", "heart"),
        ("Coronary artery wall calcification", "heart"),
        ("Hiatal hernia", "esophagus"),
        ("Lymphadenopathy", "mediastinum"),
        ("Emphysema", "lung"),
        ("Atelectasis", "lung"),
        ("Lung nodule", "lung"),
        ("Lung opacity", "lung"),
        ("Pulmonary fibrotic sequela", "lung"),
        ("Pleural effusion", "pleura"),
        ("Mosaic attenuation pattern", "lung"),
        ("Peribronchial thickening", "trachea and bronchie"),
        ("Consolidation", "lung"),
        ("Bronchiectasis", "trachea and bronchie"),
        ("Interlobular septal thickening", "lung"),
    )
)

ABNORMALITY_NAMES: tuple[str, ...] = tuple(abnormality.name for abnormality in ABNORMALITIES)
