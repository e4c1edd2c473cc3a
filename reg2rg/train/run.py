"""One training run, top to bottom: data, model, Hugging Face Trainer, curve, validation, a folder of ours."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from tqdm import tqdm
from transformers import Trainer, TrainingArguments, set_seed
from transformers.trainer_utils import get_last_checkpoint

from reg2rg.data.crops import CropStore
from reg2rg.data.dataset import Dataset, open_dataset
from reg2rg.data.encoded import ENCODERS, TokenStore, encoder_tensors
from reg2rg.data.store import StudyStore
from reg2rg.errors import InputError
from reg2rg.files import check_free, write_json
from reg2rg.model import folder as model_folder
from reg2rg.model.build import build_model, phantom
from reg2rg.model.config import Reg2RGConfig
from reg2rg.model.precision import leave_half_precision, multiplies_bf16
from reg2rg.model.reg2rg import Reg2RG, freeze_as_published
from reg2rg.models import find_model
from reg2rg.phantom.truth import is_phantom_dataset
from reg2rg.processor import Processor
from reg2rg.prompt import INSTRUCTION, build_target
from reg2rg.results.run_record import run_record
from reg2rg.train import report, vision
from reg2rg.train.config import TrainConfig
from reg2rg.train.curves import write_curves
from reg2rg.train.optimizer import MuonWithAdamW
from reg2rg.train.targets import TargetStore
from reg2rg.vocabulary import add_special_tokens, train_word_tokenizer

ENCODERS_FILE = "encoders.safetensors"
_CONFIG_FILE = "config.yaml"
_FRAME = "The global information is provided as the context: . The region 0 is ."  # of the prompt, for the vocabulary
_HELD_OUT = 64  # studies whose loss is drawn beside the training's
_SIZES_ONLY = 8  # text vocabulary of a model whose language part is not used


def train(config: TrainConfig) -> None:
    """Runs one stage; run again with the same settings, it goes on from its last checkpoint.

    Writes into ``config.out``: config.yaml, losses.csv, losses.png, validation.json, run.json, and the result: a model
    folder ``model/`` (stage report) or ``encoders.safetensors`` (stage vision).

    Raises:
        InputError: if data, start or folder cannot be used, or the folder belongs to a run with other settings.
    """
    out = Path(config.out)
    if config.bf16 is None:
        config = replace(config, bf16=multiplies_bf16(torch.device("cuda" if torch.cuda.is_available() else "cpu")))
    is_new = _claim(out, config)
    set_seed(config.seed)
    try:
        scores = (_train_vision if config.stage == "vision" else _train_report)(config, out)
    except InputError:
        if is_new:  # so that the folder is free for the settings that are right
            (out / _CONFIG_FILE).unlink()
            with suppress(OSError):  # where crops were computed already
                out.rmdir()
        raise
    write_json(out / "validation.json", scores)
    write_json(out / "run.json", run_record("train", asdict(config), scores=scores, threads=torch.get_num_threads()))


def _train_vision(config: TrainConfig, out: Path) -> dict[str, Any]:
    if not is_phantom_dataset(Path(config.data)):
        raise InputError(f"{config.data}: stage vision learns from lesions drawn by reg2rg phantom, found none there")
    model = build_model(_sizes(config, _SIZES_ONLY))
    if config.encoders:
        load_encoders(model, Path(config.encoders))
    studies = _vision_studies(config, "train", model.config, config.studies)
    trainee = vision.VisionPretrainer(model, studies.usual_cells())
    _fit(config, out, trainee, studies, vision.collate)
    model_folder.write_tensor_file(out / ENCODERS_FILE, encoder_tensors(model))
    if not config.validate:
        return {}
    return vision.validate(trainee, _vision_studies(config, "valid", model.config, config.validate))


def _vision_studies(
    config: TrainConfig, split: str, sizes: Reg2RGConfig, limit: int | None = None
) -> vision.VisionStudies:
    root = Path(config.data)
    dataset = _train_split(config) if split == "train" else open_dataset(root, split)
    crops = _crops(config, dataset, sizes, limit)
    targets = TargetStore(crops, root, sizes.vision.patches_xyz(sizes.crop_size_xyz))
    _fill(targets, f"targets ({split})", config.workers)
    return vision.VisionStudies(crops, targets, vary=split == "train")


def _train_report(config: TrainConfig, out: Path) -> dict[str, Any]:
    dataset = _train_split(config)
    references = [dataset.reference(index) for index in range(len(dataset))[: config.studies]]
    usual = {"plan_weight": 0, "finding_weight": 1, "reword": False}
    read = [name for name, value in usual.items() if getattr(config, name) != value]
    if read and not is_phantom_dataset(Path(config.data)):
        raise InputError(
            f"{read[0]}: reads what reg2rg phantom wrote, found other texts in {config.data}; "
            f"set it to {json.dumps(usual[read[0]])}"
        )
    if not any(any(texts.values()) for texts in references):
        raise InputError(f"{config.data}: no study of the train split has region texts to learn from")
    model, processor = _start(config, references)
    _choose_parts(model, config)
    studies = _report_studies(config, dataset, model, config.studies)
    held_out = None
    if config.validate:
        valid = open_dataset(Path(config.data), "valid")
        whole = replace(
            config, shuffle_regions=False, fewest_regions=model.config.max_regions, mix_regions=0.0, reword=False
        )
        held_out = _report_studies(whole, valid, model, min(config.validate, _HELD_OUT))
    trainee = report.ReportTrainee(model, _kept(config), config.plan_weight, config.finding_weight)
    with_plan = bool(config.plan_weight) or config.finding_weight != 1
    batches = report.ReportBatches(processor, config.max_length, with_plan)
    _fit(config, out, trainee, studies, batches, held_out)
    (model.half() if config.half else model).save_pretrained(out / "model")
    processor.save_pretrained(out / "model")
    if not config.validate:
        return {}
    from reg2rg.train.validation import validate_reports

    return validate_reports(out / "model", Path(config.data), config.validate, _cache(config))


def _report_studies(
    config: TrainConfig, dataset: Dataset, model: Reg2RG, limit: int | None = None
) -> report.ReportStudies:
    """The dataset's studies that have texts, with what the model sees of them."""
    store = _crops(config, dataset, model.config, limit)
    see: Callable[[int], Any] = store.__getitem__
    if kept := _kept(config):
        tokens = TokenStore(store, model, bool(config.bf16), kept)
        _fill(tokens, f"tokens ({dataset.split})", workers=1)
        see = tokens.__getitem__
        if kept == ENCODERS:  # a few numbers for each study
            see = [tokens[index] for index in tqdm(range(len(tokens)), "reading", disable=None)].__getitem__
    place = {key: index for index, key in enumerate(dataset.keys)}
    findings, others, indices = [], [], []
    for index, key in enumerate(store.keys):
        reference = dataset.reference(place[key])
        if texts := [(name, reference[name]) for name in see(index).regions if reference.get(name)]:
            findings.append(texts)
            others.append(dataset.other_reference(place[key]))
            indices.append(index)
    return report.ReportStudies(
        findings,
        others,
        lambda row: see(indices[row]),
        config.shuffle_regions,
        config.fewest_regions,
        config.mix_regions,
        config.reword,
    )


def _train_split(config: TrainConfig) -> Dataset:
    dataset = open_dataset(Path(config.data), "train")
    if config.studies and config.studies > len(dataset):
        raise InputError(
            f"studies: expected at most the {len(dataset)} of {config.data}'s train split, got {config.studies}"
        )
    return dataset


def _kept(config: TrainConfig) -> tuple[str, ...]:
    """The encoders that are not trained, and whose output is therefore computed once."""
    if config.encoder_dropout:
        return ()
    return {"published": ("vision",), "language": ENCODERS, "all": ()}[config.parts]


def _start(config: TrainConfig, references: list[dict[str, str]]) -> tuple[Reg2RG, Processor]:
    """The model to train and its processor: of fresh weights with a vocabulary of the texts, or a folder's."""
    if config.start == "phantom":
        answers = [build_target(list(reference.items())) for reference in references]
        # The prompt's words count as often as the answers': they are read that often, and should be one token each.
        tokenizer = train_word_tokenizer([*[INSTRUCTION, _FRAME] * len(answers), *answers], config.vocabulary)
        text_vocabulary_size = len(tokenizer)
        add_special_tokens(tokenizer, phantom(_SIZES_ONLY).tokens)
        trained_on = "phantom" if is_phantom_dataset(Path(config.data)) else ""
        model = build_model(replace(_sizes(config, text_vocabulary_size), trained_on=trained_on))
        if config.encoders:
            load_encoders(model, Path(config.encoders))
        return model, Processor(model.config, tokenizer)
    folder = find_model(config.start)
    return Reg2RG.from_pretrained(folder), Processor.from_pretrained(folder)


def _sizes(config: TrainConfig, vocabulary: int) -> Reg2RGConfig:
    if config.start != "phantom":
        raise InputError(f"start: stage vision trains the sizes 'phantom', got {config.start!r}")
    return phantom(vocabulary)


def load_encoders(model: Reg2RG, path: Path) -> None:
    """Gives the model the encoders that stage vision left in a file, or those of a whole model's weights.

    Raises:
        InputError: if the file is missing, or was made for other sizes.
    """
    tensors = {
        name: value for name, value in model_folder.read_tensor_file(path).items() if name.split(".")[0] in ENCODERS
    }
    expected = encoder_tensors(model)
    model_folder.check_names(tensors, expected, path)
    model_folder.check_shapes(tensors, expected, path)
    for name, value in expected.items():
        value.copy_(tensors[name])


def _choose_parts(model: Reg2RG, config: TrainConfig) -> None:
    """Which weights are trained, and what the model is shown."""
    if not torch.cuda.is_available():
        leave_half_precision(model)
    if config.parts == "published":
        freeze_as_published(model)
    elif config.parts == "language":
        for part in ENCODERS:
            getattr(model, part).requires_grad_(False)
    for parameter in model.parameters():
        if parameter.requires_grad:  # in 16 bits small steps would be rounded away
            parameter.data = parameter.data.float()
    model.config = replace(model.config, inputs=config.input_names, writing=config.writing)


def _crops(config: TrainConfig, dataset: Dataset, sizes: Reg2RGConfig, limit: int | None = None) -> CropStore:
    """The dataset's crops, all of them computed; studies that cannot be encoded are named and left out."""
    store = CropStore(dataset, _cache(config), sizes, limit)
    _fill(store, f"crops ({dataset.split})", config.workers)
    return store


def _cache(config: TrainConfig) -> Path:
    return Path(config.cache or Path(config.out) / "cache")


def _fill(store: StudyStore, what: str, workers: int) -> None:
    with tqdm(total=len(store), desc=what, unit="study", disable=None) as bar:
        problems = store.fill(workers, lambda done, total: bar.update(done - bar.n))
    for key, problem in problems.items():
        tqdm.write(f"left out: {key}: {problem}")


class _PartTrainer(Trainer):
    """Trainer whose checkpoints hold only what is trained: a frozen 7B model is not written again and again."""

    @property
    def trainee(self) -> nn.Module:
        """What is trained."""
        assert isinstance(self.model, nn.Module)
        return self.model

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        folder = Path(str(output_dir or self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        model_folder.write_tensor_file(folder / model_folder.WEIGHTS, _trained(self.trainee))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        saved = model_folder.read_tensor_file(Path(resume_from_checkpoint) / model_folder.WEIGHTS)
        trained = _trained(self.trainee)
        model_folder.check_names(saved, trained, Path(resume_from_checkpoint))
        for name, value in trained.items():
            value.copy_(saved[name])


def _trained(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in module.named_parameters() if value.requires_grad}


def _fit(
    config: TrainConfig,
    out: Path,
    trainee: nn.Module,
    studies: torch.utils.data.Dataset[Any],
    collate: Callable[[Any], dict[str, Any]],
    held_out: torch.utils.data.Dataset[Any] | None = None,
) -> None:
    arguments = TrainingArguments(
        output_dir=str(out / "checkpoints"),
        max_steps=config.steps,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
        eval_strategy="no" if held_out is None else "steps",
        eval_steps=config.save_every,
        prediction_loss_only=True,
        gradient_accumulation_steps=config.accumulate,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine" if config.schedule == "cosine" else "constant_with_warmup",
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        adam_beta2=config.beta2,
        max_grad_norm=1.0,
        bf16=bool(config.bf16),
        use_cpu=not torch.cuda.is_available(),
        seed=config.seed,
        save_steps=config.save_every,
        save_total_limit=1,
        logging_steps=10,
        report_to=[],
        remove_unused_columns=False,
        label_names=[] if held_out is None else ["labels"],
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    muon = None
    if config.optimizer == "muon":
        trained = ((name, weight) for name, weight in trainee.named_parameters() if weight.requires_grad)
        muon = MuonWithAdamW(trained, config.learning_rate, config.weight_decay, config.beta2)
    trainer = _PartTrainer(
        model=trainee,
        args=arguments,
        train_dataset=studies,
        eval_dataset=held_out,
        data_collator=collate,
        optimizers=(muon, None),  # without one, the trainer makes its AdamW
    )
    trainer.train(resume_from_checkpoint=get_last_checkpoint(arguments.output_dir) if _has(arguments) else None)
    write_curves(out, trainer.state.log_history)


def _has(arguments: TrainingArguments) -> bool:
    return Path(str(arguments.output_dir)).is_dir()


def _claim(out: Path, config: TrainConfig) -> bool:
    """Takes the folder for this run, or goes on in it; says whether the run is new."""
    settings = yaml.safe_dump(asdict(config), sort_keys=False)
    if (out / _CONFIG_FILE).is_file():
        if (out / _CONFIG_FILE).read_text(encoding="utf-8") != settings:
            raise InputError(f"{out}: holds a run with other settings ({_CONFIG_FILE}); choose another --out")
        if (out / "run.json").is_file():
            raise InputError(f"{out}: this run is finished; choose another --out")
        return False
    check_free(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / _CONFIG_FILE).write_text(settings, encoding="utf-8")
    return True
