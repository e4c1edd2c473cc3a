"""Hounsfield units: the windows in which they are kept, scaled and shown."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped, UInt8

AIR_HU = -1000
OUTSIDE_HU = -1024
"""What lies outside a region in its texture crop, and outside the scanned block: below air, as scanners pad."""


@dataclass(frozen=True)
class HUWindow:
    """The HU from `low` to `high` that are kept; values outside are clipped.

    >>> HUWindow.from_level(level=40, width=400)
    HUWindow(low=-160.0, high=240.0)
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"a HU window goes from low to high, got {self.low} to {self.high}")
        for name in ("low", "high"):  # -1000 and -1000.0 are written differently, and by that kept crops are found
            object.__setattr__(self, name, float(getattr(self, name)))

    @classmethod
    def from_level(cls, level: float, width: float) -> "HUWindow":
        """The window as radiologists give it."""
        return cls(level - width / 2, level + width / 2)

    def scale(self, hu: Shaped[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Clips, then maps low to -1 and high to +1, as float32.

        >>> HUWindow(-1000, 200).scale(np.array([-2000.0, -400.0, 200.0])).tolist()
        [-1.0, 0.0, 1.0]
        """
        center, half_width = (self.low + self.high) / 2, (self.high - self.low) / 2
        clipped = np.clip(hu.astype(np.float32, copy=False), np.float32(self.low), np.float32(self.high))
        return (clipped - np.float32(center)) / np.float32(half_width)

    def to_gray(self, hu: Shaped[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
        """Gray values for display: low is 0, high is 255."""
        return np.rint((self.scale(hu) + 1) * 127.5).astype(np.uint8)


MODEL_WINDOW = HUWindow(-1000, 200)
"""The window of the published model."""
SOFT_TISSUE_WINDOW = HUWindow.from_level(level=40, width=400)
LUNG_WINDOW = HUWindow.from_level(level=-600, width=1500)
