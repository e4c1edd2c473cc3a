"""The model against the reference's numbers: weights and inputs rebuilt from seeds, outputs stored (tests/golden)."""

import copy
import dataclasses
import inspect
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from reg2rg.model import perceiver, vit3d
from reg2rg.model.build import build_model, published
from reg2rg.model.checkpoint import our_name
from reg2rg.model.config import LanguageConfig, Reg2RGConfig
from reg2rg.model.reg2rg import Reg2RG, unique_tensors

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
TOLERANCE = 2e-5
MASK_BOXES = {
    "lung": np.s_[20:240, 16:200, 4:60],
    "abdomen": np.s_[0:256, 0:256, 0:17],
    "trachea and bronchie": np.s_[120:140, 100:131, 20:64],
    "heart": np.s_[90:180, 60:170, 8:40],
}


@dataclass(frozen=True)
class Sample:
    """One study of the goldens: where its inputs are seeded, and its regions in slot order."""

    key: str
    regions: tuple[str, ...]


A = Sample("", ("lung", "trachea and bronchie", "abdomen"))
B0 = Sample("b0.", ("trachea and bronchie", "abdomen", "lung"))
B1 = Sample("b1.", ("lung", "heart"))


def deterministic(key: str, shape: tuple[int, ...]) -> np.ndarray:
    generator = np.random.default_rng(zlib.crc32(key.encode()))
    return generator.standard_normal(shape).astype(np.float32) * np.float32(0.05)


def crop(key: str) -> Tensor:
    return torch.from_numpy(deterministic(f"input.{key}", (256, 256, 64)))


def mask(key: str, region: str) -> Tensor:
    generator = np.random.default_rng(zlib.crc32(f"input.{key}mask.{region}".encode()))
    inside = np.zeros((256, 256, 64), np.float32)
    inside[MASK_BOXES[region]] = (generator.random((256, 256, 64)) > 0.5)[MASK_BOXES[region]]
    return torch.from_numpy(inside)


def small() -> Reg2RGConfig:
    """The reference's sizes in the goldens: full crops, narrow layers; of the language model only the table is used."""
    full = published()
    return dataclasses.replace(
        full,
        vision=dataclasses.replace(full.vision, width=96),
        perceiver=dataclasses.replace(full.perceiver, mlp_width=4 * 96),
        language=LanguageConfig(
            {**full.language.architecture, "hidden_size": 64, "intermediate_size": 64, "vocab_size": 128}
            | {"num_hidden_layers": 1, "num_attention_heads": 2},
            full.language.lora,
        ),
        text_vocabulary_size=128,
    )


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "golden_small.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def model() -> Reg2RG:
    model = build_model(small()).eval().requires_grad_(False)
    own = unique_tensors(model)
    for key, shape in json.loads((GOLDEN / "manifest_small.json").read_text()).items():
        values = deterministic(key, tuple(shape))
        if len(shape) == 1 and key.endswith("weight"):
            values = values + np.float32(1.0)
        name = our_name(f"embedding_layer.{key}")
        assert name is not None and own[name].shape == values.shape
        own.pop(name).copy_(torch.from_numpy(values))
    assert all(name.startswith("language.") for name in own), "weights the goldens do not know"
    return model


@dataclass(frozen=True)
class Run:
    """The final embeddings of some samples and what each part gave on the way, image(s) first, then regions."""

    final: Tensor
    parts: dict[str, Tensor]


def run(model: Reg2RG, samples: Iterable[Sample], token_ids: np.ndarray, dtype: torch.dtype = torch.float32) -> Run:
    images = torch.stack([crop(f"{sample.key}image") for sample in samples]).to(dtype)
    regions = [(sample.key, region) for sample in samples for region in sample.regions]
    textures = torch.stack([crop(key + region) for key, region in regions]).to(dtype)
    masks = torch.stack([mask(key, region) for key, region in regions]).to(dtype)
    watched = {
        "patch_embed": model.vision.patches,
        "vit": model.vision,
        "perceiver": model.perceiver,
        "fc": model.project_crops,
        "mask_tokens": model.mask_encoder.vit,
        "mask_mean": model.mask_encoder,
        "mask_fc": model.project_masks,
    }
    parts: dict[str, list[Tensor]] = {name: [] for name in watched}
    hooks = [
        part.register_forward_hook(lambda module, inputs, output, name=name: parts[name].append(output))
        for name, part in watched.items()
    ]
    final = model.embed(torch.from_numpy(token_ids), images, textures, masks, [len(s.regions) for s in samples])
    for hook in hooks:
        hook.remove()
    return Run(final, {name: torch.cat(outputs) for name, outputs in parts.items()})


@pytest.fixture(scope="module")
def run_a(model: Reg2RG, golden: dict[str, np.ndarray]) -> Run:
    return run(model, [A], golden["a.text_input"])


@pytest.fixture(scope="module")
def run_b(model: Reg2RG, golden: dict[str, np.ndarray]) -> Run:
    return run(model, [B0, B1], golden["b.text_input"])


def distance(got: Tensor, stored: np.ndarray) -> float:
    assert got.shape == stored.shape
    return float((got.double() - torch.from_numpy(stored).double()).abs().max())


SLICES = {
    "patch_embed": np.s_[::64, ::8],
    "vit": np.s_[::64, ::8],
    "perceiver": np.s_[:],
    "fc": np.s_[:],
    "mask_tokens": np.s_[::8, ::5],
    "mask_mean": np.s_[:],
    "mask_fc": np.s_[:],
}
PARTS_OF_A = [
    *((part, "image") for part in ("patch_embed", "vit", "perceiver", "fc")),
    *((part, region) for part in SLICES if part != "patch_embed" for region in A.regions),
]


@pytest.mark.parametrize(("part", "what"), PARTS_OF_A)
def test_each_part_of_a_single_study(run_a: Run, golden: dict[str, np.ndarray], part: str, what: str) -> None:
    keys = A.regions if part.startswith("mask") else ("image", *A.regions)
    got = run_a.parts[part][keys.index(what)][SLICES[part]]
    assert distance(got, golden[f"a.{part}.{what}"][0]) < TOLERANCE


def test_the_stored_numbers_of_a_are_all_compared(golden: dict[str, np.ndarray]) -> None:
    compared = {f"a.{part}.{what}" for part, what in PARTS_OF_A}
    assert {key for key in golden if key.startswith("a.")} - compared == {"a.text_input", "a.final", "a.final_f64"}


def test_prompt_embeddings_of_a_single_study(run_a: Run, golden: dict[str, np.ndarray]) -> None:
    assert distance(run_a.final, golden["a.final"]) < TOLERANCE


def test_float64_agrees_to_rounding(model: Reg2RG, golden: dict[str, np.ndarray]) -> None:
    exact = copy.deepcopy(model).double()
    final = run(exact, [A], golden["a.text_input"], torch.float64).final
    assert distance(final, golden["a.final_f64"]) < 1e-12


def test_prompt_embeddings_of_a_batch(run_b: Run, golden: dict[str, np.ndarray]) -> None:
    assert distance(run_b.final, golden["b.final"]) < TOLERANCE


def test_parts_of_a_batch(run_b: Run, golden: dict[str, np.ndarray]) -> None:
    present = [(i, region) for i, sample in enumerate((B0, B1)) for region in sample.regions]
    for row, (sample, what) in enumerate([(0, "image"), (1, "image"), *present]):
        assert distance(run_b.parts["perceiver"][row][::4, ::4], golden[f"b.perceiver.{what}"][sample]) < TOLERANCE
    for row, (sample, region) in enumerate(present):
        assert distance(run_b.parts["mask_mean"][row], golden[f"b.mask_mean.{region}"][sample]) < TOLERANCE


@pytest.mark.parametrize("study", [0, 1])
def test_each_study_of_the_batch_alone(model: Reg2RG, run_b: Run, golden: dict[str, np.ndarray], study: int) -> None:
    """A batch of one, from what the encoders gave in the batch of two; they look at each crop by itself."""
    count = len((B0, B1)[study].regions)
    first = 0 if study == 0 else len(B0.regions)
    final = model.splice(
        torch.from_numpy(golden["b.text_input"][study : study + 1]),
        run_b.parts["fc"][study : study + 1],
        run_b.parts["fc"][2 + first : 2 + first + count],
        run_b.parts["mask_fc"][first : first + count],
        [count],
    )
    assert distance(final, golden["b.final"][study : study + 1]) < TOLERANCE


class TestMistakes:
    """Each mistake one could make moves the numbers out of tolerance, so the comparisons above would fail.

    `sensitivity.json` says how far some of them moved the final embeddings of the reference; the test repeats the
    mistake where it is cheap, on one crop, and so may see a part of that.
    """

    @pytest.fixture(scope="class")
    def image(self) -> Tensor:
        return crop("image")[None]

    @pytest.fixture(scope="class")
    def patches(self, model: Reg2RG, image: Tensor) -> Tensor:
        return model.vision(image)

    @pytest.fixture
    def sensitivity(self) -> dict[str, float]:
        return json.loads((GOLDEN / "sensitivity.json").read_text())

    def moved_image(self, model: Reg2RG, image: Tensor, golden: dict[str, np.ndarray]) -> float:
        return distance(model.project_crops(model.read_crops(image)), golden["a.fc.image"])

    def moved_perceiver(self, model: Reg2RG, patches: Tensor, golden: dict[str, np.ndarray]) -> float:
        return distance(model.project_crops(model.perceiver(patches)), golden["a.fc.image"])

    def moved_masks(self, model: Reg2RG, golden: dict[str, np.ndarray]) -> float:
        masks = torch.stack([mask("", region) for region in A.regions])
        stored = np.concatenate([golden[f"a.mask_fc.{region}"] for region in A.regions])
        return distance(model.project_masks(model.read_masks(masks)), stored)

    def test_without_a_mistake(self, model: Reg2RG, patches: Tensor, golden: dict[str, np.ndarray]) -> None:
        assert self.moved_perceiver(model, patches, golden) < TOLERANCE
        assert self.moved_masks(model, golden) < TOLERANCE

    def test_pos_index_without_stride(self, model, image, golden, sensitivity, monkeypatch) -> None:
        monkeypatch.setattr(vit3d, "_spread", lambda table, count: table[:count])
        assert TOLERANCE < self.moved_image(model, image, golden) < 1.01 * sensitivity["pos_index_without_stride"]

    def test_vision_row_col_swapped(self, model, image, golden, sensitivity, monkeypatch) -> None:
        swap_axes(model.vision.positions, monkeypatch)
        assert TOLERANCE < self.moved_image(model, image, golden) < 1.01 * sensitivity["vision_row_col_swapped"]

    def test_mask_row_col_swapped(self, model, golden, sensitivity, monkeypatch) -> None:
        swap_axes(model.mask_encoder.vit.positions, monkeypatch)
        assert self.moved_masks(model, golden) == pytest.approx(sensitivity["mask_row_col_swapped"], rel=1e-3)

    def test_alphabetical_order(self, model, run_a, golden, sensitivity) -> None:
        """Regions in the order of their names, not of the prompt's slots."""
        order = [A.regions.index(region) for region in sorted(A.regions)]
        final = model.splice(
            torch.from_numpy(golden["a.text_input"]),
            run_a.parts["fc"][:1],
            run_a.parts["fc"][1:][order],
            run_a.parts["mask_fc"][order],
            [len(order)],
        )
        assert distance(final, golden["a.final"]) == pytest.approx(sensitivity["alphabetical_order"], rel=1e-3)

    def test_gelu_tanh(self, model, image, golden, sensitivity, monkeypatch) -> None:
        monkeypatch.setattr(functional, "gelu", partial(functional.gelu, approximate="tanh"))
        assert TOLERANCE < self.moved_image(model, image, golden) < 1.01 * sensitivity["gelu_tanh"]

    def test_gelu_tanh_in_the_perceiver_alone(self, model, patches, golden, monkeypatch) -> None:
        monkeypatch.setattr(functional, "gelu", partial(functional.gelu, approximate="tanh"))
        assert self.moved_perceiver(model, patches, golden) > TOLERANCE

    def test_small_epsilon_in_the_norms(self, model, image, golden, monkeypatch) -> None:
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                monkeypatch.setattr(module, "eps", 1e-6)
        assert self.moved_image(model, image, golden) > TOLERANCE

    @pytest.mark.parametrize("order", ["(part dim head)", "(head part dim)"])
    def test_heads_in_another_order(self, model, golden, monkeypatch, order) -> None:
        replace_in_einops(vit3d, "(part head dim)", order, monkeypatch, "rearrange")
        assert self.moved_masks(model, golden) > TOLERANCE

    def test_query_and_value_swapped(self, model, golden, monkeypatch) -> None:
        attend = functional.scaled_dot_product_attention
        swapped = lambda query, key, value, **settings: attend(value, key, query, **settings)  # noqa: E731
        monkeypatch.setattr(functional, "scaled_dot_product_attention", swapped)
        assert self.moved_masks(model, golden) > TOLERANCE

    def test_key_and_value_swapped_in_the_perceiver(self, model, patches, golden, monkeypatch) -> None:
        attend = functional.scaled_dot_product_attention
        swapped = lambda query, key, value: attend(query, value, key)  # noqa: E731
        monkeypatch.setattr(functional, "scaled_dot_product_attention", swapped)
        assert self.moved_perceiver(model, patches, golden) > TOLERANCE

    def test_latents_without_norm(self, model, patches, golden, monkeypatch) -> None:
        for layer in model.perceiver.layers:
            monkeypatch.setitem(layer.attention._modules, "norm_latents", nn.Identity())
        assert self.moved_perceiver(model, patches, golden) > TOLERANCE

    def test_patches_alone_answer_the_latents(self, model, patches, golden, monkeypatch) -> None:
        cat = SimpleNamespace(
            **{name: getattr(torch, name) for name in dir(torch)} | {"cat": lambda both, dim: both[0]}
        )
        monkeypatch.setattr(perceiver, "torch", cat)
        assert self.moved_perceiver(model, patches, golden) > TOLERANCE

    @pytest.mark.parametrize(
        ("function", "old", "new"),
        [("reduce", "(voxel channel)", "(channel voxel)"), ("rearrange", "(px py pz)", "(pz px py)")],
    )
    def test_voxels_in_another_order(self, model, image, golden, monkeypatch, function, old, new) -> None:
        replace_in_einops(vit3d, old, new, monkeypatch, function)
        got = model.vision.patches(image)[:, ::64, ::8]
        assert distance(got, golden["a.patch_embed.image"]) > TOLERANCE

    def test_patches_in_another_order(self, model, golden, monkeypatch) -> None:
        replace_in_einops(vit3d, "crop (x y z)", "crop (z x y)", monkeypatch, "rearrange")
        assert self.moved_masks(model, golden) > TOLERANCE


def swap_axes(positions: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = positions.x, positions.y
    monkeypatch.setitem(positions._parameters, "x", y)
    monkeypatch.setitem(positions._parameters, "y", x)


def replace_in_einops(module: ModuleType, old: str, new: str, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    """Changes an axis order in the einops patterns of one of our modules; fails if none has it."""
    assert old in inspect.getsource(module)
    original = getattr(module, function)

    def changed(tensor: Tensor, pattern: str, *rest: str, **sizes: int) -> Tensor:
        return original(tensor, pattern.replace(old, new), *rest, **sizes)

    monkeypatch.setattr(module, function, changed)
