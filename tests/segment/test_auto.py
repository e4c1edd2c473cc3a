import numpy as np
import pytest

from reg2rg.errors import InputError
from reg2rg.phantom.world import make_phantom
from reg2rg.segment import auto, threshold
from reg2rg.volume import Volume


def test_the_masks_of_threshold_with_a_warning_ahead_of_its_own() -> None:
    volume = make_phantom(7).study.volume
    right_half = Volume(volume.array[volume.array.shape[0] // 2 :], volume.affine)
    drawn, plain = auto.segment(right_half), threshold.segment(right_half)
    np.testing.assert_array_equal(drawn.masks.array, plain.masks.array)
    assert drawn.masks.sources == plain.masks.sources
    assert drawn.masks.grid.matches(right_half.grid)
    assert plain.warnings and drawn.warnings == (auto.APPROXIMATE, *plain.warnings)
    assert "approximate" in auto.APPROXIMATE and "--masks" in auto.APPROXIMATE


def test_no_lungs_are_refused_as_threshold_does() -> None:
    with pytest.raises(InputError, match=r"^no lungs found"):
        auto.segment(Volume(np.zeros((9, 9, 9), np.int16), np.eye(4)))
