"""Stage vision's losses by hand, and crops that are mirrored with everything asked of them."""

import numpy as np
import pytest
import torch

from reg2rg.data.crops import CropStore
from reg2rg.phantom.finding import KINDS
from reg2rg.preprocess import StudyCrops
from reg2rg.train.questions import ATTRIBUTES, KIND_NAMES
from reg2rg.train.targets import CELLS, TargetStore, VisionTargets
from reg2rg.train.vision import VisionStudies, _focal_loss, _looks_loss, area_under_curve, collate
from reg2rg.volume import Box

PATCHES = (2, 1, 1)
NODULE = KIND_NAMES.index("Lung nodule")
LEFT, RIGHT, MIDDLE = (ATTRIBUTES.index(("Lung nodule", answer)) for answer in ("left", "right", "middle lobe"))


class Crops(CropStore):
    """A lung of eight voxels in x."""

    def __init__(self) -> None:
        pass

    def __getitem__(self, index: int) -> StudyCrops:
        ramp = np.arange(8, dtype=np.float32).reshape(8, 1, 1)
        box = Box((0, 0, 0), (8, 1, 1))
        return StudyCrops(ramp, ("lung",), ramp[None].copy(), np.ones((1, 8, 1, 1), np.float32), box, (box,))


class Targets(TargetStore):
    """Its first cell holds a nodule of the left side."""

    def __init__(self, lobe: int | None = None) -> None:
        self.patches_xyz = PATCHES
        self.lobe = lobe

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> VisionTargets:
        present = np.zeros(len(KINDS), np.float32)
        present[NODULE] = 1
        attributes = np.zeros(len(ATTRIBUTES), np.float32)
        attributes[[LEFT, *([] if self.lobe is None else [self.lobe])]] = 1
        known = np.ones((2, len(KINDS)), np.float32)
        known[1] = [kind.region == "lung" for kind in KINDS.values()]
        cells = np.zeros((2, 2, CELLS**3), np.uint8)
        cells[:, 0, :4] = 1  # the lower half in x of the first patch, of the image and of the lung
        return VisionTargets(
            names=np.array([5]),
            present=present,
            attributes=attributes,
            known=known,
            places=np.zeros((1, 7), np.float32),
            lesion_rows=np.array([0, 1]),
            lesion_kinds=np.array([NODULE, NODULE]),
            lesion_cells=cells,
        )


def seen(lobe: int | None = None) -> list[dict[str, np.ndarray]]:
    """The study as training sees it, several times; only times at which its lung was mirrored or not."""
    torch.manual_seed(0)
    studies = VisionStudies(Crops(), Targets(lobe), vary=True)
    return [studies[0] for _ in range(20)]


def test_a_mirrored_lung_takes_its_side_and_its_cells_along() -> None:
    ways = set()
    for study in seen():
        lung = study["crops"][-1].ravel()
        is_mirrored = lung[0] == 7
        ways.add(bool(is_mirrored))
        assert study["attributes"][-1][RIGHT if is_mirrored else LEFT] == 1
        assert study["attributes"][-1][LEFT if is_mirrored else RIGHT] == 0
        cells = study["lesions"][-1][..., NODULE].reshape(2, CELLS, -1).any(axis=2).ravel()
        assert cells.tolist() == ([False, False, False, True] if is_mirrored else [True, False, False, False])
        if len(study["crops"]) == 2:  # the image is never mirrored
            assert study["crops"][0].ravel()[0] == 0 and study["attributes"][0][LEFT] == 1
    assert ways == {True, False}


def test_a_middle_lobe_is_not_mirrored_to_the_left() -> None:
    assert all(study["crops"][-1].ravel()[0] == 0 for study in seen(MIDDLE))


def test_held_out_studies_are_seen_whole_and_as_they_are() -> None:
    study = VisionStudies(Crops(), Targets(), vary=False)[0]
    assert len(study["crops"]) == 2 and study["crop_names"].tolist() == [-1, 5]
    packed = collate([study, study])
    assert packed["crops"].shape == (4, 8, 1, 1) and packed["masks"].shape == (2, 8, 1, 1)


def test_focal_loss_by_hand() -> None:
    logits = torch.zeros(1, 2, 8, 1)
    lesions = torch.zeros(1, 2, 8, 1, dtype=torch.uint8)
    lesions[0, 0, 0, 0] = 1
    # Sixteen cells at a probability of a half: each (1/2)^2 ln 2, over the usual five cells with a lesion.
    expected = 16 * 0.25 * np.log(2) / 5
    usual = torch.tensor([5.0])
    assert float(_focal_loss(logits, lesions, torch.ones(1, 1), usual)) == pytest.approx(expected, rel=1e-6)
    assert float(_focal_loss(logits, lesions, torch.zeros(1, 1), usual)) == 0


def test_looks_loss_by_hand() -> None:
    look = torch.tensor([[[0.5, 0.25, 0.125], [0.0, 0.25, 0.5]]])  # two pairs, three patches
    lesions = torch.zeros(1, 3, 3, dtype=torch.uint8)
    lesions[0, :2, 0] = 1  # read by the first pair
    lesions[0, 1, 2] = 1  # the third kind is read by the first pair, too
    known = torch.tensor([[1.0, 1.0, 1.0]])
    expected = -(np.log(0.75) + np.log(0.25)) / 2
    assert float(_looks_loss([look, look], lesions, known)) == pytest.approx(expected, rel=1e-4)
    assert float(_looks_loss([look], lesions, torch.tensor([[1.0, 1.0, 0.0]]))) == pytest.approx(
        -np.log(0.75), rel=1e-4
    )
    assert float(_looks_loss([look], lesions * 0, known)) == 0
    assert float(_looks_loss([], lesions, known)) == 0


def test_area_under_curve_counts_ties_half() -> None:
    assert area_under_curve(np.array([0.5, 0.5]), np.array([True, False])) == 0.5
    assert np.isnan(area_under_curve(np.array([0.5]), np.array([True])))
