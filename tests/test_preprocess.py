"""Preprocessing against the published pipeline's golden numbers, against torch, and by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reg2rg.errors import InputError
from reg2rg.geometry import reorient
from reg2rg.preprocess import area_resize, crop_study, to_spacing
from reg2rg.volume import RegionMasks, Study, Volume

GOLDEN = Path(__file__).parent / "golden"
PUBLISHED_SIZE = (256, 256, 64)
STORED_SLICES = (slice(5, None, 16), slice(3, None, 16), slice(2, None, 4))


def golden_study(name: str, mask_prefix: str) -> tuple[Study, dict[str, np.ndarray]]:
    golden = dict(np.load(GOLDEN / f"{name}.npz"))
    shape = tuple(golden["shape"])
    masks = {
        key.removeprefix(mask_prefix): np.unpackbits(packed, count=int(np.prod(shape))).reshape(shape).astype(bool)
        for key, packed in golden.items()
        if key.startswith(mask_prefix)
    }
    affine = np.eye(4)
    return Study("golden", Volume(golden["ct"], affine), RegionMasks.from_masks(masks, affine)), golden


def test_crops_equal_the_published_pipeline() -> None:
    study, golden = golden_study("golden_pre", "mask.")
    facts = json.loads((GOLDEN / "golden_pre.json").read_text())
    crops = crop_study(study, PUBLISHED_SIZE)
    assert crops.regions == ("heart", "lung", "trachea and bronchie")
    outputs = {"vision.image": crops.image}
    for name, texture, mask in zip(crops.regions, crops.textures, crops.masks, strict=True):
        outputs |= {f"vision.{name}": texture, f"mask.{name}": mask}
    for name, box in (("image", crops.image_box), *zip(crops.regions, crops.boxes, strict=True)):
        assert [list(box.start_xyz), list(box.stop_xyz)] == facts[f"vision.{name}"]["crop_box_half_open"]
    for name, output in outputs.items():
        stored = golden[name.replace("mask.", "masks_out.")]
        np.testing.assert_allclose(output[STORED_SLICES], stored, atol=2e-6, err_msg=name)
        assert output.std(dtype=np.float64) == pytest.approx(facts[name]["std"], abs=1e-6)
        assert output.sum(dtype=np.float64) == pytest.approx(facts[name]["sum"], rel=1e-6)
        assert (output.min(), output.max()) == pytest.approx((facts[name]["min"], facts[name]["max"]), abs=1e-6)
        if "n_fractional" in facts[name]:
            assert np.count_nonzero((output > 0) & (output < 1)) == facts[name]["n_fractional"]


def test_box_of_a_texture_is_that_of_hu_above_air_not_of_the_mask() -> None:
    study, golden = golden_study("golden_pre_box", "mask_")
    facts = json.loads((GOLDEN / "golden_pre_box.json").read_text())
    crops = crop_study(study, PUBLISHED_SIZE)
    for output, key in ((crops.textures[0], "vision_pleura"), (crops.masks[0], "masks_out_pleura")):
        np.testing.assert_allclose(output[STORED_SLICES], golden[key], atol=2e-6, err_msg=key)
    np.testing.assert_allclose(crops.image[STORED_SLICES], golden["vision_image"], atol=2e-6)
    assert crops.textures[0].sum(dtype=np.float64) == pytest.approx(facts["vision"]["sum"], rel=1e-6)
    assert crops.masks[0].sum(dtype=np.float64) == pytest.approx(facts["mask"]["sum"], rel=1e-6)


sizes = st.tuples(*[st.integers(1, 9)] * 3)


@given(old=sizes, new=sizes, seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_area_resize_equals_torch(old: tuple[int, int, int], new: tuple[int, int, int], seed: int) -> None:
    array = np.random.default_rng(seed).normal(size=old).astype(np.float32)
    expected = torch.nn.functional.interpolate(torch.from_numpy(array)[None, None], size=new, mode="area")[0, 0]
    np.testing.assert_allclose(area_resize(array, new), expected.numpy(), atol=1e-6)


def simple_study(hu: np.ndarray, **masks: np.ndarray) -> Study:
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    return Study("simple", Volume(hu, affine), RegionMasks.from_masks(masks, affine))


def test_integer_and_float_hu_give_the_same_crops() -> None:
    rng = np.random.default_rng(0)
    hu = rng.integers(-1024, 400, (12, 10, 8)).astype(np.int16)
    mask = rng.random(hu.shape) > 0.6
    whole = crop_study(simple_study(hu, lung=mask), (6, 6, 6))
    real = crop_study(simple_study(hu.astype(np.float32), lung=mask), (6, 6, 6))
    np.testing.assert_array_equal(whole.textures, real.textures)
    np.testing.assert_array_equal(whole.image, real.image)


def test_a_region_of_air_is_left_out_and_said() -> None:
    hu = np.full((6, 6, 6), -1000, np.int16)
    hu[2:4, 2:4, 2:4] = 40
    air, heart = hu < 0, hu > 0
    crops = crop_study(simple_study(hu, lung=air, heart=heart), (4, 4, 4))
    assert crops.regions == ("heart",)
    assert "lung" in crops.warnings[0]


def test_nothing_to_encode_is_refused() -> None:
    hu = np.full((6, 6, 6), -1000, np.int16)
    with pytest.raises(InputError, match="no voxel is above air"):
        crop_study(simple_study(hu, lung=hu < 0), (4, 4, 4))
    hu[0, 0, 0] = 40
    with pytest.raises(InputError, match="no region"):
        crop_study(simple_study(hu, lung=hu < 0), (4, 4, 4))


def test_overlapping_regions_keep_their_own_masks() -> None:
    hu = np.full((8, 8, 8), 30, np.int16)
    left, right = np.zeros(hu.shape, bool), np.zeros(hu.shape, bool)
    left[:5], right[3:] = True, True
    crops = crop_study(simple_study(hu, lung=left, pleura=right), (8, 8, 8))
    np.testing.assert_array_equal(crops.masks[0], left)
    np.testing.assert_array_equal(crops.masks[1], right)


def test_ordered_moves_regions_with_their_crops() -> None:
    study, _ = golden_study("golden_pre", "mask.")
    crops = crop_study(study, (8, 8, 8))
    turned = crops.ordered(("trachea and bronchie", "heart", "lung"))
    np.testing.assert_array_equal(turned.textures[1], crops.textures[0])
    np.testing.assert_array_equal(turned.masks[0], crops.masks[2])
    assert turned.boxes[1] == crops.boxes[0]


def test_model_spacing_keeps_places_in_millimetres() -> None:
    hu = np.full((20, 20, 30), -1000, np.int16)
    hu[4:8, 10:14, 9:18] = 50
    study = simple_study(hu, heart=hu > 0)
    coarse = to_spacing(study, (4.0, 4.0, 6.0))
    assert coarse.volume.grid.spacing_mm == (4.0, 4.0, 6.0)
    assert to_spacing(study, None) is study
    for image in (study, reorient_study(study)):
        coarse = to_spacing(image, (4.0, 4.0, 6.0))
        center = center_mm(coarse.masks)
        np.testing.assert_allclose(center, center_mm(study.masks), atol=2.0)
        assert coarse.masks.volume_ml("heart") == pytest.approx(study.masks.volume_ml("heart"), rel=0.35)


def plain_way(study: Study, size: tuple[int, int, int]) -> dict[str, np.ndarray]:
    """The published recipe as it is described: whole volumes, torch's area averaging; no thought of time or memory."""

    def box(hu: np.ndarray) -> tuple[slice, ...]:
        return tuple(slice(index.min(), index.max() + 1) for index in np.nonzero(hu > -1000))

    def resize(array: np.ndarray) -> np.ndarray:
        block = torch.from_numpy(np.ascontiguousarray(array, np.float64))
        return torch.nn.functional.interpolate(block[None, None], size=size, mode="area")[0, 0].numpy()

    def window(hu: np.ndarray) -> np.ndarray:
        return (hu.clip(-1000, 200) + 400) / 600

    hu = study.volume.array.astype(np.float64)
    body = box(hu)
    crops = {"image": window(resize(hu[body]))}
    for name in study.masks.present:
        mask = study.masks.mask(name)
        texture = np.where(mask, hu, -1024)
        if (texture > -1000).any():
            crops[f"texture {name}"] = window(resize(texture[box(texture)]))
            crops[f"mask {name}"] = resize(mask[body])
    return crops


OBLIQUE = np.array([[1.9, 0.3, 0, -20], [-0.2, 0.1, 2.4, 8], [0.1, -1.8, 0.2, 30], [0, 0, 0, 1]])
layouts = st.sampled_from(["C", "F", "turned", "flipped"])


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    """The same values in another order of memory."""
    if layout == "turned":
        return np.ascontiguousarray(array.transpose(1, 2, 0)).transpose(2, 0, 1)
    if layout == "flipped":
        return np.ascontiguousarray(array[::-1, :, ::-1])[::-1, :, ::-1]
    return np.asarray(array, order=layout)  # type: ignore[call-overload]


@given(
    old=st.tuples(*[st.integers(2, 23)] * 3),
    new=st.tuples(*[st.integers(1, 19)] * 3),
    kind=st.sampled_from([np.int16, np.int32, np.float32]),
    of_hu=layouts,
    of_masks=layouts,
    orientation=st.sampled_from(["RAS", "LPS", "ASL", "PIR"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=80, deadline=None)
def test_crops_equal_the_plain_way(
    old: tuple[int, int, int],
    new: tuple[int, int, int],
    kind: type,
    of_hu: str,
    of_masks: str,
    orientation: str,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    hu = rng.integers(-1100, 400, old).astype(kind)
    hu[rng.integers(old[0]), rng.integers(old[1]), rng.integers(old[2])] = 30
    masks = {name: rng.random(old) < share for name, share in (("bone", 0.1), ("heart", 0.01), ("lung", 0.5))}
    masks["pleura"] = hu > 0
    thyroid = np.zeros(old, bool)
    thyroid[old[0] // 2 :, : old[1] // 2, :1] = True
    bits = RegionMasks.from_masks({**masks, "thyroid": thyroid}, OBLIQUE)
    volume = Volume(laid_out(hu, of_hu), OBLIQUE)
    bits = bits.moved(laid_out(bits.array, of_masks), OBLIQUE)
    study = Study("random", reorient(volume, orientation), reorient(bits, orientation))
    crops, expected = crop_study(study, new), plain_way(study, new)
    found = {"image": crops.image}
    for name, texture, mask in zip(crops.regions, crops.textures, crops.masks, strict=True):
        found |= {f"texture {name}": texture, f"mask {name}": mask}
    assert found.keys() == expected.keys()
    assert crops.with_mask == study.masks.present
    for name, crop in found.items():
        np.testing.assert_allclose(crop, expected[name], atol=1e-6, err_msg=name)


def test_many_voxels_to_one_are_counted_whole() -> None:
    mask = np.zeros((40, 30, 20), bool)
    mask[:, :15] = True
    assert area_resize(mask, (1, 1, 1)).item() == 0.5
    assert area_resize(np.full((40, 30, 20), 30000, np.int16), (1, 1, 1)).item() == 30000


def reorient_study(study: Study) -> Study:
    return Study("turned", reorient(study.volume, "LPS"), reorient(study.masks, "LPS"))


def center_mm(masks: RegionMasks) -> np.ndarray:
    index = np.argwhere(masks.mask("heart")).mean(axis=0)
    return masks.affine[:3, :3] @ index + masks.affine[:3, 3]
