"""Each abnormality against its own truth: what changes in the CT, where, by how much, and what is said of it."""

from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from chests import draw, healthy, lesion_of
from scipy.ndimage import binary_dilation

from reg2rg.phantom.abnormalities import DRAWERS
from reg2rg.phantom.finding import AMOUNTS, KINDS, SIDES, Finding
from reg2rg.phantom.organs import LOBES, vertebra_mm
from reg2rg.phantom.world import Phantom, make_phantom

DRAWN = [name for name in DRAWERS if name != "Cardiomegaly"]
CNR_FLOOR = 4.0
FAINT = {"Liver lesion": 1.8, "Thyroid nodule": 1.8}  # 30 to 60 HU apart from the organ, in life, too


@cache
def phantom(seed: int, *only: str) -> Phantom:
    return make_phantom(seed, prevalence=1.0 if only else 0.0, only=only or None)


def can_have(seed: int, name: str) -> bool:
    """Men have no breast masses, and a missing mask no findings."""
    made = phantom(seed)
    is_there = KINDS[name].region in made.study.masks.present
    return is_there and (name != "Breast mass" or made.anatomy.sex == "female")


def change_hu(seed: int, name: str) -> np.ndarray:
    """The CT with the abnormality less the CT without: noise and all else cancel."""
    with_it, without = phantom(seed, name).study.volume.array, phantom(seed).study.volume.array
    return with_it.astype(np.float32) - without


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("seed", [3, 4])
def test_the_ct_changes_in_the_lesion_and_nowhere_else(name: str, seed: int) -> None:
    changed = np.abs(change_hu(seed, name)) > 10
    lesion = phantom(seed, name).lesions != 0
    assert lesion.any() or not can_have(seed, name)
    reach = 3 if name == "Pericardial effusion" else 2  # it has fat of its own around it
    near = binary_dilation(lesion, np.ones((3, 3, 3), bool), iterations=reach)
    assert (changed & ~near).sum() <= 0.005 * changed.sum()


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("seed", [3, 4])
def test_every_lesion_stands_out_of_the_noise(name: str, seed: int) -> None:
    noise_hu = 14.0  # the noisiest acquisition
    for finding in phantom(seed, name).findings:
        if finding.size_mm is not None and finding.size_mm < 10:
            continue
        lesion = phantom(seed, name).lesion_mask(finding)
        assert np.abs(change_hu(seed, name)[lesion]).mean() / noise_hu > FAINT.get(name, CNR_FLOOR)


@pytest.mark.parametrize("name", DRAWERS)
@pytest.mark.parametrize("seed", [3, 4])
def test_lesions_lie_in_their_region(name: str, seed: int) -> None:
    made = phantom(seed, name)
    assert made.abnormalities == ({name} if can_have(seed, name) else set())
    for finding in made.findings:
        assert finding.region == KINDS[name].region
        lesion, region = made.lesion_mask(finding), made.study.masks.mask(finding.region)
        inside = (lesion & region).sum() / lesion.sum()
        if name == "Medical material":
            assert inside > 0, "the line; the case lies in the wall, and no mask changes"
        elif name == "Lung nodule":
            assert inside > 0.8
        else:
            assert inside == 1


@pytest.mark.parametrize("name", DRAWERS)
def test_sides_are_the_patients_own(name: str) -> None:
    made = phantom(4, name)
    x_mm = made.study.volume.affine[0, 3] + made.study.volume.affine[0, 0] * np.arange(made.lesions.shape[0])
    for finding in made.findings:
        if finding.side is not None:
            weight = made.lesion_mask(finding).sum(axis=(1, 2))
            assert ((weight @ x_mm) > 0) == (finding.side == "right"), "x grows to the patient's right"


def test_nodules_have_their_diameter_within_a_voxel_and_lie_in_their_lobe() -> None:
    sizes = []
    for seed in range(20):
        chest, findings = draw("Lung nodule", seed)
        lobe = chest.lobe(*chest.canvas.axes_mm())
        for finding in findings:
            lesion = lesion_of(chest, finding)
            diameter = (6 / np.pi * lesion.sum() * 3.5**3) ** (1 / 3)
            assert abs(diameter - finding.size_mm) < 3.5
            if finding.size_mm >= 8:  # of a smaller one, the voxels' centres may lie beyond a fissure
                assert LOBES.index((finding.side, finding.lobe)) in lobe[lesion]
            assert chest.canvas.region_mask("lung")[lesion].mean() > 0.8
            sizes.append(finding.size_mm)
    assert 4 <= min(sizes) < 6 and 20 < max(sizes) <= 30, "small ones and large ones"
    assert 20 < len(sizes) < 60


def test_effusions_are_as_deep_as_their_amount_says() -> None:
    shares: dict[str | None, list[float]] = {"small": [], "moderate": [], "large": []}
    for seed in range(15):
        chest, findings = draw("Pleural effusion", seed)
        for finding in findings:
            lesion = lesion_of(chest, finding)
            middle = int(np.median(np.argwhere(lesion)[:, 0]))
            lower = chest.canvas.axes_mm()[2].ravel() < 0
            depth_mm = lesion[middle][:, lower].sum(axis=0).max() * 3.5
            shares[finding.amount].append(depth_mm / chest.anatomy.thorax_depth_mm)
    assert all(shares.values()), "each amount occurs"
    assert max(shares["small"]) < 0.25 < min(shares["moderate"])
    assert max(shares["moderate"]) < 0.5 < min(shares["large"])


def test_fluid_that_is_seen_is_the_fluid_of_the_mask() -> None:
    seed = 3
    made = phantom(seed, "Pleural effusion")
    lesion = made.lesions != 0
    change = change_hu(seed, "Pleural effusion")
    core = np.median(change[lesion])
    assert change.sum() / core == pytest.approx(lesion.sum(), rel=0.06)


def test_an_effusion_is_no_lung_and_joins_the_pleura() -> None:
    made = phantom(3, "Pleural effusion")
    fluid = made.lesions != 0
    assert not made.study.masks.mask("lung")[fluid].any()
    assert made.study.masks.mask("pleura")[fluid].all()
    healthy = phantom(3).study.masks
    assert made.study.masks.volume_ml("lung") < healthy.volume_ml("lung")


def test_fluid_settles_at_the_back() -> None:
    made = phantom(3, "Pleural effusion")
    fluid_y, lung_y = (np.argwhere(mask)[:, 1].mean() for mask in (made.lesions != 0, made.study.masks.mask("lung")))
    assert fluid_y < lung_y


@pytest.mark.parametrize("seed", [3, 4])
def test_cardiomegaly_is_a_ratio_above_a_half_measured_on_the_masks(seed: int) -> None:
    for made in (phantom(seed, "Cardiomegaly"), phantom(seed)):
        spacing = made.study.volume.grid.spacing_mm[0]
        columns = np.flatnonzero(made.study.masks.mask("heart").any(axis=(1, 2)))
        heart_mm = (columns[-1] - columns[0] + 1) * spacing
        ratio = heart_mm / made.anatomy.thorax_width_mm
        assert ratio == pytest.approx(made.anatomy.cardiothoracic_ratio, abs=0.02)
        assert (ratio > 0.5) == ("Cardiomegaly" in made.abnormalities)
        lung = made.study.masks.mask("lung")
        widest = max(np.ptp(np.flatnonzero(lung[:, :, z].any(axis=1))) for z in np.flatnonzero(lung.any(axis=(0, 1))))
        assert widest * spacing == pytest.approx(made.anatomy.thorax_width_mm, rel=0.07)


def test_consolidations_grow_with_their_amount_and_stay_in_their_lobe() -> None:
    volumes_ml: dict[str | None, list[float]] = {"small": [], "moderate": [], "large": []}
    for seed in range(20):
        chest, (finding,) = draw("Consolidation", seed)
        lesion = lesion_of(chest, finding)
        lobe = chest.lobe(*chest.canvas.axes_mm())
        assert {LOBES[index] for index in np.unique(lobe[lesion]).tolist()} == {(finding.side, finding.lobe)}
        volumes_ml[finding.amount].append(lesion.sum() * 3.5**3 / 1000)
    assert max(volumes_ml["small"]) < 40
    assert np.median(volumes_ml["small"]) < np.median(volumes_ml["moderate"]) < np.median(volumes_ml["large"])


def test_emphysema_takes_more_of_the_lung_with_its_amount() -> None:
    shares: dict[str | None, list[float]] = {"small": [], "moderate": [], "large": []}
    for seed in range(16):
        chest, (finding,) = draw("Emphysema", seed)
        above = chest.canvas.region_mask("lung") & (chest.canvas.axes_mm()[2] > 0)
        shares[finding.amount].append((lesion_of(chest, finding) & above).sum() / above.sum())
    assert min(shares["small"]) > 0.03 and max(shares["small"]) < min(shares["moderate"])
    assert max(shares["moderate"]) < min(shares["large"]) and max(shares["large"]) < 0.5


@pytest.mark.parametrize("name", ["Pericardial effusion", "Hiatal hernia"])
def test_stated_sizes_are_those_of_the_lesion(name: str) -> None:
    for seed in range(4):
        chest, (finding,) = draw(name, seed)
        lesion = lesion_of(chest, finding)
        if name == "Hiatal hernia":
            size_mm = lesion.any(axis=(1, 2)).sum() * 3.5
        else:  # the sac is wider than the heart by its thickness on either side
            heart_only = healthy().canvas.region_mask("heart").any(axis=(1, 2)).sum()
            size_mm = (chest.canvas.region_mask("heart").any(axis=(1, 2)).sum() - heart_only) * 3.5 / 2
        assert abs(size_mm - finding.size_mm) <= 3.5 + 1


def test_lesions_drawn_later_keep_out_of_fluid() -> None:
    names = ("Pleural effusion", "Emphysema", "Consolidation", "Lung nodule")
    for seed in (3, 4):
        made = phantom(seed, *names)
        fluid, others = np.zeros(made.lesions.shape, bool), np.zeros(made.lesions.shape, bool)
        for finding in made.findings:
            is_fluid = finding.abnormality == "Pleural effusion"
            (fluid if is_fluid else others)[made.lesion_mask(finding)] = True
        assert (fluid & others).sum() <= 0.002 * others.sum()
        assert made.abnormalities == set(names)
        alone = phantom(seed, "Emphysema").lesions.astype(bool).sum()
        holes = sum(made.lesion_mask(f).sum() for f in made.findings if f.abnormality == "Emphysema")
        assert holes > 0.2 * alone, "fluid takes room, not the emphysema of the rest of the lung"


def test_findings_are_compared_without_their_place_in_the_lesion_field() -> None:
    assert Finding("Emphysema", "lung", lesion=1) == Finding("Emphysema", "lung", lesion=2)


def test_drawers_are_of_the_known_kinds() -> None:
    assert set(DRAWERS) <= set(KINDS)
    assert list(DRAWERS)[-1] == "Cardiomegaly", "its lesion is the whole heart, and others keep out of lesions"


NEW = [
    "Arterial wall calcification",
    "Coronary artery wall calcification",
    "Lymphadenopathy",
    "Medical material",
    "Vertebral compression",
    "Rib fracture",
    "Liver lesion",
    "Thyroid nodule",
    "Breast mass",
    "Cardiomegaly",
]


@pytest.mark.parametrize("name", NEW)
def test_findings_state_what_their_kind_states(name: str) -> None:
    kind = KINDS[name]
    for seed in range(4):
        _, findings = draw(name, seed)
        assert findings
        for finding in findings:
            attributes = ("side", "lobe", "size_mm", "amount", "percent", "detail")
            assert {a for a in attributes if getattr(finding, a) is not None} == set(kind.states)
            assert finding.detail is None or finding.detail in kind.details
            assert finding.side is None or finding.side in SIDES
            assert finding.amount is None or finding.amount in AMOUNTS
            assert finding.region == kind.region


@pytest.mark.parametrize("name", NEW)
def test_without_acquisition_hu_change_only_where_the_lesion_and_its_edge_are(name: str) -> None:
    chest, _ = draw(name, 2)
    changed = np.abs(chest.canvas.hu - healthy().canvas.hu) > 1
    lesion = chest.canvas.lesions != 0
    assert not (changed & ~binary_dilation(lesion, np.ones((3, 3, 3), bool))).any()
    assert changed[lesion].mean() >= (0.0 if name == "Cardiomegaly" else 0.98)


@pytest.mark.parametrize("name", ["Liver lesion", "Thyroid nodule", "Breast mass"])
def test_balls_have_the_volume_of_their_size(name: str) -> None:
    for seed in range(8):
        chest, (finding,) = draw(name, seed)
        lesion = lesion_of(chest, finding)
        assert finding.size_mm is not None
        diameter = (6 / np.pi * lesion.sum() * 3.5**3) ** (1 / 3)
        rim = 5.0 if name == "Thyroid nodule" else 0.0  # gland that widens around a large one
        assert -4 < diameter - finding.size_mm < 3.5 + rim
        assert chest.canvas.region_mask(finding.region)[lesion].all()


def test_nodes_have_their_short_axis_and_lie_at_their_station() -> None:
    stations = set()
    for seed in range(8):
        chest, findings = draw("Lymphadenopathy", seed)
        assert 1 <= len(findings) <= 3 and len({finding.detail for finding in findings}) == len(findings)
        for finding in findings:
            lesion = lesion_of(chest, finding)
            extent = [np.ptp(np.flatnonzero(lesion.any(axis=axes))) + 1 for axes in ((1, 2), (0, 2))]
            assert finding.size_mm is not None and abs(min(extent) * 3.5 - finding.size_mm) <= 5.5
            assert not (lesion & chest.canvas.region_mask("lung")).any()
            stations.add(finding.detail)
    assert stations == set(KINDS["Lymphadenopathy"].details)


def test_a_collapsed_vertebra_loses_height_in_front_at_its_level() -> None:
    for seed in range(6):
        chest, (finding,) = draw("Vertebral compression", seed)
        assert finding.percent is not None and 35 <= finding.percent <= 60 and finding.detail is not None
        low, high = vertebra_mm(chest.anatomy, int(finding.detail[1:]))
        z = chest.canvas.axes_mm()[2].ravel()[lesion_of(chest, finding).any(axis=(0, 1))]
        assert low - 2 < z.min() and z.max() < high + 2


def test_plaques_are_bright_more_of_them_with_the_amount() -> None:
    for name in ("Arterial wall calcification", "Coronary artery wall calcification"):
        volumes: dict[str | None, list[int]] = {"small": [], "moderate": [], "large": []}
        for seed in range(16):
            chest, (finding,) = draw(name, seed)
            lesion = lesion_of(chest, finding)
            assert (chest.canvas.hu - healthy().canvas.hu)[lesion].max() > 200
            if finding.detail in ("aortic arch", "left anterior descending", "right", "circumflex"):
                volumes[finding.amount].append(int(lesion.sum()))
        means = [np.mean(volumes[amount]) for amount in AMOUNTS if volumes[amount]]
        assert means == sorted(means)


def test_a_pacemaker_reaches_the_heart_and_a_port_does_not() -> None:
    for seed in range(8):
        chest, (finding,) = draw("Medical material", seed)
        in_heart = lesion_of(chest, finding) & healthy().canvas.region_mask("heart")
        z = chest.canvas.axes_mm()[2].ravel()[in_heart.any(axis=(0, 1))]
        assert finding.detail in ("port", "pacemaker")
        assert (z.size > 0 and z.min() < -20) == (finding.detail == "pacemaker")


def test_a_line_comes_down_on_its_own_side_of_an_unchanged_mediastinum() -> None:
    x, _, _ = healthy().canvas.axes_mm()
    mediastinum = healthy().canvas.region_mask("mediastinum")
    for seed in range(8):
        chest, (finding,) = draw("Medical material", seed)
        assert (chest.canvas.regions == healthy().canvas.regions).all(), "the mask does not tell the label"
        line = lesion_of(chest, finding) & mediastinum
        if finding.side == "left":  # the vena cava lies on the right, whatever the side
            own = np.flatnonzero((line & (x < 0)).any(axis=(1, 2)))
            assert np.ptp(own) * 3.5 >= 14 and (line & (x > 0)).any()
        else:
            assert not (line & (x < 0)).any()


def neighbours_are_free(name: str, region: str, kept: tuple[str, ...], cleared: tuple[str, ...]) -> None:
    for seed in range(4):
        chest, (finding,) = draw(name, seed)
        lesion = lesion_of(chest, finding)
        assert chest.canvas.region_mask(region)[lesion].all()
        for other in cleared:
            assert not (chest.canvas.region_mask(other) & lesion).any(), other
        for other in kept:
            assert not (healthy().canvas.region_mask(other) & lesion).any(), other


def test_a_full_pericardium_takes_its_voxels_from_its_neighbours() -> None:
    cleared = ("lung", "abdomen", "mediastinum", "pleura", "esophagus", "bone", "trachea and bronchie")
    neighbours_are_free("Pericardial effusion", "heart", (), cleared)


def test_a_hernia_takes_its_voxels_from_its_neighbours() -> None:
    cleared = ("lung", "abdomen", "mediastinum", "pleura")
    neighbours_are_free("Hiatal hernia", "esophagus", ("heart", "bone"), cleared)


def test_no_lung_is_left_between_fluid_and_the_wall() -> None:
    for seed in range(6):
        chest, findings = draw("Pleural effusion", seed)
        fluid = np.any([lesion_of(chest, finding) for finding in findings], axis=0)
        edge = healthy().canvas.coverage(healthy().lung_mm)
        x, y, z = chest.canvas.axes_mm()
        deep = binary_dilation(fluid, np.ones((3, 3, 3), bool)) & (edge > 0) & (edge < 0.9) & (z < 0) & (y < -60)
        deep &= np.any([x * (1 if finding.side == "right" else -1) > 0 for finding in findings], axis=0)
        assert deep.sum() > 100
        assert np.percentile(chest.canvas.hu[deep], 5) > -130


@pytest.mark.parametrize("is_enlarged", [False, True])
def test_a_node_is_drawn_whenever_one_is_asked_for(is_enlarged: bool) -> None:
    only = ("Lymphadenopathy", "Cardiomegaly") if is_enlarged else ("Lymphadenopathy",)
    for seed in range(40, 46):
        made = make_phantom(seed, prevalence=1.0, only=only)
        nodes = [finding for finding in made.findings if finding.abnormality == "Lymphadenopathy"]
        assert nodes
        for node in nodes:
            volume_mm3 = made.lesion_mask(node).sum() * np.prod(made.study.volume.grid.spacing_mm)
            assert node.size_mm is not None and 12 <= node.size_mm <= 30
            assert volume_mm3 > 0.6 * np.pi / 6 * node.size_mm**3, "it shows"


def test_men_have_no_breast_mass() -> None:
    chest = deepcopy(healthy())
    chest = replace(chest, anatomy=replace(chest.anatomy, sex="male"))
    assert DRAWERS["Breast mass"](chest, np.random.default_rng(0), 0) == ()


def test_leaving_one_out_of_a_phantom_keeps_all_else_where_it_was() -> None:
    name = "Pleural effusion"
    whole = make_phantom(3, prevalence=1.0)
    lacking = make_phantom(3, prevalence=1.0, without=(name,))
    assert list(lacking.findings) == [finding for finding in whole.findings if finding.abnormality != name]
    fluid = np.any([whole.lesion_mask(f) for f in whole.findings if f.abnormality == name], axis=0)
    near = binary_dilation(fluid, np.ones((3, 3, 3), bool), iterations=3)
    assert (whole.study.volume.array[~near] == lacking.study.volume.array[~near]).all()


def test_drawing_marks_only_the_bits_it_was_given() -> None:
    for name in DRAWERS:
        chest, findings = draw(name, 1, first_lesion=7)
        assert [finding.lesion for finding in findings] == list(range(7, 7 + len(findings)))
        assert not (chest.canvas.lesions & np.uint32(0x7F)).any()
