"""Nodules of the lung."""

import numpy as np

from reg2rg.phantom.abnormalities.placing import NEIGHBORHOOD_MM, occupy_lung, place_in_lung
from reg2rg.phantom.finding import Finding
from reg2rg.phantom.organs import LOBES, Chest
from reg2rg.phantom.shapes import Ellipsoid

# Calcified above 200 HU (Siegelman et al., Radiology 1986); ground glass as in `airspace`.
NODULE_HU = {"solid": (10.0, 60.0), "calcified": (300.0, 600.0), "ground-glass": (-600.0, -480.0)}
NODULE_SHARE = {"solid": 0.75, "calcified": 0.12, "ground-glass": 0.13}


def draw_lung_nodules(chest: Chest, rng: np.random.Generator, first_lesion: int) -> tuple[Finding, ...]:
    """One to three balls of 3 to 30 mm inside the lungs, each a finding; most are solid."""
    canvas = chest.canvas
    findings = []
    for index in range(first_lesion, first_lesion + int(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1]))):
        # Even on a logarithmic scale: 48 % are 10 mm or larger, and 56 % of the studies with nodules have such a one.
        size = round(np.exp(rng.uniform(np.log(3), np.log(30))))
        kind = str(rng.choice(list(NODULE_SHARE), p=list(NODULE_SHARE.values())))
        hu = rng.uniform(*NODULE_HU[kind])
        lobe_index, center = place_in_lung(chest, rng, size / 2 + canvas.voxel_mm)
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
