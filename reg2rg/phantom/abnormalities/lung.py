"""What can be wrong with the lungs."""

import numpy as np

from reg2rg.phantom.abnormalities.placing import NEIGHBORHOOD_MM, place_in_lung
from reg2rg.phantom.finding import AMOUNTS, Finding
from reg2rg.phantom.organs import AIR, LOBES, Chest, smooth_noise
from reg2rg.phantom.shapes import Ellipsoid, rotation_about

# Emphysema: below -950 HU (Gevenois et al., AJRCCM 1996); consolidation: soft tissue, vessels drowned (Fleischner
# glossary, 2008).
CONSOLIDATION_HU = (20.0, 50.0)
NODULE_HU = {"solid": (10.0, 60.0), "calcified": (300.0, 600.0), "ground-glass": (-600.0, -480.0)}
EMPHYSEMA_HU = -985.0


def draw_emphysema(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """Holes without walls, 8 to 20 mm wide, in both lungs, denser towards the top; more of them with the amount.

    About 7, 18 and 35 % of the lung above the carina are lost, and less below.
    """
    canvas, k = chest.canvas, chest.anatomy.scale
    amount = AMOUNTS[rng.integers(3)]
    threshold = {"small": 1.25, "moderate": 0.8, "large": 0.35}[amount]
    _, _, z = canvas.axes_mm()
    below = np.clip(-z / (60 * k), 0, None)
    noise = smooth_noise(canvas, 9.0, rng)
    holes = np.clip(6 * (noise - np.float32(threshold) - below) + np.float32(0.5), 0, 1)
    holes *= canvas.coverage(chest.lung_mm + 1)
    canvas.blend(holes, EMPHYSEMA_HU, canvas.whole)
    canvas.mark_lesion(first_lesion, holes >= 0.5)
    return (Finding("Emphysema", "lung", amount=amount, lesion=first_lesion),)


def draw_consolidation(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """An airless part of one lobe with a ragged edge, in which the bronchi stay open."""
    canvas, k = chest.canvas, chest.anatomy.scale
    amount = AMOUNTS[rng.integers(3)]
    radius = k * rng.uniform(*{"small": (14, 19), "moderate": (26, 34), "large": (46, 62)}[amount])
    hu = rng.uniform(*CONSOLIDATION_HU)
    lobe_index, center = place_in_lung(chest, rng, 0.4 * radius)
    side, lobe = LOBES[lobe_index]
    radii = (radius * rng.uniform(0.8, 1.2), radius * rng.uniform(0.8, 1.2), radius * rng.uniform(0.8, 1.2))
    patch = Ellipsoid(center, radii, rotation_about(2, rng.uniform(0, 180)))
    box = canvas.box_of(patch, margin_mm=0.4 * radius + NEIGHBORHOOD_MM)
    assert box is not None, "a lesion was placed outside the scan"
    x, y, z = canvas.axes_mm(box)
    ragged = 0.16 * radius * smooth_noise(canvas, max(9.0, 0.4 * radius), rng, box)
    distance = np.maximum(patch.distance_mm(x, y, z) + ragged, chest.lung_mm[box.slices])
    in_lobe = chest.lobe(x, y, z) == lobe_index
    airless = canvas.coverage(distance) * in_lobe
    before = canvas.hu[box.slices].copy()
    canvas.blend(airless, hu, box)
    for branch in chest.airways:
        if patch.distance_mm(*(np.full((1, 1, 1), c, np.float32) for c in branch.tube.start_mm)).item() < 0:
            canvas.draw_thin(branch.tube, AIR)
    np.copyto(canvas.hu[box.slices], before, where=airless == 0)  # bronchi that leave the patch are there already
    canvas.mark_lesion(first_lesion, airless >= 0.5, box)
    return (Finding("Consolidation", "lung", side, lobe, amount=amount, lesion=first_lesion),)


def draw_lung_nodules(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """One to three balls of 3 to 30 mm inside the lungs, each a finding; most are solid."""
    canvas = chest.canvas
    findings = []
    for index in range(first_lesion, first_lesion + int(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1]))):
        size = round(np.exp(rng.uniform(np.log(3), np.log(30))))
        kind = str(rng.choice(list(NODULE_HU), p=[0.75, 0.12, 0.13]))
        hu = rng.uniform(*NODULE_HU[kind])
        lobe_index, center = place_in_lung(chest, rng, size / 2 + canvas.voxel_mm)
        side, lobe = LOBES[lobe_index]
        ball = Ellipsoid(center, (size / 2, size / 2, size / 2))
        box = canvas.box_of(ball)
        assert box is not None, "a nodule was placed outside the scan"
        coverage = canvas.coverage_of(ball, box)
        canvas.blend(coverage, hu, box)
        canvas.mark_lesion(index, coverage >= min(0.5, float(coverage.max())), box)
        findings.append(Finding("Lung nodule", "lung", side, lobe, size_mm=size, lesion=index))
    return tuple(findings)
