"""The authors' checkpoint and RadFM's files, made up at tiny sizes from a model of ours."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from reg2rg.errors import InputError
from reg2rg.model.build import build_model, published, tiny
from reg2rg.model.checkpoint import (
    authors_names,
    convert_checkpoint,
    convert_radfm,
    from_authors,
    load_radfm,
    our_name,
    read_pickle,
    to_authors,
)
from reg2rg.model.config import LanguageConfig, LoRAConfig, Reg2RGConfig
from reg2rg.model.language import build_language_model
from reg2rg.model.reg2rg import Reg2RG, unique_tensors

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
LAYERS = "lang_model.base_model.model.model.layers"


def sizes() -> Reg2RGConfig:
    """Tiny, but named as the published model: LoRA on q and v, text embeddings not tied to the output."""
    config = tiny()
    architecture = {**config.language.architecture, "tie_word_embeddings": False}
    lora = LoRAConfig(rank=2, alpha=4, dropout=0.1, targets=("q_proj", "v_proj"))
    return dataclasses.replace(config, language=LanguageConfig(architecture, lora))


@pytest.fixture(scope="module")
def model() -> Reg2RG:
    torch.manual_seed(0)
    return build_model(sizes()).eval()


@pytest.fixture
def authors(model: Reg2RG) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in to_authors(unique_tensors(model)).items()}


@pytest.fixture
def llm(tmp_path: Path) -> Path:
    """A language model's folder without weights, as far as the converter looks at it."""
    folder = tmp_path / "llm"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(sizes().language.architecture | {"torch_dtype": "float16"}))
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        (folder / name).write_text(json.dumps({"file": name}))
    return folder


def convert(tensors: Any, llm: Path, tmp_path: Path, **settings: Any) -> Reg2RG:
    torch.save(tensors, tmp_path / "pytorch_model.bin", **settings)
    convert_checkpoint(tmp_path / "pytorch_model.bin", llm, tmp_path / "out", sizes())
    return Reg2RG.from_pretrained(tmp_path / "out")


def assert_same_weights(model: Reg2RG, other: Reg2RG) -> None:
    own, others = unique_tensors(model), unique_tensors(other)
    assert own.keys() == others.keys()
    assert all(torch.equal(own[name], others[name]) for name in own)


class TestNames:
    def test_all_published_names_and_shapes(self) -> None:
        with torch.device("meta"):
            tensors = unique_tensors(build_model(published()))
        shapes = {name: list(tensor.shape) for name, tensor in to_authors(tensors).items()}
        assert shapes == json.loads((GOLDEN / "manifest_full.json").read_text())
        assert len(shapes) == 678

    def test_there_and_back(self, model: Reg2RG) -> None:
        for name in unique_tensors(model):
            names = authors_names(name)
            assert len(names) == (2 if "embed_tokens" in name else 1)
            assert {our_name(theirs) for theirs in names} == {name}

    def test_strangers_have_no_name(self) -> None:
        assert our_name("optimizer.step") is None
        assert our_name("embedding_layer.fc") is None
        assert authors_names("optimizer.step") == ()

    def test_tensors_there_and_back(self, model: Reg2RG) -> None:
        own = unique_tensors(model)
        back = from_authors(to_authors(own), own, Path("memory"))
        assert back.keys() == own.keys()
        assert all(back[name] is own[name] for name in own)


class TestConvert:
    def test_as_current_peft_writes_it(self, model: Reg2RG, authors, llm: Path, tmp_path: Path) -> None:
        converted = convert(authors, llm, tmp_path)
        assert_same_weights(converted, model)
        assert converted.config.language.lora == sizes().language.lora

    def test_with_rotary_frequencies(self, model: Reg2RG, authors, llm: Path, tmp_path: Path) -> None:
        rotary = {f"{LAYERS}.{i}.self_attn.rotary_emb.inv_freq": torch.ones(8) for i in range(2)}
        assert_same_weights(convert(authors | rotary, llm, tmp_path), model)

    def test_as_peft_before_0_7_wrote_it(self, model: Reg2RG, authors, llm: Path, tmp_path: Path) -> None:
        old = {name.replace(".base_layer.", "."): tensor for name, tensor in authors.items()}
        assert f"{LAYERS}.0.self_attn.q_proj.weight" in old
        assert_same_weights(convert(old, llm, tmp_path), model)

    def test_in_the_older_file_format(self, model: Reg2RG, authors, llm: Path, tmp_path: Path) -> None:
        assert_same_weights(convert(authors, llm, tmp_path, _use_new_zipfile_serialization=False), model)

    def test_dtypes_stay(self, authors, llm: Path, tmp_path: Path) -> None:
        mixed = {name: tensor.half() if name.startswith("lang") else tensor for name, tensor in authors.items()}
        mixed["embedding_layer.weight"] = mixed["embedding_layer.weight"].half()
        converted = convert(mixed, llm, tmp_path)
        for name, parameter in converted.named_parameters():
            assert parameter.dtype == (torch.float16 if name.startswith("language.") else torch.float32), name

    def test_a_folder_that_holds_it(self, model: Reg2RG, authors, llm: Path, tmp_path: Path) -> None:
        torch.save(authors, tmp_path / "pytorch_model.bin")
        convert_checkpoint(tmp_path, llm, tmp_path / "out", sizes())
        assert_same_weights(Reg2RG.from_pretrained(tmp_path / "out"), model)

    def test_the_folder_is_complete(self, authors, llm: Path, tmp_path: Path) -> None:
        convert(authors, llm, tmp_path)
        tokenizer = {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}
        assert {path.name for path in (tmp_path / "out").iterdir()} == {"config.json", "model.safetensors", *tokenizer}
        for name in tokenizer:
            assert (tmp_path / "out" / name).read_bytes() == (llm / name).read_bytes()

    def test_published_sizes_unless_told_otherwise(self, authors, llm: Path, tmp_path: Path) -> None:
        torch.save(authors, tmp_path / "pytorch_model.bin")
        with pytest.raises(InputError, match="text_vocabulary_size: 32000 ids are too many"):
            convert_checkpoint(tmp_path, llm, tmp_path / "out")

    @pytest.mark.parametrize(
        ("mistake", "message"),
        [
            (lambda t: t.pop("embedding_layer.fc.bias"), r"tensors missing \(1\): embedding_layer\.fc\.bias"),
            (lambda t: t.update(extra=torch.ones(1)), r"tensors left over \(1\): extra"),
            (
                lambda t: t.update({"embedding_layer.fc.bias": torch.ones(3)}),
                r"1 tensors have another shape than the configuration: embedding_layer\.fc\.bias is \(3,\)",
            ),
            (
                lambda t: t.update({"embedding_layer.fc.bias": 3}),
                "expected tensors only, but embedding_layer.fc.bias is a int",
            ),
            (
                lambda t: t.update({"embedding_layer.weight": t["embedding_layer.weight"] + 1}),
                "should be a copy of the text embeddings",
            ),
            (
                lambda t: [t.pop(name) for name in list(t) if name.startswith("embedding_layer.perceiver")],
                r"tensors missing \(25\): .*, \.\.\.",
            ),
            (lambda t: t.update({7: torch.ones(1)}), "expected tensors by name"),
        ],
    )
    def test_what_does_not_fit_is_named_and_nothing_written(
        self, mistake: Callable[[dict], Any], message: str, authors, llm: Path, tmp_path: Path
    ) -> None:
        mistake(authors)
        with pytest.raises(InputError, match=message) as caught:
            convert(authors, llm, tmp_path)
        assert str(tmp_path / "pytorch_model.bin") in str(caught.value) and "\n" not in str(caught.value)
        assert {path.name for path in tmp_path.iterdir()} == {"llm", "pytorch_model.bin"}

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (
                lambda llm: (llm / "config.json").unlink(),
                r"config\.json: expected a language model's configuration, cannot read",
            ),
            (lambda llm: (llm / "config.json").write_text("{"), r"config\.json: .*found no JSON"),
            (lambda llm: (llm / "config.json").write_text("[]"), r"config\.json: .*found a list"),
            (lambda llm: (llm / "config.json").write_text("{}"), r"config\.json: .*found no model_type"),
            (lambda llm: (llm / "tokenizer.json").unlink(), r"tokenizer\.model or tokenizer\.json, found neither"),
        ],
    )
    def test_a_language_models_folder_that_will_not_do(
        self, damage: Callable[[Path], Any], message: str, authors, llm: Path, tmp_path: Path
    ) -> None:
        damage(llm)
        with pytest.raises(InputError, match=message):
            convert(authors, llm, tmp_path)
        assert not (tmp_path / "out").exists()

    def test_an_output_that_holds_something(self, authors, llm: Path, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine.txt").write_text("mine")
        with pytest.raises(InputError, match="--force"):
            convert(authors, llm, tmp_path)
        torch.save(authors, tmp_path / "pytorch_model.bin")
        with pytest.raises(InputError, match=r"mine\.txt"):
            convert_checkpoint(tmp_path, llm, tmp_path / "out", sizes(), force=True)
        (tmp_path / "out" / "mine.txt").unlink()
        convert_checkpoint(tmp_path, llm, tmp_path / "out", sizes(), force=True)
        convert_checkpoint(tmp_path, llm, tmp_path / "out", sizes(), force=True)


class Touch:
    """Unpickled as it asks, this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


class TestPickles:
    @pytest.mark.parametrize("zipped", [True, False])
    def test_code_in_a_checkpoint_is_not_run(self, zipped: bool, llm: Path, tmp_path: Path) -> None:
        trap = tmp_path / "trap"
        with pytest.raises(InputError, match="something that could run code; not read") as caught:
            convert({"weights": Touch(trap)}, llm, tmp_path, _use_new_zipfile_serialization=zipped)
        assert not trap.exists() and "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "content",
        [lambda whole: whole[: len(whole) // 2], lambda whole: b"", lambda whole: b"not a checkpoint"],
        ids=["half", "empty", "text"],
    )
    def test_a_broken_file(self, content: Callable[[bytes], bytes], tmp_path: Path) -> None:
        path = tmp_path / "pytorch_model.bin"
        torch.save({"weights": torch.ones(1000)}, path)
        path.write_bytes(content(path.read_bytes()))
        with pytest.raises(InputError, match=r"pytorch_model\.bin: expected a checkpoint") as caught:
            read_pickle(path)
        assert "\n" not in str(caught.value)

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such file"):
            read_pickle(tmp_path / "pytorch_model.bin")

    def test_something_else_in_it(self, tmp_path: Path) -> None:
        torch.save(torch.ones(3), tmp_path / "pytorch_model.bin")
        with pytest.raises(InputError, match="found a Tensor"):
            read_pickle(tmp_path / "pytorch_model.bin")


class TestRadFM:
    @pytest.fixture
    def files(self, authors: dict[str, Tensor], tmp_path: Path) -> tuple[Path, Path]:
        """RadFM's two files; its projection is wider than ours."""

        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): t for name, t in authors.items() if name.startswith(prefix)}

        vit3d, perceiver = tmp_path / "RadFM_vit3d.pth", tmp_path / "RadFM_perceiver_fc.pth"
        torch.save(part("embedding_layer.vision_encoder."), vit3d)
        fc = {"weight": torch.zeros(50, 24), "bias": torch.zeros(50)}
        torch.save({"perceiver": part("embedding_layer.perceiver."), "fc": fc}, perceiver)
        return vit3d, perceiver

    def test_vision_and_perceiver_and_nothing_else(self, model: Reg2RG, files: tuple[Path, Path]) -> None:
        torch.manual_seed(1)
        fresh = build_model(sizes())
        before = {name: tensor.detach().clone() for name, tensor in unique_tensors(fresh).items()}
        load_radfm(fresh, *files)
        source = unique_tensors(model)
        for name, tensor in unique_tensors(fresh).items():
            from_radfm = name.startswith(("vision.", "perceiver."))
            assert torch.equal(tensor, source[name] if from_radfm else before[name]), name

    def test_a_folder_to_begin_training_with(self, model: Reg2RG, files, llm: Path, tmp_path: Path) -> None:
        language: Any = build_language_model(LanguageConfig(sizes().language.architecture, None))
        language.half().save_pretrained(llm)
        convert_radfm(*files, llm, tmp_path / "out", sizes())
        start = Reg2RG.from_pretrained(tmp_path / "out")
        assert torch.equal(start.perceiver.latents, model.perceiver.latents)
        layer = start.language.base_model.model.model.layers[1].self_attn.q_proj
        assert torch.equal(layer.base_layer.weight, language.model.layers[1].self_attn.q_proj.weight)
        assert layer.lora_B["default"].weight.abs().max() == 0 < layer.lora_A["default"].weight.abs().max()
        assert (tmp_path / "out" / "tokenizer.json").exists()

    def test_files_that_do_not_fit(self, model: Reg2RG, files: tuple[Path, Path], tmp_path: Path) -> None:
        vit3d, perceiver = files
        with pytest.raises(InputError, match="RadFM_perceiver_fc"):
            load_radfm(model, perceiver, perceiver)
        with pytest.raises(InputError, match="under the key 'perceiver'"):
            load_radfm(model, vit3d, vit3d)

    def test_a_language_model_without_weights(self, files: tuple[Path, Path], llm: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="expected a language model with its weights as safetensors") as caught:
            convert_radfm(*files, llm, tmp_path / "out", sizes())
        assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


MEASURE = """
import sys
from pathlib import Path
import torch
from reg2rg.model.build import build_model
from reg2rg.model.checkpoint import convert_checkpoint
from reg2rg.model.config import load_config

def memory(kind):
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith(kind))

checkpoint, llm, out, sizes = map(Path, sys.argv[1:])
with torch.device("meta"):
    build_model(load_config(sizes))
own = memory("VmRSS")
convert_checkpoint(checkpoint, llm, out, load_config(sizes))
print((memory("VmHWM") - own) / checkpoint.stat().st_size)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads a process's peak memory from /proc")
def test_peak_memory_stays_near_the_files_size(llm: Path, tmp_path: Path) -> None:
    """A file of 300 MB, two thirds of it in two tensors; the peak is counted above what the process itself takes."""
    config = sizes()
    wide = {**config.language.architecture, "vocab_size": 32000, "hidden_size": 1024, "intermediate_size": 4096}
    config = dataclasses.replace(config, language=LanguageConfig(wide, config.language.lora))
    (llm / "config.json").write_text(json.dumps(wide))
    (tmp_path / "sizes.json").write_text(json.dumps(config.to_dict()))
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in unique_tensors(build_model(config)).items()}
    tensors = to_authors({name: torch.zeros(shape) for name, shape in shapes.items()})
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    assert (tmp_path / "pytorch_model.bin").stat().st_size > 280e6
    arguments = ["pytorch_model.bin", "llm", "out", "sizes.json"]
    command = [sys.executable, "-c", MEASURE, *(str(tmp_path / name) for name in arguments)]
    ratio = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert 0 < ratio < 1.3
