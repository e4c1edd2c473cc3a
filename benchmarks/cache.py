"""Loading a prepared study at the published crop sizes, against computing its crops anew.

    python benchmarks/cache.py [--data FOLDER] [--size 512 512 300] [--rounds 5]

The study is that of benchmarks/preprocess.py: a CT and ten masks as .nii.gz.
"""

import argparse
import csv
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from fair import in_turn, machine, table
from preprocess import REGION_SIZES, make_study

from reg2rg.data.crops import CropStore
from reg2rg.data.dataset import open_dataset
from reg2rg.model.build import published
from reg2rg.preprocess import in_steps
from reg2rg.processor import crops_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("benchmark_study"))
    parser.add_argument("--size", type=int, nargs=3, default=(512, 512, 300), metavar=("X", "Y", "Z"))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = args.data / "x".join(map(str, args.size))
    if not (folder / "masks" / f"{list(REGION_SIZES)[-1]}.nii.gz").is_file():
        make_study(folder, tuple(args.size))
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [("study", "volume", "masks", "region", "text")]
        csv.writer(file).writerows([*rows, *(("one", "ct.nii.gz", "masks", name, "") for name in REGION_SIZES)])
    dataset = open_dataset(folder / "manifest.csv", "train")
    config = published()
    with tempfile.TemporaryDirectory() as cache:
        store = CropStore(dataset, Path(cache), config)
        kept, fresh = store[0], in_steps(crops_of(dataset[0], config))
        assert np.array_equal(kept.textures, fresh.textures)
        assert np.array_equal(kept.masks, fresh.masks)
        ways: dict[str, Callable[[], object]] = {
            "computed": lambda: crops_of(dataset[0], config),
            "loaded": lambda: store[0],
        }
        timings = in_turn(ways, args.rounds, warm_up=1)
        print(f"{machine()}; {len(kept.regions)} regions, {store.bytes_on_disk / 2**20:.1f} MiB on disk\n")
        print(table(timings, "computed"))


if __name__ == "__main__":
    main()
