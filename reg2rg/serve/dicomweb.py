"""The DICOMweb servers that the settings name: studies from one, results to one. No other address is ever contacted."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pydicom
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.uid import UID

from reg2rg.errors import InputError
from reg2rg.serve.data_folder import DataFolder, sync_tree
from reg2rg.serve.inbox import CT_CLASSES
from reg2rg.serve.refusal import Refusal, Unreachable

_TIMEOUT_S = 60.0  # to connect, and between two packets
_FIRST_FINAL, _FIRST_SERVER_ERROR = 400, 500
_TEMPORARY = (408, 425, 429)  # of the codes from 400 to 499
_DUPLICATE = 0x0111  # PS3.7, annex C: the server has this SOP instance
_MIB = 2**20


class DicomWebServer:
    """One DICOMweb server.

    Args:
        url: its address, from the settings.
        authorization: the Authorization header that it wants, or None.
        ca_file: certificates (PEM) by which it is known; empty for the usual ones.
    """

    def __init__(self, url: str, authorization: str | None = None, ca_file: str = "") -> None:
        session = requests.Session()
        session.trust_env = False  # no proxy, and no password from a .netrc
        session.max_redirects = 0
        session.verify = ca_file or True
        headers = {"Authorization": authorization} if authorization else None
        self._client = DICOMwebClient(url.rstrip("/"), session, headers=headers, timeout=_TIMEOUT_S)
        self._client.set_http_retry_params(retry=False)

    def fetch(self, study_uid: str, series_uid: str, folder: Path, data: DataFolder, max_mib: int) -> None:
        """Writes the CT images of a study, or of one of its series, into `folder`, complete or not at all.

        Raises:
            Unreachable: if the server does not answer, or not now.
            InputError: if it refuses, has no CT there, or the study is too large.
        """
        staging = data.new_path()
        staging.mkdir(mode=0o700)
        try:
            with _said("the DICOMweb server"):
                if series_uid:
                    found = self._client.iter_series(study_uid, series_uid, media_types=(_ANY_SYNTAX,))
                else:
                    found = self._client.iter_study(study_uid, media_types=(_ANY_SYNTAX,))
                _write_cts(found, staging, data, max_mib * _MIB)
            sync_tree(staging)
            staging.rename(folder)
        finally:
            data.remove(staging)

    def store(self, files: Sequence[Path]) -> None:
        """Stores DICOM files (STOW-RS); those that the server has already count as stored.

        Raises:
            Unreachable: if the server does not answer, or not now.
            InputError: if it refuses.
        """
        with _said("the DICOMweb server for results"):
            answer = self._client.store_instances([pydicom.dcmread(path) for path in files])
        failed = [item.get("FailureReason") for item in answer.get("FailedSOPSequence", [])]
        if reasons := sorted({int(reason or 0) for reason in failed} - {_DUPLICATE}):
            codes = ", ".join(f"{reason:04X}" for reason in reasons)
            raise InputError(f"the DICOMweb server for results refused {len(failed)} objects (failure reason {codes})")


_ANY_SYNTAX = ("application/dicom", "*")


def _write_cts(found: Iterator[pydicom.Dataset], folder: Path, data: DataFolder, room: int) -> None:
    number = 0
    for dataset in found:
        if UID(dataset.get("SOPClassUID", "")) not in CT_CLASSES:
            continue
        number += 1
        path = folder / f"{number:06d}.dcm"
        try:
            data.check_room()
        except Refusal as error:
            raise Unreachable(str(error)) from error
        dataset.save_as(path, enforce_file_format=True)
        room -= path.stat().st_size
        if room < 0:
            raise InputError("the study is larger than the service accepts")
    if not number:
        raise InputError("the DICOMweb server has no CT images there")


@contextmanager
def _said(server: str) -> Iterator[None]:
    """Says what went wrong with a server, without any address or answer of it."""
    try:
        yield
    except requests.HTTPError as error:
        code = error.response.status_code if error.response is not None else _FIRST_SERVER_ERROR
        if _FIRST_FINAL <= code < _FIRST_SERVER_ERROR and code not in _TEMPORARY:
            raise InputError(f"{server} refused with HTTP {code}") from error
        raise Unreachable(f"{server} answered with HTTP {code}") from error
    except requests.TooManyRedirects as error:
        raise InputError(f"{server} wants to be asked at another address; correct the settings") from error
    except requests.exceptions.SSLError as error:
        raise InputError(f"{server} could not be verified; see --ca-file") from error
    except requests.RequestException as error:
        raise Unreachable(f"{server} does not answer") from error
    except (InputError, Unreachable, OSError):
        raise
    except Exception as error:  # the client and pydicom raise many kinds for bytes that are no answer
        raise InputError(f"{server} gave an answer that could not be read; correct the settings") from error
