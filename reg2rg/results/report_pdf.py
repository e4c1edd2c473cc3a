"""``report.pdf``: the report to print and to file; the same report gives the same bytes.

Letters of Latin, Greek and Cyrillic come from the fonts beside this file, which are embedded. Of any other letter the
code point is printed, ``[U+5C71]``: a font that is not embedded may be missing where the document is read, and text
that vanishes is worse than text that looks odd. report.html shows all of them.
"""

import io
import re
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from reportlab import rl_config
from reportlab.lib.colors import Color, HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    Image,
    KeepTogether,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

from reg2rg.dicom.identity import identify
from reg2rg.regions import get_region
from reg2rg.report import DISCLAIMER, RegionReport, Report
from reg2rg.results.picture import ReportPictures, SlicePicture
from reg2rg.volume import DicomSeries

_REGULAR, _BOLD = "reg2rg-regular", "reg2rg-bold"
_INK, _SOFT, _LINE, _WARN, _WARN_BACK = map(HexColor, ("#1c2733", "#5b6875", "#d5dce4", "#8a4b00", "#fdf3e4"))
_MARGIN, _TOP, _BOTTOM = 16 * mm, 12 * mm, 16 * mm
_WIDTH = A4[0] - 2 * _MARGIN
_PICTURES_WIDTH, _PICTURES_HEIGHT = 84 * mm, 27 * mm
_OVERVIEW_HEIGHT = 52 * mm
_GAP = 1.2 * mm  # between pictures
_WIDEST = 2.0  # width of a picture in heights of its row
_JPEG: dict[str, Any] = {"format": "JPEG", "quality": 80, "subsampling": 0}  # whole colour: outlines are one pixel wide


def report_to_pdf(report: Report, pictures: ReportPictures, series: DicomSeries | None = None) -> bytes:
    """The document.

    Args:
        report: what to show.
        pictures: of its regions.
        series: the DICOM objects it was made from, which name patient and study; None if there are none.
    """
    _set_up_reportlab()
    story = [
        Paragraph(f"Report of {_markup(report.study_id)}", _TITLE),
        _facts(report, series),
        *_warnings(report),
        Spacer(0, 2 * mm),
        _strip(pictures.overview, _WIDTH, _OVERVIEW_HEIGHT),
        Paragraph(
            "All regions in the colours that stand beside them below, through the middle of the largest one; below, "
            "each through its own middle. Radiological convention: the patient's right is on the left; sagittal slices "
            "have anterior on the left.",
            _NOTE,
        ),
        Spacer(0, 2 * mm),
        *(_region(region, pictures.regions[region.name]) for region in report.regions),
        *(_other(title, text) for title, text in report.other.items()),
    ]
    buffer = io.BytesIO()
    document = BaseDocTemplate(
        buffer,
        pagesize=A4,
        title=f"Report of {_printable(report.study_id)}",
        author=f"reg2rg {report.model.version}",
        subject=DISCLAIMER,
        lang="en",
        initialFontName=_REGULAR,
        pageCompression=1,
        invariant=1,  # no time, no random identifiers
    )
    head = _Head(report)
    top = _TOP + head.height + 3 * mm
    frame = Frame(_MARGIN, _BOTTOM, _WIDTH, A4[1] - _BOTTOM - top, 0, 0, 0, 0)
    document.addPageTemplates(PageTemplate(frames=[frame], onPage=lambda canvas, _: head.draw(canvas)))
    document.build(story, canvasmaker=_canvas_with_footer(report))
    return buffer.getvalue()


class _Head:
    """What stands on top of each page: what the document is not."""

    def __init__(self, report: Report) -> None:
        notice = f"<br/>{_markup(report.model.notice)}" if report.model.notice else ""
        text = Paragraph(f'<font name="{_BOLD}">{_markup(DISCLAIMER)}</font>{notice}', _DISCLAIMER)
        self.box = Table([[text]], colWidths=[_WIDTH], style=_HEAD_BOX)
        self.height = self.box.wrap(_WIDTH, A4[1])[1]

    def draw(self, canvas: Canvas) -> None:
        """Draws it on a page."""
        self.box.drawOn(canvas, _MARGIN, A4[1] - _TOP - self.height)


def _canvas_with_footer(report: Report) -> type[Canvas]:
    """A canvas that writes, below each page, who wrote the report, and the number of the page among all."""
    model = report.model
    names = f"{_shortened(report.study_id)} · reg2rg {model.version} · model {_shortened(model.short_name)}"
    left = f"{_markup(names)}<br/>model SHA-256 {_markup(model.sha256)}"

    class FooterCanvas(Canvas):
        """Keeps its pages until their number is known."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.pages: list[dict[str, Any]] = []

        def showPage(self) -> None:
            """Ends a page; it is not written yet."""
            self.pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            """Writes all pages."""
            for number, page in enumerate(self.pages, start=1):
                self.__dict__.update(page)
                right = Paragraph(f"page {number} of {len(self.pages)}", _FOOTER_RIGHT)
                footer = Table([[Paragraph(left, _FOOTER), right]], [_WIDTH - 25 * mm, 25 * mm], style=_FOOTER_BOX)
                height = footer.wrap(_WIDTH, _BOTTOM)[1]
                footer.drawOn(self, _MARGIN, _BOTTOM - 3 * mm - height)
                super().showPage()
            super().save()

    return FooterCanvas


def _facts(report: Report, series: DicomSeries | None) -> Table:
    size = " × ".join(str(n) for n in report.size_xyz)
    spacing = " × ".join(f"{spacing:.4g}" for spacing in report.spacing_mm)
    facts = _identity(series) if series else {}
    facts["CT"] = f"{size} voxels at {spacing} mm, stored {report.orientation}"
    facts["Recognition"] = report.recognition
    facts["Abnormalities"] = _abnormalities(report)
    rows = [[Paragraph(name, _FACT_NAME), Paragraph(_markup(text), _FACT)] for name, text in facts.items()]
    return Table(rows, [28 * mm, _WIDTH - 28 * mm], style=_FACTS, splitInRow=1)


def _identity(series: DicomSeries) -> dict[str, str]:
    """Patient and study, as far as the header names them: without a name, which the numbers stand for."""
    identity = identify(series)
    date = re.sub(r"^(\d{4})(\d{2})(\d{2})$", r"\1-\2-\3", identity.study_date)
    patient = f"{identity.patient_id} ({identity.issuer})" if identity.issuer else identity.patient_id
    facts = {"Patient ID": patient, "Accession number": identity.accession_number, "Study date": date}
    return {name: text for name, text in (facts | {"Study UID": series.study_uid}).items() if text}


def _abnormalities(report: Report) -> str:
    """What is stated as present, each once with its regions; or that nothing has read the sentences."""
    read = [(region, sentence) for region in report.regions for sentence in region.sentences]
    regions: dict[str, list[str]] = {}
    for region, sentence in read:
        place = region.name if region.agrees else f"{region.name}, not recognized"
        for name in sentence.abnormalities or ():
            regions.setdefault(name, [])
            if place not in regions[name]:
                regions[name].append(place)
    if regions:
        return "; ".join(f"{name} ({'; '.join(places)})" for name, places in regions.items())
    return "none of the 18 stated" if all(sentence.abnormalities is not None for _, sentence in read) else "not coded"


def _warnings(report: Report) -> list[Flowable]:
    lines = [Paragraph(_markup(warning), _WARNING, bulletText="•") for warning in report.warnings]
    return [Spacer(0, 1.5 * mm), Paragraph("Warnings", _WARNING_TITLE), *lines] if lines else []


def _region(region: RegionReport, pictures: tuple[SlicePicture, ...]) -> Flowable:
    """One region: what is said about it on the left, where it lies on the right."""
    if region.agrees:
        verdict = f'<font color="{_SOFT.hexval()}">✓ recognized</font>'
    else:
        taken_for = _markup(region.taken_for)
        verdict = f'<font color="{_WARN.hexval()}">taken for: {taken_for}</font>'
    name = region.name[:1].upper() + region.name[1:]
    heading = f'<font name="{_BOLD}" size="10">{_markup(name)}</font>&nbsp;&nbsp; {verdict}'
    said = " ".join(
        f'<font name="{_BOLD}">{_markup(sentence.text)}</font>' if sentence.abnormalities else _markup(sentence.text)
        for sentence in region.sentences
    )
    stated = dict.fromkeys(name for sentence in region.sentences for name in sentence.abnormalities or ())
    source = f" · mask from {_markup(region.mask_source)}" if region.mask_source else ""
    cell = [
        Paragraph(heading, _FACT),
        Paragraph(said or "The model wrote nothing about this region.", _TEXT if said else _SILENT),
        *([Paragraph(f"Abnormalities: {_markup(', '.join(stated))}", _STATED)] if stated else []),
        Paragraph(f"region {region.label} · {region.volume_ml:.0f} ml{source}", _NOTE),
    ]
    if region.mask_doubts:
        cell.append(Paragraph(f"Doubtful mask: {_markup('; '.join(region.mask_doubts))}", _DOUBT))
    strip = _strip(pictures, _PICTURES_WIDTH, _PICTURES_HEIGHT)
    color = Color(*(value / 255 for value in get_region(region.name).color_rgb))
    bar = TableStyle([("LINEBEFORE", (0, 0), (0, -1), 2.5, color)], parent=_REGION_BOX)
    columns = [_WIDTH - _PICTURES_WIDTH, _PICTURES_WIDTH]
    return KeepTogether([Table([[cell, strip]], columns, style=bar, splitInRow=1), Spacer(0, 2 * mm)])


def _other(title: str, text: str) -> Flowable:
    cell = [
        Paragraph(f'<font name="{_BOLD}" size="10">{_markup(title)}</font>&nbsp;&nbsp; no region', _FACT),
        Paragraph(_markup(text) or "Nothing.", _TEXT if text else _SILENT),
    ]
    return KeepTogether([Table([[cell]], [_WIDTH], style=_REGION_BOX, splitInRow=1), Spacer(0, 2 * mm)])


def _strip(pictures: tuple[SlicePicture, ...], width: float, height: float) -> Table:
    """Pictures side by side on black, equally high, as large as they fit; those of thin slabs are lower."""
    shapes = [picture.image.width / picture.image.height for picture in pictures]
    shares = [min(shape, _WIDEST) for shape in shapes]
    height = min(height, (width - _GAP * (len(pictures) + 1)) / sum(shares))
    images = []
    for picture, shape, share in zip(pictures, shapes, shares, strict=True):
        buffer = io.BytesIO()
        picture.image.save(buffer, **_JPEG)
        images.append(Image(buffer, share * height, share * height / shape))
    columns = [image.drawWidth + _GAP for image in images]
    columns[-1] += _GAP
    return Table([images], columns, [height + 2 * _GAP], style=_PICTURES, hAlign="LEFT")


def _shortened(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _markup(text: str) -> str:
    """Text as reportlab's markup."""
    return escape(_printable(text))


def _printable(text: str) -> str:
    """Text with single blanks; a letter that the fonts lack as its code point."""
    known = pdfmetrics.getFont(_REGULAR).face.charToGlyph
    letters = " ".join(text.split())
    return "".join(letter if ord(letter) in known else f"[U+{ord(letter):04X}]" for letter in letters)


@cache
def _set_up_reportlab() -> None:
    """Makes the fonts known to reportlab, and lets it write binary streams: text would take longer and more room.

    Both are settings of the process.
    """
    rl_config.useA85 = 0
    folder = files("reg2rg") / "results" / "fonts"
    for name, file in ((_REGULAR, "regular.ttf"), (_BOLD, "bold.ttf")):
        pdfmetrics.registerFont(TTFont(name, str(folder / file)))


def _style(size: float, **more: Any) -> ParagraphStyle:
    font = {"fontName": _REGULAR, "bulletFontName": _REGULAR, "fontSize": size, "leading": 1.3 * size}
    return ParagraphStyle("", **{**font, "textColor": _INK, **more})


_TITLE = _style(15, fontName=_BOLD, spaceAfter=2 * mm)
_TEXT, _SILENT = _style(9, spaceBefore=0.8 * mm), _style(9, spaceBefore=0.8 * mm, textColor=_SOFT)
_FACT, _FACT_NAME = _style(8.5), _style(8.5, textColor=_SOFT)
_STATED = _style(8, fontName=_BOLD, spaceBefore=0.8 * mm)
_NOTE = _style(7.2, textColor=_SOFT, spaceBefore=0.8 * mm)
_DOUBT = _style(7.5, textColor=_WARN, spaceBefore=0.8 * mm)
_WARNING = _style(8.5, leftIndent=3 * mm)
_WARNING_TITLE = _style(8.5, fontName=_BOLD, textColor=_WARN)
_DISCLAIMER = _style(8.5, textColor=_WARN)
_FOOTER, _FOOTER_RIGHT = _style(7, textColor=_SOFT), _style(7, textColor=_SOFT, alignment=TA_RIGHT)

_OWN_FONT = ("FONTNAME", (0, 0), (-1, -1), _REGULAR)  # a table selects its font even where it holds no text
_TIGHT = [
    _OWN_FONT,
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    *((f"{side}PADDING", (0, 0), (-1, -1), 0) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")),
]
_FACTS = TableStyle([*_TIGHT, ("BOTTOMPADDING", (0, 0), (-1, -1), 0.6 * mm)])
_FOOTER_BOX = TableStyle(
    [*_TIGHT, ("LINEABOVE", (0, 0), (-1, 0), 0.5, _LINE), ("TOPPADDING", (0, 0), (-1, -1), 1 * mm)]
)
_REGION_BOX = TableStyle([*_TIGHT, ("LEFTPADDING", (0, 0), (0, -1), 3 * mm), ("RIGHTPADDING", (0, 0), (0, -1), 3 * mm)])
_HEAD_BOX = TableStyle(
    [
        _OWN_FONT,
        ("BACKGROUND", (0, 0), (-1, -1), _WARN_BACK),
        ("LINEBEFORE", (0, 0), (0, -1), 3, _WARN),
        ("LEFTPADDING", (0, 0), (-1, -1), 3 * mm),
    ]
)
_PICTURES = TableStyle(
    [
        *_TIGHT,
        ("BACKGROUND", (0, 0), (-1, -1), HexColor("#000000")),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ("LEFTPADDING", (0, 0), (-1, -1), _GAP),
    ]
)
