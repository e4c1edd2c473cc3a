"""Reading and preprocessing one study: ours beside the published way, in turn, each run in a process of its own.

    python benchmarks/preprocess.py [--size 512 512 300] [--crop 256 256 64] [--repeat 5] [--data FOLDER] [--json FILE]
        [--profile]

The study is made once: a noisy body with air and ten masks that overlap, all .nii.gz. The published way is written from
its description (reference/GOLDENS.md, section 3): whole volumes as float32, one multiplication, foreground crop and
resize per region. MONAI's Resize with its default is torch's interpolate(mode="area"), difference 0, and is written so
here: MONAI itself would add 13 s of import. Figures are CPU seconds of the process after its imports, and its peak
memory beside what the imports took.
"""

import argparse
import cProfile
import json
import os
import pstats
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

REGION_SIZES = {
    "abdomen": (0.38, 0.30, 0.22),
    "bone": (0.42, 0.36, 0.48),
    "breast": (0.40, 0.16, 0.25),
    "esophagus": (0.03, 0.03, 0.40),
    "heart": (0.14, 0.14, 0.18),
    "lung": (0.36, 0.26, 0.42),
    "mediastinum": (0.14, 0.18, 0.36),
    "pleura": (0.37, 0.27, 0.43),
    "thyroid": (0.06, 0.05, 0.06),
    "trachea and bronchie": (0.10, 0.08, 0.28),
}
"""Half axes of each region's ellipsoid, as shares of the volume."""
CENTERS = {"abdomen": (0.5, 0.5, 0.12), "breast": (0.5, 0.78, 0.5), "thyroid": (0.5, 0.55, 0.93)}


def make_study(folder: Path, size_xyz: tuple[int, int, int]) -> None:
    """Writes ct.nii.gz and masks/REGION.nii.gz."""
    from reg2rg.nifti import write_labels, write_volume
    from reg2rg.volume import Volume

    affine = np.diag([0.75, 0.75, 1.0, 1.0])
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 18, (size_xyz[2] // 8 + 1, size_xyz[1], size_xyz[0])).astype(np.int16)
    z, y, x = (np.linspace(0, 1, n, dtype=np.float32) for n in size_xyz[::-1])
    hu = np.empty(size_xyz[::-1], np.int16)
    for index, height in enumerate(z):
        body = ((x - 0.5) / 0.46) ** 2 + ((y[:, None] - 0.5) / 0.38) ** 2 < 1
        lung = ((x - 0.5) / 0.36) ** 2 + ((y[:, None] - 0.5) / 0.26) ** 2 + ((height - 0.5) / 0.42) ** 2 < 1
        hu[index] = np.where(body, np.where(lung, -850, 40), -1024)
        hu[index] += np.roll(noise[index // 8], 17 * index, axis=0) * body
    write_volume(folder / "ct.nii.gz", Volume(hu.T, affine))
    for name, (a, b, c) in REGION_SIZES.items():
        left, middle, low = CENTERS.get(name, (0.5, 0.5, 0.5))
        reach = ((x - left) / a) ** 2 + ((y[:, None] - middle) / b) ** 2
        mask = np.stack([reach + ((height - low) / c) ** 2 < 1 for height in z]).astype(np.uint8)
        if name in ("bone", "pleura", "breast"):  # shells
            for index, height in enumerate(z):
                mask[index] &= reach + ((height - low) / c) ** 2 > 0.8
        write_labels(folder / "masks" / f"{name}.nii.gz", mask.T, affine)


def run_ours(folder: Path, crop_xyz: tuple[int, int, int]) -> dict[str, np.ndarray]:
    from reg2rg.load import read_scan
    from reg2rg.preprocess import crop_study
    from reg2rg.segment.given import read_masks
    from reg2rg.volume import Study

    volume = read_scan(folder / "ct.nii.gz")[0]
    masks = read_masks([folder / "masks"], volume.grid).masks
    crops = crop_study(Study("study", volume, masks), crop_xyz)
    textures = {f"texture {name}": texture for name, texture in zip(crops.regions, crops.textures, strict=True)}
    return {
        "image": crops.image,
        **textures,
        **{f"mask {name}": mask for name, mask in zip(crops.regions, crops.masks, strict=True)},
    }


def run_published(folder: Path, crop_xyz: tuple[int, int, int]) -> dict[str, np.ndarray]:
    import nibabel as nib
    import torch

    def read(path: Path) -> torch.Tensor:
        return torch.from_numpy(np.asarray(nib.Nifti1Image.from_filename(path).dataobj).astype(np.float32))[None]

    def foreground(block: torch.Tensor) -> tuple[slice, slice, slice]:
        above = (block[0] > -1000).numpy()
        hits = [np.flatnonzero(above.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        x, y, z = (slice(int(hit[0]), int(hit[-1]) + 1) for hit in hits)
        return x, y, z

    def resize(block: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(block[None], size=crop_xyz, mode="area")[0]

    def window(block: torch.Tensor) -> torch.Tensor:
        return (block.clamp(-1000, 200) + 400) / 600

    image = read(folder / "ct.nii.gz")
    masks = {name: read(folder / "masks" / f"{name}.nii.gz") for name in REGION_SIZES}
    box = (slice(None), *foreground(image))
    out = {"image": window(resize(image[box]))[0].numpy()}
    for name, mask in masks.items():
        block = image * mask
        block[mask == 0] = -1024
        out[f"texture {name}"] = window(resize(block[(slice(None), *foreground(block))]))[0].numpy()
        out[f"mask {name}"] = resize(mask[box])[0].numpy()
    return out


WAYS = {"ours": run_ours, "published": run_published}


def measure(way: str, folder: Path, crop_xyz: tuple[int, int, int], keep: Path | None) -> dict[str, float]:
    """In a process of its own: one run."""
    import torch

    import reg2rg.load
    import reg2rg.preprocess  # noqa: F401

    torch.set_num_threads(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wall, cpu = time.perf_counter(), time.process_time()
    result = WAYS[way](folder, crop_xyz)
    figures = {
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - wall,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "imports_mib": before,
    }
    if keep is not None:
        kept: dict[str, Any] = {name: np.asarray(value[::8, ::8, ::2]) for name, value in result.items()}
        np.savez(keep, **kept)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=3, default=(512, 512, 300), metavar=("X", "Y", "Z"))
    parser.add_argument("--crop", type=int, nargs=3, default=(256, 256, 64), metavar=("X", "Y", "Z"))
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--ways", nargs="+", choices=tuple(WAYS), default=tuple(WAYS))
    parser.add_argument("--data", type=Path, default=Path("benchmark_study"))
    parser.add_argument("--json", type=Path, help="file for all figures")
    parser.add_argument("--one", choices=tuple(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--profile", action="store_true", help="say where the time goes instead, each way once")
    args = parser.parse_args()
    folder = args.data / "x".join(map(str, args.size))
    if args.one:
        print(json.dumps(measure(args.one, folder, tuple(args.crop), folder / f"{args.one}.npz")))
        return
    if not (folder / "masks" / f"{list(REGION_SIZES)[-1]}.nii.gz").is_file():
        make_study(folder, tuple(args.size))
    if args.profile:
        for way in args.ways:
            print(f"{way}, by the seconds of each function's own:")
            taken = cProfile.Profile()
            taken.runcall(WAYS[way], folder, tuple(args.crop))
            pstats.Stats(taken).sort_stats("tottime").print_stats(12)
        return
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in args.ways}
    command = [sys.executable, __file__, "--data", str(args.data), "--size", *map(str, args.size)]
    command += ["--crop", *map(str, args.crop)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for _ in range(args.repeat):
        for way in args.ways:
            done = subprocess.run([*command, "--one", way], capture_output=True, text=True, env=environment, check=True)
            runs[way].append(json.loads(done.stdout))
    print(f"{'x'.join(map(str, args.size))} int16, {len(REGION_SIZES)} masks, crops {'x'.join(map(str, args.crop))}")
    print(f"{'':10} {'CPU s median':>13} {'best':>7} {'wall s':>7} {'peak MiB':>9} {'of it imports':>14}")
    medians = {}
    for way, figures in runs.items():
        medians[way] = {name: statistics.median(run[name] for run in figures) for name in figures[0]}
        best = min(run["cpu_s"] for run in figures)
        row = medians[way]
        print(
            f"{way:10} {row['cpu_s']:13.2f} {best:7.2f} {row['wall_s']:7.2f} {row['peak_mib']:9.0f} "
            f"{row['imports_mib']:14.0f}"
        )
    if len(medians) == 2:
        ours, published = medians["ours"], medians["published"]
        with np.load(folder / "ours.npz") as mine, np.load(folder / "published.npz") as theirs:
            assert set(mine) == set(theirs)
            apart = max(float(np.abs(mine[name] - theirs[name]).max()) for name in mine)
        print(
            f"ratio      {published['cpu_s'] / ours['cpu_s']:13.1f} of CPU, "
            f"{published['peak_mib'] / ours['peak_mib']:.1f} of peak memory; largest difference {apart:.1e}"
        )
    if args.json:
        args.json.write_text(json.dumps({"size": args.size, "crop": args.crop, "runs": runs}, indent=1))


if __name__ == "__main__":
    main()
