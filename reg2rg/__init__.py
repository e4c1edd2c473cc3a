"""reg2rg: a chest CT in, a report out in which every sentence belongs to an anatomical region.

Research software, not a medical device. The public names below are loaded when they are first used, so that importing
the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reg2rg.errors import InputError
    from reg2rg.generate import Reporter
    from reg2rg.load import load_study
    from reg2rg.model.reg2rg import Reg2RG
    from reg2rg.phantom.world import make_phantom
    from reg2rg.processor import Processor
    from reg2rg.report import Report
    from reg2rg.volume import RegionMasks, Study, Volume

_HOMES = {
    "InputError": "reg2rg.errors",
    "Processor": "reg2rg.processor",
    "Reg2RG": "reg2rg.model.reg2rg",
    "RegionMasks": "reg2rg.volume",
    "Report": "reg2rg.report",
    "Reporter": "reg2rg.generate",
    "Study": "reg2rg.volume",
    "Volume": "reg2rg.volume",
    "load_study": "reg2rg.load",
    "make_phantom": "reg2rg.phantom.world",
}

__all__ = [
    "InputError",
    "Processor",
    "Reg2RG",
    "RegionMasks",
    "Report",
    "Reporter",
    "Study",
    "Volume",
    "load_study",
    "make_phantom",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'reg2rg' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
