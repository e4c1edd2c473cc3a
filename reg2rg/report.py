"""A report in which every sentence belongs to a region: Report, RegionReport, Sentence."""

import re
from dataclasses import dataclass, field
from pathlib import PurePath

DISCLAIMER = "Research software, not a medical device. This report is unverified: it was written by a program."


@dataclass(frozen=True)
class Sentence:
    """One sentence of a region's text.

    Attributes:
        text: the sentence.
        abnormalities: CT-RATE names of what it states as present; None where nothing has read the sentence.
    """

    text: str
    abnormalities: tuple[str, ...] | None = None


@dataclass(frozen=True)
class RegionReport:
    """What the report says about one region, and where that region lies.

    Attributes:
        index: the region's number in the prompt ("The region 3 is ...").
        name: the region's name, known from its mask.
        recognized_as: the name the model gave it from its voxels alone; None if it wrote nothing about it.
        sentences: the region's text, sentence by sentence.
        volume_ml: volume of the mask.
        box_mm: opposite corners of the mask's box, in mm, RAS+: ((x, y, z) lowest, (x, y, z) highest).
        label: the region's bit in ``regions.nii.gz``.
        mask_source: where the mask came from.
        mask_doubts: why the mask is implausible, a sentence each; empty if nothing speaks against it.
    """

    index: int
    name: str
    recognized_as: str | None
    sentences: tuple[Sentence, ...]
    volume_ml: float
    box_mm: tuple[tuple[float, float, float], tuple[float, float, float]]
    label: int
    mask_source: str = ""
    mask_doubts: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The region's whole text."""
        return " ".join(sentence.text for sentence in self.sentences)

    @property
    def agrees(self) -> bool:
        """Whether the model recognized the region that the mask shows."""
        return self.recognized_as == self.name

    @property
    def taken_for(self) -> str:
        """The name the model gave it, as a reader is told."""
        return self.recognized_as or "nothing"


@dataclass(frozen=True)
class ModelSource:
    """Which model wrote a report.

    Attributes:
        name: a shipped model's name, or the folder.
        sha256: of the weights.
        version: of reg2rg.
        notice: what must be said wherever this model is used; empty for a model of which we know nothing.
    """

    name: str
    sha256: str
    version: str
    notice: str = ""

    @property
    def short_name(self) -> str:
        """The name without the folders above it, which a document that is sent away should not tell.

        >>> ModelSource("models/published", "", "").short_name
        'published'
        """
        return PurePath(self.name).name or self.name


@dataclass(frozen=True)
class Report:
    """The report of one study.

    Attributes:
        study_id: as in Study.
        source: where the volume came from.
        spacing_mm, size_xyz, orientation: of the volume as scanned, in its own axes.
        model: which model wrote it.
        regions: in the order of the prompt.
        other: text that belongs to no region, by title (models trained with an "other report").
        generated: what the model wrote, word for word.
        warnings: what the reader should know, a sentence each.
        seconds: wall time by stage.
    """

    study_id: str
    source: str
    spacing_mm: tuple[float, float, float]
    size_xyz: tuple[int, int, int]
    orientation: str
    model: ModelSource
    regions: tuple[RegionReport, ...]
    other: dict[str, str] = field(default_factory=dict)
    generated: str = ""
    warnings: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The whole report: region after region, then what belongs to none."""
        return " ".join(text for text in (*(region.text for region in self.regions), *self.other.values()) if text)

    @property
    def recognition(self) -> str:
        """How many regions the model recognized, as a reader is told."""
        agree = sum(region.agrees for region in self.regions)
        return f"{agree} of {len(self.regions)} regions recognized as what their masks show"

    @property
    def recognition_accuracy(self) -> float:
        """Regions recognized as what they are, of those in the prompt."""
        return sum(region.agrees for region in self.regions) / len(self.regions) if self.regions else 0.0


def split_sentences(text: str) -> tuple[str, ...]:
    """Sentences of a report text: split after ``.``, ``!`` or ``?`` and a blank.

    >>> split_sentences("A 4.5 mm nodule is seen. No effusion.")
    ('A 4.5 mm nodule is seen.', 'No effusion.')
    """
    return tuple(sentence for sentence in re.split(r"(?<=[.!?])\s+", text.strip()) if sentence)
