"""The settings of the service: one frozen record, which is also the YAML file and the command line."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from reg2rg.errors import InputError
from reg2rg.models import DEFAULT_MODEL, Precision

TOKEN_VARIABLE = "REG2RG_TOKEN"
DICOMWEB_VARIABLE = "REG2RG_DICOMWEB_AUTHORIZATION"

_SHORTEST_TOKEN = 16
_AE_TITLE = re.compile(r"[!-\[\]-~](?:[ -\[\]-~]{0,14}[!-\[\]-~])?")  # PS3.5, section 6.2: no backslash, at most 16
_DICOM_NODE = re.compile(r"(?P<title>[^@]+)@(?P<host>[^:@/]+):(?P<port>\d+)")
_WEB_URL = re.compile(r"https?://[^/@\s]+(?:/\S*)?")
_MOST_PORT = 65535


def _setting(default: Any, help: str) -> Any:
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class ServeSettings:
    """How the service runs. What each field means stands beside it, and in ``reg2rg serve --help``.

    No secret is among them: the command line of a process can be read by everybody on its machine.
    """

    data: str = field(metadata={"help": "folder of the queue, the studies and the results; made if it is missing"})
    listen: str = _setting("127.0.0.1", "address of both doors; any but loopback needs a token and --allow-ae")
    port: int = _setting(8080, "port of HTTP; 0 for any free one")
    dicom_port: int = _setting(11112, "port of DICOM; 0 for any free one")
    ae_title: str = _setting("REG2RG", "AE title of the service")
    allow_ae: str = _setting("", "AE titles that may send, separated by commas; empty: all, on loopback only")
    token_file: str = _setting("", f"file that holds the token of HTTP (or the variable {TOKEN_VARIABLE})")
    dicomweb: str = _setting("", "URL of the DICOMweb server from which studies are fetched")
    push: str = _setting("", "where results go: URL of a DICOMweb server (STOW-RS) or AE@host:port (C-STORE)")
    dicomweb_auth_file: str = _setting(
        "", f"file with the Authorization header for DICOMweb servers (or the variable {DICOMWEB_VARIABLE})"
    )
    ca_file: str = _setting("", "certificates (PEM) by which https DICOMweb servers are known; empty: the usual ones")
    model: str = _setting(DEFAULT_MODEL, "a shipped model's name or a folder")
    device: str = _setting("auto", "auto, cpu or cuda")
    precision: Precision = _setting("saved", "how the language model's weights are held: saved, 8bit, 4bit or offload")  # noqa: RUF009
    segmenter: str = _setting("auto", "who draws the region masks")
    quiet_seconds: float = _setting(30.0, "a study is complete when nothing of it came for this long")
    workers: int = _setting(1, "studies reported at the same time, each by a process of its own")
    job_minutes: float = _setting(60.0, "a job that takes longer is stopped")
    retry_hours: float = _setting(24.0, "for how long a server that does not answer is tried again")
    keep_days: float = _setting(30.0, "finished jobs and their results are removed after this")
    keep_source: bool = _setting(False, "keep the DICOM of reported studies, for as long as the results")
    max_study_mib: int = _setting(4096, "largest study, packed and unpacked")
    max_instance_mib: int = _setting(1024, "largest single DICOM object")
    free_mib: int = _setting(2048, "nothing is accepted when less than this is free on the disk")
    requests_per_minute: int = _setting(600, "of one address, HTTP requests and DICOM associations each")

    def __post_init__(self) -> None:
        self._check_numbers()
        for title in (self.ae_title, *self.allowed_titles):
            if not _AE_TITLE.fullmatch(title):
                raise InputError(f"AE title {title!r}: expected 1 to 16 characters without backslash")
        for name, value in (("dicomweb", self.dicomweb), ("push", self.push)):
            if value and not _WEB_URL.fullmatch(value) and (name == "dicomweb" or not _DICOM_NODE.fullmatch(value)):
                node = "" if name == "dicomweb" else " or AE@host:port"
                raise InputError(f"{name}: expected http(s)://host/path without user and password{node}")
        if self.push and not _WEB_URL.fullmatch(self.push):
            _ = self.push_node
        if not self.is_loopback and not self.allowed_titles:
            raise InputError(f"listen: {self.listen} is not loopback; name the AE titles that may send by --allow-ae")

    def _check_numbers(self) -> None:
        for name in ("port", "dicom_port"):
            if not 0 <= getattr(self, name) <= _MOST_PORT:
                raise InputError(f"{name}: expected 0 to {_MOST_PORT}, got {getattr(self, name)}")
        for name in ("workers", "max_study_mib", "max_instance_mib", "requests_per_minute"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in ("quiet_seconds", "job_minutes", "keep_days"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name}: expected a positive number, got {getattr(self, name)}")
        for name in ("retry_hours", "free_mib"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name}: expected 0 or more, got {getattr(self, name)}")

    @property
    def is_loopback(self) -> bool:
        """Whether nobody but this machine can connect."""
        if self.listen == "localhost":
            return True
        try:
            return ip_address(self.listen).is_loopback
        except ValueError:
            raise InputError(f"listen: expected an IP address or localhost, got {self.listen!r}") from None

    @property
    def allowed_titles(self) -> tuple[str, ...]:
        """The AE titles that may send; empty if all may."""
        return tuple(title.strip() for title in self.allow_ae.split(",") if title.strip())

    @property
    def push_node(self) -> tuple[str, str, int] | None:
        """AE title, host and port to which results go by C-STORE; None if they go elsewhere or nowhere.

        >>> ServeSettings("data", push="PACS@127.0.0.1:104").push_node
        ('PACS', '127.0.0.1', 104)
        """
        if not (match := _DICOM_NODE.fullmatch(self.push)):
            return None
        title, port = match["title"], int(match["port"])
        if not _AE_TITLE.fullmatch(title) or not 0 < port <= _MOST_PORT:
            raise InputError("push: expected AE@host:port, an AE title of at most 16 characters and a port")
        return title, match["host"], port


def parse_settings(arguments: Sequence[str]) -> ServeSettings:
    """The settings as the command line gives them: ``--config FILE``, a YAML file, and overrides.

    Raises:
        InputError: if a setting is unknown, missing, or cannot be used.

    >>> parse_settings(["--data", "queue", "--dicom-port", "104"]).dicom_port
    104
    """
    try:
        values = settings_parser().parse_args(list(arguments))
    except (ArgumentError, TypeError) as error:
        raise InputError(f"{' '.join(str(error).split())}; see reg2rg serve --help") from error
    if values.data is None:
        raise InputError("expected --data DIR, the folder of the queue; see reg2rg serve --help")
    return ServeSettings(**{name: value for name, value in vars(values).items() if name != "config"})


def settings_parser() -> ArgumentParser:
    """The parser of all settings."""
    parser = ArgumentParser(
        prog="reg2rg serve",
        exit_on_error=False,
        allow_abbrev=False,
        description="Takes studies by DICOM and HTTP, reports them one after the other, and sends the results back.",
    )
    parser.add_argument("--config", action="config", help="a YAML file of these settings, with _ for -")
    for one in fields(ServeSettings):
        option, help = "--" + one.name.replace("_", "-"), one.metadata["help"]
        if one.type is bool:
            parser.add_argument(option, action="store_true", help=help)
        elif one.name == "data":
            parser.add_argument(option, type=str, help=help)
        else:
            parser.add_argument(option, type=one.type, default=one.default, help=help)
    return parser


def read_token(settings: ServeSettings) -> str | None:
    """The token of HTTP from its file or the environment; None if there is none.

    Raises:
        InputError: if the file cannot be read, the token is short, or it is missing and others could connect.
    """
    token = _read_secret(settings.token_file, TOKEN_VARIABLE, "token-file")
    if token is None and not settings.is_loopback:
        raise InputError(
            f"listen: {settings.listen} is not loopback; give a token by --token-file or the variable {TOKEN_VARIABLE}"
        )
    if token is not None and (len(token) < _SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
        raise InputError(
            f"the token: expected at least {_SHORTEST_TOKEN} ASCII characters; make one by openssl rand -hex 32"
        )
    return token


def read_dicomweb_authorization(settings: ServeSettings) -> str | None:
    """The Authorization header for DICOMweb servers, such as ``Basic dXNlcjpwYXNz``; None if there is none."""
    return _read_secret(settings.dicomweb_auth_file, DICOMWEB_VARIABLE, "dicomweb-auth-file")


def _read_secret(file: str, variable: str, option: str) -> str | None:
    if not file:
        return os.environ.get(variable, "").strip() or None
    try:
        secret = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--{option} {file}: expected a readable text file of one line") from error
    if not secret or len(secret.splitlines()) != 1:
        raise InputError(f"--{option} {file}: expected one line, found {len(secret.splitlines())}")
    return secret
