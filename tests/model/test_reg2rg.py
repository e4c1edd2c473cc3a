"""The whole model at tiny sizes."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from reg2rg.errors import InputError
from reg2rg.model.build import build_model, tiny
from reg2rg.model.config import INPUTS, LanguageConfig, LoRAConfig, Reg2RGConfig
from reg2rg.model.decode import Prompt
from reg2rg.model.reg2rg import Features, Reg2RG, freeze_as_published, unique_tensors

COUNTS = (2, 0, 3)
EOS = 2


def with_lora(config: Reg2RGConfig) -> Reg2RGConfig:
    lora = LoRAConfig(rank=2, alpha=4, dropout=0.0, targets=("q_proj", "v_proj"))
    return dataclasses.replace(config, language=LanguageConfig(config.language.architecture, lora))


@pytest.fixture(scope="module")
def model() -> Reg2RG:
    torch.manual_seed(0)
    model = build_model(tiny()).eval()
    for name, parameter in model.named_parameters():
        if name.startswith("language.") and parameter.dim() > 1:
            parameter.data *= 10  # so that what it writes depends on what it reads
    return model


@pytest.fixture(scope="module")
def inputs() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    size = tiny().crop_size_xyz
    return {
        "images": torch.randn(len(COUNTS), *size, generator=generator),
        "textures": torch.randn(sum(COUNTS), *size, generator=generator),
        "masks": torch.rand(sum(COUNTS), *size, generator=generator),
    }


def prompt(region_count: int) -> list[int]:
    config = tiny()
    v, tokens = config.text_vocabulary_size, config.tokens
    ids = [1, 20, v, *(v + row for row in tokens.image_rows), v + 1, 21]
    for slot in range(region_count):
        ids += [30 + slot, v + 2, *(v + row for row in tokens.region_rows(slot)), v + 3]
    return [*ids, 40]


def padded(prompts: list[list[int]]) -> tuple[Tensor, Tensor]:
    length = max(map(len, prompts))
    ids = torch.tensor([[*ids, *[0] * (length - len(ids))] for ids in prompts])
    mask = torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids in prompts])
    return ids, mask


def alone(study: int, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    start = sum(COUNTS[:study])
    regions = slice(start, start + COUNTS[study])
    return {
        "images": inputs["images"][study : study + 1],
        "textures": inputs["textures"][regions],
        "masks": inputs["masks"][regions],
    }


PROMPTS = [prompt(count) for count in COUNTS]


def test_forward_gives_loss_and_logits_of_the_language_model(model: Reg2RG, inputs: dict[str, Tensor]) -> None:
    ids, mask = padded(PROMPTS)
    labels = ids.masked_fill((ids >= 128) | (mask == 0), -100)
    loss, logits = model(ids, mask, labels, **inputs, region_counts=COUNTS)
    assert logits.shape == (*ids.shape, 128)
    expected = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_without_labels_no_loss(model: Reg2RG, inputs: dict[str, Tensor]) -> None:
    ids, mask = padded(PROMPTS)
    assert model(ids, mask, **inputs, region_counts=COUNTS).loss is None


def test_features_in_place_of_voxels(model: Reg2RG, inputs: dict[str, Tensor]) -> None:
    ids, mask = padded(PROMPTS)
    features = model.encode(**inputs, region_counts=COUNTS)
    assert torch.equal(
        model(ids, mask, features=features).logits, model(ids, mask, **inputs, region_counts=COUNTS).logits
    )
    with pytest.raises(TypeError, match="features"):
        model(ids, mask, images=inputs["images"])


def test_loss_for_training_is_that_of_forward(model: Reg2RG, inputs: dict[str, Tensor]) -> None:
    ids, mask = padded(PROMPTS)
    labels = ids.masked_fill((ids >= 128) | (mask == 0), -100)
    labels[:, :3] = -100
    features = model.encode(**inputs, region_counts=COUNTS)
    plain = model(ids, mask, labels, features=features).loss
    fast = model.loss(ids, labels, features)
    torch.testing.assert_close(fast, plain)
    parameters = [model.region_brackets, model.project_crops.weight, *model.language.parameters()]
    for one, other in zip(torch.autograd.grad(fast, parameters, retain_graph=True),
                          torch.autograd.grad(plain, parameters), strict=True):  # fmt: skip
        torch.testing.assert_close(one, other)
    weights = torch.ones(ids.shape)
    torch.testing.assert_close(model.loss(ids, labels, features, 3 * weights), fast)
    weights[:, 4] = 0
    later = model.loss(ids, labels.index_fill(1, torch.tensor([5]), -100), features)
    torch.testing.assert_close(model.loss(ids, labels, features, weights), later)


def test_a_study_does_not_depend_on_its_neighbours(model: Reg2RG, inputs: dict[str, Tensor]) -> None:
    ids, mask = padded(PROMPTS)
    together = model(ids, mask, **inputs, region_counts=COUNTS).logits
    for study, ids_alone in enumerate(PROMPTS):
        one, ones = padded([ids_alone])
        logits = model(one, ones, **alone(study, inputs), region_counts=COUNTS[study : study + 1]).logits[0]
        assert torch.allclose(together[study, : len(ids_alone)], logits, atol=1e-4)


@pytest.mark.parametrize("what", ["images", "textures", "masks"])
def test_everything_seen_reaches_the_words(model: Reg2RG, inputs: dict[str, Tensor], what: str) -> None:
    ids, mask = padded(PROMPTS)
    changed = inputs | {what: inputs[what].flip(1)}
    before = model(ids, mask, **inputs, region_counts=COUNTS).logits
    assert (model(ids, mask, **changed, region_counts=COUNTS).logits - before).abs().max() > 1e-4


@pytest.mark.parametrize("shown", [("global",), ("texture", "geometry"), ()])
def test_what_is_not_shown_is_zero(
    model: Reg2RG, inputs: dict[str, Tensor], shown: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "config", dataclasses.replace(model.config, inputs=shown))
    features = model.encode(**inputs, region_counts=COUNTS)
    for name, tokens in zip(
        INPUTS, (features.image_tokens, features.texture_tokens, features.mask_tokens), strict=True
    ):
        assert bool(tokens.any()) == (name in shown)


@pytest.mark.parametrize("count", [0, 1, 4, 9])
def test_crops_read_in_parts_are_those_read_at_once(model: Reg2RG, count: int) -> None:
    crops = torch.randn(count, *tiny().crop_size_xyz, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        parts, at_once = model.read_voxels(crops), model.vision(crops)
    assert parts.shape == at_once.shape
    torch.testing.assert_close(parts, at_once, rtol=0, atol=2e-5)


def test_crops_of_another_size(model: Reg2RG) -> None:
    with pytest.raises(ValueError, match=r"expected crops of \(16, 16, 8\)"):
        model.read_crops(torch.zeros(1, 16, 8, 8))


def test_generate_writes_on_from_a_studys_prompt(model: Reg2RG, inputs: dict[str, Tensor]) -> None:
    own = model.encode(**alone(0, inputs), region_counts=COUNTS[:1])
    written = list(PROMPTS[0])
    with torch.inference_mode():
        for _ in range(4):
            ids, mask = padded([written])
            written.append(int(model(ids, mask, features=own).logits[0, -1].argmax()))
        prompt = Prompt(model.embed_prompt(PROMPTS[0], own))
    assert list(model.generate([prompt], eos_id=EOS, max_new_tokens=4)) == [(0, written[-4:])]


class TestFolder:
    @pytest.mark.parametrize("lora", [False, True])
    def test_saved_and_read_again(self, lora: bool, inputs: dict[str, Tensor], tmp_path: Path) -> None:
        torch.manual_seed(0)
        model = build_model(with_lora(tiny()) if lora else tiny()).eval()
        model.save_pretrained(str(tmp_path / "model"))
        state = torch.get_rng_state()
        again = Reg2RG.from_pretrained(str(tmp_path / "model"))
        assert torch.equal(torch.get_rng_state(), state)
        assert again.config == model.config and not again.training
        own, read = unique_tensors(model), unique_tensors(again)
        assert own.keys() == read.keys()
        assert all(torch.equal(own[name], read[name]) for name in own)
        ids, mask = padded(PROMPTS)
        logits = again(ids, mask, **inputs, region_counts=COUNTS).logits
        assert torch.equal(logits, model(ids, mask, **inputs, region_counts=COUNTS).logits)

    def test_tied_embeddings_stay_tied_and_are_kept_once(self, tmp_path: Path) -> None:
        build_model(tiny()).save_pretrained(tmp_path)
        assert "language.lm_head.weight" not in load_file(tmp_path / "model.safetensors")
        language = Reg2RG.from_pretrained(tmp_path).language
        assert language.lm_head.weight is language.get_input_embeddings().weight

    def test_training_a_read_model_leaves_its_file_alone(self, tmp_path: Path) -> None:
        build_model(tiny()).save_pretrained(tmp_path)
        content = (tmp_path / "model.safetensors").read_bytes()
        model = Reg2RG.from_pretrained(tmp_path)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1)
        assert (tmp_path / "model.safetensors").read_bytes() == content
        model.save_pretrained(tmp_path)
        assert torch.equal(Reg2RG.from_pretrained(tmp_path).image_brackets, model.image_brackets)

    def test_in_another_dtype(self, inputs: dict[str, Tensor], tmp_path: Path) -> None:
        build_model(tiny()).save_pretrained(tmp_path)
        model = Reg2RG.from_pretrained(tmp_path, dtype=torch.bfloat16)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
        ids, mask = padded(PROMPTS)
        logits = model(ids, mask, **inputs, region_counts=COUNTS).logits
        exact = Reg2RG.from_pretrained(tmp_path)(ids, mask, **inputs, region_counts=COUNTS).logits
        assert (logits - exact).abs().max() < 0.1 * exact.abs().max()

    def test_parts_of_different_dtype_work_together(self, inputs: dict[str, Tensor], tmp_path: Path) -> None:
        """As a published checkpoint may be: language model in half precision, encoders in single."""
        model = build_model(tiny()).eval()
        model.language.to(torch.bfloat16)
        model.vision.to(torch.bfloat16)
        model.save_pretrained(tmp_path)
        read = Reg2RG.from_pretrained(tmp_path)
        assert read.perceiver.latents.dtype == torch.float32
        ids, mask = padded(PROMPTS)
        assert read(ids, mask, **inputs, region_counts=COUNTS).logits.dtype == torch.bfloat16

    @pytest.mark.parametrize("mistake", ["missing", "left over", "another shape"])
    def test_tensors_that_do_not_fit_are_named(self, mistake: str, tmp_path: Path) -> None:
        build_model(tiny()).save_pretrained(tmp_path)
        tensors = load_file(tmp_path / "model.safetensors")
        tensor = tensors.pop("perceiver.latents")
        if mistake == "left over":
            tensors |= {"perceiver.latents": tensor, "perceiver.latents_old": tensor.clone()}
        elif mistake == "another shape":
            tensors["perceiver.latents"] = tensor[:2].clone()
        save_file(tensors, tmp_path / "model.safetensors")
        with pytest.raises(InputError, match=rf"tensors.* {mistake}.*perceiver\.latents"):
            Reg2RG.from_pretrained(tmp_path)

    def test_a_language_models_folder_is_none_of_ours(self, tmp_path: Path) -> None:
        build_model(tiny()).save_pretrained(tmp_path)
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
        with pytest.raises(InputError, match="expected a reg2rg model"):
            Reg2RG.from_pretrained(tmp_path)


class TestFreezing:
    def test_what_the_paper_trains(self) -> None:
        model = build_model(with_lora(tiny())).to(torch.bfloat16)
        freeze_as_published(model)
        parts = {"perceiver", "project_crops", "mask_encoder", "project_masks", "image_brackets", "region_brackets"}
        for name, parameter in model.named_parameters():
            trained = name.split(".")[0] in parts or ".lora_" in name
            assert parameter.requires_grad == trained, name
            assert parameter.dtype == (torch.float32 if trained else torch.bfloat16), name
        assert sum(".lora_" in name for name, p in model.named_parameters() if p.requires_grad) == 2 * 2 * 2

    @pytest.mark.parametrize("saved_in", [torch.float32, torch.bfloat16])
    def test_gradients_reach_all_of_it(self, inputs: dict[str, Tensor], saved_in: torch.dtype) -> None:
        model = build_model(with_lora(tiny())).to(saved_in)
        freeze_as_published(model)
        ids, mask = padded(PROMPTS)
        model(ids, mask, ids.masked_fill(ids >= 128, -100), **inputs, region_counts=COUNTS).loss.backward()
        for name, parameter in model.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, name

    def test_needs_adapters(self) -> None:
        with pytest.raises(InputError, match="LoRA"):
            freeze_as_published(build_model(tiny()))


def test_features_keep_to_their_shapes() -> None:
    """The annotations are checked under pytest: mask tokens of another number of regions are refused."""
    with pytest.raises(Exception, match="mask_tokens"):
        build_model(tiny()).splice(
            torch.zeros(1, 3, dtype=torch.long), torch.zeros(1, 4, 32), torch.zeros(2, 4, 32), torch.zeros(1, 32), [2]
        )
    assert Features.__dataclass_params__.frozen
