"""Layers that wait in main memory say the same. Without a GPU, main memory plays the device's part, too."""

import copy

import pytest
import torch
from tiny_models import tiny_model

from reg2rg.model.config import LanguageConfig
from reg2rg.model.decode import Prompt
from reg2rg.model.language import build_language_model, decoder_layers
from reg2rg.model.offload import layer_bytes, offload_layers
from reg2rg.model.precision import needed_bytes
from reg2rg.model.reg2rg import Reg2RG

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "lora"])
def model(request: pytest.FixtureRequest) -> Reg2RG:
    return tiny_model(with_lora=request.param)


@pytest.mark.parametrize("fitting", [0, 1, 2])
def test_it_writes_the_same(model: Reg2RG, fitting: int) -> None:
    size = layer_bytes(decoder_layers(model.language)[0])
    offloaded = copy.deepcopy(model)
    waiting = offload_layers(offloaded, offloaded.language, CPU, fitting * size)
    assert waiting == 2 - fitting
    prompts = [Prompt(torch.randn(length, 32, generator=torch.Generator().manual_seed(length))) for length in (5, 8)]
    expected, found = (
        sorted(one.generate(prompts, eos_id=-1, max_new_tokens=12, rows=2)) for one in (model, offloaded)
    )
    assert found == expected
    assert len({token for written in found for token in written.ids}) > 2
    for number, layer in enumerate(decoder_layers(offloaded.language)):
        assert all(weight.is_meta == (number >= fitting) for weight in layer.parameters()), "gone again after its turn"


def test_layers_are_found_whatever_their_architecture_calls_them() -> None:
    sizes = {"vocab_size": 16, "n_embd": 8, "n_head": 2, "n_layer": 3, "n_positions": 16}
    language = build_language_model(LanguageConfig({"model_type": "gpt2", **sizes}, lora=None))
    assert len(decoder_layers(language)) == 3
    assert needed_bytes(language, language, "offload") < needed_bytes(language, language, "saved")


def test_a_layer_that_fits_in_part_waits(model: Reg2RG) -> None:
    offloaded = copy.deepcopy(model)
    size = layer_bytes(decoder_layers(model.language)[0])
    assert offload_layers(offloaded, offloaded.language, CPU, 2 * size - 1) == 1
