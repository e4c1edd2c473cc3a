"""Both stages on four phantoms: what they leave behind, what they refuse, and that they go on where they stopped."""

import csv
import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import yaml

from reg2rg import generate
from reg2rg.errors import InputError
from reg2rg.generate import GenerationSettings, Reporter
from reg2rg.model.build import build_model, phantom, tiny
from reg2rg.model.config import LoRAConfig, Sampling, WritingConfig, load_config
from reg2rg.model.folder import read_tensor_file
from reg2rg.model.precision import multiplies_bf16
from reg2rg.model.reg2rg import Reg2RG
from reg2rg.models import WEIGHTS_FILE
from reg2rg.phantom.dataset import write_dataset
from reg2rg.processor import Processor
from reg2rg.train.config import TrainConfig, parse_config, shipped_configs
from reg2rg.train.report import ReportBatches, ReportStudy
from reg2rg.train.run import ENCODERS_FILE, train
from reg2rg.vocabulary import add_special_tokens, train_word_tokenizer


class FewTokens(GenerationSettings):
    """Two steps of training teach no text's end."""

    def __init__(self) -> None:
        super().__init__(max_new_tokens=20)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    write_dataset(root / "data", count=4, seed=1, split="train", workers=1)
    write_dataset(root / "data", count=2, seed=1, split="valid", workers=1)
    return root


def config(world: Path, stage: str, name: str) -> TrainConfig:
    return TrainConfig(
        stage=stage,  # type: ignore[arg-type]
        data=str(world / "data"),
        out=str(world / name),
        cache=str(world / "cache"),
        parts="language",
        steps=2,
        batch_size=2,
        learning_rate=1e-3,
        vocabulary=300,
        validate=0,
        bf16=False,
        workers=1,
    )


@pytest.fixture(scope="module")
def encoders(world: Path) -> Path:
    train(replace(config(world, "vision", "vision"), validate=2))
    return world / "vision" / ENCODERS_FILE


def test_vision_leaves_encoders_and_scores(world: Path, encoders: Path) -> None:
    assert {name.split(".")[0] for name in read_tensor_file(encoders)} == {"vision", "perceiver", "mask_encoder"}
    scores = json.loads((world / "vision" / "validation.json").read_text())
    assert scores["studies"] == 2
    assert 0 <= scores["naming_accuracy"] <= 1
    run = json.loads((world / "vision" / "run.json").read_text())
    assert run["settings"]["seed"] == 0
    assert (world / "vision" / "losses.csv").is_file()


def test_vision_goes_on_from_a_models_encoders(world: Path, tmp_path: Path) -> None:
    build_model(phantom(8)).half().save_pretrained(tmp_path)
    start = tmp_path / WEIGHTS_FILE
    train(replace(config(world, "vision", "again"), encoders=str(start), steps=1, learning_rate=1e-9, warmup_steps=0))
    known, after = read_tensor_file(start), read_tensor_file(world / "again" / ENCODERS_FILE)
    for name, value in after.items():
        torch.testing.assert_close(value, known[name].to(value.dtype), msg=name)


def test_the_first_studies_teach_what_a_dataset_of_these_alone_does(
    world: Path, encoders: Path, tmp_path: Path
) -> None:
    write_dataset(tmp_path / "data", count=2, seed=1, split="train", workers=1)
    for stage, left in (("vision", ENCODERS_FILE), ("report", f"model/{WEIGHTS_FILE}")):
        few = replace(
            config(world, stage, f"few-{stage}"), encoders=str(encoders), steps=1, learning_rate=1.0, warmup_steps=0
        )
        train(replace(few, studies=2))
        train(replace(few, data=str(tmp_path / "data"), out=str(tmp_path / stage), cache=str(tmp_path / "cache")))
        expected, found = (read_tensor_file(out / left) for out in (tmp_path / stage, world / f"few-{stage}"))
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, msg=name)
        with pytest.raises(InputError, match=r"at most the 4 of .*train split, got 5"):
            train(replace(few, out=str(tmp_path / "many"), studies=5))
        assert not (tmp_path / "many").exists()


def test_the_commands_of_the_ablations_are_accepted() -> None:
    text = (Path(__file__).parents[2] / "benchmarks" / "ablations.py").read_text()
    run = text.partition('RUN="reg2rg train ')[2].partition('"')[0].replace("\\", " ")
    settings = parse_config(shlex.split(run))
    assert (settings.studies, settings.steps, settings.reword) == (4000, 800, False)
    assert settings.writing == WritingConfig()


def test_report_stage_starts_from_the_encoders(world: Path, encoders: Path) -> None:
    train(replace(config(world, "report", "report"), encoders=str(encoders)))
    reporter = Reporter.load(str(world / "report" / "model"), "cpu")
    assert reporter.model.config.trained_on == "phantom"
    assert "phantoms only" in reporter.source.notice
    weights = dict(reporter.model.named_parameters())
    for name, value in read_tensor_file(encoders).items():
        torch.testing.assert_close(weights[name].detach(), value, msg=name)
    with pytest.raises(InputError, match="finished"):
        train(replace(config(world, "report", "report"), encoders=str(encoders)))
    with pytest.raises(InputError, match="other settings"):
        train(replace(config(world, "report", "report"), encoders=str(encoders), seed=5))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_resumed_run_ends_as_an_uninterrupted_one(
    world: Path, encoders: Path, monkeypatch: pytest.MonkeyPatch, optimizer: Literal["adamw", "muon"]
) -> None:
    whole = replace(
        config(world, "report", f"whole-{optimizer}"),
        encoders=str(encoders),
        steps=4,
        save_every=2,
        fewest_regions=2,
        optimizer=optimizer,
        plan_weight=0.5 if optimizer == "muon" else 0.0,
        finding_weight=2.0 if optimizer == "muon" else 1.0,
    )
    train(whole)
    calls = iter(range(100))
    make_batch = ReportBatches.__call__

    def stop_before_step_four(batches: ReportBatches, studies: list[ReportStudy]) -> dict[str, Any]:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return make_batch(batches, studies)

    halves = replace(whole, out=str(world / f"halves-{optimizer}"))
    with monkeypatch.context() as patch:
        patch.setattr(ReportBatches, "__call__", stop_before_step_four)
        with pytest.raises(KeyboardInterrupt):
            train(halves)
    assert (Path(halves.out) / "checkpoints" / "checkpoint-2").is_dir()
    assert not (Path(halves.out) / "run.json").exists()
    train(halves)
    ends = [read_tensor_file(Path(run.out) / "model" / "model.safetensors") for run in (whole, halves)]
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, msg=name)


def test_the_loss_of_held_out_studies_is_drawn_too(
    world: Path, encoders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "GenerationSettings", FewTokens)
    train(replace(config(world, "report", "held_out"), encoders=str(encoders), validate=2, save_every=1, bf16=True))
    with (world / "held_out" / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2"]
    assert all(float(row["held_out_loss"]) > 0 for row in rows)
    scores = json.loads((world / "held_out" / "validation.json").read_text())
    assert scores["studies"] == 2 and "micro" in scores["findings"]


def test_a_model_saved_in_float16_is_trained_in_float32(world: Path, untrained: Path, tmp_path: Path) -> None:
    start = tmp_path / "start"
    shutil.copytree(untrained, start)
    Reg2RG.from_pretrained(untrained).half().save_pretrained(start)
    train(replace(config(world, "report", "half"), start=str(start), learning_rate=1e-5, bf16=None))
    before, after = (read_tensor_file(folder / WEIGHTS_FILE) for folder in (start, world / "half" / "model"))
    weight = "project_crops.weight"
    change = (after[weight] - before[weight].float()).abs()
    assert after[weight].dtype == torch.float32 and 0 < change.max() < 1e-4
    settings = yaml.safe_load((world / "half" / "config.yaml").read_text())
    assert settings["bf16"] == multiplies_bf16(torch.device("cpu")), "what was meant by null is written down"


def test_the_published_parts_learn_from_kept_patches_as_from_voxels(world: Path, tmp_path: Path) -> None:
    tokenizer = train_word_tokenizer(["The region 0 is lung: Clear."], 300)
    architecture = replace(tiny(len(tokenizer)).language, lora=LoRAConfig(2, 4, 0.0, ("q_proj",)))
    sizes = replace(tiny(len(tokenizer)), language=architecture)
    add_special_tokens(tokenizer, sizes.tokens)
    torch.manual_seed(0)
    build_model(sizes).save_pretrained(tmp_path / "start")
    Processor(sizes, tokenizer).save_pretrained(tmp_path / "start")
    start = read_tensor_file(tmp_path / "start" / "model.safetensors")
    ends = {}
    for name, dropout in (("kept", False), ("anew", True)):  # the tiny encoder has no dropout
        settings = replace(config(world, "report", name), start=str(tmp_path / "start"), parts="published")
        train(replace(settings, out=str(tmp_path / name), encoder_dropout=dropout))
        ends[name] = read_tensor_file(tmp_path / name / "model" / "model.safetensors")
    for name, value in ends["anew"].items():
        torch.testing.assert_close(ends["kept"][name], value, atol=1e-3, rtol=1e-2, msg=name)
        is_trained = name.split(".")[0] in ("perceiver", "mask_encoder", "project_crops") or "lora_" in name
        if "lora_A" not in name and name.startswith(("vision", "perceiver.latents", "project_crops", "language")):
            assert torch.equal(value, start[name]) != is_trained, name


def test_the_control_sees_nothing(world: Path, encoders: Path) -> None:
    train(replace(config(world, "report", "control"), encoders=str(encoders), inputs="none"))
    model = Reporter.load(str(world / "control" / "model"), "cpu").model
    size = model.config.crop_size_xyz
    features = model.encode(torch.randn(1, *size), torch.randn(2, *size), torch.rand(2, *size), [2])
    for tokens in (features.image_tokens, features.texture_tokens, features.mask_tokens):
        assert np.count_nonzero(tokens.detach().numpy()) == 0


def test_refusals(world: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        train(replace(config(world, "report", "x"), data=str(tmp_path / "absent"), out=str(tmp_path / "run")))
    with pytest.raises(InputError, match="lesions"):
        train(replace(config(world, "vision", "x"), data=str(tmp_path), out=str(tmp_path / "run2")))
    dataset = world / "data" / "dataset"
    volume = min(dataset.glob("train_preprocessed/**/*.nii.gz"))
    masks = dataset / "train_region_mask" / f"seg_{volume.name.removesuffix('.nii.gz')}"
    table = tmp_path / "own.csv"
    table.write_text(f"study,volume,masks,region,text\na,{volume},{masks},lung,Clear.\n")
    for name, value, usual in (("plan_weight", 0.5, "0"), ("finding_weight", 0.5, "1"), ("reword", True, "false")):
        with pytest.raises(InputError, match=f"{name}: reads .*set it to {usual}$"):
            train(replace(config(world, "report", "own"), data=str(table), **{name: value}))
    assert not (world / "own").exists(), "free for the settings that are right"
    with pytest.raises(InputError, match="LoRA"):
        train(replace(config(world, "report", "lora"), parts="published"))
    for name, value in (("steps", 0), ("learning_rate", 0.0), ("finding_weight", 0.0), ("warmup_steps", -1)):
        with pytest.raises(InputError, match=name):
            replace(config(world, "vision", "x"), **{name: value})


def test_shipped_configurations_are_read(tmp_path: Path) -> None:
    for name in shipped_configs():
        assert name.endswith(parse_config(["--config", name]).stage)
    with pytest.raises(InputError, match="--config"):
        parse_config(["--config", "absent"])
    with pytest.raises(InputError, match="bogus"):
        parse_config(["--config", "phantom-vision", "--bogus", "1"])
    for name, value, problem in (
        ("regions_per_prompt", "0", "regions_per_prompt: expected at least 1, got 0"),
        ("sampling.temperature", "0", "temperature: expected a positive number, got 0.0"),
        ("sampling.temperature", "hot", "'reg2rg.model.config.Sampling': Parser key .*float.* Got value: hot"),
    ):
        with pytest.raises(InputError, match=problem) as caught:
            parse_config(["--config", "phantom-report", f"--writing.{name}", value])
        assert "\n" not in str(caught.value)


def test_how_the_model_will_write_is_a_setting(world: Path, encoders: Path) -> None:
    writing = WritingConfig(regions_per_prompt=1, sampling=Sampling(temperature=0.5), median_quantities=True)
    train(replace(config(world, "report", "writing"), encoders=str(encoders), steps=1, writing=writing))
    assert load_config(world / "writing" / "model" / "config.json").writing == writing
    options = [
        "--writing.regions_per_prompt=1",
        "--writing.sampling.temperature=0.5",
        "--writing.median_quantities=true",
    ]
    assert parse_config(["--config", "phantom-vision", *options]).writing == writing
