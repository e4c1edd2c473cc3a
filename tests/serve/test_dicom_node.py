"""Results go to a DICOM node: there once, tried again where that can help."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from house import as_file
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage
from pynetdicom import AE, evt

from reg2rg.errors import InputError
from reg2rg.serve.dicom_node import DicomNode
from reg2rg.serve.refusal import Unreachable

Listen = Callable[..., int]


@pytest.fixture
def files(slices: list[Dataset], tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{k}.dcm" for k in range(2)]
    for path, dataset in zip(paths, slices, strict=False):
        path.write_bytes(as_file(dataset))
    return paths


@pytest.fixture
def stored() -> list[str]:
    return []


@pytest.fixture
def listen(stored: list[str]) -> Iterator[Listen]:
    """An archive that answers as told; gives its port."""
    servers = []

    def make(status: int = 0, sop_class: str = CTImageStorage, allowed: str = "") -> int:
        def store(event: evt.Event) -> int:
            stored.append(str(event.dataset.SOPInstanceUID))
            return status

        entity = AE("PACS")
        entity.require_called_aet = True
        entity.require_calling_aet = [allowed] if allowed else []
        entity.add_supported_context(sop_class)
        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
        servers.append(server)
        return int(server.server_address[1])

    yield make
    for server in servers:
        server.shutdown()


@pytest.mark.parametrize("status", [0x0000, 0xB000, 0x0111])
def test_what_is_stored_or_there_already_is_stored(
    listen: Listen, files: list[Path], stored: list[str], status: int
) -> None:
    DicomNode("PACS", "127.0.0.1", listen(status, allowed="REG2RG"), "REG2RG").store(files)
    assert len(stored) == 2


@pytest.mark.parametrize(("status", "error"), [(0xA700, Unreachable), (0xA900, InputError), (0xC000, InputError)])
def test_what_is_refused_says_with_which_status(
    listen: Listen, files: list[Path], status: int, error: type[Exception]
) -> None:
    with pytest.raises(error, match=f"{status:04X}"):
        DicomNode("PACS", "127.0.0.1", listen(status), "REG2RG").store(files)


def test_a_node_that_is_not_there_may_come(files: list[Path]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="does not answer"):
            DicomNode("PACS", "127.0.0.1", free.getsockname()[1], "REG2RG").store(files)


def test_a_node_that_does_not_want_us_or_the_object_will_not(listen: Listen, files: list[Path]) -> None:
    with pytest.raises(InputError, match="AE titles"):
        DicomNode("PACS", "127.0.0.1", listen(allowed="OTHER"), "REG2RG").store(files)
    with pytest.raises(InputError, match="AE titles"):
        DicomNode("ELSE", "127.0.0.1", listen(), "REG2RG").store(files)
    with pytest.raises(InputError, match="does not"):
        DicomNode("PACS", "127.0.0.1", listen(sop_class="1.2.840.10008.1.1"), "REG2RG").store(files)
