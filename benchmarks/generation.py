"""Reports a second: one study at a time, by Hugging Face's generate and by ours, against batches.

    python benchmarks/generation.py [--model phantom] [--count 32] [--batches 1 4 16] [--rounds 5] [--device auto]

The same model and the same studies, from crops to text. "plain" encodes and generates in float32. Prints how many
texts, and how many studies' findings, are as those of the plain way one at a time.
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from fair import in_turn, machine, table

from reg2rg.generate import GenerationSettings, Reporter
from reg2rg.phantom.report import read_findings
from reg2rg.phantom.world import make_phantom
from reg2rg.preprocess import StudyCrops
from reg2rg.processor import crop_tensor

PLAIN = "one at a time, Hugging Face's generate, plain"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="phantom")
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--batches", type=int, nargs="+", default=(1, 4, 16))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()

    plain = Reporter.load(args.model, args.device)
    fast = Reporter.load(args.model, args.device, bf16=True)
    crops = [plain.processor.crop(make_phantom(seed).study) for seed in range(9000, 9000 + args.count)]
    ways: dict[str, Callable[[], list[str]]] = {PLAIN: partial(write_by_hugging_face, plain, crops)}
    for size in args.batches:
        ways[f"batches of {size}, plain"] = partial(write, plain, crops, size)
        ways[f"batches of {size}, encoded in bfloat16"] = partial(write, fast, crops, size)
    texts = {name: run() for name, run in ways.items()}
    for name, others in texts.items():
        pairs = list(zip(texts[PLAIN], others, strict=True))
        same = sum(one == other for one, other in pairs)
        alike = sum(set(read_findings(one)) == set(read_findings(other)) for one, other in pairs)
        print(f"{name}: {same} of {args.count} texts and {alike} studies' findings as one at a time")
    timings = in_turn(ways, args.rounds, warm_up=0)
    print(f"\n{machine(plain.device.type)}; {args.count} phantoms from crops to text\n")
    print(table(timings, PLAIN))
    for name, timing in timings.items():
        print(f"{name}: {args.count / timing.wall_s:.2f} studies a second")


def write(reporter: Reporter, crops: list[StudyCrops], rows: int) -> list[str]:
    """The texts of all studies, so many decoded together."""
    named = ((str(place), members) for place, members in enumerate(crops))
    return [written.text for written in sorted(reporter.write(named, GenerationSettings(), rows=rows))]


@torch.inference_mode()
def write_by_hugging_face(reporter: Reporter, crops: list[StudyCrops]) -> list[str]:
    """The same, as the published code does it: each study by itself, with the defaults of `generate`."""
    texts = []
    model, processor = reporter.model, reporter.processor
    for members in crops:
        voxels = (crop_tensor(part, reporter.device) for part in (members.image[None], members.textures, members.masks))
        prompt = model.embed_prompt(
            processor.prompt_ids(len(members.regions)), model.encode(*voxels, [len(members.regions)])
        )
        (ids,) = model.language.generate(
            inputs_embeds=prompt[None],
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long, device=reporter.device),
            max_new_tokens=GenerationSettings().max_new_tokens,
            do_sample=False,
            eos_token_id=processor.eos_id,
            pad_token_id=processor.eos_id,
        )
        texts.append(processor.decode(ids.tolist()))
    return texts


if __name__ == "__main__":
    main()
