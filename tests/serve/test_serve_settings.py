"""Settings: refused in one line where they would be unsafe or cannot be used."""

from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from reg2rg.cli import main
from reg2rg.errors import InputError
from reg2rg.serve.settings import (
    DICOMWEB_VARIABLE,
    TOKEN_VARIABLE,
    ServeSettings,
    parse_settings,
    read_dicomweb_authorization,
    read_token,
)

TOKEN = "0123456789abcdef"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    monkeypatch.delenv(DICOMWEB_VARIABLE, raising=False)


def test_a_file_gives_settings_and_the_command_line_overrides_them(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("data: q\nport: 81\ndicom_port: 105\nkeep_source: true\nallow_ae: CT1, CT2\n")
    settings = parse_settings(["--config", str(tmp_path / "s.yaml"), "--port", "82"])
    assert (settings.data, settings.port, settings.dicom_port) == ("q", 82, 105)
    assert settings.keep_source
    assert settings.allowed_titles == ("CT1", "CT2")
    assert parse_settings(["--data", "q"]) == ServeSettings("q")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected --data DIR"),
        (["--data", "q", "--colour", "red"], "colour"),
        (["--data", "q", "--port", "http"], "port"),
        (["--data", "q", "--port", "70000"], "port: expected 0 to 65535"),
        (["--data", "q", "--workers", "0"], "workers: expected at least 1"),
        (["--data", "q", "--quiet-seconds", "0"], "quiet_seconds: expected a positive number"),
        (["--data", "q", "--quiet-seconds", "nan"], "quiet_seconds"),
        (["--data", "q", "--free-mib", "-1"], "free_mib: expected 0 or more"),
        (["--data", "q", "--listen", "everywhere"], "expected an IP address"),
        (["--data", "q", "--listen", "0.0.0.0"], "--allow-ae"),
        (["--data", "q", "--ae-title", "SEVENTEEN LETTERS"], "AE title"),
        (["--data", "q", "--allow-ae", "CT1,BACK\\SLASH"], "AE title"),
        (["--data", "q", "--push", "pacs"], "push: expected"),
        (["--data", "q", "--push", "PACS@host:0"], "push: expected"),
        (["--data", "q", "--push", "http://user:secret@host/"], "without user and password"),
        (["--data", "q", "--dicomweb", "PACS@host:104"], "dicomweb: expected"),
        (["--data", "q", "--dicomweb", "file:///etc/passwd"], "dicomweb: expected"),
        (["--config", "missing.yaml"], "missing.yaml"),
    ],
)
def test_bad_settings_are_refused_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert "secret" not in err


def test_others_are_let_in_with_a_token_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_token(ServeSettings("q")) is None
    assert ServeSettings("q", listen="::1").is_loopback
    open_to_all = ServeSettings("q", listen="0.0.0.0", allow_ae="CT1")
    with pytest.raises(InputError, match="give a token"):
        read_token(open_to_all)
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    assert read_token(open_to_all) == TOKEN
    (tmp_path / "token").write_text(TOKEN * 2 + "\n")
    assert read_token(ServeSettings("q", token_file=str(tmp_path / "token"))) == TOKEN * 2


@pytest.mark.parametrize("content", ["", "short", "ünïcödé-token-of-some-length", "two\nlines-that-are-long-enough"])
def test_a_token_that_is_none_is_refused_without_telling_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content)
    with pytest.raises(InputError) as caught:
        read_token(ServeSettings("q", token_file=str(tmp_path / "token")))
    assert not content or content not in str(caught.value)


def test_the_password_of_the_archive_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_dicomweb_authorization(ServeSettings("q")) is None
    monkeypatch.setenv(DICOMWEB_VARIABLE, "Basic eHl6")
    assert read_dicomweb_authorization(ServeSettings("q")) == "Basic eHl6"
    (tmp_path / "auth").write_text("Bearer abc\n")
    assert read_dicomweb_authorization(ServeSettings("q", dicomweb_auth_file=str(tmp_path / "auth"))) == "Bearer abc"
    with pytest.raises(InputError, match="readable text file"):
        read_dicomweb_authorization(ServeSettings("q", dicomweb_auth_file=str(tmp_path / "missing")))


def test_the_page_for_hospitals_lists_the_settings() -> None:
    page = (Path(__file__).parents[2] / "docs/HOSPITAL.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `") and line.count("|") == 4]
    expected = []
    for one in fields(ServeSettings):
        default = "" if one.default in (MISSING, "") else f"`{one.default}`"
        expected.append(f"| `{one.name}` | {default} | {one.metadata['help']} |")
    assert rows == expected


def test_help_lists_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--help"]) == 0
    assert "--quiet-seconds" in capsys.readouterr().out
