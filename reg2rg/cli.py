"""The command line: a verb for each job. Parsing only; the work is done in the modules that the verbs call.

Heavy modules are imported inside the verbs that need them, so that ``--help``, ``regions``, ``models`` and ``info``
start at once.
"""

import argparse
import difflib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from reg2rg.errors import InputError, is_lack_of_memory
from reg2rg.models import DEFAULT_MODEL, ENGINES, PRECISIONS
from reg2rg.segment import SEGMENTERS

if TYPE_CHECKING:
    from reg2rg.generate import GenerationSettings

BAD_INPUT = 2
INTERRUPTED = 130
_RESUMABLE = ("phantom", "prepare", "train", "generate")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the exit code: 0 on success, 2 with one line on standard error for bad input."""
    # Model folders are local: no library may ask a hub for anything, nor talk on standard error.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    args = _parse(list(sys.argv[1:] if arguments is None else arguments))
    try:
        args.run(args)
    except InputError as error:
        print(f"reg2rg {args.verb}: {' '.join(str(error).split())}", file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:  # `reg2rg regions | head -1` is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # of a path that was given: not readable, too long, on a disk that has gone
        if error.filename is None:
            raise
        print(f"reg2rg {args.verb}: {error.filename}: {error.strerror}", file=sys.stderr)
        return BAD_INPUT
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise
        told = " ".join(str(error).split())[:120] or type(error).__name__
        less = "; fewer studies or drafts at once, --precision or another --device need less" if "model" in args else ""
        print(f"reg2rg {args.verb}: memory ran out ({told}){less}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        goes_on = args.verb in _RESUMABLE and not getattr(args, "force", False)  # which would begin anew
        told = "interrupted; the same command goes on from here" if goes_on else "interrupted"
        print(f"reg2rg {args.verb}: {told}", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    """All verbs go through argparse but two: their settings are a record, which jsonargparse turns into options."""
    by_record = {"train": _train, "serve": _serve}
    if arguments and arguments[0] in by_record:
        return argparse.Namespace(verb=arguments[0], run=by_record[arguments[0]], settings=arguments[1:])
    parser = build_parser()
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        args.parser.error(f"unknown: {' '.join(unknown)}{_nearest(args.parser, unknown[0])}")
    return args


def _nearest(parser: argparse.ArgumentParser, unknown: str) -> str:
    """The option that may have been meant."""
    options = [option for action in parser._actions for option in action.option_strings]
    close = difflib.get_close_matches(unknown.partition("=")[0], options, n=1)
    return f" (perhaps {close[0]})" if close else ""


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all verbs."""
    parser = _Parser(
        prog="reg2rg",
        description="A chest CT in, a report out in which every sentence belongs to a region. "
        "Research software, not a medical device.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)

    def verb(name: str, run: Callable[[argparse.Namespace], None], help: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        added.set_defaults(run=run, parser=added)
        return added

    demo = verb("demo", _demo, "make a phantom study, report it, show the truth and the report side by side")
    demo.add_argument("--out", type=Path, default=Path("reg2rg_demo"), help="folder to write (default: %(default)s)")
    demo.add_argument("--seed", type=int, default=1, help="which phantom (default: %(default)s)")
    _add_model(demo)
    _add_force(demo)
    _add_talk(demo)

    report = verb("report", _report, "turn chest CTs into region-grounded reports")
    report.add_argument(
        "studies",
        nargs="+",
        type=Path,
        metavar="STUDY",
        help="a CT as .nii, .nii.gz, or DICOM (folder, zip, DICOMDIR, file); several at once",
    )
    report.add_argument("--out", type=Path, required=True, help="folder to write; with several studies one folder each")
    report.add_argument(
        "--masks",
        action="append",
        default=[],
        metavar="PATH",
        help="given region masks: a folder of REGION.nii.gz, or of TotalSegmentator or SAT, a multi-label "
        "file, a DICOM segmentation, or REGION=FILE; may be repeated",
    )
    report.add_argument(
        "--segmenter",
        help=f"who draws the masks that are not given: {', '.join(SEGMENTERS)} (default: auto if none is given)",
    )
    report.add_argument("--series", metavar="UID", help="of DICOM: which series (default: the likeliest chest CT)")
    _add_model(report)
    _add_generation(report)
    report.add_argument(
        "--any-scan",
        action="store_true",
        help="report even what is refused as no chest CT: the reason becomes a warning",
    )
    _add_force(report)
    _add_talk(report)

    phantom = verb("phantom", _phantom, "write a synthetic dataset with exact truth, in RadGenome-ChestCT's layout")
    phantom.add_argument("out", type=Path, metavar="OUT", help="folder that will hold dataset/")
    phantom.add_argument("--count", type=int, required=True, help="number of studies")
    phantom.add_argument("--seed", type=int, required=True, help="which world; the same seed gives the same voxels")
    phantom.add_argument("--split", choices=("train", "valid"), default="train", help="(default: %(default)s)")
    phantom.add_argument(
        "--size", choices=("small", "standard", "clinical"), default="small", help="voxels (default: %(default)s)"
    )
    phantom.add_argument("--dicom", action="store_true", help="write each CT as a DICOM series, too")
    phantom.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    _add_talk(phantom)

    prepare = verb("prepare", _prepare, "cut a dataset's crops once, for train and generate; resumable")
    prepare.add_argument("dataset", type=Path, metavar="DATASET", help="folder holding dataset/, or a manifest CSV")
    prepare.add_argument("--out", type=Path, required=True, metavar="CACHE", help="folder to fill; may be shared")
    prepare.add_argument("--split", choices=("train", "valid"), default="train", help="(default: %(default)s)")
    prepare.add_argument("--limit", type=int, help="only the first studies")
    prepare.add_argument(
        "--tokens", action="store_true", help="keep also what the model's frozen encoders make of the crops"
    )
    prepare.add_argument(
        "--bf16",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="of the tokens: multiply by units for bfloat16, where the device has any (default); the same but for the "
        "last digits",
    )
    prepare.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    _add_model(prepare)
    _add_talk(prepare)

    verb("train", _train, "train a model: stage vision or report; see docs/TRAINING.md")

    verb("serve", _serve, "take studies by DICOM and HTTP, report them, send results back; see docs/HOSPITAL.md")

    generate = verb("generate", _generate, "write the reports of a whole dataset into predictions.csv; resumable")
    generate.add_argument("dataset", type=Path, metavar="DATASET", help="folder holding dataset/, or a manifest CSV")
    generate.add_argument("--out", type=Path, required=True, help="the CSV to write")
    generate.add_argument("--split", choices=("train", "valid"), default="valid", help="(default: %(default)s)")
    generate.add_argument("--limit", type=int, help="only the first studies")
    generate.add_argument("--batch-size", type=int, default=8, help="studies decoded together (default: %(default)s)")
    generate.add_argument("--cache", type=Path, help="crops as reg2rg prepare leaves them; what is missing is added")
    generate.add_argument(
        "--engine",
        choices=ENGINES,
        default="torch",
        help="what writes the texts: torch; compiled, which is torch that compiles its steps first, meant for large "
        "models on a GPU; or vllm where it is installed, for many studies on a GPU (default: %(default)s)",
    )
    _add_model(generate)
    _add_generation(generate)
    _add_force(generate)
    _add_talk(generate)

    evaluate = verb("evaluate", _evaluate, "score generated reports: text, regions, abnormalities, with intervals")
    evaluate.add_argument("file", type=Path, metavar="FILE", help="predictions.csv, or the authors' CSV, or JSON lines")
    evaluate.add_argument("--out", type=Path, help="folder for scores.json, scores.csv and scores.html")
    evaluate.add_argument("--recipe", default="published", help="how text is scored: published (default) or stemmed")
    evaluate.add_argument("--metrics", metavar="NAMES", help="text metrics, separated by commas (default: the nine)")
    evaluate.add_argument(
        "--only-common",
        action="store_true",
        help="score regions only where the prediction names them too, as the authors do; else they count as missed",
    )
    evaluate.add_argument(
        "--compare", type=Path, metavar="FILE", help="another model's file for the same studies, in any order"
    )
    evaluate.add_argument("--control", type=Path, metavar="FILE", help="the same pipeline's file, made without images")
    evaluate.add_argument("--labels", type=Path, metavar="FILE", help="gold labels of the references, CT-RATE's format")
    evaluate.add_argument(
        "--labeler", help="who labels texts: rules, radbert:DIR or none (default: the labels of the file, else rules)"
    )
    evaluate.epilog = (
        "Each metric is given as its mean over reports; overall is one figure for the whole file: BLEU of all reports "
        "as one text, the median of resampled means of ROUGE, the mean of METEOR. See docs/EVALUATION.md."
    )
    _add_force(evaluate)
    evaluate.add_argument("--json", action="store_true", help="print one JSON object and nothing else")

    convert = verb("convert", _convert, "turn the authors' checkpoint, or RadFM's encoders, into a folder of ours")
    convert.add_argument(
        "checkpoint", type=Path, nargs="?", metavar="AUTHORS_CHECKPOINT", help="pytorch_model.bin, to report with"
    )
    convert.add_argument("--vit3d", type=Path, help="instead: RadFM_vit3d.pth, to begin training as the authors did")
    convert.add_argument("--perceiver", type=Path, help="with --vit3d: RadFM_perceiver_fc.pth")
    convert.add_argument(
        "--llm",
        type=Path,
        required=True,
        help="the Llama-2 folder: its config.json and tokenizer, for RadFM's encoders also its weights",
    )
    convert.add_argument("--out", type=Path, required=True, help="folder to write")
    _add_force(convert)
    _add_talk(convert)

    for name, run, help in (
        ("regions", _regions, "list the ten regions"),
        ("models", _models, "list the shipped models"),
        ("info", _info, "say what is installed and what can be used"),
    ):
        verb(name, run, help).add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, help="a shipped model's name or a folder (default: %(default)s)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")


def _add_generation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="saved",
        help="how a language model too large for a GPU is held: 8bit and 4bit need bitsandbytes, offload leaves some "
        "layers in main memory, as saved but slower (default: %(default)s)",
    )
    parser.add_argument(
        "--bf16",
        action="store_true",
        help="encode by units for bfloat16, where the device has any: faster for large models, the same but for the "
        "last digits",
    )
    add_writing(parser)


def add_writing(parser: argparse.ArgumentParser) -> None:
    """The options of how text is generated, which `writing_settings` reads."""
    parser.add_argument("--max-new-tokens", type=int, default=1000, help="longest report (default: %(default)s tokens)")
    own = "(default: as the model's config.json says, or as published)"
    parser.add_argument(
        "--regions-per-prompt",
        type=int,
        metavar="N",
        help=f"regions asked for together: with 1, no region's text depends on another one; 10 is as published {own}",
    )
    parser.add_argument(
        "--sample",
        action=argparse.BooleanOptionalAction,
        help=f"sample words, seeded, or take the likeliest {own}",
    )
    parser.add_argument("--temperature", type=float, help=f"of sampling: the lower, the likelier the words {own}")
    parser.add_argument("--top-p", type=float, help=f"sample among the likeliest words of this share {own}")
    parser.add_argument("--seed", type=int, default=0, help="of sampling (default: %(default)s)")
    parser.add_argument(
        "--median-quantities",
        action=argparse.BooleanOptionalAction,
        help=f"write the median of the sizes and degrees that the model believes in, or the likeliest word {own}",
    )
    parser.add_argument(
        "--drafts",
        type=int,
        metavar="N",
        help="texts sampled for each prompt, of which the one is kept that agrees most with the others; so many times "
        f"the memory and work of writing {own}",
    )


def writing_settings(args: argparse.Namespace) -> "GenerationSettings":
    """What was given by the options of `add_writing`."""
    from reg2rg.generate import GenerationSettings

    return GenerationSettings(
        max_new_tokens=args.max_new_tokens,
        sample=args.sample,
        temperature=args.temperature,
        top_p=args.top_p,
        seed=args.seed,
        regions_per_prompt=args.regions_per_prompt,
        median_quantities=args.median_quantities,
        drafts=args.drafts,
    )


def _add_force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="replace what is already there")


def _add_talk(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _version() -> str:
    from importlib.metadata import version

    return version("reg2rg")


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _progress(args: argparse.Namespace, unit: str, stage: str | None = None) -> Callable[[int, int], None] | None:
    """A progress bar as a callback (done, total), or None where nobody would see it."""
    if args.quiet or args.json or not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    bar = tqdm(desc=stage, unit=unit, leave=False)

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return show


@contextmanager
def _segmenter_shown(args: argparse.Namespace) -> Iterator[None]:
    """Shows the last line that a segmenter's own program prints, where a progress bar would be."""
    if args.quiet or args.json or not sys.stderr.isatty():
        yield
        return
    logger = logging.getLogger("reg2rg.segment")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("\r\x1b[2K%(message)s"))  # from the line's beginning, over the last one
    handler.terminator = ""
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        sys.stderr.write("\r\x1b[2K")


def _demo(args: argparse.Namespace) -> None:
    from reg2rg.demo import run_demo
    from reg2rg.results.report_json import report_to_json

    demo = run_demo(args.out, args.seed, args.model, args.device, args.force)
    if args.json:
        _print_json({"out": str(args.out), "truth": demo.truth, "report": report_to_json(demo.report)})
    else:
        print(demo.to_text())
        print(f"\nWritten to {args.out}: open {args.out / 'report.html'} in a browser.")


def _report(args: argparse.Namespace) -> None:
    from reg2rg.results.report_json import report_to_json
    from reg2rg.results.report_text import report_to_text
    from reg2rg.scan import ScanOptions, report_scan, report_scans

    options = ScanOptions(
        masks=tuple(args.masks),
        segmenter=args.segmenter,
        series=args.series,
        model=args.model,
        device=args.device,
        precision=args.precision,
        bf16=args.bf16,
        generation=writing_settings(args),
        even_others=args.any_scan,
    )
    if len(args.studies) > 1:
        with _segmenter_shown(args):
            outcomes = report_scans(args.studies, args.out, options, args.force, _progress(args, "study"))
        rows = [{"study": str(outcome.source), "status": outcome.status, "out": outcome.folder} for outcome in outcomes]
        if args.json:
            _print_json({"out": str(args.out), "studies": rows})
        failed = [outcome for outcome in outcomes if outcome.problem]
        if failed:
            raise InputError(
                f"{len(failed)} of {len(outcomes)} studies could not be reported, see {args.out / 'index.csv'}; "
                f"the first: {failed[0].problem}"
            )
        if not args.json:
            print(f"{len(outcomes)} studies reported; {args.out / 'index.csv'} lists them.")
        return
    with _segmenter_shown(args):
        report = report_scan(args.studies[0], args.out, options, args.force)
    if args.json:
        _print_json(report_to_json(report))
    else:
        print(report_to_text(report))
        print(f"\nWritten to {args.out}: open {args.out / 'report.html'} in a browser.")


def _phantom(args: argparse.Namespace) -> None:
    from reg2rg.phantom.dataset import write_dataset

    write_dataset(
        args.out,
        count=args.count,
        seed=args.seed,
        split=args.split,
        size=args.size,
        dicom=args.dicom,
        workers=args.workers,
        progress=_progress(args, "study"),
    )
    if args.json:
        _print_json({"out": str(args.out), "split": args.split, "count": args.count, "seed": args.seed})
    else:
        print(f"{args.count} phantom studies ({args.split}, seed {args.seed}) are in {args.out / 'dataset'}.")


def _prepare(args: argparse.Namespace) -> None:
    from reg2rg.data.dataset import open_dataset
    from reg2rg.data.prepare import prepare

    device = "cpu"
    if args.tokens:
        from reg2rg.generate import find_device

        device = str(find_device(args.device))
    summary = prepare(
        open_dataset(args.dataset, args.split),
        args.out,
        args.model,
        tokens=args.tokens,
        bf16=args.bf16,
        device=device,
        limit=args.limit,
        workers=args.workers,
        progress=lambda stage: _progress(args, "study", stage),
    )
    if args.json:
        _print_json(summary)
        return
    for stage in ("crops", "tokens"):
        if done := summary.get(stage):
            size = f"{done['bytes'] / 2**20:.1f} MiB"
            print(f"{stage}: {done['computed']} computed, {done['kept']} kept; {size} in {done['folder']}")
    for key, problem in summary["left_out"].items():
        print(f"left out: {key}: {problem}")


def _train(args: argparse.Namespace) -> None:
    from reg2rg.train.config import config_parser, parse_config

    if {"-h", "--help"} & set(args.settings):
        config_parser().print_help()
        return
    config = parse_config(args.settings)
    from reg2rg.train.run import train

    train(config)
    out = Path(config.out)
    result = "encoders.safetensors" if config.stage == "vision" else "model"
    print(f"Trained: {out / result}; {out / 'validation.json'} has the scores.")


def _serve(args: argparse.Namespace) -> None:
    try:
        from reg2rg.serve.service import serve
        from reg2rg.serve.settings import parse_settings, settings_parser
    except ModuleNotFoundError as error:
        raise InputError(f"the service needs {error.name}; pip install 'reg2rg[dicom,serve]'") from error

    if {"-h", "--help"} & set(args.settings):
        settings_parser().print_help()
        return
    serve(parse_settings(args.settings))


def _generate(args: argparse.Namespace) -> None:
    from reg2rg.data.dataset import open_dataset
    from reg2rg.generate import Reporter, generate_dataset

    dataset = open_dataset(args.dataset, args.split)
    record = generate_dataset(
        dataset,
        Reporter.load(args.model, args.device, args.precision, args.bf16, args.engine),
        args.out,
        writing_settings(args),
        batch_size=args.batch_size,
        limit=args.limit,
        force=args.force,
        progress=_progress(args, "study"),
        cache=args.cache,
    )
    if args.json:
        _print_json(record)
        return
    print(f"{record['studies']} reports are in {args.out}.")
    for key, problem in record["failed"].items():
        print(f"not reported: {key}: {problem}")


def _evaluate(args: argparse.Namespace) -> None:
    from reg2rg.evaluate.evaluation import EvaluationSettings, evaluate_table
    from reg2rg.evaluate.tables import read_reports
    from reg2rg.evaluate.text import TEXT_METRICS
    from reg2rg.files import check_free

    if args.out is not None:
        check_free(args.out, args.force)
    metrics = TEXT_METRICS
    if args.metrics is not None:
        metrics = tuple(name.strip() for name in args.metrics.split(",") if name.strip())
    settings = EvaluationSettings(args.recipe, metrics, args.only_common, args.labeler, args.labels)
    table = read_reports(args.file)
    others = [None if path is None else read_reports(path) for path in (args.compare, args.control)]
    scores = evaluate_table(table, settings, *others)
    from reg2rg.results.scores_folder import scores_to_json, write_scores

    if args.out is not None:
        from reg2rg.evaluate.examples import pick_examples

        write_scores(args.out, scores, pick_examples(scores, table), args.force)
    if args.json:
        _print_json(scores_to_json(scores))
        return
    from rich.console import Console

    from reg2rg.results.scores_text import print_scores

    print_scores(scores, Console(width=None if sys.stdout.isatty() else 110))
    if args.out is not None:
        print(f"\nWritten to {args.out}: open {args.out / 'scores.html'} in a browser.")


def _convert(args: argparse.Namespace) -> None:
    from reg2rg.model.checkpoint import convert_checkpoint, convert_radfm

    if args.checkpoint and not (args.vit3d or args.perceiver):
        convert_checkpoint(args.checkpoint, args.llm, args.out, force=args.force)
        next_step = f"report with it by reg2rg report STUDY --out DIR --model {args.out}"
    elif args.vit3d and args.perceiver and not args.checkpoint:
        convert_radfm(args.vit3d, args.perceiver, args.llm, args.out, force=args.force)
        next_step = f"train it by reg2rg train --stage report --start {args.out} --data DATASET --out RUN"
    else:
        raise InputError("expected AUTHORS_CHECKPOINT, or --vit3d and --perceiver together; see reg2rg convert --help")
    if args.json:
        _print_json({"out": str(args.out)})
    else:
        print(f"Converted; {next_step}")


def _regions(args: argparse.Namespace) -> None:
    from reg2rg.regions import REGIONS

    if args.json:
        rows = [{"index": r.index, "bit": r.bit, "name": r.name, "synonyms": list(r.synonyms)} for r in REGIONS]
        _print_json({"regions": rows})
        return
    for region in REGIONS:
        also = f"  (also: {', '.join(region.synonyms)})" if region.synonyms else ""
        print(f"{region.index}  {region.name}{also}")


def _models(args: argparse.Namespace) -> None:
    from reg2rg.models import SHIPPED_MODELS, WEIGHTS_FILE

    rows = []
    for model in SHIPPED_MODELS:
        weights = model.folder / WEIGHTS_FILE
        size_mib = round(weights.stat().st_size / 2**20, 1) if weights.is_file() else None
        rows.append(
            {"name": model.name, "description": model.description, "size_mib": size_mib, "folder": str(model.folder)}
        )
    if args.json:
        _print_json({"default": DEFAULT_MODEL, "models": rows})
        return
    for row in rows:
        size = f"{row['size_mib']} MiB" if row["size_mib"] is not None else "weights missing"
        print(f"{row['name']}  {row['description']} ({size})")
        print(f"    model card: {Path(str(row['folder'])) / 'README.md'}")


def _info(args: argparse.Namespace) -> None:
    from reg2rg.info import installation

    facts = installation()
    if args.json:
        _print_json(facts)
        return
    for title, rows in facts.items():
        print(title)
        for name, value in rows.items():
            print(f"    {name}: {value}")
