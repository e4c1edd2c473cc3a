"""How the scanner sees the body: the grid of voxels, the blur of the kernel, the noise of the dose."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int16

from reg2rg.errors import InputError
from reg2rg.phantom.body import Anatomy
from reg2rg.volume import Grid

SIZES = ("small", "standard", "clinical")
_CLINICAL_MATRIX = 512
_LOWEST_HU, _HIGHEST_HU = -1024, 3071  # 12 bits, as scanners store them


@dataclass(frozen=True)
class Acquisition:
    """One scan's settings.

    Attributes:
        spacing_mm: voxel size along x, y and z.
        blur_vox: standard deviation of the kernel's point spread, in voxels; grows with the voxel as resampling does.
        noise_hu: standard deviation of the noise in soft tissue.
    """

    spacing_mm: tuple[float, float, float]
    blur_vox: float
    noise_hu: float


def sample_acquisition(rng: np.random.Generator, anatomy: Anatomy, size: str) -> Acquisition:
    """Draws a scan's settings.

    small: 3 to 5 mm. The heart is 31 to 39 voxels wide whatever its size in mm, so that neither the number of voxels
    nor the blur of its crop tells how large it is; only its share of the body does.
    standard: 1.5 to 2 mm. clinical: a field of view of 512 voxels (0.6 to 0.9 mm), slices of 1 mm.

    Raises:
        InputError: if the size is unknown.
    """
    across, along, blur, noise = rng.uniform(size=4)
    if size == "small":
        x = anatomy.heart_width_mm / (31 + 8 * across)
        z = x * (0.9 + 0.2 * along)
    elif size == "standard":
        x, z = 1.5 + 0.5 * across, 1.5 + 0.5 * along
    elif size == "clinical":
        x, z = 2 * (anatomy.half_width_mm + _side_margin_mm(anatomy)) / _CLINICAL_MATRIX, 1.0
    else:
        raise InputError(f"unknown phantom size {size!r}: expected one of {', '.join(SIZES)}")
    # Sharp kernels are noisy, and the dose varies by a factor of four, the noise by its square root.
    noise_hu = 5 * (1.9 - 0.5 * blur) * 2**noise / 1.4
    return Acquisition((x, x, z), blur_vox=0.32 + 0.26 * blur, noise_hu=noise_hu)


def _side_margin_mm(anatomy: Anatomy) -> float:
    """Air, or the part of the arms that the field of view still shows, on either side of the chest."""
    return anatomy.margin_mm + (40 * anatomy.scale if anatomy.has_arms_down else 0.0)


def scan_grid(anatomy: Anatomy, acquisition: Acquisition, size: str) -> Grid:
    """The voxels that cover the body and its margin of air, on RAS+ axes; 512 x 512 in-plane where `clinical`."""
    x_mm, y_mm, z_mm = acquisition.spacing_mm
    width = 2 * (anatomy.half_width_mm + _side_margin_mm(anatomy))
    front = anatomy.front_mm + anatomy.breast_mm + anatomy.margin_mm
    back = anatomy.back_mm - anatomy.margin_mm
    columns, rows = round(width / x_mm), round((front - back) / y_mm)
    if size == "clinical":
        columns = rows = _CLINICAL_MATRIX
    slices = round((anatomy.scan_top_mm - anatomy.scan_bottom_mm) / z_mm)
    affine = np.diag([x_mm, y_mm, z_mm, 1.0])
    affine[:3, 3] = (
        -x_mm * (columns - 1) / 2,
        (front + back) / 2 - y_mm * (rows - 1) / 2,
        anatomy.scan_bottom_mm + z_mm / 2,
    )
    return Grid((columns, rows, slices), affine)


def acquire(
    hu: Float[np.ndarray, "x y z"], acquisition: Acquisition, rng: np.random.Generator
) -> Int16[np.ndarray, "x y z"]:
    """Blurs, adds noise with a short correlation, and stores whole HU of 12 bits."""
    blurred = _smooth(hu, acquisition.blur_vox)
    noise = _smooth(rng.standard_normal(hu.shape, dtype=np.float32), _NOISE_BLUR_VOX)
    blurred += noise * np.float32(acquisition.noise_hu / _remaining_deviation(_NOISE_BLUR_VOX))
    np.clip(np.rint(blurred, out=blurred), _LOWEST_HU, _HIGHEST_HU, out=blurred)
    return blurred.astype(np.int16)


_NOISE_BLUR_VOX = 0.45


def _weights(blur_vox: float) -> tuple[np.float32, np.float32]:
    """Middle and outer weight of the three-tap kernel whose variance is `blur_vox` squared (at most 0.7)."""
    outer = blur_vox**2 / 2
    return np.float32(1 - 2 * outer), np.float32(outer)


def _remaining_deviation(blur_vox: float) -> float:
    """What smoothing leaves of the deviation of independent noise of 1."""
    middle, outer = _weights(blur_vox)
    return float(middle**2 + 2 * outer**2) ** 1.5


def _smooth(array: Float[np.ndarray, "x y z"], blur_vox: float) -> Float[np.ndarray, "x y z"]:
    middle, outer = _weights(blur_vox)
    for axis in range(3):
        smoothed = array * middle
        here, there = [slice(None)] * 3, [slice(None)] * 3
        here[axis], there[axis] = slice(1, None), slice(None, -1)
        smoothed[tuple(here)] += outer * array[tuple(there)]
        smoothed[tuple(there)] += outer * array[tuple(here)]
        for edge in (0, -1):  # outside the block the tissue goes on
            at = tuple(edge if a == axis else slice(None) for a in range(3))
            smoothed[at] += outer * array[at]
        array = smoothed
    return array
