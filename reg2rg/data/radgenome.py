"""RadGenome-ChestCT (Zhang et al. 2024) in its own layout, train and valid alike.

    {train,valid}_preprocessed/train_1/train_1a/train_1_a_1.nii.gz          a volume per reconstruction
    {train,valid}_region_mask/seg_train_1_a_1/lung.nii.gz                   a file per region
    radgenome_files/{train,validation}_region_report.csv                    Volumename, Anatomy, Sentence

Each reconstruction is a study of its own, with its own masks and texts; its key is the volume's file name.
"""

from pathlib import Path

from reg2rg.data.listing import Listing, list_studies
from reg2rg.data.region_texts import read_region_texts


def report_table(root: Path, split: str) -> Path:
    """Where RadGenome keeps the region texts of a split; its name for ``valid`` is *validation* there."""
    return root / "radgenome_files" / f"{'validation' if split == 'valid' else split}_region_report.csv"


def list_radgenome(root: Path, split: str) -> Listing:
    """The studies of one split under `root`, the folder that holds ``train_preprocessed`` and the others.

    The table may be missing: then no study has a text.

    Raises:
        InputError: if there is no volume, none has a mask, or the table is none.
    """
    return list_studies(
        f"{root} ({split})",
        volumes=root / f"{split}_preprocessed",
        mask_folder=lambda name: root / f"{split}_region_mask" / f"seg_{name}",
        texts=read_region_texts(report_table(root, split)),
        key=lambda path: path.name,
    )
