"""The 18 abnormalities: CT-RATE's columns, each with one of the ten regions."""

from reg2rg.abnormalities import ABNORMALITIES, ABNORMALITY_NAMES
from reg2rg.regions import REGION_NAMES


def test_the_columns_of_ct_rate_in_their_order() -> None:
    assert ABNORMALITY_NAMES == (
        "Medical material",
        "Arterial wall calcification",
        "Cardiomegaly",
        "Pericardial effusion",
        "Coronary artery wall calcification",
        "Hiatal hernia",
        "Lymphadenopathy",
        "Emphysema",
        "Atelectasis",
        "Lung nodule",
        "Lung opacity",
        "Pulmonary fibrotic sequela",
        "Pleural effusion",
        "Mosaic attenuation pattern",
        "Peribronchial thickening",
        "Consolidation",
        "Bronchiectasis",
        "Interlobular septal thickening",
    )


def test_each_is_reported_in_one_of_the_ten_regions() -> None:
    assert {abnormality.region for abnormality in ABNORMALITIES} <= set(REGION_NAMES)
    region = {abnormality.name: abnormality.region for abnormality in ABNORMALITIES}
    assert region["Cardiomegaly"] == region["Pericardial effusion"] == "heart"
    assert region["Hiatal hernia"] == "esophagus"
    assert region["Pleural effusion"] == "pleura"
    assert region["Bronchiectasis"] == "trachea and bronchie"
    assert region["Lung nodule"] == "lung"
