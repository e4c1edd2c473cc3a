"""With vLLM's interface (as documented for 0.10 to 0.17) the texts are torch's. vLLM itself has never run here.

In its place stands a module that does what is asked of it: reads the folder, takes requests, steps.
"""

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from tiny_models import tiny_model
from torch import Tensor
from transformers import AutoModelForCausalLM

from reg2rg.cli import main
from reg2rg.data.dataset import open_dataset
from reg2rg.errors import InputError
from reg2rg.generate import GenerationSettings, Reporter, generate_dataset
from reg2rg.model import engine, vllm_engine
from reg2rg.model.build import build_model, tiny
from reg2rg.model.config import Sampling
from reg2rg.model.decode import Prompt
from reg2rg.model.language import decoder_layers, text_embedding, without_adapters
from reg2rg.model.quantities import Quantities
from reg2rg.model.reg2rg import Reg2RG
from reg2rg.model.vllm_engine import VllmEngine
from reg2rg.phantom.dataset import write_dataset

EOS = 3


@dataclass
class _Request:
    embeddings: Tensor
    settings: Any
    ids: list[int] = field(default_factory=list)


class _StandIn:
    """vllm.LLMEngine, greedy, one request after another; the last begun is the first to go on."""

    made: ClassVar[list["_StandIn"]] = []

    def __init__(self, language: Any) -> None:
        self.language, self.requests, self.asked, self.most, self.aborted = language, {}, [], 0, []

    @classmethod
    def from_engine_args(cls, arguments: Any) -> "_StandIn":
        assert arguments.enable_prompt_embeds and arguments.skip_tokenizer_init
        language = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=getattr(torch, arguments.dtype))
        cls.made.append(cls(language.eval()))
        return cls.made[-1]

    def add_request(self, request_id: str, prompt: dict[str, Tensor], settings: Any) -> None:
        self.requests[request_id] = _Request(prompt["prompt_embeds"], settings)
        self.asked.append(settings)
        self.most = max(self.most, len(self.requests))

    @torch.inference_mode()
    def step(self) -> list[Any]:
        name, request = list(self.requests.items())[-1]
        written = text_embedding(self.language)(torch.tensor(request.ids, dtype=torch.long))
        scores = self.language(inputs_embeds=torch.cat([request.embeddings, written])[None]).logits[0, -1]
        request.ids.append(int(scores.argmax()))
        is_complete = request.ids[-1] in request.settings.stop_token_ids
        is_finished = is_complete or len(request.ids) == request.settings.max_tokens
        completion = SimpleNamespace(token_ids=request.ids, finish_reason="stop" if is_complete else "length")
        if is_finished:
            del self.requests[name]
        return [SimpleNamespace(request_id=name, finished=is_finished, outputs=[completion])]

    def abort_request(self, names: list[str]) -> None:
        self.aborted += names


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("vllm")
    module.EngineArgs = module.SamplingParams = SimpleNamespace  # type: ignore[attr-defined]
    module.LLMEngine = _StandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setattr(engine, "find_spec", lambda _: True)
    return module


@pytest.fixture(params=[False, True], ids=["plain", "lora"])
def model(request: pytest.FixtureRequest) -> Reg2RG:
    return tiny_model(with_lora=request.param)


def prompts() -> list[Prompt]:
    return [Prompt(torch.randn(n, 32, generator=torch.Generator().manual_seed(n)), seed=n) for n in (5, 8, 3, 6)]


def test_it_writes_what_torch_writes(model: Reg2RG, vllm: ModuleType) -> None:
    plain = sorted(model.generate(prompts(), eos_id=-1, max_new_tokens=40, rows=1))
    [(common, _)] = Counter(token for written in plain for token in written.ids).most_common(1)
    expected = sorted(model.generate(prompts(), eos_id=common, max_new_tokens=12, rows=1))
    assert {written.ids[-1] == common for written in expected} == {True, False}, "some end, some are cut"
    engine = VllmEngine(without_adapters(model.language))
    found = list(engine.write_on(prompts(), rows=3, eos_id=common, max_new_tokens=12))
    assert sorted(found) == expected
    assert _StandIn.made[-1].most == 3


def test_layers_are_given_up_and_the_table_of_embeddings_stays(model: Reg2RG, vllm: ModuleType) -> None:
    model.language = without_adapters(model.language)
    table = text_embedding(model.language).weight.clone()
    VllmEngine(model.language)
    assert len(decoder_layers(model.language)) == 0
    assert torch.equal(text_embedding(model.language).weight, table)


def test_what_is_no_longer_wanted_is_not_written(model: Reg2RG, vllm: ModuleType) -> None:
    engine = VllmEngine(without_adapters(model.language))
    texts = engine.write_on(prompts(), rows=3, eos_id=-1, max_new_tokens=4)
    next(texts)
    texts.close()
    assert len(_StandIn.made[-1].aborted) == 2


def test_drawing_is_handed_on(model: Reg2RG, vllm: ModuleType) -> None:
    engine = VllmEngine(without_adapters(model.language))
    for sampling in (Sampling(0.5, 0.9), Sampling(0.7, 1.0, 7)):
        list(engine.write_on(prompts()[:2], rows=2, eos_id=EOS, max_new_tokens=4, sampling=sampling))
    asked = [(one.temperature, one.top_p, one.top_k, one.seed) for one in _StandIn.made[-1].asked]
    assert asked == [(0.5, 0.9, 0, 5), (0.5, 0.9, 0, 8), (0.7, 1.0, 7, 5), (0.7, 1.0, 7, 8)]


def test_the_stop_token_may_be_left_out_of_the_text() -> None:
    assert vllm_engine._ids(SimpleNamespace(token_ids=[7, 8], finish_reason="stop"), EOS) == [7, 8, EOS]
    assert vllm_engine._ids(SimpleNamespace(token_ids=[7, EOS], finish_reason="stop"), EOS) == [7, EOS]
    assert vllm_engine._ids(SimpleNamespace(token_ids=[7, 8], finish_reason="length"), EOS) == [7, 8]


def test_what_it_cannot_do_is_said(model: Reg2RG, vllm: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = VllmEngine(without_adapters(model.language))
    with pytest.raises(InputError, match="add --no-median-quantities"):
        list(engine.write_on(prompts(), rows=1, eos_id=EOS, max_new_tokens=4, quantities=Quantities([])))
    monkeypatch.setattr(_StandIn, "from_engine_args", lambda _: 1 / 0)
    with pytest.raises(InputError, match=r"vLLM cannot use this language model here \(.*zero\); leave --engine out"):
        VllmEngine(without_adapters(build_model(tiny()).language))


def test_a_dataset_is_written_by_it_as_by_torch(tmp_path: Path, vllm: ModuleType) -> None:
    write_dataset(tmp_path, count=2, seed=5, split="valid", workers=1)
    dataset, tables = open_dataset(tmp_path, "valid"), []
    likeliest = GenerationSettings(sample=False, median_quantities=False)
    for name in ("torch", "vllm"):
        reporter = Reporter.load("phantom", "cpu", engine=name)  # type: ignore[arg-type]
        record = generate_dataset(dataset, reporter, tmp_path / f"{name}.csv", likeliest, limit=2)
        assert record["settings"]["engine"] == name
        tables.append((tmp_path / f"{name}.csv").read_text())
    assert tables[0] == tables[1]
    assert main(["generate", str(tmp_path), "--out", str(tmp_path / "median.csv"), "--engine", "vllm"]) == 2
    assert not list(tmp_path.glob("median.csv*")), "nothing is begun"
