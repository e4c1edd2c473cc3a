"""A DICOMweb server on 127.0.0.1 that answers as told; test_orthanc.py has a real one."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from house import PATIENT, House, as_file
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage

from reg2rg.errors import InputError
from reg2rg.serve.dicomweb import DicomWebServer
from reg2rg.serve.refusal import Unreachable

UID = "1.2.3"

Answer = Callable[..., str]


@pytest.fixture
def asked() -> list[tuple[str, str | None]]:
    """Path and Authorization of each request."""
    return []


@pytest.fixture
def answer(asked: list[tuple[str, str | None]]) -> Iterator[Answer]:
    """Starts a server with one answer; gives its URL."""
    servers = []

    def make(code: int = 200, body: bytes = b"", **headers: str) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append((self.path, self.headers["Authorization"]))
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def log_message(self, format: str, *args: object) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_address[1]}/dicom-web/"

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def multipart(datasets: list[Dataset]) -> bytes:
    parts = [b"--x\r\nContent-Type: application/dicom\r\n\r\n" + as_file(dataset) + b"\r\n" for dataset in datasets]
    return b"".join(parts) + b"--x--"


MULTIPART = {"Content_Type": 'multipart/related; type="application/dicom"; boundary=x'}


def test_the_ct_images_of_a_series_are_fetched(
    house: House, slices: list[Dataset], answer: Answer, asked: list[tuple[str, str | None]]
) -> None:
    slices[1].SOPClassUID = MRImageStorage
    server = DicomWebServer(answer(body=multipart(slices), **MULTIPART), "Basic eHl6")
    server.fetch(UID, "1.2.4", house.folder.source("a"), house.folder, 1)
    assert len(list(house.folder.source("a").iterdir())) == len(slices) - 1
    server.fetch(UID, "", house.folder.source("b"), house.folder, 1)
    assert asked == [
        ("/dicom-web/studies/1.2.3/series/1.2.4", "Basic eHl6"),
        ("/dicom-web/studies/1.2.3", "Basic eHl6"),
    ]


def test_what_cannot_be_used_leaves_nothing(house: House, slices: list[Dataset], answer: Answer) -> None:
    def fetch(url: str) -> None:
        DicomWebServer(url).fetch(UID, "1.2.4", house.folder.source("a"), house.folder, 1)

    slices[1].PixelData = bytes(2**20)
    with pytest.raises(InputError, match="larger"):
        fetch(answer(body=multipart(slices), **MULTIPART))
    slices[0].SOPClassUID = MRImageStorage
    with pytest.raises(InputError, match="no CT images"):
        fetch(answer(body=multipart(slices[:1]), **MULTIPART))
    for body, kind in ((b"", "text/html"), (f"--x\r\n\r\n{PATIENT}\r\n--x--".encode(), MULTIPART["Content_Type"])):
        with pytest.raises(InputError, match="could not be read") as caught:
            fetch(answer(body=body, Content_Type=kind))
        assert PATIENT not in str(caught.value)
    house.folder.free_mib = 2**40
    with pytest.raises(Unreachable, match="disk"):
        fetch(answer(body=multipart(slices[2:]), **MULTIPART))
    assert not list(house.folder.sources.iterdir())
    assert not list(house.folder.temporary.iterdir())


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (401, InputError),
        (404, InputError),
        (408, Unreachable),
        (429, Unreachable),
        (500, Unreachable),
        (503, Unreachable),
    ],
)
def test_codes_say_whether_to_try_again(house: House, answer: Answer, code: int, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"HTTP {code}"):
        DicomWebServer(answer(code)).fetch(UID, "1.2.4", house.folder.source("a"), house.folder, 1)


def test_no_other_address_is_asked(house: House, answer: Answer, asked: list[tuple[str, str | None]]) -> None:
    elsewhere = answer(200)
    with pytest.raises(InputError, match="another address"):
        DicomWebServer(answer(302, Location=elsewhere)).fetch(UID, "1.2.4", house.folder.source("a"), house.folder, 1)
    assert len(asked) == 1


def test_a_server_that_is_not_there_may_come(house: House) -> None:
    with pytest.raises(Unreachable, match="does not answer"):
        DicomWebServer("http://127.0.0.1:1").fetch(UID, "1.2.4", house.folder.source("a"), house.folder, 1)


def failed(*reasons: int) -> bytes:
    sequence = [{"00081197": {"vr": "US", "Value": [reason]}} for reason in reasons]
    return json.dumps({"00081198": {"vr": "SQ", "Value": sequence}}).encode()


def test_results_that_are_there_already_are_stored(slices: list[Dataset], answer: Answer, tmp_path: Path) -> None:
    (tmp_path / "1.dcm").write_bytes(as_file(slices[0]))
    as_json = {"Content_Type": "application/dicom+json"}
    DicomWebServer(answer(200, b"{}", **as_json)).store([tmp_path / "1.dcm"])
    DicomWebServer(answer(202, failed(0x0111), **as_json)).store([tmp_path / "1.dcm"])
    with pytest.raises(InputError, match="failure reason A700"):
        DicomWebServer(answer(202, failed(0x0111, 0xA700), **as_json)).store([tmp_path / "1.dcm"])
    with pytest.raises(Unreachable, match="HTTP 503"):
        DicomWebServer(answer(503)).store([tmp_path / "1.dcm"])
