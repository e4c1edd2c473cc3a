"""The main job: one's own scans, each to a folder of results."""

import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from reg2rg.chest import admit_chest
from reg2rg.errors import InputError
from reg2rg.files import check_free, sha256, staged_file, staged_folder
from reg2rg.generate import GenerationSettings, Reporter, find_device
from reg2rg.load import load_study, study_name, to_native
from reg2rg.model.precision import check_precision
from reg2rg.models import DEFAULT_MODEL, Precision, find_model
from reg2rg.report import Report
from reg2rg.results.folder import Results, write_results
from reg2rg.results.run_record import run_record
from reg2rg.segment.threshold import segment_without_lungs

INDEX = "index.csv"


@dataclass(frozen=True)
class ScanOptions:
    """How scans are reported.

    Attributes:
        masks: given region masks, as the command line takes them.
        segmenter: who draws the other masks.
        series: of DICOM, the SeriesInstanceUID to report; None for the likeliest chest CT.
        model: a shipped model's name or a folder.
        device: auto, cpu or cuda.
        precision: how the language model's weights are held.
        bf16: whether the encoders multiply matrices by units for bfloat16, where the device has any.
        generation: how text is generated.
        even_others: report what is no chest CT too; why it would have been refused is then a warning.
    """

    masks: tuple[str, ...] = ()
    segmenter: str | None = None
    series: str | None = None
    model: str = DEFAULT_MODEL
    device: str = "auto"
    precision: Precision = "saved"
    bf16: bool = False
    generation: GenerationSettings = field(default_factory=GenerationSettings)
    even_others: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one of several scans: a folder of results, or a problem."""

    source: Path
    folder: str
    status: str
    problem: str = ""


def report_scan(source: Path, out: Path, options: ScanOptions, force: bool = False) -> Report:
    """Reports one scan into the folder `out`; returns the report.

    Raises:
        InputError: if scan, masks, model, device or folder cannot be used, or the scan is no chest CT; nothing is
            written then.
    """
    check_free(out, force)
    find_model(options.model)
    check_precision(options.precision, find_device(options.device))
    results = make_results(source, options)
    with staged_folder(out, force) as folder:
        write_results(folder, results)
    return results.report


def report_scans(
    sources: Sequence[Path],
    out: Path,
    options: ScanOptions,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Outcome]:
    """Reports several scans into one folder each, named by study, and lists them in ``index.csv``.

    A scan that cannot be reported is listed with its problem and does not stop the others. Run again, finished scans
    are kept and the rest is done; with `force` they are replaced, each in its own folder.

    Raises:
        InputError: if model, device or `out` cannot be used, two scans have one name, or masks or a series are given.
    """
    if options.masks:
        raise InputError("--masks: given masks belong to one study; report studies with masks one by one")
    if options.series:
        raise InputError("--series: a series belongs to one study; report studies with --series one by one")
    names = [study_name(source) for source in sources]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two studies are called {twice!r}; report them into different folders")
    if not (out / INDEX).is_file():
        check_free(out)
    reporter = Reporter.load(options.model, options.device, options.precision, options.bf16)
    outcomes = []
    for done, (source, name) in enumerate(zip(sources, names, strict=True), start=1):
        outcomes.append(_outcome(source, out / name, options, force, reporter))
        _write_index(out / INDEX, outcomes)
        if progress:
            progress(done, len(sources))
    return outcomes


def _outcome(source: Path, folder: Path, options: ScanOptions, force: bool, reporter: Reporter) -> Outcome:
    if (folder / "report.json").is_file() and not force:
        return Outcome(source, folder.name, "kept")
    try:
        check_free(folder, force)
        results = make_results(source, options, reporter)
        with staged_folder(folder, force) as staging:
            write_results(staging, results)
    except InputError as error:
        return Outcome(source, "", "failed", str(error))
    return Outcome(source, folder.name, "reported")


def make_results(
    source: Path, options: ScanOptions, reporter: Reporter | None = None, study_id: str | None = None
) -> Results:
    """Reads, reports and gathers what is to be written; writes nothing.

    Args:
        source: the scan.
        options: how to report it.
        reporter: a model that is loaded already; None to load the one of the options.
        study_id: what the study is called; None to call it after its file.

    Raises:
        InputError: if something of it cannot be used, or the scan is no chest CT.
    """
    started = time.perf_counter()
    admit = partial(admit_chest, even_others=options.even_others)
    fallback = segment_without_lungs if options.even_others else None
    study = load_study(
        source, options.masks, options.segmenter, study_id, admit=admit, fallback=fallback, series=options.series
    )
    loaded = time.perf_counter()
    reporter = reporter or Reporter.load(options.model, options.device, options.precision, options.bf16)
    model_ready = time.perf_counter()
    report = reporter.report([study], options.generation)[0]
    report = replace(report, seconds={"read": loaded - started, "load_model": model_ready - loaded, **report.seconds})
    run = run_record(
        "report",
        {**asdict(options), "generation": options.generation.to_json(reporter.model.config.writing)},
        device=str(reporter.device),
        input={"source": str(source), "sha256": sha256(source) if source.is_file() else None},
        model=asdict(reporter.source),
        seconds=report.seconds,
    )
    return Results(report, study, to_native(study, study.masks), run)


def _write_index(path: Path, outcomes: Sequence[Outcome]) -> None:
    with staged_file(path) as staging, staging.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("study", "status", "folder", "problem"))
        writer.writerows((outcome.source, outcome.status, outcome.folder, outcome.problem) for outcome in outcomes)
