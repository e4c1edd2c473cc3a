"""Who draws region masks where none are given.

A segmenter is a module of this package with a function ``segment(volume) -> Segmentation`` and a line in `SEGMENTERS`;
`find_segmenter` in `segmentation.py` imports it when it is asked for.
"""

SEGMENTERS: dict[str, str] = {
    "auto": "the best that can be run here: totalsegmentator, else threshold",
    "totalsegmentator": "all ten regions, by the program TotalSegmentator, which is installed apart",
    "threshold": "classical and offline: lung, pleura, airways, bone, mediastinum; heart and abdomen as coarse boxes",
}
"""Every segmenter by name, and what it is; the list that the command line prints and checks against."""

GIVEN_MASKS: dict[str, str] = {
    "given": "a folder of REGION.nii.gz or of TotalSegmentator's structures, a multi-label file, a DICOM Segmentation, "
    "or REGION=FILE",
    "sat": "the folder that SAT, the paper's segmenter, writes",
}
"""What ``--masks`` takes."""
