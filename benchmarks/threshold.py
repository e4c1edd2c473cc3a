"""How well the threshold segmenter draws the regions of phantoms: Dice against their truth.

    python benchmarks/threshold.py [--size small] [SEED ...]

Without seeds those of docs/REGIONS.md. "Main bronchi" are the trachea and the bronchi outside the lungs.
"""

import argparse

import numpy as np
from jaxtyping import Bool

from reg2rg.phantom.world import make_phantom
from reg2rg.segment.threshold import segment

REGIONS = ("lung", "bone", "trachea and bronchie", "pleura", "mediastinum", "heart", "abdomen")
MAIN_BRONCHI = "trachea and main bronchi"


def main(seeds: list[int], size: str) -> None:
    found: dict[str, list[float]] = {name: [] for name in (*REGIONS, MAIN_BRONCHI)}
    for seed in seeds:
        study = make_phantom(seed, size).study
        drawn = segment(study.volume).masks
        for name in REGIONS:
            found[name].append(dice(drawn.mask(name), study.masks.mask(name)))
        outside = ~study.masks.mask("lung")
        airways = (masks.mask("trachea and bronchie") & outside for masks in (drawn, study.masks))
        found[MAIN_BRONCHI].append(dice(*airways))
    print(f"{len(seeds)} {size} phantoms: {', '.join(map(str, seeds))}")
    for name, values in found.items():
        print(f"{name:26} mean {np.nanmean(values):.3f}  lowest {np.nanmin(values):.3f}")


def dice(one: Bool[np.ndarray, "x y z"], other: Bool[np.ndarray, "x y z"]) -> float:
    """NaN where the phantom's own mask is missing."""
    if not other.any():
        return float("nan")
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seeds", nargs="*", type=int, metavar="SEED")
    parser.add_argument("--size", default="small", help="of the phantoms (default: %(default)s)")
    arguments = parser.parse_args()
    main(arguments.seeds or list(range(211, 219)), arguments.size)
