"""Which engine writes, and which cannot."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_model

from reg2rg.data.dataset import open_dataset
from reg2rg.errors import InputError
from reg2rg.generate import GenerationSettings, Reporter, generate_dataset
from reg2rg.model import engine
from reg2rg.model.compiled import CompiledEngine
from reg2rg.model.engine import check_engine, start_engine
from reg2rg.models import ENGINES
from reg2rg.phantom.dataset import write_dataset


def test_where_vllm_is_not_installed_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="engine vllm needs vLLM"):
        Reporter.load("phantom", "cpu", engine="vllm")


def test_there_are_no_others() -> None:
    with pytest.raises(InputError, match="engine: expected one of torch, compiled, vllm, got 'tgi'"):
        check_engine("tgi", "saved")


@pytest.mark.parametrize("name", [name for name in ENGINES if name != "torch"])
def test_weights_are_held_as_saved(name: str) -> None:
    with pytest.raises(InputError, match=f"engine {name} holds weights as saved"):
        Reporter.load("phantom", "cpu", precision="4bit", engine=name)  # type: ignore[arg-type]


def test_torch_needs_nothing_in_its_place() -> None:
    model = tiny_model(with_lora=True)
    language = model.language
    assert start_engine("torch", model) is None
    assert model.language is language


def test_adapters_are_added_for_others() -> None:
    model = tiny_model(with_lora=True)
    writer = start_engine("compiled", model)
    assert isinstance(writer, CompiledEngine) and writer.engine == "compiled"
    assert not any("lora" in name for name, _ in model.named_parameters())


def test_a_dataset_is_written_by_compiled_steps_as_by_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiling = torch.compile

    def traced(step: Any, **how: Any) -> Any:  # the graph is made, and run as it is
        return compiling(step, **{**how, "backend": "eager", "mode": None})

    monkeypatch.setattr(torch, "compile", traced)
    write_dataset(tmp_path, count=2, seed=5, split="valid", workers=1)
    dataset, tables = open_dataset(tmp_path, "valid"), []
    for name in ("torch", "compiled"):
        reporter = Reporter.load("phantom", "cpu", engine=name)  # type: ignore[arg-type]
        settings = GenerationSettings(drafts=2, max_new_tokens=40)
        record = generate_dataset(dataset, reporter, tmp_path / f"{name}.csv", settings, limit=2)
        assert record["settings"]["engine"] == name
        tables.append((tmp_path / f"{name}.csv").read_text())
    assert tables[0] == tables[1]
