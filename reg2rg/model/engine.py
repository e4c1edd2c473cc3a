"""What writes on from prompts: torch as it is, torch with compiled steps, or vLLM."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Protocol, runtime_checkable

from reg2rg.errors import InputError
from reg2rg.model.decode import Written
from reg2rg.model.language import without_adapters
from reg2rg.model.reg2rg import Reg2RG
from reg2rg.model.vllm_engine import VllmEngine
from reg2rg.models import ENGINES, Engine


@runtime_checkable
class Writer(Protocol):
    """What writes on from prompts in the place of a model's own steps."""

    engine: Engine

    @property
    def write_on(self) -> Callable[..., Iterator[Written]]:
        """Called as `reg2rg.model.decode.write_on` is, without the language model."""


def check_engine(engine: str, precision: str) -> None:
    """Raises InputError if there is no such engine, it is not installed, or cannot hold weights so."""
    if engine not in ENGINES:
        raise InputError(f"engine: expected one of {', '.join(ENGINES)}, got {engine!r}")
    if engine == "torch":
        return
    if precision != "saved":
        raise InputError(f"precision {precision}: engine {engine} holds weights as saved; leave one of them out")
    if engine == "vllm" and find_spec("vllm") is None:
        raise InputError(
            "engine vllm needs vLLM, which brings its own torch: install it first, in an environment of its own "
            "(https://docs.vllm.ai), or leave --engine out"
        )


def start_engine(engine: Engine, model: Reg2RG) -> Writer | None:
    """What writes in the place of a model's own steps; None for these.

    Args:
        engine: which.
        model: whose language model loses its adapters, which are added to its weights, and to vLLM its layers.
    """
    if engine == "torch":
        return None
    model.language = without_adapters(model.language)
    if engine == "vllm":
        return VllmEngine(model.language)
    from reg2rg.model.compiled import CompiledEngine  # transformers, which takes seconds to import

    return CompiledEngine(model.language)
