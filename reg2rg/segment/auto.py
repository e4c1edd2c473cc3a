"""The best segmenter that can be run here: TotalSegmentator, or else thresholds."""

from dataclasses import replace

from reg2rg.errors import InputError
from reg2rg.segment.program import find_program
from reg2rg.segment.segmentation import Segmentation
from reg2rg.segment.threshold import segment as segment_by_threshold
from reg2rg.segment.totalsegmentator import segment as segment_by_totalsegmentator
from reg2rg.volume import Volume


def segment(volume: Volume) -> Segmentation:
    """The regions as TotalSegmentator draws them; where it is missing or fails, as `threshold` does.

    Raises:
        InputError: if ``REG2RG_TOTALSEGMENTATOR`` names no program, or thresholds are used and find no lungs.
    """
    failures: tuple[str, ...] = ()
    if find_program() is not None:
        try:
            return segment_by_totalsegmentator(volume)
        except InputError as error:
            failures = (str(error),)
    drawn = segment_by_threshold(volume)
    return replace(drawn, warnings=(*failures, *drawn.warnings))
