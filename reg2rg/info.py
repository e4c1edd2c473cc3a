"""What is installed, and what can be used: for bug reports and for finding out what is missing."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from reg2rg.errors import InputError
from reg2rg.models import SHIPPED_MODELS, WEIGHTS_FILE
from reg2rg.segment import GIVEN_MASKS, SEGMENTERS
from reg2rg.segment.program import NAME, VARIABLE, find_program

_PACKAGES = ("reg2rg", "torch", "transformers", "peft", "accelerate", "safetensors", "numpy", "scipy", "nibabel")
_EXTRAS = {
    "dicom": ("pydicom", "highdicom", "pylibjpeg-openjpeg", "pyjpegls", "python-gdcm"),
    "serve": ("pynetdicom", "dicomweb-client", "fastapi", "uvicorn", "prometheus-client"),
    "train": ("matplotlib",),
    "evaluate": (),  # needs nothing more
    "viewer": (),
    "quantized": ("bitsandbytes",),
    "ray": ("ray",),
}


def installation() -> dict[str, dict[str, str]]:
    """Versions, extras, models, segmenters and masks by title, without importing any of the heavy packages.

    >>> sorted(installation())
    ['extras', 'machine', 'masks', 'models', 'segmenters', 'versions']
    """
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "machine": {"system": f"{platform.system()} {platform.machine()}", "cores": str(os.cpu_count())},
        "extras": {
            extra: "installed" if all(_version(name) != "not installed" for name in names) else _how_to_get(extra)
            for extra, names in _EXTRAS.items()
        },
        "models": {
            model.name: "ready" if (model.folder / WEIGHTS_FILE).is_file() else "weights missing"
            for model in SHIPPED_MODELS
        },
        "segmenters": _segmenters(),
        "masks": {name: f"ready, by --masks: {what}" for name, what in GIVEN_MASKS.items()},
    }


def _segmenters() -> dict[str, str]:
    """Every segmenter: whether it can be run here, and what it is."""
    try:
        program = find_program()
        missing = f"not found (pip install {NAME} in an environment of its own; PATH or {VARIABLE})"
    except InputError as error:
        program, missing = None, str(error)
    best = "totalsegmentator" if program else "threshold"
    states = {
        "auto": missing if not program and os.environ.get(VARIABLE) else f"ready, by {best}",
        "totalsegmentator": f"ready ({program})" if program else missing,
    }
    return {name: f"{states.get(name, 'ready')}: {what}" for name, what in SEGMENTERS.items()}


def _how_to_get(extra: str) -> str:
    return f"not installed (pip install 'reg2rg[{extra}]')"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
