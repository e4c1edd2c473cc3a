"""Structures of other segmenters become regions: by tables that docs/REGIONS.md shows, and by what landmarks say."""

import csv
from pathlib import Path

import numpy as np
import pytest

from reg2rg.nifti import LabelMap
from reg2rg.regions import REGION_NAMES, REGIONS, get_region, normalize_name
from reg2rg.segment.quality import VOLUMES_ML
from reg2rg.segment.structures import (
    LANDMARKS,
    SAT_TABLE,
    TABLES,
    Structure,
    complete,
    find_structure,
    paint,
    read_table,
    total_names,
)
from reg2rg.volume import RegionMasks

PAGE = Path(__file__).resolve().parents[2] / "docs/REGIONS.md"


def bit(region: str) -> int:
    return get_region(region).bit


def test_no_name_means_two_things() -> None:
    """The tables share a dictionary: what one name says in two of them, or as a region, must be the same."""
    meanings: dict[str, set[str]] = {}
    for table in TABLES:
        for row in read_table(table):
            assert row["region"] in (*REGION_NAMES, "") and row["landmark"] in (*LANDMARKS, ""), row
            meanings.setdefault(normalize_name(row["name"]), set()).add(row["region"])
            found = find_structure(row["name"])
            assert found is not None and found.region == row["region"], row
    assert {name: regions for name, regions in meanings.items() if len(regions) > 1} == {}


def test_every_region_but_the_pleura_of_total_has_its_structures() -> None:
    assert {row["region"] for row in read_table("totalsegmentator_total.csv")} == {*REGION_NAMES, ""} - {
        "breast",
        "pleura",
    }
    assert {row["region"] for table in TABLES[:2] for row in read_table(table)} == {*REGION_NAMES, ""}
    assert {row["region"] for row in read_table(SAT_TABLE)} == {*REGION_NAMES, ""}
    assert set(total_names()) == set(range(1, 118)) and total_names()[26] == "vertebrae_S1"


def test_the_page_shows_the_tables() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for region in (*REGION_NAMES, "none"):
        for table, title in zip(TABLES, ("total", "further tasks", "SAT"), strict=True):
            names = [row["name"] for row in read_table(table) if row["region"] == region.replace("none", "")]
            line = f"- {title}: {', '.join(names) or 'nothing'}"
            section = page.split(f"\n### {region}\n")[1].split("\n### ")[0]
            assert line in section.splitlines(), (region, title)


def test_the_page_shows_the_plausible_volumes() -> None:
    assert set(VOLUMES_ML) == set(REGION_NAMES)
    rows = [row for row in csv.reader(PAGE.read_text(encoding="utf-8").splitlines(), delimiter="|") if len(row) == 6]
    shown = {row[1].strip(): (float(row[2]), float(row[3])) for row in rows if row[1].strip() in REGION_NAMES}
    assert shown == VOLUMES_ML


def test_names_are_found_however_they_are_spelled() -> None:
    assert find_structure("Left_Lung-upper lobe") == Structure("lung", "lung")
    assert find_structure("vertebrae_T12") == find_structure("thoracic vertebrae 12 (t12)") == Structure("bone", "T12")
    assert find_structure("lungs") == Structure("lung"), "a region as a whole is no landmark"
    assert find_structure("thoracic_cavity") == Structure("", "thoracic cavity")
    assert find_structure("") is None


def test_landmarks_and_regions_have_bits_of_their_own() -> None:
    bits = [*(region.bit for region in REGIONS), *LANDMARKS.values()]
    assert sum(bits) == np.bitwise_or.reduce(bits) <= np.iinfo(np.uint16).max


def test_paint() -> None:
    labels = LabelMap(np.array([0, 1, 2, 3, 9]).reshape(5, 1, 1), np.eye(4))
    painted = paint(labels, {1: find_structure("heart"), 2: find_structure("aorta"), 3: None, 77: Structure("lung")})
    assert painted.array.ravel().tolist() == [0, bit("heart"), bit("mediastinum") | LANDMARKS["aorta"], 0, 0]


COLUMN = np.diag([1.0, 1.0, 2.0, 1.0])  # ten voxels from below to above


@pytest.mark.parametrize("flipped", [False, True], ids=["stored upwards", "stored downwards"])
@pytest.mark.parametrize(
    ("landmark", "places", "abdominal"),
    [("T12", [4, 5], 5), ("T12", [0, 1, 2], 1), ("lumbar", [1], 10), ("lung", [1], 0)],
    ids=["at the vertebra's middle", "lower", "beside lumbar vertebrae", "without a vertebra"],
)
def test_the_aorta_is_divided_at_the_diaphragm(landmark: str, places: list[int], abdominal: int, flipped: bool) -> None:
    array = np.zeros((2, 1, 10), np.uint16)
    array[0] = bit("mediastinum") | LANDMARKS["aorta"]
    array[1, 0, places] = LANDMARKS[landmark]
    affine = COLUMN
    if flipped:
        array, affine = (
            array[:, :, ::-1].copy(),
            COLUMN @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 9], [0, 0, 0, 1]]),
        )
    completed = complete(RegionMasks(array, affine))
    column = completed.array[0, 0, ::-1] if flipped else completed.array[0, 0]
    assert column.tolist() == [bit("abdomen")] * abdominal + [bit("mediastinum")] * (10 - abdominal)


def chest(**landmarks: slice) -> RegionMasks:
    """A row of 40 voxels of 1 mm; the lung, as a segmenter draws it, is at 10 to 29."""
    array = np.zeros((40, 1, 1), np.uint16)
    array[10:30] = bit("lung") | LANDMARKS["lung"]
    for name, where in landmarks.items():
        array[where] |= LANDMARKS[name.replace("_", " ")] | (bit("pleura") if name == "effusion" else 0)
    return RegionMasks(array, np.eye(4))


def pleura(masks: RegionMasks) -> list[int]:
    return np.flatnonzero(complete(masks).mask("pleura")).tolist()


def test_the_pleura_is_a_shell_in_the_thoracic_cavity_and_the_effusion() -> None:
    assert pleura(chest()) == [8, 9, 10, 11, 28, 29, 30, 31]
    assert pleura(chest(thoracic_cavity=slice(9, 31))) == [9, 10, 11, 28, 29, 30]
    assert pleura(chest(thoracic_cavity=slice(9, 31), effusion=slice(32, 35))) == [9, 10, 11, 28, 29, 30, 32, 33, 34]


def test_a_pleura_that_is_given_and_a_lung_that_is_given_stay_as_they_are() -> None:
    masks = chest()
    masks.array[20] |= bit("pleura")
    assert pleura(masks) == [20]
    own = RegionMasks(masks.array & np.uint16(bit("lung")), np.eye(4))
    np.testing.assert_array_equal(complete(own).array, own.array)


def test_no_landmark_is_left() -> None:
    masks = RegionMasks(np.full((3, 3, 3), 0xFFFF, np.uint16), np.eye(4))
    assert int(complete(masks).array.max()) < 1 << len(REGIONS)
    assert int(masks.array.min()) == 0xFFFF, "what is given is left unchanged"
