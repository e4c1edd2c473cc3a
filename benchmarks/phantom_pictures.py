"""Draws docs/pictures/phantom_world.png: each kind of finding once, beside the same slice without it.

    python benchmarks/phantom_pictures.py [--seed 41] [--size standard] [--out docs/pictures/phantom_world.png]

Every kind is drawn in a person of its own, by `make_phantom(seed, size, 1.0, only=(kind,))` against the same seed with
the kind left out, through the slice with most of its lesion; the smallest sizes are passed over. Radiological
convention: the patient's right is on the left of an axial picture, the front on the left of a sagittal one. Two
minutes on one core.
"""

import argparse
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_dilation, map_coordinates

from reg2rg.intensity import LUNG_WINDOW, SOFT_TISSUE_WINDOW, HUWindow
from reg2rg.phantom.finding import KINDS, Finding, size_class
from reg2rg.phantom.world import Phantom, make_phantom

BONE_WINDOW = HUWindow.from_level(level=250, width=900)
METAL_WINDOW = HUWindow.from_level(level=500, width=2000)
WINDOWS = dict.fromkeys(("lung", "trachea and bronchie"), LUNG_WINDOW) | {"bone": BONE_WINDOW}
WINDOW_OF = {  # where the region's own window is not what a radiologist would take
    "Medical material": METAL_WINDOW,
    "Arterial wall calcification": HUWindow.from_level(level=200, width=900),
    "Coronary artery wall calcification": HUWindow.from_level(level=200, width=900),
    "Liver lesion": HUWindow.from_level(level=50, width=180),
    "Thyroid nodule": HUWindow.from_level(level=80, width=250),
}
SAGITTAL = ("Vertebral compression",)
TINTED = ("Interlobular septal thickening",)  # a net whose outline would hide it
PANEL_PX = (250, 190)
WHOLE_MM, CLOSE_MM = 360.0, 150.0  # width of the field: the chest, or the surroundings of what is small
LABEL_PX, GAP_PX, PAIRS_PER_ROW = 30, 8, 4
OUTLINE_RGB = (255, 190, 0)
GRAYS = 56  # of the PNG's palette; more are noise that does not compress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=41, help="of the first person tried")
    parser.add_argument("--size", default="standard", help="as in reg2rg phantom")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/phantom_world.png"))
    args = parser.parse_args()

    pairs = [draw_pair(kind, args.seed + 100 * number, args.size) for number, kind in enumerate(KINDS)]
    width, height = pairs[0].size
    rows = -(-len(pairs) // PAIRS_PER_ROW)
    sheet = Image.new("RGB", (PAIRS_PER_ROW * (width + GAP_PX) - GAP_PX, rows * height), "white")
    for index, pair in enumerate(pairs):
        sheet.paste(pair, (index % PAIRS_PER_ROW * (width + GAP_PX), index // PAIRS_PER_ROW * height))
    sheet.quantize(palette=palette(), dither=Image.Dither.NONE).save(args.out, optimize=True)
    print(f"{args.out}: {args.out.stat().st_size / 1000:.0f} kB, {sheet.width} x {sheet.height}")


def palette() -> Image.Image:
    """Grays and the outline's colour."""
    colors = Image.new("P", (1, 1))
    grays = np.linspace(0, 255, GRAYS).round().astype(int)
    colors.putpalette([*np.repeat(grays, 3).tolist(), *OUTLINE_RGB])
    return colors


def draw_pair(kind: str, seed: int, size: str) -> Image.Image:
    """A slice with the lesion outlined (a net: coloured), the same slice without it, and a label under both."""
    while (finding := largest(phantom := make_phantom(seed, size, 1.0, only=(kind,)))) is None:
        seed += 1
    healthy = make_phantom(seed, size, 1.0, only=(kind,), without=(kind,))
    lesion = phantom.lesion_mask(finding)
    axis = 0 if kind in SAGITTAL else 2
    index = int(np.argmax(lesion.sum(axis=tuple(a for a in range(3) if a != axis))))

    pair = Image.new("RGB", (2 * PANEL_PX[0] + 2, PANEL_PX[1] + LABEL_PX), "white")
    window = WINDOW_OF.get(kind, WINDOWS.get(finding.region, SOFT_TISSUE_WINDOW))
    for place, (shown, outlined) in enumerate(((phantom, lesion), (healthy, np.zeros_like(lesion)))):
        picture = draw_slice(shown, outlined, lesion, axis, index, window, kind in TINTED)
        pair.paste(picture, (place * (PANEL_PX[0] + 2), 0))
    text = ImageDraw.Draw(pair)
    text.text((1, PANEL_PX[1] + 1), kind, fill="black", font=ImageFont.load_default(13))
    text.text(
        (1, PANEL_PX[1] + 15), f"{describe(finding)} (seed {seed})", fill="dimgray", font=ImageFont.load_default(11)
    )
    return pair


def largest(phantom: Phantom) -> Finding | None:
    """The finding with the largest lesion; None without any, as in men's breasts, or if it is of the smallest class."""
    finding = max(phantom.findings, key=lambda finding: phantom.lesion_mask(finding).sum(), default=None)
    return None if finding is None or size_class(finding) in (0, "small") else finding


def draw_slice(
    phantom: Phantom,
    outlined: Bool[np.ndarray, "x y z"],
    lesion: Bool[np.ndarray, "x y z"],
    axis: int,
    index: int,
    window: HUWindow,
    is_tinted: bool,
) -> Image.Image:
    """A field of the slice around the lesion, as large as the lesion asks for."""
    grid = phantom.study.volume.grid
    across, up = (a for a in range(3) if a != axis)
    there = np.argwhere(np.take(lesion, index, axis=axis))
    spacing_mm = np.array([grid.spacing_mm[across], grid.spacing_mm[up]])
    low_mm, high_mm = there.min(axis=0) * spacing_mm, (there.max(axis=0) + 1) * spacing_mm
    size_mm = np.array([grid.size_xyz[across], grid.size_xyz[up]]) * spacing_mm
    is_whole = (high_mm - low_mm).max() > 0.55 * CLOSE_MM
    width_mm = max(WHOLE_MM, float(size_mm[0])) if is_whole else CLOSE_MM
    field_mm = np.array([width_mm, width_mm * PANEL_PX[1] / PANEL_PX[0]])
    center_mm = size_mm / 2 if is_whole else (low_mm + high_mm) / 2

    # One pixel of the panel after another, from the left (patient's right, or front) and from the top.
    at = []
    for place in range(2):
        shares = (np.arange(PANEL_PX[place]) + 0.5) / PANEL_PX[place] - 0.5
        at.append((center_mm[place] - shares * field_mm[place]) / spacing_mm[place] - 0.5)
    gray = window.to_gray(_interpolate(np.take(phantom.study.volume.array, index, axis=axis), at))
    mask = _interpolate(np.take(outlined, index, axis=axis).astype(np.float32), at) >= 0.5
    picture = np.repeat(gray[..., None], 3, axis=2)
    if is_tinted:
        picture[mask] = OUTLINE_RGB
    else:
        picture[binary_dilation(mask, np.ones((3, 3), bool)) & ~mask] = OUTLINE_RGB
    return Image.fromarray(picture)


def describe(finding: Finding) -> str:
    """What is stated of a finding, in few words."""
    size = None if finding.size_mm is None else f"{finding.size_mm} mm"
    percent = None if finding.percent is None else f"{finding.percent} %"
    return ", ".join(filter(None, (finding.side, finding.lobe, finding.amount, finding.detail, size, percent)))


def _interpolate(cut: Shaped[np.ndarray, "across up"], at: list[np.ndarray]) -> Shaped[np.ndarray, "row column"]:
    """Values between the voxels of a slice, air outside it; columns are the first axis, rows the second."""
    across, up = np.meshgrid(*at, indexing="xy")
    outside = 0.0 if cut.dtype == np.float32 else -1000.0
    return map_coordinates(cut.astype(np.float32), [across, up], order=1, cval=outside)


if __name__ == "__main__":
    main()
