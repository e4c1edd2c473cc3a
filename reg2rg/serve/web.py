"""The HTTP door: studies in, jobs, results out; OpenAPI, health, readiness, metrics."""

import asyncio
import hashlib
import hmac
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Any, cast

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reg2rg.serve.data_folder import DataFolder
from reg2rg.serve.inbox import Inbox
from reg2rg.serve.job import Job, Origin, State
from reg2rg.serve.log import LOG
from reg2rg.serve.metrics import Metrics
from reg2rg.serve.queue import Queue
from reg2rg.serve.rate_limit import RateLimit
from reg2rg.serve.refusal import Reason, Refusal
from reg2rg.serve.settings import ServeSettings
from reg2rg.serve.worker import place_of

_UID = r"^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*$"  # PS3.5, section 9.1
_MAX_UID = 64
_JOB_ID = r"^[0-9a-f]{32}$"
_MOST_JOBS = 1000
_SMALL_BODY_BYTES = 64 * 2**10
_LONGEST_SILENCE_S = 60.0  # between two packets of an upload
_MOST_UPLOADS = 4
_CHUNK = 2**20
_MIB = 2**20
_ZIP_TYPES = ("application/zip", "application/x-zip-compressed", "application/octet-stream")
_OPEN_PATHS = ("/health", "/ready")
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_TOO_LARGE = "the body is larger than the service accepts"
_CODES = {
    Reason.NOT_DICOM: 422,
    Reason.TOO_LARGE: 413,
    Reason.DISK_FULL: 507,
    Reason.TOO_OFTEN: 429,
    Reason.NOT_ALLOWED: 401,
    Reason.NOT_POSSIBLE: 409,
}
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (
        b"content-security-policy",
        b"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        b"sandbox allow-scripts",
    ),
)


class Reference(BaseModel):
    """A study on the DICOMweb server that the service was set up with."""

    study: Annotated[str, Field(pattern=_UID, max_length=_MAX_UID, description="StudyInstanceUID")]
    series: Annotated[
        str | None,
        Field(pattern=_UID, max_length=_MAX_UID, description="SeriesInstanceUID; without it the likeliest chest CT"),
    ] = None


class JobAnswer(BaseModel):
    """A job as the service tells of it."""

    id: str
    state: State
    origin: Origin
    study: Annotated[str, Field(description="StudyInstanceUID; empty for an upload")]
    series: Annotated[str, Field(description="SeriesInstanceUID that was asked for; empty otherwise")]
    created: datetime
    changed: datetime
    instances: Annotated[int, Field(description="DICOM objects that were received over DICOM")]
    attempts: Annotated[int, Field(description="how often work on it began")]
    problem: Annotated[str, Field(description="why it failed or waits, or what its results lack")]


class ErrorAnswer(BaseModel):
    """Why a request was refused, in one line."""

    error: str


def create_app(
    settings: ServeSettings,
    token: str | None,
    inbox: Inbox,
    queue: Queue,
    folder: DataFolder,
    metrics: Metrics,
    missing: Callable[[], list[str]],
) -> FastAPI:
    """The application.

    Args:
        settings: of the service.
        token: which requests must carry; None to ask for none.
        inbox: where studies go.
        queue: whose jobs are told of.
        folder: where results lie.
        metrics: the figures of ``/metrics``.
        missing: says what is still missing for the service to be ready.
    """
    app = FastAPI(
        title="reg2rg",
        version=_version(),
        summary="Chest CTs in, region-grounded reports out. Research software, not a medical device.",
        docs_url=None,  # these pages would load scripts from elsewhere
        redoc_url=None,
        responses={code: {"model": ErrorAnswer} for code in (400, 401, 404, 409, 413, 422, 429, 507)},
    )
    uploads = asyncio.Semaphore(_MOST_UPLOADS)

    def know(
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
    ) -> None:
        if token is None:
            return
        sent = given.credentials if given else ""
        if not hmac.compare_digest(sent.encode(), token.encode()):
            raise Refusal(Reason.NOT_ALLOWED, "expected the service's token as Authorization: Bearer TOKEN")

    def find(job_id: Annotated[str, InPath(pattern=_JOB_ID)]) -> Job:
        if (job := queue.find(job_id)) is None:
            raise HTTPException(404, "there is no such job")
        return job

    def find_result(job: Annotated[Job, Depends(find)]) -> Path:
        result = folder.result(job.id)
        if not result.is_dir():  # complete once it is there, even if sending it failed
            raise Refusal(Reason.NOT_POSSIBLE, f"the job has no results, it is {job.state}")
        return result

    def tell(job: Job) -> JobAnswer:
        return JobAnswer(
            id=job.id,
            state=job.state,
            origin=job.origin,
            study=job.study_uid,
            series=job.series_uid,
            created=datetime.fromtimestamp(job.created_at, UTC),
            changed=datetime.fromtimestamp(job.changed_at, UTC),
            instances=queue.count_instances(job.id),
            attempts=job.starts,
            problem=job.problem,
        )

    known = [Depends(know)]

    @app.post(
        "/studies",
        status_code=202,
        dependencies=known,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def upload(request: Request, response: Response) -> JobAnswer:
        """Takes the zip of one study's DICOM files. The same zip again is the same job (200)."""
        if request.headers.get("content-type", "").split(";")[0].strip().lower() not in _ZIP_TYPES:
            raise HTTPException(415, "expected a zip as the body, with Content-Type: application/zip")
        if uploads.locked():
            raise Refusal(Reason.TOO_OFTEN, f"{_MOST_UPLOADS} uploads are under way; try again later")
        async with uploads:
            folder.check_room(int(request.headers.get("content-length", 0)))
            archive = folder.new_path().with_suffix(".zip")
            try:
                digest = await _save(request, archive, folder)
                job, is_new = await run_in_threadpool(inbox.take_zip, archive, digest)
            finally:
                archive.unlink(missing_ok=True)
        return answer(job, is_new, response)

    @app.post("/studies/dicomweb", status_code=202, dependencies=known)
    def refer(reference: Reference, response: Response) -> JobAnswer:
        """Takes a study from the DICOMweb server of the settings. The same one again is the same job (200)."""
        if not settings.dicomweb:
            raise Refusal(Reason.NOT_POSSIBLE, "the service was set up without a DICOMweb server; see --dicomweb")
        folder.check_room()
        return answer(*inbox.take_reference(reference.study, reference.series or ""), response)

    def answer(job: Job, is_new: bool, response: Response) -> JobAnswer:
        if is_new:
            LOG.info("job %s: queued (%s)", job.id, job.origin)
        else:
            response.status_code = 200
        response.headers["Location"] = f"/jobs/{job.id}"
        return tell(job)

    @app.get("/jobs", dependencies=known)
    def list_jobs(limit: Annotated[int, Query(ge=1, le=_MOST_JOBS)] = 100) -> list[JobAnswer]:
        """The newest jobs, the newest first."""
        return [tell(job) for job in queue.latest(limit)]

    @app.get("/jobs/{job_id}", dependencies=known)
    def get_job(job: Annotated[Job, Depends(find)]) -> JobAnswer:
        """One job."""
        return tell(job)

    @app.delete("/jobs/{job_id}", status_code=204, dependencies=known)
    def delete_job(job: Annotated[Job, Depends(find)]) -> None:
        """Removes a job, its study and its results; the same study may then be sent and done again."""
        inbox.delete(job.id)
        LOG.info("job %s: deleted", job.id)

    @app.get("/jobs/{job_id}/results", dependencies=known, response_class=StreamingResponse)
    def get_results(result: Annotated[Path, Depends(find_result)]) -> StreamingResponse:
        """Everything that the report consists of, as a zip."""
        file = cast(IO[bytes], tempfile.TemporaryFile(dir=folder.temporary))  # noqa: SIM115 (closed by _stream)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(result.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(result))
        headers = {"Content-Disposition": f'attachment; filename="{result.name}.zip"'}
        return StreamingResponse(_stream(file), media_type="application/zip", headers=headers)

    @app.get("/jobs/{job_id}/report.json", dependencies=known, response_class=FileResponse)
    def get_report_json(result: Annotated[Path, Depends(find_result)]) -> FileResponse:
        """The report as data."""
        return FileResponse(result / "report.json", media_type="application/json")

    @app.get("/jobs/{job_id}/report.html", dependencies=known, response_class=FileResponse)
    def get_report_html(result: Annotated[Path, Depends(find_result)]) -> FileResponse:
        """The report as a page."""
        return FileResponse(result / "report.html", media_type="text/html")

    @app.get("/health")
    def health() -> dict[str, str]:
        """Whether the service is alive."""
        return {"status": "alive"}

    @app.get("/ready")
    def ready(response: Response) -> dict[str, Any]:
        """Whether studies are accepted and reported now; 503 with what is missing otherwise."""
        reasons = missing()
        response.status_code = 503 if reasons else 200
        return {"status": "not ready" if reasons else "ready", "missing": reasons}

    @app.get("/metrics", dependencies=known, response_class=Response)
    def get_metrics() -> Response:
        """Figures for Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    @app.exception_handler(Refusal)
    async def refuse(_: Request, error: Refusal) -> JSONResponse:
        metrics.count_refused(error.reason)
        headers = {"WWW-Authenticate": "Bearer"} if error.reason is Reason.NOT_ALLOWED else None
        return JSONResponse({"error": str(error)}, _CODES[error.reason], headers)

    @app.exception_handler(StarletteHTTPException)
    async def say_error(_: Request, error: StarletteHTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def say_invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        # What was sent is not repeated: it might be a name in the place of a UID.
        places = sorted({".".join(str(part) for part in one["loc"][:2]) for one in error.errors()})
        return JSONResponse({"error": f"not as /openapi.json describes it: {', '.join(places)}"}, 422)

    app.add_middleware(_Guard, settings=settings, has_token=token is not None, metrics=metrics)
    return app


class _Guard:
    """What holds for every request: how often, how large, to whom; and what every answer says."""

    def __init__(self, app: ASGIApp, settings: ServeSettings, has_token: bool, metrics: Metrics) -> None:
        self._app = app
        self._limit = RateLimit(settings.requests_per_minute)
        self._has_token = has_token
        self._max_study_bytes = settings.max_study_mib * _MIB
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_on(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._metrics.count_request(message["status"])
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, self._bounded(scope, receive), send_on)
        except Refusal as error:
            self._metrics.count_refused(error.reason)
            await JSONResponse({"error": str(error)}, _CODES[error.reason])(scope, receive, send_on)
        except Exception as error:
            LOG.error("a request ended in an error: %s", place_of(error))
            if not started:
                await JSONResponse({"error": "internal error"}, 500)(scope, receive, send_on)

    def _check(self, scope: Scope) -> None:
        client = scope["client"][0] if scope.get("client") else ""
        if scope["path"] not in _OPEN_PATHS and not self._limit.allows(client):
            raise Refusal(Reason.TOO_OFTEN, "too many requests; try again later")
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if not self._has_token and host.rpartition(":")[0] not in _LOOPBACK_NAMES and host not in _LOOPBACK_NAMES:
            # A page of the web could otherwise reach us through a name of its own that leads to 127.0.0.1.
            raise Refusal(Reason.NOT_ALLOWED, "without a token, only localhost may be asked for")
        if _length(headers) > self._max_bytes(scope):
            raise Refusal(Reason.TOO_LARGE, _TOO_LARGE)

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """Reads no more than a body may have, whatever its headers said."""
        room = self._max_bytes(scope)

        async def receive_bounded() -> Message:
            nonlocal room
            message = await receive()
            room -= len(message.get("body", b""))
            if room < 0:
                self._metrics.count_refused(Reason.TOO_LARGE)
                raise HTTPException(_CODES[Reason.TOO_LARGE], _TOO_LARGE)  # FastAPI passes no other kind on
            return message

        return receive_bounded

    def _max_bytes(self, scope: Scope) -> int:
        return self._max_study_bytes if scope["path"] == "/studies" else _SMALL_BODY_BYTES


async def _save(request: Request, archive: Path, folder: DataFolder) -> str:
    """Writes the body of a request into a file; gives its SHA-256."""
    digest = hashlib.sha256()
    chunks = request.stream().__aiter__()
    with archive.open("xb") as file:
        while True:
            try:
                chunk = await asyncio.wait_for(anext(chunks), _LONGEST_SILENCE_S)
            except StopAsyncIteration:
                return digest.hexdigest()
            except TimeoutError:
                raise HTTPException(408, "the upload stopped; send it again") from None
            folder.check_room(len(chunk))
            digest.update(chunk)
            file.write(chunk)


def _stream(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while chunk := file.read(_CHUNK):
            yield chunk


def _length(headers: dict[bytes, bytes]) -> int:
    stated = headers.get(b"content-length", b"0")
    return int(stated) if stated.isdigit() else 0


def _version() -> str:
    from importlib.metadata import version

    return version("reg2rg")
