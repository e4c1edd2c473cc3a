"""A study in, a report out; and the same for a whole dataset, resumable."""

import csv
import hashlib
import json
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.data.crops import CropStore
from reg2rg.data.dataset import Dataset
from reg2rg.data.encoded import EncodedStudy
from reg2rg.errors import InputError
from reg2rg.evaluate.consensus import most_agreed
from reg2rg.files import sha256, staged_file, write_json
from reg2rg.geometry import axis_bits, bits_box
from reg2rg.model.config import Sampling, WritingConfig
from reg2rg.model.decode import Prompt, Written
from reg2rg.model.engine import Writer, check_engine, start_engine
from reg2rg.model.offload import offload_layers
from reg2rg.model.precision import (
    check_fits,
    check_precision,
    leave_half_precision,
    reduce_precision,
    room_for_layers,
)
from reg2rg.model.reg2rg import Features, Reg2RG
from reg2rg.model.split_products import products
from reg2rg.model.vllm_engine import check_quantities
from reg2rg.models import WEIGHTS_FILE, Engine, Precision, find_model, notice_of
from reg2rg.phantom.report import read_findings
from reg2rg.preprocess import StudyCrops
from reg2rg.processor import Processor, crop_tensor
from reg2rg.prompt import ParsedReport, build_target, join_answers, parse_report
from reg2rg.regions import get_region
from reg2rg.report import ModelSource, RegionReport, Report, Sentence, split_sentences
from reg2rg.results.run_record import run_record
from reg2rg.volume import RegionMasks, Study

COLUMNS = ("AccNum", "Question", "GT_combined_report", "Pred_combined_report")
"""Of predictions.csv, as the authors' evaluation scripts read it."""


@dataclass(frozen=True)
class GenerationSettings:
    """How text is generated.

    Attributes:
        max_new_tokens: longest text; one that reaches it is marked as cut.
        sample: draw words by their probability instead of taking the likeliest.
        temperature, top_p: of the drawing, see `reg2rg.model.config.Sampling`.
        seed: of the drawing; what is drawn of a region depends on this and on where the region lies, so that a scan
            has the same report by whatever name it came.
        regions_per_prompt, median_quantities, drafts: see `reg2rg.model.config.WritingConfig`.

    What is None is as the model's configuration has it (`WritingConfig`).
    """

    max_new_tokens: int = 1000
    sample: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int = 0
    regions_per_prompt: int | None = None
    median_quantities: bool | None = None
    drafts: int | None = None

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise InputError(f"max_new_tokens: expected at least 1, got {self.max_new_tokens}")
        drafts = 1 if self.drafts is None else self.drafts
        WritingConfig(self.regions_per_prompt, self._drawn(Sampling()), drafts=drafts)  # which refuse what cannot be
        if self.sample is False:
            self._check_nothing_of_drawing()

    def applied_to(self, usual: WritingConfig) -> WritingConfig:
        """How a model writes whose usual way this is.

        Raises:
            InputError: if it takes the likeliest words, and settings of drawing are given.
        """
        is_drawn = usual.sampling is not None if self.sample is None else self.sample
        if not is_drawn:
            self._check_nothing_of_drawing()
        regions, median = self.regions_per_prompt, self.median_quantities
        return WritingConfig(
            usual.regions_per_prompt if regions is None else regions,
            self._drawn(usual.sampling or Sampling()) if is_drawn else None,
            usual.median_quantities if median is None else median,
            1 if not is_drawn else usual.drafts if self.drafts is None else self.drafts,
        )

    def _drawn(self, usual: Sampling) -> Sampling:
        return replace(
            usual,
            temperature=usual.temperature if self.temperature is None else self.temperature,
            top_p=usual.top_p if self.top_p is None else self.top_p,
        )

    def _check_nothing_of_drawing(self) -> None:
        if self.temperature is not None or self.top_p is not None or (self.drafts or 1) > 1:
            raise InputError("temperature, top_p, drafts: expected words to be drawn; add --sample, or leave them out")

    def to_json(self, usual: WritingConfig) -> dict[str, Any]:
        """What is used in the end, for records of runs."""
        return {"max_new_tokens": self.max_new_tokens, "seed": self.seed, **asdict(self.applied_to(usual))}


class WrittenReport(NamedTuple):
    """What a model wrote of a study.

    Attributes:
        place: which of the studies, counted from 0.
        text: all of it, with its markers.
        is_complete: it came to its end, and was not cut at the longest length.
        beyond: what was written of regions that a prompt for some of them did not have; not in the text.
    """

    place: int
    text: str
    is_complete: bool
    beyond: str = ""


class _Draft(NamedTuple):
    """A text that a model wrote, and whether it came to its end."""

    text: str
    is_complete: bool


@dataclass
class _Answers:
    """What a model writes of one study: for the slots that each of its prompts asks for, drafts by their number."""

    place: int
    expected: int
    drafts_by_part: dict[tuple[int, ...], dict[int, _Draft]] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether all drafts are there that are expected of its prompts."""
        return sum(map(len, self.drafts_by_part.values())) == self.expected

    def together(self) -> WrittenReport:
        ordered = sorted(self.drafts_by_part.items())
        chosen = [(part, _chosen([drafts[number] for number in sorted(drafts)])) for part, drafts in ordered]
        is_complete = all(draft.is_complete for _, draft in chosen)
        if len(chosen) == 1:
            return WrittenReport(self.place, chosen[0][1].text, is_complete)
        text, beyond = join_answers([(part, draft.text) for part, draft in chosen])
        return WrittenReport(self.place, text, is_complete, beyond)


def _chosen(drafts: list[_Draft]) -> _Draft:
    """The one that says what most say; one that was cut only where all were."""
    whole = [draft for draft in drafts if draft.is_complete] or drafts
    return whole[most_agreed([draft.text for draft in whole])]


class _Asked(NamedTuple):
    """A prompt: the study it belongs to, the slots of the regions it asks for, and which draft is written of it."""

    answers: _Answers
    part: tuple[int, ...]
    draft: int


class Reporter:
    """A loaded model that reports studies.

    Args:
        model: the model, on its device.
        processor: that fits it.
        source: what to call it.
        device: where it works.
        precision: how its language model is held.
        bf16: whether its encoders multiply matrices by units for bfloat16, where the device has any.
        writer: what writes in the place of its language model; None for that itself.
    """

    def __init__(
        self,
        model: Reg2RG,
        processor: Processor,
        source: ModelSource,
        device: torch.device,
        precision: Precision = "saved",
        bf16: bool = False,
        writer: Writer | None = None,
    ) -> None:
        self.model = model.eval()
        self.processor = processor
        self.source = source
        self.device = device
        self.precision = precision
        self.bf16 = bf16
        self._writer = writer

    @property
    def engine(self) -> Engine:
        """What writes on from prompts."""
        return "torch" if self._writer is None else self._writer.engine

    @property
    def write_on(self) -> Callable[..., Iterator[Written]]:
        """Its engine, as a function like `reg2rg.model.decode.write_on` but for the language model."""
        return self.model.generate if self._writer is None else self._writer.write_on

    @classmethod
    def load(
        cls,
        name_or_folder: str,
        device: str = "auto",
        precision: Precision = "saved",
        bf16: bool = False,
        engine: Engine = "torch",
    ) -> "Reporter":
        """Loads a shipped model or a folder.

        Args:
            name_or_folder: a shipped model's name, or a folder.
            device: auto, cpu or cuda.
            precision: how the language model is held.
            bf16: whether the encoders multiply matrices by units for bfloat16, where the device has any; the same but
                for the last digits, see `reg2rg.model.split_products`.
            engine: what writes on from prompts: torch, torch with compiled steps, or vllm where it is installed.

        Raises:
            InputError: if there is no such model, device or engine, the folder's files do not fit together, or the
                model does not fit into memory.
        """
        folder = find_model(name_or_folder)
        where = find_device(device)
        check_engine(engine, precision)
        check_precision(precision, where)
        model = Reg2RG.from_pretrained(folder)
        if engine != "vllm":  # which looks for itself
            check_fits(model, model.language, precision, where)
        reduce_precision(model.language, precision)
        if where.type == "cpu":
            leave_half_precision(model)
        writer = start_engine(engine, model)  # before the encoders take vLLM's room
        if precision == "offload":
            offload_layers(model, model.language, where, room_for_layers(model, model.language, where))
        else:
            model.to(where)
        processor = Processor.from_pretrained(folder)
        name = name_or_folder if folder.name == name_or_folder else str(folder)
        notice = notice_of(model.config.trained_on)
        source = ModelSource(name, _sha256_of(folder), version("reg2rg"), notice)
        return cls(model, processor, source, where, precision, bf16, writer)

    def check(self, settings: GenerationSettings) -> None:
        """Raises InputError if its engine cannot write so."""
        if self.engine == "vllm":
            check_quantities(settings.applied_to(self.model.config.writing).median_quantities)

    def report(
        self, studies: Sequence[Study], settings: GenerationSettings | None = None, with_other: bool = False
    ) -> list[Report]:
        """One report per study; the studies are encoded and decoded together.

        Args:
            studies: in the axes and the space in which the model was trained.
            settings: how text is generated.
            with_other: ask for an other report too, as CTRG's prompt does.

        Raises:
            InputError: if a study has nothing that can be encoded.
        """
        seconds: dict[str, float] = {}
        with _timed(seconds, "crop"):
            crops = [self.processor.crop(study) for study in studies]
        return self.report_crops(studies, crops, settings, with_other, seconds)

    def report_crops(
        self,
        studies: Sequence[Study],
        crops: Sequence[StudyCrops],
        settings: GenerationSettings | None = None,
        with_other: bool = False,
        seconds: dict[str, float] | None = None,
        rows: int | None = None,
    ) -> list[Report]:
        """As `report`, for studies whose crops are there.

        Args:
            studies, crops: in the same order.
            settings: how text is generated.
            with_other: ask for an other report too.
            seconds: the time already spent on them.
            rows: studies decoded together; None for all.
        """
        settings = settings or GenerationSettings()
        seconds = dict(seconds or {})
        with _timed(seconds, "generate"):
            written = sorted(self.write(crops, settings, with_other, rows or len(studies)))
        share = {stage: spent / len(studies) for stage, spent in seconds.items()}
        return [
            self._assemble(study, crop, own, list(_remarks(own, settings)), share)
            for study, crop, own in zip(studies, crops, written, strict=True)
        ]

    def write(
        self,
        studies: Iterable[StudyCrops | EncodedStudy],
        settings: GenerationSettings,
        with_other: bool = False,
        rows: int = 1,
    ) -> Iterator[WrittenReport]:
        """The text of each study's report, as soon as it ends: short ones come before long ones.

        Args:
            studies: crops of each, taken and encoded when there is room for them; or what the model's encoders made of
                them.
            settings: how text is generated.
            with_other: ask for an other report too, as CTRG's prompt does.
            rows: studies decoded together.
        """
        writing = settings.applied_to(self.model.config.writing)
        most_regions = self.model.config.max_regions
        per_prompt = min(writing.regions_per_prompt or most_regions, most_regions)
        asked: list[_Asked] = []

        def prompts() -> Iterator[Prompt]:
            for place, study in enumerate(studies):
                slots = list(range(len(study.regions)))
                parts = [tuple(slots[start : start + per_prompt]) for start in slots[::per_prompt]]
                features, answers = self._features(study), _Answers(place, len(parts) * writing.drafts)
                for part in parts:
                    embeddings = self._embed(features, part, with_other and part == parts[-1])
                    for draft in range(writing.drafts):
                        asked.append(_Asked(answers, part, draft))
                        yield Prompt(embeddings, _seed_of(study, part, settings.seed, draft))

        eos_id = self.processor.eos_id
        for number, ids in self.write_on(
            prompts(),
            eos_id=eos_id,
            max_new_tokens=settings.max_new_tokens,
            rows=rows * -(-most_regions // per_prompt) * writing.drafts,
            sampling=writing.sampling,
            quantities=self.processor.quantities if writing.median_quantities else None,
        ):
            answers, part, draft = asked[number]
            text = _Draft(self.processor.decode(ids), is_complete=ids[-1:] == [eos_id])
            answers.drafts_by_part.setdefault(part, {})[draft] = text
            if answers.is_whole:
                yield answers.together()

    @torch.inference_mode()
    def _features(self, study: StudyCrops | EncodedStudy) -> Features:
        counts = [len(study.regions)]
        if isinstance(study, EncodedStudy):
            seen = (study.image[None], study.textures, torch.as_tensor(study.masks))
            image, textures, masks = (part.to(self.device).float() for part in seen)
            return self.model.project(image, textures, masks, counts)
        with products(self.device, self.bf16):
            return self.model.encode(
                images=self._tensor(study.image[None]),
                textures=self._tensor(study.textures),
                masks=self._tensor(study.masks),
                region_counts=counts,
            )

    @torch.inference_mode()
    def _embed(self, features: Features, part: Sequence[int], with_other: bool) -> Float[Tensor, "token embedding"]:
        ids = self.processor.prompt_ids(len(part), with_other)
        return self.model.embed_prompt(ids, features.of_regions(part))

    def _tensor(self, crops: np.ndarray) -> torch.Tensor:
        return crop_tensor(crops, self.device)

    def _assemble(
        self, study: Study, crops: StudyCrops, written: WrittenReport, warnings: list[str], seconds: dict[str, float]
    ) -> Report:
        parsed = parse_report(written.text)
        regions = tuple(self._region_report(study, slot, name, parsed) for slot, name in enumerate(crops.regions))
        grid = study.native_grid
        return Report(
            study_id=study.study_id,
            source=study.source,
            spacing_mm=grid.spacing_mm,
            size_xyz=grid.size_xyz,
            orientation=grid.orientation,
            model=self.source,
            regions=regions,
            other=parsed.other,
            generated=written.text,
            warnings=(*study.warnings, *crops.warnings, *warnings, *_departures(parsed, crops.regions)),
            seconds=seconds,
        )

    def _region_report(self, study: Study, slot: int, name: str, parsed: ParsedReport) -> RegionReport:
        finding = parsed.of_slot(slot)
        sentences = split_sentences(finding.text) if finding else ()
        return RegionReport(
            index=slot,
            name=name,
            recognized_as=finding.recognized_as if finding else None,
            sentences=tuple(Sentence(sentence, self._read(sentence)) for sentence in sentences),
            volume_ml=study.masks.volume_ml(name),
            box_mm=region_box_mm(study.masks, name),
            label=get_region(name).index,
            mask_source=study.masks.sources.get(name, ""),
            mask_doubts=study.mask_doubts.get(name, ()),
        )

    def _read(self, sentence: str) -> tuple[str, ...] | None:
        """Those of the 18 abnormalities that a sentence states; only the phantom's grammar can be read so far."""
        if self.model.config.trained_on != "phantom":
            return None
        stated = dict.fromkeys(finding.abnormality for finding in read_findings(sentence))
        return tuple(name for name in stated if name in ABNORMALITY_NAMES)


def _remarks(written: WrittenReport, settings: GenerationSettings) -> Iterator[str]:
    """What must be said of a text beside what it says."""
    if not written.is_complete:
        yield f"the text reached {settings.max_new_tokens} tokens and was cut; give a larger --max-new-tokens"
    if written.beyond:
        yield f"the model wrote about regions that it was not asked for; left out: {_shortened(written.beyond)!r}"


def _shortened(text: str) -> str:
    return shorten(text, 120, placeholder=" ...")


def _seed_of(study: StudyCrops | EncodedStudy, part: Sequence[int], seed: int, draft: int) -> int:
    """Of what is drawn for a prompt, from where its regions lie: whole numbers, which no rounding moves."""
    boxes = sorted((study.regions[slot], astuple(study.boxes[slot])) for slot in part)
    return zlib.crc32(repr((seed, draft, astuple(study.image_box), boxes)).encode())


def generate_dataset(
    dataset: Dataset,
    reporter: Reporter,
    out: Path,
    settings: GenerationSettings,
    batch_size: int = 8,
    limit: int | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
    cache: Path | None = None,
) -> dict[str, Any]:
    """Writes the reports of a dataset into a CSV of `COLUMNS`, and a run record beside it.

    Finished studies are kept in ``OUT.partial`` until all are done, so that an interrupted run goes on where it
    stopped. A study that cannot be reported is named in the record; its row has an empty prediction, which counts as
    missed.

    Args:
        dataset: whose studies.
        reporter: who reports them.
        out: the CSV to write.
        settings: how text is generated.
        batch_size: studies decoded together.
        limit: only the first studies.
        force: replace what is there.
        progress: called with (studies done, count).
        cache: folder of crops, as `reg2rg prepare` leaves it; what it lacks is computed and put there.

    Returns:
        The run record.

    Raises:
        InputError: if `out` exists and `force` is false, or is a folder; what is there belongs to another run; the
            reporter cannot write so; or `batch_size` or `limit` is below 1.
    """
    for name, number in (("--batch-size", batch_size), ("--limit", limit)):
        if number is not None and number < 1:
            raise InputError(f"{name}: expected at least 1, got {number}")
    if out.is_dir():
        raise InputError(f"{out}: is a folder; expected the CSV to write, such as {out / 'predictions.csv'}")
    if out.exists() and not force:
        raise InputError(f"{out}: the file exists; choose another --out, or add --force to replace it")
    reporter.check(settings)
    count = len(dataset) if limit is None else min(limit, len(dataset))
    identity: dict[str, Any] = {
        "model": asdict(reporter.source),
        "settings": {
            **settings.to_json(reporter.model.config.writing),
            "precision": reporter.precision,
            "bf16": reporter.bf16,
            "engine": reporter.engine,
        },
        "split": dataset.split,
        "keys_sha256": hashlib.sha256("\n".join(dataset.keys[:count]).encode()).hexdigest(),
    }
    partial = out.with_name(out.name + ".partial")
    if force:
        partial.unlink(missing_ok=True)
    rows = _read_partial(partial, identity)
    out.parent.mkdir(parents=True, exist_ok=True)
    see: Callable[[int], StudyCrops] = lambda index: reporter.processor.crop(dataset[index])  # noqa: E731
    if cache is not None:
        see = CropStore(dataset, cache, reporter.model.config).__getitem__
    started = time.perf_counter()
    with partial.open("a", encoding="utf-8") as file:
        if not rows and file.tell() == 0:
            file.write(json.dumps(identity) + "\n")
        pending = [index for index in range(count) if dataset.keys[index] not in rows]
        if progress:
            progress(count - len(pending), count)
        for row in _report_rows(dataset, see, pending, reporter, settings, batch_size):
            rows[row["AccNum"]] = row
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            if progress:
                progress(len(rows), count)
    _write_csv(out, [rows[key] for key in dataset.keys[:count]])
    record = run_record(
        "generate",
        {**identity["settings"], "batch_size": batch_size, "split": dataset.split, "limit": limit},
        model=identity["model"],
        device=str(reporter.device),
        studies=count,
        beyond={key: rows[key]["beyond"] for key in dataset.keys[:count] if rows[key].get("beyond")},
        failed={key: rows[key]["problem"] for key in dataset.keys[:count] if rows[key].get("problem")},
        inventory=dataset.inventory.to_json(),
        seconds=round(time.perf_counter() - started, 3),
    )
    write_json(out.with_name(out.name + ".run.json"), record)
    partial.unlink()
    return record


def find_device(name: str) -> torch.device:
    """The device of this name; ``auto`` is CUDA where there is one.

    Raises:
        InputError: if there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name!r}: expected auto, cpu or cuda, and a device that is here") from error
    return device


def region_box_mm(masks: RegionMasks, name: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Opposite corners of the box around a region, in mm, RAS+, from the outer faces of its voxels."""
    box = bits_box(axis_bits(masks.array), get_region(name).bit)
    if box is None:
        raise ValueError(f"{name} has no voxel, and so no box")
    edges = [(start - 0.5, stop - 0.5) for start, stop in zip(box.start_xyz, box.stop_xyz, strict=True)]
    corners = np.array(np.meshgrid(*edges, indexing="ij")).reshape(3, -1)
    places = masks.affine[:3, :3] @ corners + masks.affine[:3, 3:]
    low, high = places.min(axis=1), places.max(axis=1)
    return (float(low[0]), float(low[1]), float(low[2])), (float(high[0]), float(high[1]), float(high[2]))


def _departures(parsed: ParsedReport, regions: Sequence[str]) -> Iterator[str]:
    """What the model wrote that has no place in the report, and what it left unsaid."""
    seen: set[int] = set()
    for finding in parsed.findings:
        text = _shortened(finding.text)  # all of it is in the report's `generated`
        if finding.index >= len(regions):
            yield f"the model wrote about a region number {finding.index}, which was not asked for; left out: {text!r}"
        elif finding.index in seen:
            yield f"the model wrote about the region {regions[finding.index]} again; left out: {text!r}"
        seen.add(finding.index)
    unsaid = [name for slot, name in enumerate(regions) if not (found := parsed.of_slot(slot)) or not found.text]
    if unsaid:
        yield f"the model wrote nothing about: {', '.join(unsaid)}"


def _report_rows(
    dataset: Dataset,
    see: Callable[[int], StudyCrops],
    indices: Sequence[int],
    reporter: Reporter,
    settings: GenerationSettings,
    batch_size: int,
) -> Iterator[dict[str, str]]:
    """A row of the CSV for each study, those that end first before the others."""
    with_other = dataset.has_other_report
    seen: list[tuple[int, tuple[str, ...], tuple[str, ...]]] = []  # without the voxels
    problems: dict[int, str] = {}

    def studies() -> Iterator[StudyCrops]:
        for index in indices:
            try:
                crops = see(index)
            except InputError as error:
                problems[index] = str(error)
                continue
            seen.append((index, crops.regions, crops.with_mask))
            yield crops

    for written in reporter.write(studies(), settings, with_other, batch_size):
        index, regions, with_mask = seen[written.place]
        reference = dataset.reference(index, with_mask)
        asked = [(name, reference.get(name, "")) for name in regions]
        yield {
            "AccNum": dataset.keys[index],
            "Question": reporter.processor.prompt(len(asked), with_other),
            "GT_combined_report": build_target(asked, dataset.other_reference(index, with_mask)),
            "Pred_combined_report": written.text,
            **({"beyond": written.beyond} if written.beyond else {}),
        }
    for index, problem in problems.items():
        yield {
            "AccNum": dataset.keys[index],
            "Question": "",
            "GT_combined_report": build_target(list(dataset.reference(index).items()), dataset.other_reference(index)),
            "Pred_combined_report": "",
            "problem": problem,
        }


def _read_partial(partial: Path, identity: dict[str, Any]) -> dict[str, dict[str, str]]:
    if not partial.exists():
        return {}
    first, *lines = partial.read_text(encoding="utf-8").splitlines() or [""]
    if not first:
        return {}
    if json.loads(first) != identity:
        raise InputError(f"{partial}: holds the beginning of another run; add --force to start over, or another --out")
    rows = {}
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:  # the line that was being written when the run was stopped
            continue
        rows[row["AccNum"]] = row
    return rows


def _write_csv(out: Path, rows: list[dict[str, str]]) -> None:
    with staged_file(out) as staging, staging.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def _sha256_of(folder: Path) -> str:
    """Of the weights: the one file, or all shards in order."""
    single = folder / WEIGHTS_FILE
    if single.is_file():
        return sha256(single)
    parts = [sha256(shard) for shard in sorted(folder.glob("*.safetensors"))]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - started
