"""What stage vision asks: the right cells, the right answers, and mirrored crops with sides exchanged."""

from functools import cache

import numpy as np

from reg2rg.model.build import phantom as phantom_sizes
from reg2rg.phantom.finding import KINDS, Finding
from reg2rg.phantom.world import Phantom, make_phantom
from reg2rg.preprocess import StudyCrops
from reg2rg.processor import crops_of
from reg2rg.regions import REGION_NAMES
from reg2rg.train.questions import ATTRIBUTES, KIND_NAMES, kinds_known
from reg2rg.train.targets import CELLS, TargetStore, VisionTargets, targets_of
from reg2rg.train.vision import _SIDES_SWAPPED

SIZES = phantom_sizes(8)
PATCHES = SIZES.vision.patches_xyz(SIZES.crop_size_xyz)


@cache
def made() -> tuple[Phantom, StudyCrops, VisionTargets]:
    world = make_phantom(4, prevalence=1.0, only=("Pleural effusion", "Lung nodule"))
    crops = crops_of(world.study, SIZES)
    return world, crops, targets_of(crops, world.findings, world.lesions, PATCHES)


def test_every_attribute_of_the_findings_is_asked_for_and_no_other() -> None:
    world, _, targets = made()
    assert {name for name, there in zip(KIND_NAMES, targets.present, strict=True) if there} == world.abnormalities
    yes = {attribute for attribute, there in zip(ATTRIBUTES, targets.attributes, strict=True) if there}
    for finding in world.findings:
        for answer in (finding.side, finding.lobe, finding.amount, finding.detail):
            assert answer is None or (finding.abnormality, answer) in yes
        if finding.size_mm is not None:
            assert ((finding.abnormality, "10 mm") in yes) >= (finding.size_mm >= 10)
    assert {name for name, _ in yes} == world.abnormalities


def test_findings_are_asked_of_their_region_and_of_the_image() -> None:
    _, crops, targets = made()
    assert targets.known[0].all()
    for row, name in enumerate(crops.regions, start=1):
        asked = {kind for kind, known in zip(KIND_NAMES, targets.known[row], strict=True) if known}
        assert asked == {kind.name for kind in KINDS.values() if kind.region == name}
        assert targets.names[row - 1] == REGION_NAMES.index(name)


def test_cells_lie_where_the_lesion_lies() -> None:
    world, crops, targets = made()
    effusion = next(finding for finding in world.findings if finding.abnormality == "Pleural effusion")
    row = crops.regions.index("pleura") + 1
    place = next(i for i, r in enumerate(targets.lesion_rows) if r == row)
    x, y, z = PATCHES
    cells = targets.lesion_cells[place].reshape(x, y, z, CELLS, CELLS, CELLS).transpose(0, 3, 1, 4, 2, 5)
    grid = cells.reshape(x * CELLS, y * CELLS, z * CELLS)
    box = crops.boxes[row - 1]
    lesion = world.lesion_mask(effusion)[box.slices]
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        middle = np.average(np.arange(grid.shape[axis]) + 0.5, weights=grid.sum(axis=others)) / grid.shape[axis]
        true = np.average(np.arange(lesion.shape[axis]) + 0.5, weights=lesion.sum(axis=others)) / lesion.shape[axis]
        assert abs(middle - true) < 0.06


def test_exchanging_sides_is_its_own_inverse() -> None:
    assert (_SIDES_SWAPPED[_SIDES_SWAPPED] == np.arange(len(ATTRIBUTES))).all()
    left, right = (ATTRIBUTES.index(("Lung nodule", side)) for side in ("left", "right"))
    assert _SIDES_SWAPPED[left] == right


def test_a_study_without_findings() -> None:
    world = make_phantom(4, prevalence=0.0)
    targets = targets_of(crops_of(world.study, SIZES), (), world.lesions, PATCHES)
    assert targets.lesion_cells.shape == (0, int(np.prod(PATCHES)), CELLS**3)
    assert not targets.present.any()


def test_a_finding_without_attributes_asks_nothing_more() -> None:
    world, crops, _ = made()
    bare = Finding("Cardiomegaly", "heart", percent=56, lesion=0)
    targets = targets_of(crops, (bare,), world.lesions, PATCHES)
    yes = [ATTRIBUTES[i] for i in np.flatnonzero(targets.attributes)]
    assert yes[-1] == ("Cardiomegaly", "54 %") and ("Cardiomegaly", "57 %") not in yes


def test_usual_cells_are_a_mean_over_the_studies_that_have_the_region() -> None:
    lung = kinds_known([None, "lung"])
    nodule = KIND_NAMES.index("Lung nodule")

    class Targets(TargetStore):
        def __init__(self) -> None:
            pass

        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> VisionTargets:
            cells = np.zeros((2, 2, CELLS**3), np.uint8)
            cells[1, 0, : 3 * (index == 1)] = 1  # the image's row does not count, nor would studies without lungs
            known = lung if index < 3 else lung[:1]
            return VisionTargets(
                names=np.array([5]),
                present=np.zeros(len(KINDS), np.float32),
                attributes=np.zeros(len(ATTRIBUTES), np.float32),
                known=known,
                places=np.zeros((1, 7), np.float32),
                lesion_rows=np.array([0, 1]),
                lesion_kinds=np.array([nodule, nodule]),
                lesion_cells=cells,
            )

    usual = Targets().usual_cells()
    assert usual[nodule] == 1 and usual.sum() == 1
