import dataclasses

import pytest
import torch

from reg2rg.errors import InputError
from reg2rg.model.build import build_model, phantom, published, tiny
from reg2rg.model.config import LanguageConfig, LoRAConfig


def test_the_shipped_model_is_small() -> None:
    model = build_model(phantom(300))
    assert sum(parameter.numel() for parameter in model.parameters()) * 2 < 15e6  # bytes in half precision


def test_published_model_takes_no_memory_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = build_model(published())
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    trained = sum(p.numel() for n, p in model.named_parameters() if "lora_" in n)
    assert trained == 32 * 2 * 2 * 8 * 4096


def test_a_seed_gives_one_model() -> None:
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(build_model(tiny()).state_dict())
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text_vocabulary_size": 1000}, "text_vocabulary_size: 1000 ids are too many"),
        ({"language": LanguageConfig({"model_type": "abacus"}, None)}, "language.architecture: cannot make a abacus"),
        ({"language": LanguageConfig({"model_type": "vit"}, None)}, "language.architecture: cannot make a vit"),
        (
            {"language": LanguageConfig(tiny().language.architecture, LoRAConfig(2, 4, 0.0, ("mixer",)))},
            "language.lora.targets: .*mixer",
        ),
    ],
)
def test_a_language_model_that_cannot_be_made(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build_model(dataclasses.replace(tiny(), **change))
    assert "\n" not in str(caught.value)


def test_any_causal_language_model_does() -> None:
    gpt2 = {"model_type": "gpt2", "vocab_size": 128, "n_embd": 24, "n_layer": 1, "n_head": 2, "n_positions": 64}
    model = build_model(dataclasses.replace(tiny(), language=LanguageConfig(gpt2, None)))
    tokens = torch.tensor([[1, 2, 3]])
    size = model.config.crop_size_xyz
    features = model.encode(torch.zeros(1, *size), torch.zeros(0, *size), torch.zeros(0, *size), [0])
    assert model(tokens, torch.ones_like(tokens), features=features).logits.shape == (1, 3, 128)
