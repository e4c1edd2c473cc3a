"""CTRG-Chest-548K (Tang et al. 2024): a folder of volumes, a folder of masks, a table of region texts.

    ctrg/{train,valid}/volumes/1334.nii.gz
    ctrg/{train,valid}/masks/1334/lung.nii.gz
    ctrg/{train,valid}/region_report.csv            Volumename (1334), Anatomy (a region, or other), Sentence

Its reports speak of regions that have no mask: these texts, and what belongs to no region, make the other report.
"""

from pathlib import Path

from reg2rg.data.listing import Listing, list_studies
from reg2rg.data.region_texts import read_region_texts
from reg2rg.nifti import stem


def list_ctrg(volumes: Path, masks: Path, table: Path) -> Listing:
    """The studies of a folder of volumes; keys are file names without the ending, as text (``1334``).

    The table may be missing: then no study has a text.

    Raises:
        InputError: if there is no volume, none has a mask, or the table is none.
    """
    return list_studies(
        str(volumes),
        volumes=volumes,
        mask_folder=lambda name: masks / name,
        texts=read_region_texts(table, with_other=True),
        key=stem,
        has_other_report=True,
    )
