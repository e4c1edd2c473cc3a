"""Nodules of the lung."""

import numpy as np

from reg2rg.phantom.abnormalities.placing import NEIGHBORHOOD_MM, lung_points, occupy_lung, place_in_lung
from reg2rg.phantom.finding import Finding
from reg2rg.phantom.organs import LOBES, Chest
from reg2rg.phantom.shapes import Ellipsoid

# Calcified above 200 HU (Siegelman et al., Radiology 1986); ground glass as in `airspace`.
NODULE_HU = {"solid": (0.0, 60.0), "calcified": (250.0, 800.0), "ground-glass": (-650.0, -560.0)}
NODULE_SHARE = {"solid": 0.75, "calcified": 0.12, "ground-glass": 0.13}
_FROM_HILUM_MM = 45.0  # nearer, the vessels that meet there are as thick as nodules


def draw_lung_nodules(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """One to three balls of 4 to 30 mm well inside the lungs, each a finding; most are solid.

    Small ones of ground glass are faint on thick slices, in life, too.
    """
    canvas = chest.canvas
    findings = []
    for index in range(first_lesion, first_lesion + int(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1]))):
        # Even on a logarithmic scale: 57 % are 10 mm or larger, and 65 % of the studies with nodules have such a one.
        size = round(np.exp(rng.uniform(np.log(4), np.log(30))))
        kind = str(rng.choice(list(NODULE_SHARE), p=list(NODULE_SHARE.values())))
        hu = rng.uniform(*NODULE_HU[kind])
        lobe_index, center = _place(chest, rng, size / 2)
        side, lobe = LOBES[lobe_index]
        ball = Ellipsoid(center, (size / 2, size / 2, size / 2))
        box = canvas.box_of(ball)
        assert box is not None, "a nodule was placed outside the scan"
        coverage = canvas.coverage_of(ball, box)
        canvas.blend(coverage, hu, box)
        canvas.mark_lesion(index, coverage >= min(0.5, float(coverage.max())), box)
        around = canvas.box_of(ball, NEIGHBORHOOD_MM) or box
        occupy_lung(chest, ball.distance_mm(*canvas.axes_mm(around)), around)
        findings.append(Finding("Lung nodule", "lung", side, lobe, size_mm=size, detail=kind, lesion=index))
    return tuple(findings)


def _place(chest: Chest, rng: np.random.Generator, radius_mm: float) -> tuple[int, tuple[float, float, float]]:
    """A lobe and a point with lung all around the ball, away from the hilum; nearer to both where there is no room."""
    margin = max(3.0, 1.5 * chest.canvas.voxel_mm)
    points = lung_points(chest, rng)
    hilum = np.array([38.0, -12.0, -24.0]) * chest.anatomy.scale
    from_hilum = np.linalg.norm(points.mm * np.where(points.mm[:, :1] > 0, 1, (-1, 1, 1)) - hilum, axis=1)
    fits = (points.depth_mm >= radius_mm + margin) & (from_hilum > _FROM_HILUM_MM * chest.anatomy.scale + radius_mm)
    for lobe in rng.permutation(len(LOBES)).tolist():
        own = np.flatnonzero(fits & (points.lobe == lobe))
        if own.size:
            x, y, z = points.mm[own[0]].tolist()
            return lobe, (x, y, z)
    return place_in_lung(chest, rng, radius_mm + chest.canvas.voxel_mm)
