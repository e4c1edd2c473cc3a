"""The DICOM door: a node that takes CT images (C-STORE) and answers C-ECHO."""

import threading
from typing import Any, cast

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from reg2rg.errors import InputError
from reg2rg.serve.inbox import CT_CLASSES, Inbox
from reg2rg.serve.log import LOG
from reg2rg.serve.metrics import Metrics
from reg2rg.serve.rate_limit import RateLimit
from reg2rg.serve.refusal import Reason, Refusal
from reg2rg.serve.settings import ServeSettings
from reg2rg.serve.worker import place_of

_SUCCESS = 0x0000
_OUT_OF_RESOURCES = 0xA700  # PS3.4, table B.2-1
_NOT_AS_EXPECTED = 0xA900
_CANNOT_UNDERSTAND = 0xC000
_STATUS = {
    Reason.DISK_FULL: _OUT_OF_RESOURCES,
    Reason.TOO_LARGE: _OUT_OF_RESOURCES,
    Reason.NOT_DICOM: _NOT_AS_EXPECTED,
}
_TIMEOUT_S = 60.0
_MOST_ASSOCIATIONS = 16
_MAX_PDU_BYTES = 2**20  # we announce 16 KiB; an association request may be longer
_SYNTAXES = (  # all that the reader decodes, but the deflated one, which may unpack to anything
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEGLosslessSV1,
    JPEGLossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEG2000Lossless,
    JPEG2000,
    HTJ2KLossless,
    HTJ2K,
    RLELossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
)


class Receiver:
    """The DICOM node; it listens from its making.

    Args:
        settings: of the service.
        inbox: where objects go.
        metrics: where they are counted.

    Raises:
        InputError: if the port cannot be had.
    """

    def __init__(self, settings: ServeSettings, inbox: Inbox, metrics: Metrics) -> None:
        self._inbox = inbox
        self._metrics = metrics
        entity = AE(settings.ae_title)
        entity.require_called_aet = True
        entity.require_calling_aet = list(settings.allowed_titles)
        entity.maximum_associations = _MOST_ASSOCIATIONS
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _TIMEOUT_S
        entity.add_supported_context(Verification)
        for sop_class in CT_CLASSES:
            entity.add_supported_context(sop_class, list(_SYNTAXES))
        try:
            self._server = entity.make_server(
                (settings.listen, settings.dicom_port),
                evt_handlers=[(evt.EVT_C_STORE, self._store), (evt.EVT_REJECTED, self._count_rejected)],
                server_class=_Server,
                request_handler=_Handler,
                limit=RateLimit(settings.requests_per_minute),
                metrics=metrics,
                max_message_bytes=settings.max_instance_mib * 2**20 + _MAX_PDU_BYTES,
            )
        except OSError as error:
            raise InputError(
                f"--dicom-port {settings.dicom_port}: cannot listen there ({error.strerror}); choose another"
            ) from error
        entity._servers.append(self._server)  # as `AE.start_server` does; its `shutdown` takes it out
        threading.Thread(target=self._server.serve_forever, name="dicom", daemon=True).start()

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Takes nothing more; what was answered with success is safe."""
        self._server.shutdown()
        for association in self._server.active_associations:
            association.abort()

    def _store(self, event: evt.Event) -> int:
        """Takes one object; success is answered only when it is safe on the disk."""
        cast(_BoundedSocket, event.assoc.dul.socket).num_bytes = 0
        try:
            self._inbox.receive(event.encoded_dataset())
        except Refusal as error:
            self._metrics.count_refused(error.reason)
            return _STATUS.get(error.reason, _CANNOT_UNDERSTAND)
        except Exception as error:  # the sender must not think that it is safe
            LOG.error("an object could not be kept: %s", place_of(error))
            return _OUT_OF_RESOURCES
        self._metrics.count_instance()
        return _SUCCESS

    def _count_rejected(self, _: evt.Event) -> None:
        self._metrics.count_refused(Reason.NOT_ALLOWED)


class _Server(ThreadedAssociationServer):
    """A server that closes connections which come too often."""

    def __init__(self, *given: Any, limit: RateLimit, metrics: Metrics, max_message_bytes: int, **named: Any) -> None:
        super().__init__(*given, **named)
        self._limit = limit
        self._metrics = metrics
        self.max_message_bytes = max_message_bytes

    def verify_request(self, request: Any, client_address: Any) -> bool:
        if self._limit.allows(str(client_address[0])):
            return True
        self._metrics.count_refused(Reason.TOO_OFTEN)
        return False

    def handle_error(self, request: Any, client_address: Any) -> None:
        LOG.warning("a DICOM connection ended in an error")


class _Handler(RequestHandler):
    """Gives each association a socket that reads only so far."""

    def _create_association(self) -> Any:
        association = super()._create_association()
        # The socket has told the association's state machine that it is there, so it cannot be exchanged for another.
        bounded = cast(_BoundedSocket, association.dul.socket)
        bounded.__class__ = _BoundedSocket
        bounded.max_message_bytes = cast(_Server, self.server).max_message_bytes
        return association


class _BoundedSocket(AssociationSocket):
    """A socket from which no endless PDU and no endless object can be read into memory."""

    max_message_bytes: int
    num_bytes = 0
    """Read since the last object."""

    def recv(self, nr_bytes: int) -> bytearray:
        """Reads `nr_bytes`; the connection ends if that is too much at once or since the last object."""
        self.num_bytes += nr_bytes
        if nr_bytes > _MAX_PDU_BYTES or self.num_bytes > self.max_message_bytes:
            raise OSError("more than an object may have")
        return super().recv(nr_bytes)
