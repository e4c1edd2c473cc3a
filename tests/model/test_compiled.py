"""Compiled steps write what plain ones write, whoever is in the batch, however long it gets."""

from typing import Any

import pytest
import torch
from tiny_models import tiny_language, tiny_model
from transformers import LlamaForCausalLM, MistralConfig, MistralForCausalLM

from reg2rg.errors import InputError
from reg2rg.generate import GenerationSettings, Reporter
from reg2rg.model.compiled import CompiledEngine
from reg2rg.model.config import Sampling
from reg2rg.model.decode import Prompt, write_on
from reg2rg.model.language import without_adapters
from reg2rg.phantom.world import make_phantom

EOS = 3


@pytest.fixture(scope="module")
def language() -> LlamaForCausalLM:
    return tiny_language()


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    generator = torch.Generator().manual_seed(1)
    return [Prompt(torch.randn(length, 32, generator=generator), length) for length in (9, 4, 30, 7, 12, 2, 21)]


@pytest.fixture(scope="module")
def engine(language: LlamaForCausalLM) -> CompiledEngine:
    """With the graph that would be compiled run as it is: whole, or this would fail."""
    return CompiledEngine(language, backend="eager")


@pytest.mark.parametrize("sampling", [None, Sampling(temperature=2.0)], ids=["likeliest", "drawn"])
@pytest.mark.parametrize("rows", [1, 3, 20])
def test_the_same_as_plain_steps(
    language: Any, engine: CompiledEngine, prompts: list[Prompt], rows: int, sampling: Sampling | None
) -> None:
    settings: dict[str, Any] = {"rows": rows, "eos_id": EOS, "max_new_tokens": 40, "sampling": sampling}
    expected = list(write_on(language, prompts, **settings))
    assert len({len(ids) for _, ids in expected}) > 2, "rows leave at different times"
    assert list(engine.write_on(prompts, **settings)) == expected
    assert list(engine.write_on(prompts[::-1], **settings)) == list(write_on(language, prompts[::-1], **settings))


@pytest.mark.parametrize("rows", [4, 21])
def test_texts_of_one_prompt(language: Any, engine: CompiledEngine, prompts: list[Prompt], rows: int) -> None:
    drafts = [prompt._replace(seed=seed) for prompt in prompts for seed in (7, 8, 9)]
    settings: dict[str, Any] = {"rows": rows, "eos_id": EOS, "max_new_tokens": 40, "sampling": Sampling(0.5)}
    assert dict(engine.write_on(drafts, **settings)) == dict(write_on(language, drafts, **settings))


def test_longer_than_the_first_room(language: Any, engine: CompiledEngine, prompts: list[Prompt]) -> None:
    settings: dict[str, Any] = {"rows": 3, "eos_id": -1, "max_new_tokens": 300}
    expected = list(write_on(language, prompts[:4], **settings))
    assert list(engine.write_on(prompts[:4], **settings)) == expected


def test_nothing_is_compiled_twice(language: Any, prompts: list[Prompt]) -> None:
    graphs: list[int] = []

    def counted(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        graphs.append(len(inputs))
        return graph.forward

    engine = CompiledEngine(language, backend=counted)
    for _ in range(2):
        list(engine.write_on(prompts, rows=3, eos_id=EOS, max_new_tokens=40))
    assert len(graphs) == 1


def test_any_number_of_rows(language: Any, engine: CompiledEngine, prompts: list[Prompt]) -> None:
    for rows in range(4, 13):  # more graphs than torch makes of one function unless told that they are apart
        texts = engine.write_on(prompts[:1], rows=rows, eos_id=-1, max_new_tokens=2)
        assert len(list(texts)) == 1


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_texts_that_are_begun_beside_others_or_never_ended(language: Any, prompts: list[Prompt], backend: str) -> None:
    engine = CompiledEngine(language, backend=backend)
    settings: dict[str, Any] = {"rows": 3, "eos_id": EOS, "max_new_tokens": 20}
    expected = list(write_on(language, prompts, **settings))
    first = engine.write_on(prompts, **settings)
    begun = [next(first)]
    assert list(engine.write_on(prompts, **settings)) == expected
    assert begun + list(first) == expected
    left = engine.write_on(prompts, **settings)
    next(left)
    left.close()
    assert list(engine.write_on(prompts, **settings)) == expected


def test_a_model_of_sliding_windows_is_refused() -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    windows = MistralForCausalLM(MistralConfig(vocab_size=24, sliding_window=8, **sizes))
    with pytest.raises(InputError, match="sliding windows; leave --engine out"):
        CompiledEngine(windows)
    CompiledEngine(MistralForCausalLM(MistralConfig(vocab_size=24, sliding_window=None, **sizes)))


def test_no_prompts(engine: CompiledEngine) -> None:
    assert list(engine.write_on([], rows=4, eos_id=EOS, max_new_tokens=5)) == []


def test_with_adapters(prompts: list[Prompt]) -> None:
    model = tiny_model(with_lora=True)
    settings: dict[str, Any] = {"rows": 2, "eos_id": EOS, "max_new_tokens": 12}
    expected = list(model.generate(prompts, **settings))
    engine = CompiledEngine(without_adapters(model.language), backend="eager")
    assert list(engine.write_on(prompts, **settings)) == expected


def test_a_study_is_reported_as_by_torch() -> None:
    plain = Reporter.load("phantom", "cpu")
    writer = CompiledEngine(plain.model.language, backend="eager")
    compiled = Reporter(plain.model, plain.processor, plain.source, plain.device, writer=writer)
    assert compiled.engine == "compiled"
    study = make_phantom(5).study
    settings = GenerationSettings(drafts=2, max_new_tokens=30)
    expected, found = (reporter.report([study], settings)[0] for reporter in (plain, compiled))
    assert found.generated == expected.generated


def test_what_cannot_be_compiled_is_said(language: Any, prompts: list[Prompt]) -> None:
    def failing(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        raise RuntimeError("no compiler")

    engine = CompiledEngine(language, backend=failing)
    with pytest.raises(InputError, match=r"engine compiled: torch cannot compile .*no compiler.*; leave --engine out"):
        list(engine.write_on(prompts, rows=1, eos_id=EOS, max_new_tokens=4))
