import pytest

from reg2rg.errors import InputError
from reg2rg.segment import SEGMENTERS
from reg2rg.segment.segmentation import find_segmenter


@pytest.mark.parametrize("name", SEGMENTERS)
def test_every_listed_segmenter_can_be_found(name: str) -> None:
    segmenter = find_segmenter(name)
    assert segmenter.__name__ == "segment" and segmenter.__module__ == f"reg2rg.segment.{name}"


@pytest.mark.parametrize("name", ["", "given", "Threshold", "os"])
def test_an_unknown_segmenter_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(InputError) as caught:
        find_segmenter(name)
    assert str(caught.value) == f"unknown segmenter {name!r}: expected one of auto, totalsegmentator, threshold"
