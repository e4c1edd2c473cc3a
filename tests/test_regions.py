"""The ten regions: the published names in the published order, each found by whatever it is called."""

import pytest

from reg2rg.errors import InputError
from reg2rg.regions import REGION_NAMES, REGIONS, find_region, get_region, normalize_name


def test_the_published_names_in_their_order() -> None:
    assert REGION_NAMES == (
        "abdomen",
        "bone",
        "breast",
        "esophagus",
        "heart",
        "lung",
        "mediastinum",
        "pleura",
        "thyroid",
        "trachea and bronchie",
    )


def test_index_bit_and_place_in_the_list_are_one() -> None:
    assert [region.index for region in REGIONS] == list(range(10))
    assert [region.bit for region in REGIONS] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]


def test_every_name_is_found_and_belongs_to_one_region() -> None:
    names = [name for region in REGIONS for name in (region.name, *region.synonyms)]
    assert len(set(names)) == len(names)
    for region in REGIONS:
        for name in (region.name, *region.synonyms):
            assert name == normalize_name(name), "names are written as they are compared"
            for spelling in (name, name.upper(), name.replace(" ", "_"), f"  {name.title()} ".replace(" ", "-_")):
                assert find_region(spelling) is get_region(spelling) is region


@pytest.mark.parametrize("name", ["", "lun", "left lung", "tracheaandbronchie", "10"])
def test_other_names_are_refused_with_the_ten(name: str) -> None:
    assert find_region(name) is None
    with pytest.raises(InputError) as refused:
        get_region(name)
    message = str(refused.value)
    assert repr(name) in message
    assert all(known in message for known in REGION_NAMES)
    assert "\n" not in message


def test_colors_can_be_told_apart() -> None:
    colors = [region.color_rgb for region in REGIONS]
    assert all(0 <= value <= 255 for color in colors for value in color)
    distances = [
        sum(abs(a - b) for a, b in zip(one, other, strict=True)) for one in colors for other in colors if one != other
    ]
    assert len(set(colors)) == 10
    assert min(distances) >= 60
