"""The whole service beside a real archive: Orthanc, dcmtk's storescu, dicom3tools' dciodvfy, the shipped model.

Debian's packages orthanc, orthanc-dicomweb, dcmtk and dicom3tools have them; where they are missing, this is skipped.
"""

import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests

from reg2rg.phantom.dataset import write_dataset
from reg2rg.serve.settings import TOKEN_VARIABLE

PROGRAMS = ("Orthanc", "storescu", "dciodvfy")
PLUGINS = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
TOKEN = "a-token-for-this-test-only"
KNOWN = {"Authorization": f"Bearer {TOKEN}"}
LONGEST_S = 240.0  # a machine may be slow; this is no time that is asserted
missing = [name for name in PROGRAMS if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")]
missing += [] if Path(PLUGINS).exists() else [PLUGINS]

pytestmark = [
    pytest.mark.orthanc,
    pytest.mark.skipif(
        bool(missing), reason=f"needs {', '.join(missing)}: apt-get install orthanc orthanc-dicomweb dcmtk dicom3tools"
    ),
]


def wait_for(condition: Callable[[], object], what: str) -> None:
    until = time.monotonic() + LONGEST_S
    while not condition():
        assert time.monotonic() < until, f"waited for {what}"
        time.sleep(0.02)


@pytest.fixture
def session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # 127.0.0.1 is reached through no proxy
    return session


class Archive:
    """Orthanc, answering HTTP from this machine only, without its DICOM port."""

    def __init__(self, folder: Path, session: requests.Session) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._session = session
        settings = {
            "StorageDirectory": str(folder / "archive"),
            "IndexDirectory": str(folder / "archive"),
            "Plugins": [PLUGINS],
            "HttpPort": port,
            "RemoteAccessAllowed": False,
            "DicomServerEnabled": False,
        }
        (folder / "orthanc.json").write_text(json.dumps(settings))
        program = shutil.which("Orthanc", path=f"{os.environ['PATH']}:/usr/sbin")
        with (folder / "orthanc.log").open("wb") as log:
            self.process = subprocess.Popen([str(program), str(folder / "orthanc.json")], stdout=log, stderr=log)
        wait_for(self._answers, "Orthanc")

    def _answers(self) -> bool:
        assert self.process.poll() is None, "Orthanc has stopped"
        try:
            return self._session.get(f"{self.url}/system", timeout=5).ok
        except requests.ConnectionError:
            return False

    def store(self, files: list[Path]) -> None:
        for file in files:
            self._session.post(f"{self.url}/instances", data=file.read_bytes(), timeout=60).raise_for_status()

    def objects_of(self, study_uid: str) -> dict[str, list[bytes]]:
        """The files of a study by modality, without the CT."""
        found: dict[str, list[bytes]] = {}
        query = {"Level": "Instance", "Query": {"StudyInstanceUID": study_uid}, "Expand": False}
        for name in self._session.post(f"{self.url}/tools/find", json=query, timeout=60).json():
            content = self._session.get(f"{self.url}/instances/{name}/file", timeout=60).content
            modality = pydicom.dcmread(io.BytesIO(content), specific_tags=["Modality"]).Modality
            if modality != "CT":
                found.setdefault(modality, []).append(content)
        return found


@pytest.fixture
def archive(tmp_path: Path, session: requests.Session) -> Iterator[Archive]:
    archive = Archive(tmp_path, session)
    yield archive
    archive.process.terminate()
    archive.process.wait()


class Service:
    """``reg2rg serve`` as its users start it, in a process group of its own."""

    def __init__(self, folder: Path, archive: Archive, session: requests.Session) -> None:
        self.data = folder / "data"
        self.log = folder / "serve.log"
        self._session = session
        self._config = folder / "serve.yaml"
        self._config.write_text(
            f"data: {self.data}\nport: 0\ndicom_port: 0\nallow_ae: SCANNER\nquiet_seconds: 2\nfree_mib: 1\n"
            f"dicomweb: {archive.url}/dicom-web\npush: {archive.url}/dicom-web\nrequests_per_minute: 60000\n"
        )
        self.log.touch()

    def start(self) -> None:
        begin = self.log.stat().st_size
        root = str(Path(__file__).resolve().parents[2])
        environment = {**os.environ, TOKEN_VARIABLE: TOKEN, "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "reg2rg", "serve", "--config", str(self._config)],
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

        def listens() -> re.Match[str] | None:
            assert self.process.poll() is None, self.log.read_text()
            return re.search(r"HTTP at (http://\S+),.*\n.*DICOM at \S+:(\d+)\n", self.log.read_text()[begin:])

        wait_for(listens, "the service")
        match = listens()
        assert match is not None
        self.url, self.dicom_port = match[1], match[2]

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def jobs(self) -> list[dict[str, Any]]:
        answer = self._session.get(f"{self.url}/jobs", headers=KNOWN, timeout=60)
        answer.raise_for_status()
        return list(answer.json())

    def states(self) -> list[str]:
        return sorted(job["state"] for job in self.jobs())

    def num_instances(self) -> int:
        return sum(job["instances"] for job in self.jobs())

    def has_results(self) -> bool:
        return any(not path.name.startswith(".") for path in (self.data / "results").iterdir())


@pytest.fixture
def service(tmp_path: Path, archive: Archive, session: requests.Session) -> Iterator[Service]:
    service = Service(tmp_path, archive, session)
    yield service
    if service.process.poll() is None:
        service.kill()


def send(service: Service, files: list[Path], title: str = "SCANNER") -> subprocess.Popen[bytes]:
    command = ["storescu", "-aet", title, "-aec", "REG2RG", "127.0.0.1", service.dicom_port, *map(str, files)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_killed_three_times_every_study_ends_with_one_set_of_results(
    tmp_path: Path, archive: Archive, service: Service, session: requests.Session
) -> None:
    """One study is fetched from the archive, one is sent by DICOM and uploaded, too: three jobs, two studies."""
    write_dataset(tmp_path, count=2, seed=5, dicom=True, workers=1)
    studies = [sorted(folder.iterdir()) for folder in sorted((tmp_path / "dataset/train_dicom").iterdir())]
    headers = [pydicom.dcmread(files[0], stop_before_pixels=True) for files in studies]
    archive.store(studies[0])
    service.start()

    refused = session.post(f"{service.url}/studies/dicomweb", json={"study": headers[0].StudyInstanceUID}, timeout=60)
    assert refused.status_code == 401
    reference = {"study": headers[0].StudyInstanceUID, "series": headers[0].SeriesInstanceUID}
    session.post(f"{service.url}/studies/dicomweb", json=reference, headers=KNOWN, timeout=60).raise_for_status()
    assert send(service, studies[1], "STRANGER").wait() != 0  # its title is not on the list
    sender = send(service, studies[1])
    wait_for(lambda: service.num_instances() > 5, "DICOM objects")
    num_answered = service.num_instances()
    service.kill()  # while a study is sent
    sender.wait()

    service.start()
    assert service.num_instances() >= num_answered
    assert len(service.jobs()) == 2
    assert send(service, studies[1]).wait() == 0  # a sender that was interrupted begins again
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for file in studies[1]:
            zipped.write(file, file.name)
    sent = {"data": buffer.getvalue(), "headers": {**KNOWN, "Content-Type": "application/zip"}, "timeout": 60}
    session.post(f"{service.url}/studies", **sent).raise_for_status()
    wait_for(lambda: "running" in service.states(), "a job that runs")
    service.kill()  # while a study is fetched or reported

    service.start()
    session.post(f"{service.url}/studies", **sent).raise_for_status()  # the client did not hear, and asks again
    wait_for(service.has_results, "results")
    service.kill()  # while results are sent

    service.start()
    wait_for(lambda: service.states() == ["done"] * 3, "three jobs to be done")
    for header in headers:
        objects = archive.objects_of(header.StudyInstanceUID)
        assert {"SEG", "SR"} <= objects.keys()
        assert all(len(files) == 1 for files in objects.values())
        for modality, (content,) in objects.items():
            assert str(pydicom.dcmread(io.BytesIO(content)).PatientID) == header.PatientID
            (tmp_path / "object.dcm").write_bytes(content)
            said = subprocess.run(["dciodvfy", str(tmp_path / "object.dcm")], capture_output=True, text=True).stderr
            assert [line for line in said.splitlines() if line.startswith("Error")] == [], modality

    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(LONGEST_S) == 0
    assert list((service.data / "sources").iterdir()) == []
    log = service.log.read_text()
    for header in headers:
        assert header.PatientID not in log
        assert header.StudyInstanceUID not in log
    assert len(re.findall("job [0-9a-f]{32}: done", log)) >= 3
