"""``dicom/report_pdf.dcm``: report.pdf as a DICOM object (Encapsulated PDF, PS3.3, section A.45.1), unverified."""

from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from reg2rg.codes import CHEST_CT_REPORT
from reg2rg.dicom.derived import derive_object
from reg2rg.report import ModelSource
from reg2rg.volume import DicomSeries

SERIES_NUMBER = 9003
_TITLE = "Chest CT report by reg2rg, unverified"


def encapsulate_pdf(pdf: bytes, series: DicomSeries, model: ModelSource) -> Dataset:
    """The object. The same document gives the same bytes: times are empty, which an archive shows as unknown.

    Args:
        pdf: the document, from `report_to_pdf`.
        series: the CT that it reports; `can_be_referred_to`.
        model: who wrote the report.
    """
    encapsulated = derive_object(series, model, EncapsulatedPDFStorage, pdf)
    encapsulated.Modality = "DOC"
    encapsulated.ConversionType = "WSD"  # made on a workstation
    encapsulated.SeriesNumber = SERIES_NUMBER
    encapsulated.SeriesDescription = _TITLE
    encapsulated.InstanceNumber = 1
    encapsulated.ContentDate = encapsulated.ContentTime = encapsulated.AcquisitionDateTime = ""
    encapsulated.BurnedInAnnotation = "YES"  # its pages show the patient's ID and the date of the study
    encapsulated.RecognizableVisualFeatures = "NO"
    encapsulated.SourceInstanceSequence = _sources(series)
    encapsulated.DocumentTitle = _TITLE
    encapsulated.ConceptNameCodeSequence = [_title_code()]
    encapsulated.VerificationFlag = "UNVERIFIED"
    encapsulated.MIMETypeOfEncapsulatedDocument = "application/pdf"
    encapsulated.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)  # values have even lengths (PS3.5, section 7.1.1)
    encapsulated.EncapsulatedDocumentLength = len(pdf)
    return encapsulated


def _sources(series: DicomSeries) -> list[Dataset]:
    """Each object of the series once, however many slices it holds."""
    sources = []
    for uid, class_uid in {slice_.sop_instance_uid: slice_.sop_class_uid for slice_ in series.slices}.items():
        source = Dataset()
        source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = class_uid, uid
        sources.append(source)
    return sources


def _title_code() -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = CHEST_CT_REPORT.value, CHEST_CT_REPORT.scheme
    code.CodeMeaning = CHEST_CT_REPORT.meaning
    return code
