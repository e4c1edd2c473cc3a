"""The settings of a training run: one frozen record, which is also the YAML file and the command line."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentError, ArgumentParser

from reg2rg.errors import InputError
from reg2rg.model.config import INPUTS, WritingConfig


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training run.

    Attributes:
        stage: vision (encoders learn region, abnormalities and lesions from crops) or report (the language model
            learns to name regions and to report on them).
        data: the dataset, a folder that holds dataset/ or a manifest CSV.
        studies: the first so many of the train split; null for all.
        out: folder of the run; an unfinished run there is resumed.
        start: what to start from: sizes by name (phantom), or a folder of ours.
        encoders: the file that stage vision left, or a model's weights, whose encoders the run starts from; empty for
            fresh ones.
        vocabulary: largest vocabulary made of the region texts, for the report stage of fresh sizes.
        parts: what the report stage trains. published: LoRA, perceiver, mask encoder, projections, bracket tokens;
            language: language model, projections and bracket tokens, with frozen encoders whose output is kept;
            all: everything.
        encoder_dropout: compute the frozen encoders' output anew in each step, with their dropout on, as the authors'
            code does by accident. Otherwise it is computed once, without dropout, and kept in the cache.
        steps: optimizer steps.
        batch_size: studies per step.
        accumulate: batches whose gradients are added up before a step.
        learning_rate: after the warm-up.
        warmup_steps: steps of linear warm-up.
        schedule: what the learning rate does afterwards.
        optimizer: adamw, as published, or muon: Muon for the layers' matrices and AdamW for the rest, which learns
            more in few steps from scratch.
        weight_decay: of the optimizer.
        beta2: of AdamW: how long it remembers the gradients' size. A short run from scratch should forget its first,
            large ones (.95), or what is learnt late is learnt slowly.
        shuffle_regions: region-report alignment; regions in random order in every prompt. Off: always as listed.
        fewest_regions: half of the batches ask for all regions, the others for a random number from this on; 10 for
            all, as published.
        mix_regions: share of the report stage's batches in which each region comes from any study of the batch, with
            its text, so that a region's text does not hang on what is seen elsewhere; 0, as published, for none.
        reword: write each study's texts anew whenever they are read: the same findings in other words, so that no
            wording is learnt by heart. Texts of phantoms only; off as published.
        plan_weight: of a second loss of the report stage, which asks each token of a region's text what is still to be
            said, and what the next sentence says. Texts of phantoms only; 0, as published, for none.
        finding_weight: in the report stage's loss, of the words of sentences that state a finding, against 1 of all
            others. At 2 what is half as likely as silence is stated. Texts of phantoms only; 1, as published.
        inputs: what the report stage's model is shown; the tokens of anything else are zero. none is the control that
            sees no image.
        writing: how the finished model writes unless it is asked for another way; by default as published.
        max_length: longest prompt and answer in tokens.
        bf16: matrix products in bfloat16; null where the machine has units for it (GPUs from Ampere on, CPUs with
            AMX), since others take longer so than in float32. Tokens that are kept are as in float32 either way.
        half: the finished model's weights are saved in float16, half the size.
        seed: of weights, order and dropout.
        save_every: steps between checkpoints.
        validate: studies of the valid split that are scored at the end.
        cache: folder for crops and features; empty for OUT/cache.
        workers: processes that compute crops.
    """

    stage: Literal["vision", "report"]
    data: str
    out: str
    studies: int | None = None
    start: str = "phantom"
    encoders: str = ""
    vocabulary: int = 1000
    parts: Literal["published", "language", "all"] = "published"
    encoder_dropout: bool = False
    steps: int = 1000
    batch_size: int = 16
    accumulate: int = 1
    learning_rate: float = 5e-5
    warmup_steps: int = 20
    schedule: Literal["constant", "cosine"] = "constant"
    optimizer: Literal["adamw", "muon"] = "adamw"
    weight_decay: float = 0.0
    beta2: float = 0.999
    shuffle_regions: bool = True
    fewest_regions: int = 10
    mix_regions: float = 0.0
    reword: bool = False
    plan_weight: float = 0.0
    finding_weight: float = 1.0
    inputs: Literal["all", "none", "global", "texture", "geometry", "texture+geometry"] = "all"
    writing: WritingConfig = field(default_factory=WritingConfig)
    max_length: int = 2048
    bf16: bool | None = None
    half: bool = False
    seed: int = 0
    save_every: int = 200
    validate: int = 200
    cache: str = ""
    workers: int = 2

    @property
    def input_names(self) -> tuple[str, ...]:
        """Those of `reg2rg.model.config.INPUTS` that `inputs` stands for."""
        groups: dict[str, tuple[str, ...]] = {"all": INPUTS, "none": ()}
        return groups[self.inputs] if self.inputs in groups else tuple(self.inputs.split("+"))

    def __post_init__(self) -> None:
        for name in ("studies", "steps", "batch_size", "accumulate", "save_every", "max_length", "fewest_regions"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name}: expected at least 1, got {value}")
        for name in ("warmup_steps", "weight_decay", "plan_weight", "validate", "workers"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}: expected 0 or more, got {getattr(self, name)}")
        if not 0 <= self.mix_regions <= 1:
            raise InputError(f"mix_regions: expected a share from 0 to 1, got {self.mix_regions}")
        for name in ("learning_rate", "finding_weight"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name}: expected a positive number, got {getattr(self, name)}")


_OPTION = re.compile(r"^--[\w.-]+")


def parse_config(arguments: Sequence[str]) -> TrainConfig:
    """The settings as the command line gives them: ``--config``, a YAML file or a shipped one's name, and overrides.

    Options may have ``-`` for ``_``, as those of the other verbs have.

    Raises:
        InputError: if the file is missing, or a setting is unknown, missing or of the wrong kind.

    >>> parse_config(["--config", "phantom-vision", "--save-every", "5", "--seed=3"]).save_every
    5
    """
    given = [_OPTION.sub(lambda option: "--" + option[0][2:].replace("-", "_"), argument) for argument in arguments]
    for place, argument in enumerate(given[:-1]):
        if argument == "--config":
            given[place + 1] = str(_config_file(given[place + 1]))
    try:
        parser = config_parser()
        values = parser.instantiate_classes(parser.parse_args(given))
    except InputError:
        raise
    except (ArgumentError, TypeError, ValueError) as error:
        raise InputError(f"{_first_reason(str(error))}; see reg2rg train --help") from error
    return TrainConfig(**{name: value for name, value in vars(values).items() if name != "config"})


def _first_reason(message: str) -> str:
    """In one line: the first of jsonargparse's list of reasons, or all there is."""
    reason = re.search(r"^ *- (.*?)(?=^ *- |^ *Given|\Z)", message, re.MULTILINE | re.DOTALL)
    return " ".join((reason[1] if reason else message).split())


def config_parser() -> ArgumentParser:
    """The parser of all settings."""
    parser = ArgumentParser(
        prog="reg2rg train",
        exit_on_error=False,
        allow_abbrev=False,
        description="Trains one stage; run again with the same settings, it goes on from its last checkpoint.",
    )
    parser.add_argument("--config", action="config", help="a YAML file, or the name of a shipped configuration")
    parser.add_class_arguments(TrainConfig)
    return parser


def shipped_configs() -> dict[str, Path]:
    """The configurations that come with the package, by name.

    >>> sorted(shipped_configs())
    ['phantom-report', 'phantom-vision']
    """
    folder = Path(str(files("reg2rg"))) / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def _config_file(name: str) -> Path:
    shipped = shipped_configs()
    path = shipped.get(name, Path(name))
    if not path.is_file():
        raise InputError(f"--config: expected a YAML file or one of {', '.join(shipped)}, found no {name!r}")
    return path
