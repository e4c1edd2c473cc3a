"""A DICOM node to which results go by C-STORE."""

from collections.abc import Sequence
from pathlib import Path

import pydicom
from pynetdicom import AE

from reg2rg.errors import InputError
from reg2rg.serve.refusal import Unreachable

_TIMEOUT_S = 60.0
_SUCCESS = 0x0000
_WARNINGS = range(0xB000, 0xC000)  # stored, with a remark (PS3.4, table B.2-1)
_DUPLICATE = 0x0111  # PS3.7, annex C: the node has this SOP instance
_NO_ROOM = range(0xA700, 0xA800)
_NAME = "the DICOM node for results"
_WRONG_KIND = f"{_NAME} does not take all kinds of results"


class DicomNode:
    """A DICOM node by AE title, host and port; we call ourselves `own_title`."""

    def __init__(self, title: str, host: str, port: int, own_title: str) -> None:
        self._title, self._host, self._port = title, host, port
        self._own_title = own_title

    def store(self, files: Sequence[Path]) -> None:
        """Stores DICOM files (C-STORE); those that the node has already count as stored.

        Raises:
            Unreachable: if the node does not answer, or has no room.
            InputError: if it refuses.
        """
        datasets = [pydicom.dcmread(path) for path in files]
        entity = AE(self._own_title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = _TIMEOUT_S
        kinds = dict.fromkeys((dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID) for dataset in datasets)
        for kind in kinds:
            entity.add_requested_context(*kind)
        association = entity.associate(self._host, self._port, ae_title=self._title)
        if not association.is_established:
            if association.is_rejected:
                raise InputError(f"{_NAME} does not accept us; check the AE titles on both sides")
            if association.rejected_contexts:
                raise InputError(_WRONG_KIND)
            raise Unreachable(f"{_NAME} does not answer")
        try:
            accepted = {
                (context.abstract_syntax, context.transfer_syntax[0]) for context in association.accepted_contexts
            }
            if not accepted >= set(kinds):
                raise InputError(_WRONG_KIND)
            for dataset in datasets:
                _check(association.send_c_store(dataset).get("Status"))
        finally:
            association.release()


def _check(status: int | None) -> None:
    if status is None:
        raise Unreachable(f"{_NAME} did not answer")
    if status in _NO_ROOM:
        raise Unreachable(f"{_NAME} has no room (status {status:04X})")
    if status not in (_SUCCESS, _DUPLICATE) and status not in _WARNINGS:
        raise InputError(f"{_NAME} refused an object (status {status:04X})")
