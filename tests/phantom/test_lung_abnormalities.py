"""What can be wrong with lungs and bronchi, against the formulas and the literature that the drawers go by."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from chests import VOXEL_MM, draw, healthy, lesion_of
from scipy.ndimage import binary_dilation

from reg2rg.phantom.abnormalities import DRAWERS
from reg2rg.phantom.abnormalities.aeration import EMPHYSEMA_SHARE, MOSAIC_HU
from reg2rg.phantom.abnormalities.airways import REGION, WALL_MM
from reg2rg.phantom.abnormalities.lobules import pack_lobules
from reg2rg.phantom.abnormalities.placing import lung_box
from reg2rg.phantom.finding import AMOUNTS, KINDS
from reg2rg.phantom.organs import LOBES
from reg2rg.phantom.shapes import Tube
from reg2rg.phantom.vessels import Branch

OF_ONE_LOBE = (
    "Atelectasis", "Consolidation", "Lung opacity", "Pulmonary fibrotic sequela", "Bronchiectasis"
)  # fmt: skip
OF_BOTH_LUNGS = (
    "Peribronchial thickening", "Emphysema", "Interlobular septal thickening", "Mosaic attenuation pattern"
)  # fmt: skip
NAMES = (*OF_ONE_LOBE, *OF_BOTH_LUNGS, "Lung nodule")
SEEDS = range(12)


def change_hu(name: str, seed: int) -> tuple[np.ndarray, np.ndarray, str | None]:
    """HU with less HU without, the lesion and the amount of the first finding; no blur, no noise."""
    chest, findings = draw(name, seed)
    return chest.canvas.hu - healthy().canvas.hu, lesion_of(chest, findings[0]), findings[0].amount


@pytest.mark.parametrize("name", NAMES)
def test_findings_state_what_their_kind_states(name: str) -> None:
    kind = KINDS[name]
    for seed in range(4):
        for finding in draw(name, seed)[1]:
            named = ("side", "lobe", "size_mm", "amount", "percent", "detail")
            assert {attribute for attribute in named if getattr(finding, attribute) is not None} == set(kind.states)
            assert finding.region == kind.region
            assert finding.detail is None or finding.detail in kind.details


@pytest.mark.parametrize("name", [*OF_ONE_LOBE, *OF_BOTH_LUNGS])
def test_lesions_grow_with_their_amount_in_their_place(name: str) -> None:
    volumes_ml: dict[str, list[float]] = {amount: [] for amount in AMOUNTS}
    lobe_of = healthy().lobe(*healthy().canvas.axes_mm())
    for seed in SEEDS:
        chest, (finding,) = draw(name, seed)
        lesion = lesion_of(chest, finding)
        volumes_ml[finding.amount or ""].append(lesion.sum() * VOXEL_MM**3 / 1000)
        assert chest.canvas.region_mask(finding.region)[lesion].all()
        change = np.abs(chest.canvas.hu - healthy().canvas.hu)
        near = binary_dilation(lesion, np.ones((3, 3, 3), bool), iterations=2)
        assert (change[~near] > 10).sum() < 0.01 * (change > 10).sum(), "nothing changes but the lesion and its edge"
        if name in OF_ONE_LOBE:
            own = LOBES.index((finding.side or "", finding.lobe or ""))
            assert (lobe_of[lesion] == own).mean() > 0.9
    small, moderate, large = (np.median(volumes_ml[amount]) for amount in AMOUNTS)
    assert 1.25 * small < moderate < large / 1.1
    assert max(volumes_ml["small"]) < min(volumes_ml["moderate"])


def test_ground_glass_is_between_lung_and_tissue_and_lets_the_vessels_through() -> None:
    for seed in SEEDS:
        change, lesion, _ = change_hu("Lung opacity", seed)
        before = healthy().canvas.hu[lesion]
        after = before + change[lesion]
        assert -700 < np.median(after) < -430
        assert change.min() > -30, "nothing gets darker, but for a little bone at the edge"
        vessels = before > -300
        if vessels.sum() > 5:
            assert after[vessels].mean() > np.median(after) + 200


def test_collapsed_lung_is_dense_and_lies_on_its_surface() -> None:
    for seed in SEEDS:
        change, lesion, amount = change_hu("Atelectasis", seed)
        after = (healthy().canvas.hu + change)[lesion]
        assert 25 < np.percentile(after, 90) < 75
        if amount != "small":  # of bands, most voxels are an edge
            assert np.median(after) > 30 and np.percentile(after, 2) > -480, "no open bronchi, unlike consolidation"
        assert healthy().lung_mm[lesion].max() > -VOXEL_MM


def test_scars_have_specks_of_calcium_and_lie_mostly_at_the_top() -> None:
    specks, upper = 0, 0
    for seed in range(24):
        chest, (finding,) = draw("Pulmonary fibrotic sequela", seed)
        specks += chest.canvas.hu[lesion_of(chest, finding)].max() > 200
        upper += finding.lobe == "upper lobe"
        outwards = np.broadcast_to(np.abs(chest.canvas.axes_mm()[0]), chest.canvas.hu.shape)[lesion_of(chest, finding)]
        assert outwards.min() > chest.anatomy.mediastinum_mm, "not at the mediastinum"
    assert specks > 20 and upper > 12


def test_consolidations_hold_open_bronchi() -> None:
    for seed in SEEDS:
        chest, (finding,) = draw("Consolidation", seed)
        inside = chest.canvas.hu[lesion_of(chest, finding)]
        assert 10 <= np.percentile(inside, 80) <= 50
        assert (inside < -250).mean() > 0.005, "air in the bronchi"


def test_holes_of_emphysema_are_fine() -> None:
    for seed in SEEDS[:4]:
        chest, (finding,) = draw("Emphysema", seed)
        lesion = lesion_of(chest, finding)
        runs = np.diff(np.pad(lesion, ((1, 1), (0, 0), (0, 0))).astype(np.int8), axis=0)
        assert lesion.sum() / (runs == 1).sum() * VOXEL_MM < 9, "mean chord in mm"


def test_emphysema_takes_its_share_of_the_upper_lung() -> None:
    above = healthy().canvas.region_mask("lung") & (healthy().canvas.axes_mm()[2] > 0)
    for seed in SEEDS:
        change, lesion, amount = change_hu("Emphysema", seed)
        assert lesion[above].mean() == pytest.approx(EMPHYSEMA_SHARE[amount or ""], rel=0.2)
        assert np.median((healthy().canvas.hu + change)[lesion]) < -960
        assert np.median(change[lesion]) < -90


def test_mosaic_patches_are_lighter_by_their_amount_on_both_sides() -> None:
    x, _, _ = healthy().canvas.axes_mm()
    lung = healthy().canvas.region_mask("lung")
    for seed in SEEDS:
        change, lesion, amount = change_hu("Mosaic attenuation pattern", seed)
        assert np.median(change[lesion]) == pytest.approx(MOSAIC_HU[amount or ""], rel=0.05)
        for side in (x > 0, x < 0):
            assert 0.12 < lesion[lung & side].mean() < 0.75


def test_thick_septa_are_a_net_at_the_bases() -> None:
    z = np.broadcast_to(healthy().canvas.axes_mm()[2], healthy().canvas.hu.shape)
    middle = np.median(z[healthy().canvas.region_mask("lung")])
    for seed in SEEDS:
        change, lesion, _ = change_hu("Interlobular septal thickening", seed)
        assert 150 < np.median(change[lesion]) < 600
        assert (z[lesion] < middle).mean() > 0.55
        filled = binary_dilation(lesion, iterations=2)
        assert lesion.sum() < 0.7 * filled.sum(), "cells stay open"


def test_lobules_have_the_size_of_their_lattice() -> None:
    chest, width = healthy(), 22.0
    box = lung_box(chest)
    where = chest.lung_mm[box.slices] < 0
    lobules = pack_lobules(chest.canvas, box, where, np.random.default_rng(3), width)
    assert lobules.cell.min() >= 0 and lobules.cell.max() < lobules.count
    counts = np.bincount(lobules.cell)
    whole = np.median(counts[counts > 0.5 * counts.max()])  # those that the lung's surface does not cut
    assert whole * VOXEL_MM**3 == pytest.approx(width**3 / 2, rel=0.3)
    assert lobules.wall_mm.min() >= 0
    assert np.percentile(lobules.wall_mm, 99.9) == pytest.approx(0.433 * width, rel=0.12), "inradius sqrt(3)/4"


@pytest.mark.parametrize("seed", SEEDS)
def test_thick_walls_have_their_thickness_around_an_unchanged_lumen(seed: int) -> None:
    radius, length = 2.5, 50.0
    tube = Tube((70.0, 0.0, -30.0), (70.0, 0.0, -30.0 + length), radius, radius)
    chest = replace(deepcopy(healthy()), airways=(Branch(tube, 0),))
    chest.canvas.hu[...] = -850
    chest.canvas.mark_region(REGION, tube.distance_mm(*chest.canvas.axes_mm()) < 4)
    findings = DRAWERS["Peribronchial thickening"](chest, np.random.default_rng(seed), 0)
    if not findings:
        return  # this bronchus is not among those with thick walls
    (finding,) = findings
    wall = WALL_MM[finding.amount or ""]
    tissue_mm3 = ((chest.canvas.hu + 850) / 880).sum() * VOXEL_MM**3
    ring_mm2 = np.pi * ((radius + wall) ** 2 - radius**2)
    assert tissue_mm3 == pytest.approx(ring_mm2 * (length + 2 * radius + wall), rel=0.15)
    assert chest.canvas.hu[chest.canvas.region_mask(REGION)].max() > -450


def test_thick_walls_show_on_both_sides_in_a_mask_that_stays_as_it_was() -> None:
    for seed in SEEDS:
        chest, (finding,) = draw("Peribronchial thickening", seed)
        lesion = lesion_of(chest, finding)
        x, _, _ = chest.canvas.axes_mm()
        assert (lesion & (x > 0)).sum() > 100 and (lesion & (x < 0)).sum() > 100
        assert (chest.canvas.regions == healthy().canvas.regions).all(), "the mask does not tell the label"


def test_thick_walls_are_two_to_three_times_the_normal_one() -> None:
    assert 2 <= WALL_MM["small"] < WALL_MM["moderate"] < WALL_MM["large"] <= 3, "normal is 1 mm"


def test_wide_bronchi_hold_air_in_a_wall_and_reach_the_pleura() -> None:
    for seed in SEEDS:
        change, lesion, _ = change_hu("Bronchiectasis", seed)
        after = (healthy().canvas.hu + change)[lesion]
        assert (after < -930).mean() > 0.08, "lumen"
        assert (after > -600).mean() > 0.2, "wall"
        assert healthy().lung_mm[lesion].max() > -18


def test_nodules_have_the_density_of_their_kind() -> None:
    seen = set()
    for seed in range(40):
        chest, findings = draw("Lung nodule", seed)
        for finding in findings:
            if (finding.size_mm or 0) >= 10:
                core = np.percentile(chest.canvas.hu[lesion_of(chest, finding)], 70)
                low, high = {"solid": (-250, 65), "calcified": (65, 810), "ground-glass": (-720, -550)}[
                    finding.detail or ""
                ]
                assert low < core < high
                seen.add(finding.detail)
    assert seen == {"solid", "calcified", "ground-glass"}


@pytest.mark.parametrize("seed", range(3))
def test_a_lesion_is_not_wiped_out_by_one_drawn_later(seed: int) -> None:
    chest = deepcopy(healthy())
    drawn = []
    for name in (name for name in DRAWERS if name in NAMES):
        for finding in DRAWERS[name](chest, np.random.default_rng(seed), len(drawn)):
            lesion = lesion_of(chest, finding)
            assert lesion.any()
            drawn.append((finding, lesion, chest.canvas.hu[lesion]))
    for finding, lesion, hu in drawn:
        assert (np.abs(chest.canvas.hu[lesion] - hu) > 30).mean() < 0.1, finding
