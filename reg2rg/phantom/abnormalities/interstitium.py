"""Scars and the lung's scaffold: fibrotic sequelae, thick interlobular septa."""

import numpy as np

from reg2rg.phantom.abnormalities.lobules import pack_lobules
from reg2rg.phantom.abnormalities.placing import (
    NEIGHBORHOOD_MM,
    choose_lobe,
    is_free,
    lung_box,
    lung_points,
    occupy_lung,
)
from reg2rg.phantom.finding import AMOUNTS, Finding
from reg2rg.phantom.organs import LOBES, Chest, smooth_noise
from reg2rg.phantom.shapes import Ellipsoid, Shape, Tube

# Scars are soft tissue; specks above 200 HU are calcium (Siegelman et al., Radiology 1986).
SCAR_HU = (20.0, 60.0)
SPECK_HU = (400.0, 700.0)
_SCAR_LOBES = (0.36, 0.06, 0.12, 0.36, 0.10)  # mostly the upper lobes, as after tuberculosis

# Septa bound the secondary lobules, which are 10 to 25 mm wide; normal ones are 0.1 mm thick and not seen, thick ones
# up to 2 mm (Webb, Radiology 2006). Share of the lung that has them, by amount.
SEPTUM_MM = {"small": 1.5, "moderate": 1.8, "large": 2.1}
SEPTA_SHARE = {"small": 0.18, "moderate": 0.38, "large": 0.68}
SEPTUM_HU = 20.0
LOBULE_MM = 22.0


def draw_fibrotic_sequela(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """A scar at the pleura, mostly at a lung's top: streaks that draw together, a pleural cap and calcified specks.

    It lies at the chest wall or the top, never at the mediastinum.
    """
    canvas, k = chest.canvas, chest.anatomy.scale
    amount = AMOUNTS[rng.integers(3)]
    radius = k * rng.uniform(*{"small": (16, 19), "moderate": (25, 30), "large": (38, 46)}[amount])
    streaks = {"small": 7, "moderate": 13, "large": 22}[amount]
    specks = {"small": 2, "moderate": 4, "large": 7}[amount]
    hu, speck_hu = rng.uniform(*SCAR_HU), rng.uniform(*SPECK_HU)
    points = lung_points(chest, rng)
    lobe = choose_lobe(points, rng, _SCAR_LOBES)
    side, lobe_name = LOBES[lobe]
    own = points.of_lobe(lobe)
    medial = chest.anatomy.mediastinum_mm + 12 * k
    outwards = np.abs(own.mm[:, 0])
    outer = np.flatnonzero((own.depth_mm < 8) & (outwards > max(medial, float(np.median(outwards)))))
    outer = outer if outer.size else np.arange(len(own.mm))
    high = outer[np.argsort(-own.mm[outer, 2])][: max(outer.size // 6, 1)]
    top = own.mm[rng.choice(high)]
    inwards = own.mm.mean(axis=0) - top
    focus = top + 0.8 * radius * inwards / np.linalg.norm(inwards)

    near = top + radius * rng.uniform(-1.1, 1.1, size=(500, 3))
    depth = -canvas.sample(chest.lung_mm, near, outside=np.inf)
    is_near = (depth > 0) & (depth < max(6.0, canvas.voxel_mm)) & (chest.lobe(*near.T) == lobe)
    near = near[is_near & (np.abs(near[:, 0]) > medial)]
    ends = near[:streaks] if len(near) else top[None]
    starts = focus + 0.3 * radius * rng.uniform(-1, 1, size=ends.shape)
    bends = (starts + ends) / 2 + 0.15 * radius * rng.standard_normal(ends.shape)
    parts: list[Shape] = []
    for start, bend, end in zip(starts.tolist(), bends.tolist(), ends.tolist(), strict=True):
        thick, middle, thin = rng.uniform(2.2, 3.2), rng.uniform(1.7, 2.5), rng.uniform(1.5, 2.3)
        parts += [Tube(tuple(start), tuple(bend), thick, middle), Tube(tuple(bend), tuple(end), middle, thin)]

    x0, y0, z0 = top.tolist()
    ball = Ellipsoid((x0, y0, z0), (radius, radius, radius))
    box = canvas.box_of(ball, 0.8 * radius + NEIGHBORHOOD_MM)
    assert box is not None, "a scar was placed outside the scan"
    x, y, z = canvas.axes_mm(box)
    cap_mm = np.float32(4.5 + 0.12 * radius)
    cap = np.maximum(ball.grown(-0.25 * radius).distance_mm(x, y, z), -chest.lung_mm[box.slices] - cap_mm)
    np.maximum(cap, np.float32(medial) - np.abs(x), out=cap)
    distance = np.minimum(canvas.distance_to(parts, box, 2 * NEIGHBORHOOD_MM / 3), cap)
    distance = np.maximum(distance, chest.lung_mm[box.slices])
    here = (chest.lobe(x, y, z) == lobe) & is_free(canvas, box)
    scar = canvas.coverage(distance) * here
    canvas.blend(scar, hu, box)
    balls = [
        Ellipsoid((px, py, pz), (r, r, r))
        for (px, py, pz), r in zip(
            (bends[rng.integers(len(bends), size=specks)] + rng.uniform(-2, 2, (specks, 3))).tolist(),
            rng.uniform(2.0, 3.0, specks).tolist(),
            strict=True,
        )
    ]
    speck = canvas.coverage(np.maximum(canvas.distance_to(balls, box, 10.0), chest.lung_mm[box.slices])) * here
    canvas.blend(speck, speck_hu, box)
    canvas.mark_lesion(first_lesion, np.maximum(scar, speck) >= 0.5, box)
    occupy_lung(chest, np.where(here, distance, np.maximum(distance, np.float32(1))), box)
    return (Finding("Pulmonary fibrotic sequela", "lung", side, lobe_name, amount=amount, lesion=first_lesion),)


def draw_septal_thickening(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """A net of septa in both lungs, at the bases and under the pleura first; more of the lung with the amount.

    Septa thinner than a voxel are drawn a voxel wide, diluted to their own thickness.
    """
    canvas, anatomy = chest.canvas, chest.anatomy
    amount = AMOUNTS[rng.integers(3)]
    box = lung_box(chest)
    lung_mm = chest.lung_mm[box.slices]
    _, _, z = canvas.axes_mm(box)
    low = (anatomy.apex_mm - z) / np.float32(anatomy.apex_mm - anatomy.dome_left_mm)
    liking = low + 0.8 * np.exp(np.minimum(lung_mm, 0) / np.float32(18)) + 0.1 * smooth_noise(canvas, 35.0, rng, box)
    level = np.quantile(liking[lung_mm < 0][::3], 1 - SEPTA_SHARE[amount])
    involved = np.clip(60 * (liking - np.float32(level)) + 0.5, 0, 1)
    involved *= canvas.coverage(lung_mm) * is_free(canvas, box)
    thickness = SEPTUM_MM[amount]
    shown = max(thickness, canvas.voxel_mm)
    here = involved > 0
    wall_mm = np.full(box.size_xyz, LOBULE_MM, np.float32)
    wall_mm[here] = pack_lobules(canvas, box, here, rng, LOBULE_MM).wall_mm
    septa = canvas.coverage(wall_mm - np.float32(shown / 2)) * involved
    canvas.blend(np.float32(thickness / shown) * septa, SEPTUM_HU, box)
    canvas.mark_lesion(first_lesion, septa >= 0.5, box)
    return (Finding("Interlobular septal thickening", "lung", amount=amount, lesion=first_lesion),)
