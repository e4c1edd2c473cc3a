"""The DICOM door: who may send what, and that success means safe. Clients are pynetdicom's, on 127.0.0.1."""

import socket
import struct
from collections.abc import Callable, Iterator

import pydicom
import pytest
from house import PATIENT, House
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    JPEGLosslessSV1,
    MRImageStorage,
)
from pynetdicom import AE
from pynetdicom.association import Association

from reg2rg.errors import InputError
from reg2rg.serve.metrics import Metrics
from reg2rg.serve.receiver import Receiver
from reg2rg.serve.settings import ServeSettings

VERIFICATION = "1.2.840.10008.1.1"

Listen = Callable[..., Receiver]


@pytest.fixture
def metrics(house: House) -> Metrics:
    return Metrics(house.queue, house.folder)


@pytest.fixture
def listen(house: House, metrics: Metrics) -> Iterator[Listen]:
    """A receiver with the given settings, at a free port."""
    receivers = []

    def make(**settings: object) -> Receiver:
        given = {"dicom_port": 0, "max_instance_mib": 1, **settings}
        receivers.append(Receiver(ServeSettings(str(house.folder.root), **given), house.inbox, metrics))  # type: ignore[arg-type]
        return receivers[-1]

    yield make
    for receiver in receivers:
        receiver.stop()


def associate(receiver: Receiver, own: str = "CT1", called: str = "REG2RG") -> Association:
    entity = AE(own)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    entity.add_requested_context(VERIFICATION)
    entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    return entity.associate("127.0.0.1", receiver.port, ae_title=called)


def test_a_study_comes_in_and_is_what_was_sent(house: House, slices: list[Dataset], listen: Listen) -> None:
    association = associate(listen())
    assert association.send_c_echo().Status == 0
    assert [association.send_c_store(dataset).Status for dataset in slices] == [0] * len(slices)
    association.release()
    (job,) = house.close()
    sent = {dataset.SOPInstanceUID: dataset for dataset in slices}
    for name in house.files(job):
        received = _read(house, job.id, name)
        assert received.PixelData == sent[received.SOPInstanceUID].PixelData
        assert received.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def _read(house: House, job_id: str, name: str) -> Dataset:
    return pydicom.dcmread(house.folder.source(job_id) / name)


def test_only_titles_on_the_list_and_only_to_us(house: House, listen: Listen, metrics: Metrics) -> None:
    receiver = listen(allow_ae="CT1, CT2")
    assert associate(receiver, "CT2").is_established
    assert associate(receiver, "CT3").is_rejected
    assert associate(receiver, "CT1", called="OTHER").is_rejected
    assert 'reg2rg_refused_total{reason="not_allowed"} 2.0' in metrics.text().decode()


def test_only_ct_is_taken_and_nothing_deflated(listen: Listen) -> None:
    receiver = listen()
    entity = AE("CT1")
    entity.add_requested_context(MRImageStorage)
    entity.add_requested_context(CTImageStorage, DeflatedExplicitVRLittleEndian)
    entity.add_requested_context(CTImageStorage, JPEGLosslessSV1)
    entity.add_requested_context(EnhancedCTImageStorage)
    association = entity.associate("127.0.0.1", receiver.port, ae_title="REG2RG")
    accepted = {(context.abstract_syntax, context.transfer_syntax[0]) for context in association.accepted_contexts}
    assert (CTImageStorage, JPEGLosslessSV1) in accepted
    assert len(accepted) == 2
    association.release()


def test_what_is_no_ct_in_a_ct_context_is_refused(house: House, slices: list[Dataset], listen: Listen) -> None:
    association = associate(listen())
    del slices[0].StudyInstanceUID
    assert association.send_c_store(slices[0]).Status == 0xA900
    association.release()
    assert house.queue.ids() == []


def test_success_is_not_answered_where_nothing_could_be_kept(
    house: House, slices: list[Dataset], listen: Listen, caplog: pytest.LogCaptureFixture
) -> None:
    association = associate(listen())
    house.folder.free_mib = 2**40
    assert association.send_c_store(slices[0]).Status == 0xA700
    house.folder.free_mib = 0
    house.folder.temporary.rmdir()  # the disk has gone
    assert association.send_c_store(slices[0]).Status == 0xA700
    association.release()
    assert "an object could not be kept: FileNotFoundError" in caplog.text
    assert PATIENT not in "".join(record.getMessage() for record in caplog.records if "reg2rg" in record.name)


def test_an_endless_object_ends_the_connection(house: House, slices: list[Dataset], listen: Listen) -> None:
    association = associate(listen(max_instance_mib=1))
    slices[0].PixelData = bytes(4 * 2**20)
    assert "Status" not in association.send_c_store(slices[0])
    again = associate(listen())
    assert again.send_c_store(slices[1]).Status == 0
    again.release()


def test_many_objects_together_may_be_larger_than_one(slices: list[Dataset], listen: Listen) -> None:
    association = associate(listen(max_instance_mib=1))
    for dataset in slices[:4]:
        dataset.PixelData = bytes(2**17)
    for _ in range(4):  # 2 MiB in all, more than an object and a PDU may have
        assert [association.send_c_store(dataset).Status for dataset in slices[:4]] == [0] * 4
    association.release()


def test_an_endless_pdu_is_not_read(listen: Listen) -> None:
    receiver = listen()
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=20) as stranger:
        stranger.sendall(struct.pack(">BBL", 1, 0, 2**31) + bytes(1000))
        assert stranger.recv(100) == b""
    assert associate(receiver).is_established


def test_who_comes_too_often_waits(listen: Listen, metrics: Metrics) -> None:
    receiver = listen(requests_per_minute=2)
    assert [associate(receiver).is_established for _ in range(3)] == [True, True, False]
    assert 'reg2rg_refused_total{reason="too_often"} 1.0' in metrics.text().decode()


def test_a_port_that_is_taken_is_refused(house: House, listen: Listen) -> None:
    with pytest.raises(InputError, match="cannot listen there"):
        listen(dicom_port=listen().port)
