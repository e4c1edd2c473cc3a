"""The best segmenter that can be run here."""

from dataclasses import replace

from reg2rg.segment.segmentation import Segmentation
from reg2rg.segment.threshold import segment as segment_by_threshold
from reg2rg.volume import Volume

APPROXIMATE = (
    "the region masks were drawn by HU thresholds and are approximate; "
    "give masks of a trained segmenter (--masks) for anything that matters"
)


def segment(volume: Volume) -> Segmentation:
    """The regions as `threshold` draws them, with a warning that they are approximate.

    Raises:
        InputError: if no lungs are found.
    """
    drawn = segment_by_threshold(volume)
    return replace(drawn, warnings=(APPROXIMATE, *drawn.warnings))
