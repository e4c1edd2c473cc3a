"""Reports a second: one study at a time, by Hugging Face's generate and by ours, against batches.

    python benchmarks/generation.py [--model phantom] [--count 32] [--batches 1 4 16] [--rounds 5] [--device auto]
        [--regions-per-prompt 10] [--drafts 1] [--writing] [--compiled]

The same model and the same studies, from crops to text; with `--writing` from encoded prompts to text, which leaves the
encoders out. "plain" encodes and generates in float32, "by parts" encodes as `--bf16` does where there are units for
bfloat16, and here takes longer where there are none. All regions of a study are asked for in one prompt, as
published, unless `--regions-per-prompt` says less. Prints in how many studies the text, the findings with all that is
said of them, and the abnormalities alone are as in the plain way one at a time. With more than one of `--drafts` words
are drawn as the model's configuration says, in other ways by Hugging Face's generate than by ours; texts are then
compared with those of our first way.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import count, islice
from typing import Any

import torch
from fair import in_turn, machine, table
from torch import Tensor

from reg2rg.evaluate.consensus import most_agreed
from reg2rg.generate import GenerationSettings, Reporter
from reg2rg.model import split_products
from reg2rg.model.config import Sampling
from reg2rg.model.decode import Prompt
from reg2rg.phantom.finding import Finding
from reg2rg.phantom.report import read_findings
from reg2rg.phantom.world import make_phantom
from reg2rg.preprocess import StudyCrops
from reg2rg.processor import crop_tensor
from reg2rg.prompt import join_answers

PLAIN = "one at a time, Hugging Face's generate, plain"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="phantom")
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--batches", type=int, nargs="+", default=(1, 4, 16))
    parser.add_argument("--rounds", type=int, default=5, help="0 compares the texts alone")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--regions-per-prompt", type=int, default=10)
    parser.add_argument("--drafts", type=int, default=1)
    parser.add_argument("--writing", action="store_true", help="encode the prompts first, and time the writing alone")
    parser.add_argument("--compiled", action="store_true", help="with --writing: by compiled steps, too")
    args = parser.parse_args()

    plain = Reporter.load(args.model, args.device)
    drawn = {"sample": True, "drafts": args.drafts} if args.drafts > 1 else {"sample": False}
    settings = GenerationSettings(median_quantities=False, regions_per_prompt=args.regions_per_prompt, **drawn)
    crops = [plain.processor.crop(make_phantom(seed).study) for seed in range(9000, 9000 + args.count)]
    ways: dict[str, Callable[[], list[str]]] = {}
    if args.compiled and not args.writing:
        parser.error("--compiled goes with --writing")
    split_products.multiplies_bf16 = lambda device: True  # the same numbers without its units, in more time
    if args.writing:
        compiled = Reporter.load(args.model, args.device, engine="compiled") if args.compiled else None
        prompts = [encode(plain, members, args.regions_per_prompt) for members in crops]
        ways[PLAIN] = partial(write_by_hugging_face, plain, prompts, settings)
        for size in args.batches:
            ways[f"batches of {size}, plain"] = partial(write_prompts, plain, prompts, settings, size)
            if compiled:
                ways[f"batches of {size}, compiled"] = partial(write_prompts, compiled, prompts, settings, size)
    else:
        fast = Reporter.load(args.model, args.device, bf16=True)
        ways[PLAIN] = lambda: write_by_hugging_face(
            plain, (encode(plain, members, args.regions_per_prompt) for members in crops), settings
        )
        for size in args.batches:
            ways[f"batches of {size}, plain"] = partial(write, plain, crops, settings, size)
            ways[f"batches of {size}, encoded in bfloat16, by parts"] = partial(write, fast, crops, settings, size)
    compared = [name for name in ways if args.drafts == 1 or name != PLAIN]
    texts = {name: ways[name]() for name in compared}
    for name, others in texts.items():
        pairs = list(zip(texts[compared[0]], others, strict=True))
        same, alike, named = (
            sum(read(one) == read(other) for one, other in pairs) for read in (str, findings, abnormalities)
        )
        print(
            f"{name}: {same} texts, {alike} studies' findings and {named} studies' abnormalities "
            f"of {args.count} as {compared[0]}"
        )
    if not args.rounds:
        return
    timings = in_turn(ways, args.rounds, warm_up=0)
    begin = "prompts" if args.writing else "crops"
    print(f"\n{machine(plain.device.type)}; {args.count} phantoms from {begin} to text\n")
    print(table(timings, PLAIN))
    for name, timing in timings.items():
        print(f"{name}: {args.count / timing.wall_s:.2f} studies a second")


def findings(text: str) -> set[Finding]:
    """What is stated, with side, lobe, detail, number and size."""
    return set(read_findings(text))


def abnormalities(text: str) -> set[str]:
    """What is stated, by name alone."""
    return {finding.abnormality for finding in read_findings(text)}


def write(reporter: Reporter, crops: Sequence[StudyCrops], settings: GenerationSettings, rows: int) -> list[str]:
    """The texts of all studies, so many decoded together."""
    return [written.text for written in sorted(reporter.write(crops, settings, rows=rows))]


def write_prompts(
    reporter: Reporter, studies: Sequence[Sequence[Tensor]], settings: GenerationSettings, rows: int
) -> list[str]:
    """The same of studies that are encoded already."""
    writing = settings.applied_to(reporter.model.config.writing)
    seeds = count()
    prompts = [Prompt(prompt, next(seeds)) for study in studies for prompt in study for _ in range(writing.drafts)]
    written = reporter.write_on(
        prompts,
        eos_id=reporter.processor.eos_id,
        max_new_tokens=settings.max_new_tokens,
        rows=rows * max(map(len, studies)) * writing.drafts,
        sampling=writing.sampling,
    )
    texts = (reporter.processor.decode(ids) for _, ids in sorted(written))
    return [joined([agreed(list(islice(texts, writing.drafts))) for _ in study]) for study in studies]


@torch.inference_mode()
def encode(reporter: Reporter, members: StudyCrops, per_prompt: int) -> list[Tensor]:
    """The embeddings of one study's prompts."""
    image, textures, masks = (
        crop_tensor(part, reporter.device) for part in (members.image[None], members.textures, members.masks)
    )
    features = reporter.model.encode(image, textures, masks, [len(members.regions)])
    slots = range(len(members.regions))
    return [
        reporter.model.embed_prompt(reporter.processor.prompt_ids(len(part)), features.of_regions(part))
        for part in (slots[start : start + per_prompt] for start in slots[::per_prompt])
    ]


@torch.inference_mode()
def write_by_hugging_face(
    reporter: Reporter, studies: Iterable[Sequence[Tensor]], settings: GenerationSettings
) -> list[str]:
    """The texts as the published code writes them: each prompt by itself, with the defaults of `generate`."""
    model, processor = reporter.model, reporter.processor
    writing = settings.applied_to(model.config.writing)
    texts = []
    for prompts in studies:
        answers = []
        for prompt in prompts:
            drafts = model.language.generate(
                inputs_embeds=prompt[None],
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long, device=reporter.device),
                max_new_tokens=settings.max_new_tokens,
                eos_token_id=processor.eos_id,
                pad_token_id=processor.eos_id,
                num_return_sequences=writing.drafts,
                **drawing(writing.sampling),
            )
            answers.append(agreed([processor.decode(ids) for ids in drafts.tolist()]))
        texts.append(joined(answers))
    return texts


def drawing(sampling: Sampling | None) -> dict[str, Any]:
    """The arguments of Hugging Face's generate that say how words are drawn."""
    if sampling is None:
        return {"do_sample": False}
    return {
        "do_sample": True,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k or 0,
    }


def agreed(drafts: Sequence[str]) -> str:
    """The draft that agrees most with the others."""
    return drafts[most_agreed(drafts)]


def joined(answers: Sequence[str]) -> str:
    """One text of a study's answers, as `Reporter.write` joins those of one region each."""
    if len(answers) == 1:
        return answers[0]
    return join_answers([([slot], answer) for slot, answer in enumerate(answers)])[0]


if __name__ == "__main__":
    main()
