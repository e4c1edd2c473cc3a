"""The ten anatomical regions: their names, their order, their bits, and what else they are called.

The names and the order are those of RadGenome-ChestCT (Zhang et al. 2024), as used by Reg2RG (Chen et al., IEEE TMI
2025, section III). Everything that lists the regions reads this file.
"""

from dataclasses import dataclass

from reg2rg.errors import InputError


@dataclass(frozen=True)
class Region:
    """One anatomical region.

    Attributes:
        index: position in the list of ten; also the region's bit in a mask file.
        name: the published name, as the model writes it.
        synonyms: other names under which the region is accepted in file names and on the command line.
        color_rgb: the colour of the region in pictures, 0 to 255.
    """

    index: int
    name: str
    synonyms: tuple[str, ...]
    color_rgb: tuple[int, int, int]

    @property
    def bit(self) -> int:
        """The region's bit in the uint16 field of a mask file: ``1 << index``."""
        return 1 << self.index


REGIONS: tuple[Region, ...] = tuple(
    Region(index, name, synonyms, color)
    for index, (name, synonyms, color) in enumerate(
        (
            ("abdomen", ("upper abdomen",), (214, 137, 16)),
            ("bone", ("bones", "skeleton"), (240, 240, 200)),
            ("breast", ("breasts",), (236, 112, 160)),
            ("esophagus", ("oesophagus",), (160, 110, 60)),
            ("heart", (), (214, 48, 49)),
            ("lung", ("lungs",), (72, 149, 239)),
            ("mediastinum", (), (156, 89, 182)),
            ("pleura", ("pleural", "pleurae"), (46, 204, 113)),
            ("thyroid", ("thyroid gland",), (241, 196, 15)),
            ("trachea and bronchie", ("trachea", "trachea and bronchi", "airways"), (26, 188, 156)),
        )
    )
)

REGION_NAMES: tuple[str, ...] = tuple(region.name for region in REGIONS)


def normalize_name(text: str) -> str:
    """A name as it is compared: lower case, with single blanks for ``_``, ``-`` and runs of blanks.

    >>> normalize_name("Trachea_and_Bronchie")
    'trachea and bronchie'
    """
    return " ".join(text.replace("_", " ").replace("-", " ").lower().split())


_BY_NAME = {normalize_name(name): region for region in REGIONS for name in (region.name, *region.synonyms)}


def find_region(name: str) -> Region | None:
    """The region of this name or synonym, or None.

    >>> find_region("Trachea_and_bronchie").name, find_region("spleen")
    ('trachea and bronchie', None)
    """
    return _BY_NAME.get(normalize_name(name))


def get_region(name: str) -> Region:
    """The region of this name or synonym.

    Raises:
        InputError: if there is none; the message lists the ten names.

    >>> get_region("lungs").index
    5
    """
    region = find_region(name)
    if region is None:
        raise InputError(f"unknown region {name!r}: expected one of {', '.join(REGION_NAMES)}")
    return region
