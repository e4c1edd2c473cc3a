"""Atelectasis: lung that has lost its air and its volume. Straight edges and no open bronchi tell it from pneumonia."""

import numpy as np
from jaxtyping import Float

from reg2rg.phantom.abnormalities.placing import NEIGHBORHOOD_MM, LungPoints, choose_lobe, fill_lung, lung_points
from reg2rg.phantom.finding import AMOUNTS, Finding
from reg2rg.phantom.organs import LOBES, Chest
from reg2rg.phantom.shapes import Ellipsoid, rotation_about
from reg2rg.volume import Box

# Denser than consolidation, as vessels crowd: 30 to 60 HU without contrast (Edwards et al., Clin Radiol 2016).
ATELECTASIS_HU = (35.0, 60.0)
_LOBE_WEIGHTS = (0.08, 0.2, 0.32, 0.08, 0.32)  # mostly where a lying patient breathes least
# Where a lobe sinks to: (outwards, forwards, upwards).
_DEPENDENT = {"upper lobe": (0.35, 0.55, 0.6), "middle lobe": (0.1, 0.75, -0.65), "lower lobe": (0.3, -0.65, -0.7)}


def draw_atelectasis(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """Small: two or three flat bands at the pleura; moderate: a wedge on it; large: a third of a lobe and more."""
    canvas = chest.canvas
    amount = AMOUNTS[rng.integers(3)]
    hu = rng.uniform(*ATELECTASIS_HU)
    points = lung_points(chest, rng)
    lobe = choose_lobe(points, rng, _LOBE_WEIGHTS)
    own = points.of_lobe(lobe)
    side, lobe_name = LOBES[lobe]
    outwards, forwards, upwards = _DEPENDENT[lobe_name]
    down = np.array([outwards if side == "right" else -outwards, forwards, upwards])
    down /= np.linalg.norm(down)
    (x0, y0, z0), (x1, y1, z1) = own.mm.min(axis=0).tolist(), own.mm.max(axis=0).tolist()
    around = Ellipsoid(((x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2), ((x1 - x0) / 2, (y1 - y0) / 2, (z1 - z0) / 2))
    box = canvas.box_of(around, NEIGHBORHOOD_MM)
    assert box is not None, "a lobe lies outside the scan"
    draw = {"small": _bands, "moderate": _wedge, "large": _collapse}[amount]
    fill_lung(chest, draw(chest, rng, own, down, box), box, hu, lobe, first_lesion)
    return (Finding("Atelectasis", "lung", side, lobe_name, amount=amount, lesion=first_lesion),)


def _bands(
    chest: Chest, rng: np.random.Generator, own: LungPoints, down: Float[np.ndarray, "3"], box: Box
) -> Float[np.ndarray, "x y z"]:
    """Plates 4 to 6 mm thick and 40 to 60 mm wide, about level, that end at the pleura of the dependent part."""
    k = chest.anatomy.scale
    lowest = np.argsort(-own.mm @ down)
    low = lowest[: max(len(lowest) // 2, 3)]
    near = low[(own.depth_mm[low] > 5) & (own.depth_mm[low] < 16)]
    chosen = rng.choice(near if near.size >= 3 else low, size=int(rng.integers(2, 4)), replace=False)
    plates = []
    for px, py, pz in own.mm[chosen].tolist():
        a, b, c = k * rng.uniform(22, 30), k * rng.uniform(18, 24), rng.uniform(2.3, 3.2)
        tilt = rotation_about(0, rng.uniform(-30, 30)) @ rotation_about(1, rng.uniform(-30, 30))
        plates.append(Ellipsoid((px, py, pz), (a, b, c), tilt @ rotation_about(2, rng.uniform(0, 180))))
    return chest.canvas.distance_to(plates, box, NEIGHBORHOOD_MM / 2)


def _wedge(
    chest: Chest, rng: np.random.Generator, own: LungPoints, down: Float[np.ndarray, "3"], box: Box
) -> Float[np.ndarray, "x y z"]:
    """A segment: a pyramid with hollow sides whose base is the pleura and whose tip points to the lobe's middle."""
    k = chest.anatomy.scale
    height = k * rng.uniform(38, 48)
    outwards = own.mm - own.mm.mean(axis=0)
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
    behind = -chest.canvas.sample(chest.lung_mm, own.mm - 0.6 * height * outwards, outside=np.inf)
    fits = np.flatnonzero((own.depth_mm < 7) & (behind > 14 * k))  # not in a recess too thin for a wedge
    fits = fits if fits.size else np.arange(len(own.mm))
    chosen = fits[np.argmax(own.mm[fits] @ down + k * rng.uniform(0, 30, fits.size))]
    base, axis = own.mm[chosen], outwards[chosen]
    across = np.cross(axis, rng.standard_normal(3))
    across /= np.linalg.norm(across)
    tip = base - height * axis
    d = [place - np.float32(c) for place, c in zip(chest.canvas.axes_mm(box), tip, strict=True)]
    w, u, v = (
        sum(np.float32(e) * part for e, part in zip(direction, d, strict=True))
        for direction in (axis, across, np.cross(axis, across))
    )
    spread = np.clip(w / height, 0, None) ** 1.4 * height  # more than 1: the sides are hollow
    wide, flat = rng.uniform(0.65, 0.85), rng.uniform(0.4, 0.55)
    sides = np.maximum((np.abs(u) - wide * spread) / np.hypot(1, wide), (np.abs(v) - flat * spread) / np.hypot(1, flat))
    return np.maximum(np.maximum(sides, -w), w - 1.5 * height).astype(np.float32)


def _collapse(
    chest: Chest, rng: np.random.Generator, own: LungPoints, down: Float[np.ndarray, "3"], box: Box
) -> Float[np.ndarray, "x y z"]:
    """What lies beyond a hollow surface across the lobe: a third of the lobe or more."""
    hollow = 1 / (2 * 110 * chest.anatomy.scale)
    middle = own.mm.mean(axis=0)

    def beyond(dx: np.ndarray, dy: np.ndarray, dz: np.ndarray) -> np.ndarray:
        along = down[0] * dx + down[1] * dy + down[2] * dz
        return along + hollow * (dx**2 + dy**2 + dz**2 - along**2)

    level = np.quantile(beyond(*(own.mm - middle).T), 1 - rng.uniform(0.3, 0.45))
    x, y, z = (place - np.float32(c) for place, c in zip(chest.canvas.axes_mm(box), middle, strict=True))
    return (level - beyond(x, y, z)).astype(np.float32)
