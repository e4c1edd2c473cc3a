"""How cost grows with voxels, regions, studies and tokens: a plot of each, and the exponent of each line.

    python benchmarks/growth.py [--out docs/pictures/growth.png] [--rounds 5]

CPU seconds of one thread, medians. Voxels: crops of a phantom's scan, enlarged. Regions and studies: encoding by the
shipped model. Tokens: writing on by a language model of the shipped one's sizes, whose attention may grow faster.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from fair import machine

from reg2rg.generate import Reporter
from reg2rg.model.decode import Prompt, write_on
from reg2rg.phantom.world import make_phantom
from reg2rg.processor import crop_tensor
from reg2rg.volume import RegionMasks, Study, Volume

NO_TOKEN = -1  # an end that never comes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/growth.png"))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    reporter = Reporter.load("phantom", "cpu")
    study = make_phantom(5).study
    crops = reporter.processor.crop(study)
    model = reporter.model

    def crop(times: int) -> Callable[[], object]:
        large = enlarged(study, times)
        return lambda: reporter.processor.crop(large)

    def encode(regions: int, studies: int) -> Callable[[], object]:
        images = crop_tensor(np.stack([crops.image] * studies), reporter.device)
        textures, masks = (
            crop_tensor(np.concatenate([part[:regions]] * studies), reporter.device)
            for part in (crops.textures, crops.masks)
        )
        return lambda: model.encode(images, textures, masks, [regions] * studies)

    def write(tokens: int) -> Callable[[], object]:
        prompt = torch.randn(300, model.config.language.architecture["hidden_size"])
        return lambda: list(write_on(model.language, [Prompt(prompt)], rows=1, eos_id=NO_TOKEN, max_new_tokens=tokens))

    sizes = {times: study.volume.array.size * times / 1e6 for times in (1, 2, 4, 8, 16)}
    lines: dict[str, dict[float, Callable[[], object]]] = {
        "voxels (millions), cropping": {millions: crop(times) for times, millions in sizes.items()},
        "regions, encoding": {count: encode(count, 1) for count in (1, 2, 4, 8, 10)},
        "studies, encoding": {count: encode(10, count) for count in (1, 2, 4, 8)},
        "new tokens, writing": {count: write(count) for count in (50, 100, 200, 400, 800)},
    }
    figures = {}
    for name, ways in lines.items():
        seconds = cpu_seconds(ways, args.rounds)
        at = list(ways)
        figures[name] = (at, seconds)
        print(f"{name}: " + ", ".join(f"{x:.3g}: {s:.3f} s" for x, s in zip(at, seconds, strict=True)), end="; ")
        print(f"grows with the power {exponent(at, seconds):.2f} at the end")
    print(machine())
    draw(figures, args.out)


def enlarged(study: Study, times: int) -> Study:
    """The study with so many times its voxels, along z, y and x in turn."""
    array, bits, affine = study.volume.array, study.masks.array, study.volume.affine.copy()
    axis = 2
    while times > 1:
        array, bits = np.repeat(array, 2, axis), np.repeat(bits, 2, axis)
        affine[:3, 3] -= affine[:3, axis] / 4
        affine[:3, axis] /= 2
        axis, times = (axis - 1) % 3, times // 2
    masks = RegionMasks(np.asfortranarray(bits), affine, study.masks.sources)
    return replace(study, volume=Volume(np.asfortranarray(array), affine), masks=masks)


def cpu_seconds(ways: dict[float, Callable[[], object]], rounds: int) -> list[float]:
    """Medians over rounds in which each takes its turn."""
    spent: dict[float, list[float]] = {count: [] for count in ways}
    with torch.inference_mode():
        for turn in range(rounds + 1):
            for count, run in ways.items():
                begun = time.process_time()
                run()
                if turn:
                    spent[count].append(time.process_time() - begun)
    return [statistics.median(times) for times in spent.values()]


def exponent(at: Sequence[float], seconds: Sequence[float]) -> float:
    """Of the power law between the last two points."""
    return math.log(seconds[-1] / seconds[-2]) / math.log(at[-1] / at[-2])


def draw(figures: dict[str, tuple[list[float], list[float]]], path: Path) -> None:
    """One panel for each, with the straight line through its last point."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(figures), figsize=(3.2 * len(figures), 3), layout="constrained")
    for panel, (name, (at, seconds)) in zip(panels, figures.items(), strict=True):
        panel.plot([0, at[-1]], [0, seconds[-1]], color="0.75", label="in proportion")
        panel.plot(at, seconds, "o-", label="measured")
        panel.set(xlabel=name, xlim=(0, None), ylim=(0, None))
    panels[0].set_ylabel("CPU s")
    panels[0].legend(frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
