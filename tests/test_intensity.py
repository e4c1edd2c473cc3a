"""HU windows by hand: the ends, the middle, and what lies beyond."""

import numpy as np
import pytest

from reg2rg.intensity import AIR_HU, LUNG_WINDOW, MODEL_WINDOW, OUTSIDE_HU, SOFT_TISSUE_WINDOW, HUWindow


def test_the_windows_in_use() -> None:
    assert HUWindow(-1000, 200) == MODEL_WINDOW, "the published one"
    assert (SOFT_TISSUE_WINDOW.low, SOFT_TISSUE_WINDOW.high) == (-160, 240)
    assert (LUNG_WINDOW.low, LUNG_WINDOW.high) == (-1350, 150)
    assert OUTSIDE_HU < AIR_HU


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_scaling_clips_and_maps_to_minus_one_and_one(dtype: type) -> None:
    hu = np.array([[-32768, -1024, -1000], [-700, -400, 199], [200, 201, 32767]], dtype)
    scaled = MODEL_WINDOW.scale(hu)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [[-1, -1, -1], [-0.5, 0, 599 / 600], [1, 1, 1]], atol=1e-7)
    assert hu[0, 0] == -32768, "the argument stays as it was"


def test_gray_values_are_rounded() -> None:
    window = HUWindow(0, 255)
    gray = window.to_gray(np.array([-1.0, 0, 0.4, 0.6, 100, 254.6, 255, 900]))
    assert gray.dtype == np.uint8
    assert gray.tolist() == [0, 0, 0, 1, 100, 255, 255, 255]


@pytest.mark.parametrize(("low", "high"), [(100, 100), (200, -1000), (float("nan"), 0), (0, float("nan"))])
def test_a_window_goes_from_low_to_high(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="from low to high"):
        HUWindow(low, high)
