"""What a model takes is reckoned before it is moved; in 8 and 4 bits it says nearly the same, and takes less."""

import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from reg2rg.errors import InputError
from reg2rg.model.build import build_model, tiny
from reg2rg.model.config import LanguageConfig, LoRAConfig
from reg2rg.model.language import build_language_model
from reg2rg.model.precision import check_fits, check_precision, free_bytes, needed_bytes, reduce_precision

CPU = torch.device("cpu")
MIB = 2**20


@pytest.fixture(scope="module")
def language() -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=64, **sizes)).eval()


def test_weights_by_hand(language: LlamaForCausalLM) -> None:
    layers = 2 * (4 * 128**2 + 3 * 128 * 256)
    others = 2 * 64 * 128 + 5 * 128  # embeddings, scores, norms
    kept = 2 * 2 * 128 * 3000 * 4  # keys and values of two layers
    assert needed_bytes(language, language, "saved") == 4 * (layers + others) + kept
    assert needed_bytes(language, language, "8bit") == layers + 4 * others + kept
    assert needed_bytes(language, language, "4bit") == layers * 4.5 / 8 + 4 * others + kept
    layer = layers // 2 + 2 * 128
    assert needed_bytes(language, language, "offload") == 4 * (layers + others - layer) + kept


def test_too_large_says_what_would_fit(language: LlamaForCausalLM) -> None:
    check_fits(language, language, "saved", CPU, free=100 * MIB)
    with pytest.raises(InputError, match=r"needs about .* free; give --precision 8bit .* or --precision 4bit .* or an"):
        check_fits(language, language, "saved", CPU, free=MIB)
    with pytest.raises(InputError, match=r"are free; give another --device"):
        check_fits(language, language, "4bit", CPU, free=MIB)


def test_a_whole_model_fits_here() -> None:
    model = build_model(tiny())
    free = free_bytes(CPU)
    assert free is None or free > MIB
    check_fits(model, model.language, "saved", CPU)


def test_what_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    check_precision("saved", CPU)
    check_precision("offload", torch.device("cuda"))
    with pytest.raises(InputError, match="in main memory already; leave --precision out"):
        check_precision("offload", CPU)
    monkeypatch.setattr("reg2rg.model.precision.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'reg2rg\[quantized\]'"):
        check_precision("4bit", CPU)
    with pytest.raises(InputError, match="expected one of saved, 8bit, 4bit, offload"):
        check_precision("2bit", CPU)


@pytest.mark.parametrize(("precision", "most"), [("8bit", 0.02), ("4bit", 0.2)])
@pytest.mark.parametrize("lora", [False, True])
def test_fewer_bits_say_nearly_the_same(language: LlamaForCausalLM, precision: str, most: float, lora: bool) -> None:
    pytest.importorskip("bitsandbytes", reason="8 and 4 bits need bitsandbytes, which is not installed")
    adapters = LoRAConfig(rank=2, alpha=4, dropout=0.0, targets=("q_proj", "v_proj")) if lora else None
    original = build_language_model(LanguageConfig(language.config.to_dict(), adapters)).eval()
    reduced = copy.deepcopy(original)
    reduce_precision(reduced, precision)  # type: ignore[arg-type]
    reduced.to(CPU)
    kinds = {weight.dtype for name, weight in reduced.named_parameters() if "mlp" in name}
    assert kinds == {torch.int8 if precision == "8bit" else torch.uint8}
    with torch.inference_mode():
        embeddings = torch.randn(1, 9, 128, generator=torch.Generator().manual_seed(1))
        expected, found = (model(inputs_embeds=embeddings).logits for model in (original, reduced))
    assert float((found - expected).abs().max()) < most * float(expected.abs().max())
