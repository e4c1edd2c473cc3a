"""``dicom/``: a report as DICOM objects, for a study that came from DICOM.

The UIDs follow from the series, the model, the version and the content (`dicom.derived`): a study that is done again
with the same result gives the same objects, of which an archive keeps one each. Only the moment of creation in them
differs.
"""

from pathlib import Path

from reg2rg.dicom.derived import write_object
from reg2rg.dicom.frames import pydicom_silent
from reg2rg.report import Report
from reg2rg.results.dicom_pdf import encapsulate_pdf
from reg2rg.results.dicom_seg import make_segmentation, to_acquired
from reg2rg.results.dicom_sr import make_structured_report
from reg2rg.volume import DicomSeries, RegionMasks

SEGMENTATION_FILE = "segmentation.dcm"
STRUCTURED_REPORT_FILE = "report_sr.dcm"
PDF_FILE = "report_pdf.dcm"


def write_dicom_objects(folder: Path, report: Report, series: DicomSeries, masks: RegionMasks, pdf: bytes) -> None:
    """Writes the segmentation, the structured report that refers to it, and the report as a document.

    There is no segmentation if none of the masks lies on a slice: where a gantry tilt was taken out, the volume has
    corners that were never scanned.

    Args:
        folder: made if it is missing.
        report: the report.
        series: where the CT came from; objects can be derived from it (`dicom.derived.why_no_objects`).
        masks: on the CT's own grid, as `load.to_native` gives them; not empty.
        pdf: the report as a document.
    """
    folder.mkdir(exist_ok=True)
    with pydicom_silent():  # the header's values are taken over as they are, and its remarks would quote them
        acquired = to_acquired(series, masks)
        segmentation = make_segmentation(series, acquired, report.model) if acquired.present else None
        if segmentation is not None:
            write_object(folder / SEGMENTATION_FILE, segmentation)
        write_object(folder / STRUCTURED_REPORT_FILE, make_structured_report(report, series, segmentation))
        write_object(folder / PDF_FILE, encapsulate_pdf(pdf, series, report.model))
