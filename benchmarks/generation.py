"""Reports a second, one study at a time against batches: the same model, the same studies, the same texts.

python benchmarks/generation.py [--model phantom] [--count 32] [--batches 1 4 16] [--rounds 5] [--device auto]
"""

import argparse
from collections.abc import Callable
from functools import partial

from fair import in_turn, machine, table

from reg2rg.generate import GenerationSettings, Reporter
from reg2rg.phantom.world import make_phantom
from reg2rg.preprocess import StudyCrops


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="phantom")
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--batches", type=int, nargs="+", default=(1, 4, 16))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()

    reporter = Reporter.load(args.model, args.device)
    crops = [reporter.processor.crop(make_phantom(seed).study) for seed in range(9000, 9000 + args.count)]
    alone = write(reporter, crops, 1)
    for size in args.batches:
        same = sum(one == other for one, other in zip(alone, write(reporter, crops, size), strict=True))
        print(f"batches of {size}: {same} of {args.count} texts as alone")
    ways: dict[str, Callable[[], object]] = {
        f"batches of {n}": partial(write, reporter, crops, n) for n in args.batches
    }
    timings = in_turn(ways, args.rounds, warm_up=0)
    print(f"\n{machine(reporter.device.type)}; {args.count} phantoms from crops to text\n")
    print(table(timings, f"batches of {args.batches[0]}"))
    for name, timing in timings.items():
        print(f"{name}: {args.count / timing.wall_s:.2f} studies a second")


def write(reporter: Reporter, crops: list[StudyCrops], rows: int) -> list[str]:
    """The texts of all studies, so many decoded together."""
    named = ((str(place), members) for place, members in enumerate(crops))
    return [written.text for written in sorted(reporter.write(named, GenerationSettings(), rows=rows))]


if __name__ == "__main__":
    main()
