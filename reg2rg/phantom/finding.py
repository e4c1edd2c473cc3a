"""What can be wrong with a phantom, as a report can state it: the list of kinds, and one Finding."""

from dataclasses import dataclass, field

from reg2rg.abnormalities import ABNORMALITIES

AMOUNTS = ("small", "moderate", "large")
"""Steps of an amount or an extent; reports have words of their own for them (mild, severe, ...)."""

SIDES = ("left", "right")
LOBES = ("upper lobe", "middle lobe", "lower lobe")


@dataclass(frozen=True)
class Finding:
    """One lesion as a report can state it; None where nothing is stated.

    Attributes:
        abnormality: a name of `KINDS`.
        region: the region under which it is reported.
        side: ``left``, ``right``, or None.
        lobe: ``upper lobe``, ``middle lobe``, ``lower lobe``, or None.
        size_mm: greatest diameter or thickness in whole mm, or None.
        amount: ``small``, ``moderate``, ``large``, or None.
        percent: a share in whole percent (cardiothoracic ratio, loss of height), or None.
        detail: one of the abnormality's `Kind.details`, or None.
        lesion: the lesion's bit in the study's lesion field; findings are compared without it.
    """

    abnormality: str
    region: str
    side: str | None = None
    lobe: str | None = None
    size_mm: int | None = None
    amount: str | None = None
    percent: int | None = None
    detail: str | None = None
    lesion: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Kind:
    """What is known of an abnormality's findings: where they are reported, and which attributes each of them has.

    Attributes:
        name: of the abnormality.
        region: under which it is reported.
        states: attributes of `Finding` that every finding of this kind has; the others are None.
        details: the words that `Finding.detail` can be, where it is among them.
    """

    name: str
    region: str
    states: tuple[str, ...] = ()
    details: tuple[str, ...] = ()


_STATES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Medical material": (("side", "detail"), ("port", "pacemaker")),
    "Arterial wall calcification": (("amount", "detail"), ("aortic arch", "descending aorta", "thoracic aorta")),
    "Cardiomegaly": (("percent",), ()),
    "Pericardial effusion": (("size_mm",), ()),
    "Coronary artery wall calcification": (
        ("amount", "detail"),
        ("left anterior descending", "right", "circumflex", "three-vessel"),
    ),
    "Hiatal hernia": (("size_mm", "detail"), ("air-filled", "fluid-filled")),
    "Lymphadenopathy": (("size_mm", "detail"), ("paratracheal", "prevascular", "subcarinal")),
    "Emphysema": (("amount",), ()),
    "Atelectasis": (("side", "lobe", "amount"), ()),
    "Lung nodule": (("side", "lobe", "size_mm", "detail"), ("solid", "calcified", "ground-glass")),
    "Lung opacity": (("side", "lobe", "amount"), ()),
    "Pulmonary fibrotic sequela": (("side", "lobe", "amount"), ()),
    "Pleural effusion": (("side", "size_mm", "amount"), ()),
    "Mosaic attenuation pattern": (("amount",), ()),
    "Peribronchial thickening": (("amount",), ()),
    "Consolidation": (("side", "lobe", "amount"), ()),
    "Bronchiectasis": (("side", "lobe", "amount"), ()),
    "Interlobular septal thickening": (("amount",), ()),
}

# What regions can have beside the 18 of CT-RATE. Vertebrae are counted from the carina, which lies at T5.
_OTHERS = (
    Kind("Vertebral compression", "bone", ("percent", "detail"), tuple(f"T{n}" for n in range(4, 12))),
    Kind("Rib fracture", "bone", ("side", "detail"), ("anterior", "lateral", "posterior")),
    Kind("Liver lesion", "abdomen", ("side", "size_mm", "detail"), ("cystic", "calcified", "hypodense")),
    Kind("Thyroid nodule", "thyroid", ("side", "size_mm")),
    Kind("Breast mass", "breast", ("side", "size_mm")),
)

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (*(Kind(a.name, a.region, *_STATES[a.name]) for a in ABNORMALITIES), *_OTHERS)
}
"""Everything that this world can draw: the 18 abnormalities of CT-RATE in their order, then the others."""

# Where classes of size begin, in mm: nodules (MacMahon et al., Radiology 2017; masses from 30 mm are not drawn),
# pericardial effusions (Weitzman et al., 1984), short axes of nodes; hernias and the rest by what changes a reading.
_SIZE_BORDERS_MM: dict[str, tuple[int, ...]] = {
    "Lung nodule": (6, 10, 20),
    "Pericardial effusion": (10, 20),
    "Lymphadenopathy": (15, 20),
    "Hiatal hernia": (45,),
    "Liver lesion": (20, 40),
    "Thyroid nodule": (15,),
    "Breast mass": (20,),
}


def size_class(finding: Finding) -> str | int | None:
    """The amount, or the class of the size in mm (0 is the smallest); None where neither is known.

    >>> size_class(Finding("Lung nodule", "lung", size_mm=12)), size_class(Finding("Emphysema", "lung", amount="small"))
    (2, 'small')
    """
    if finding.amount is not None:
        return finding.amount
    borders = _SIZE_BORDERS_MM.get(finding.abnormality)
    if borders is None or finding.size_mm is None:
        return None
    return sum(finding.size_mm >= border for border in borders)
