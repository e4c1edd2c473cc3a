"""``run.json``: what ran, on what, with which settings, so that it can be run again."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PACKAGES = ("reg2rg", "torch", "transformers", "peft", "numpy", "scipy", "nibabel", "safetensors")


def run_record(command: str, settings: dict[str, Any], **facts: Any) -> dict[str, Any]:
    """The record of a run.

    Args:
        command: the verb.
        settings: the resolved settings, as they can be given again.
        facts: whatever else identifies the run (device, hashes, seconds).

    >>> record = run_record("report", {"seed": 0}, device="cpu")
    >>> record["command"], record["settings"], record["device"]
    ('report', {'seed': 0}, 'cpu')
    """
    return {
        "command": command,
        "settings": settings,
        **facts,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "platform": {"system": platform.system(), "machine": platform.machine(), "byteorder": sys.byteorder},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
