"""The HTTP door: who may come in, with what, and what is answered."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from house import PATIENT, House, as_file
from pydicom.dataset import Dataset

from reg2rg.serve.metrics import Metrics
from reg2rg.serve.settings import ServeSettings
from reg2rg.serve.web import create_app

TOKEN = "0123456789abcdef"
KNOWN = {"Authorization": f"Bearer {TOKEN}"}
ZIP = {"Content-Type": "application/zip"}
UID = "1.2.840.113619.2.55.3"

Visit = Callable[..., TestClient]


@pytest.fixture
def visit(house: House) -> Visit:
    """A client of a service with the given settings; with the token unless told otherwise."""

    def make(token: str | None = TOKEN, missing: tuple[str, ...] = (), **settings: object) -> TestClient:
        given = {"max_study_mib": 1, "dicomweb": "http://127.0.0.1:1/dicom-web", **settings}
        app = create_app(
            ServeSettings(str(house.folder.root), **given),  # type: ignore[arg-type]
            token,
            house.inbox,
            house.queue,
            house.folder,
            Metrics(house.queue, house.folder),
            lambda: list(missing),
        )
        return TestClient(app, base_url="http://127.0.0.1:8080", headers=KNOWN if token else {})

    return make


@pytest.fixture
def archive(slices: list[Dataset]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for k, dataset in enumerate(slices):
            zipped.writestr(f"{PATIENT}/{k}.dcm", as_file(dataset))
    return buffer.getvalue()


def finish(house: House) -> str:
    """The oldest job, done, with results."""
    job = house.queue.claim(0)
    result = house.folder.result(job.id)
    (result / "dicom").mkdir(parents=True)
    (result / "report.json").write_text('{"report": "clear"}')
    (result / "report.html").write_text("<p>clear</p>")
    (result / "dicom/report_sr.dcm").write_bytes(b"sr")
    house.queue.finish(job.id)
    return job.id


def test_from_upload_to_results(house: House, visit: Visit, archive: bytes) -> None:
    client = visit()
    answer = client.post("/studies", content=archive, headers=ZIP)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    assert (job["state"], job["origin"], job["attempts"]) == ("queued", "upload", 0)
    assert client.get(f"/jobs/{job['id']}").json() == job
    assert client.get("/jobs").json() == [job]
    assert client.get(f"/jobs/{job['id']}/report.json").status_code == 409

    assert client.post("/studies", content=archive, headers=ZIP).status_code == 200  # the same again is the same job
    assert finish(house) == job["id"]
    assert client.get(f"/jobs/{job['id']}").json()["state"] == "done"
    assert client.get(f"/jobs/{job['id']}/report.json").json() == {"report": "clear"}
    page = client.get(f"/jobs/{job['id']}/report.html")
    assert page.text == "<p>clear</p>"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    results = client.get(f"/jobs/{job['id']}/results")
    with zipfile.ZipFile(io.BytesIO(results.content)) as zipped:
        assert sorted(zipped.namelist()) == ["dicom/report_sr.dcm", "report.html", "report.json"]
        assert zipped.read("dicom/report_sr.dcm") == b"sr"

    assert client.delete(f"/jobs/{job['id']}").status_code == 204
    assert client.get(f"/jobs/{job['id']}").status_code == 404
    assert not list(house.folder.results.iterdir())
    assert not list(house.folder.temporary.iterdir())


def test_a_reference_is_taken_from_the_server_of_the_settings_only(house: House, visit: Visit) -> None:
    client = visit()
    answer = client.post("/studies/dicomweb", json={"study": UID, "series": f"{UID}.1"})
    assert (answer.status_code, answer.json()["study"]) == (202, UID)
    assert client.post("/studies/dicomweb", json={"study": UID, "series": f"{UID}.1"}).status_code == 200
    for elsewhere in (f"{UID}/../../x", "http://169.254.169.254/", f"{UID}?x=1", "1..2", "01.2", "1" * 65, "", PATIENT):
        answer = client.post("/studies/dicomweb", json={"study": elsewhere})
        assert answer.status_code == 422
        assert answer.json() == {"error": "not as /openapi.json describes it: body.study"}
    assert len(house.queue.ids()) == 1
    assert visit(dicomweb="").post("/studies/dicomweb", json={"study": UID}).status_code == 409


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/studies"),
        ("POST", "/studies/dicomweb"),
        ("GET", "/jobs"),
        ("GET", f"/jobs/{'0' * 32}"),
        ("DELETE", f"/jobs/{'0' * 32}"),
        ("GET", f"/jobs/{'0' * 32}/results"),
        ("GET", f"/jobs/{'0' * 32}/report.json"),
        ("GET", f"/jobs/{'0' * 32}/report.html"),
        ("GET", "/metrics"),
    ],
)
def test_without_the_token_nothing_is_told(visit: Visit, method: str, path: str) -> None:
    client = visit()
    for sent in ("", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", "Bearer ünïcödé"):
        answer = client.request(method, path, headers={"Authorization": sent.encode()})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in answer.text


def test_every_path_but_three_wants_the_token(visit: Visit) -> None:
    described = visit().get("/openapi.json").json()["paths"]
    free = {p for p, ways in described.items() if not all("security" in way for way in ways.values())}
    assert free == {"/health", "/ready"}


def test_health_and_readiness_need_no_token(visit: Visit) -> None:
    client = visit(missing=("no worker has its model loaded",))
    client.headers.pop("Authorization")
    assert client.get("/health").json() == {"status": "alive"}
    assert client.get("/ready").status_code == 503
    assert client.get("/ready").json()["missing"] == ["no worker has its model loaded"]
    assert visit().get("/ready").status_code == 200


def test_without_a_token_only_this_machine_is_answered(visit: Visit) -> None:
    client = visit(token=None)
    assert client.get("/jobs").status_code == 200
    assert client.get("/jobs", headers={"Host": "localhost:8080"}).status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example:8080", ""):
        assert client.get("/jobs", headers={"Host": host}).status_code == 401
    assert visit().get("/jobs", headers={"Host": "reports.hospital.example"}).status_code == 200


def test_bodies_have_a_largest_size(house: House, visit: Visit) -> None:
    client = visit()
    too_large = bytes(2**20 + 1)
    assert client.post("/studies", content=too_large, headers=ZIP).status_code == 413
    in_chunks = (too_large[:1000] for _ in range(1100))  # says no length
    assert client.post("/studies", content=in_chunks, headers=ZIP).status_code == 413
    assert client.post("/studies/dicomweb", json={"study": UID, "x": "y" * 2**17}).status_code == 413
    in_chunks = (b" " * 1000 for _ in range(100))
    answer = client.post("/studies/dicomweb", content=in_chunks, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert not list(house.folder.temporary.iterdir())
    assert house.queue.ids() == []


def test_only_zips_are_taken(house: House, visit: Visit, archive: bytes) -> None:
    client = visit()
    for kind in ("text/plain", "multipart/form-data; boundary=x", ""):
        assert client.post("/studies", content=archive, headers={"Content-Type": kind}).status_code == 415
    answer = client.post("/studies", content=b"hello", headers=ZIP)
    assert answer.status_code == 422
    assert answer.json() == {"error": "expected a zip of DICOM files, not damaged, encrypted or huge"}
    assert not list(house.folder.temporary.iterdir())


def test_a_full_disk_takes_nothing(house: House, visit: Visit, archive: bytes) -> None:
    house.folder.free_mib = 2**40
    client = visit()
    assert client.post("/studies", content=archive, headers=ZIP).status_code == 507
    assert client.post("/studies/dicomweb", json={"study": UID}).status_code == 507
    assert house.queue.ids() == []


def test_who_comes_too_often_waits(visit: Visit) -> None:
    client = visit(requests_per_minute=3)
    assert [client.get("/jobs").status_code for _ in range(4)] == [200, 200, 200, 429]
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize("path", ["/jobs/../../etc/passwd", "/jobs/%2e%2e%2f%2e%2e/results", f"/jobs/{PATIENT}", "/x"])
def test_no_path_leads_elsewhere(visit: Visit, path: str) -> None:
    answer = visit().get(path)
    assert answer.status_code in (404, 422)
    assert set(answer.json()) == {"error"}
    assert PATIENT not in answer.text


def test_no_answer_and_no_log_holds_what_came_with_a_study(
    house: House, visit: Visit, archive: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    client = visit()
    told = [client.post("/studies", content=archive, headers=ZIP)]
    told += [client.post("/studies", content=archive[: len(archive) // 2], headers=ZIP)]
    told += [client.post("/studies/dicomweb", json={"study": PATIENT, PATIENT: PATIENT})]
    told += [client.post("/studies/dicomweb", content=f'{{"study": "{PATIENT}', headers={"Content-Type": "text/json"})]
    told += [client.get(f"/jobs/{PATIENT}"), client.get(f"/{PATIENT}"), client.get("/jobs", params={"limit": PATIENT})]
    told += [client.get("/jobs"), client.get("/metrics")]
    assert [answer.status_code for answer in told] == [202, 422, 422, 422, 422, 404, 422, 200, 200]
    assert not any(PATIENT in answer.text for answer in told)
    ours = [record for record in caplog.records if record.name.startswith("reg2rg")]
    assert [record.getMessage() for record in ours] == [f"job {house.queue.ids()[0]}: queued (upload)"]


def test_an_unexpected_error_is_one_line_without_its_text(
    house: House, visit: Visit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(count: int) -> None:
        raise ZeroDivisionError(PATIENT)

    monkeypatch.setattr(house.queue, "latest", fail)
    answer = visit().get("/jobs")
    assert (answer.status_code, answer.json()) == (500, {"error": "internal error"})
    assert PATIENT not in caplog.text
    assert "ZeroDivisionError at web.py" in caplog.text


def test_metrics_count(house: House, visit: Visit, archive: bytes) -> None:
    client = visit()
    client.post("/studies", content=archive, headers=ZIP)
    client.post("/studies", content=b"hello", headers=ZIP)
    finish(house)
    text = client.get("/metrics").text
    for line in (
        'reg2rg_jobs{state="done"} 1.0',
        'reg2rg_jobs{state="queued"} 0.0',
        'reg2rg_jobs_ended_total{state="done"} 1.0',
        'reg2rg_refused_total{reason="not_dicom"} 1.0',
        'reg2rg_http_requests_total{code="202"} 1.0',
        "reg2rg_workers_ready 0.0",
    ):
        assert line in text.splitlines()


def test_openapi_describes_uploads_and_errors(visit: Visit) -> None:
    described = visit().get("/openapi.json").json()
    assert "application/zip" in described["paths"]["/studies"]["post"]["requestBody"]["content"]
    assert json.dumps(described).count("ErrorAnswer") > 1
    assert Path("/docs") not in [Path(path) for path in described["paths"]]
    assert visit().get("/docs").status_code == 404
