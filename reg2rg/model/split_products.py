"""Products of matrices by units for bfloat16, nearly as exact as in float32."""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import reduce
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from reg2rg.model.precision import multiplies_bf16


def products(device: torch.device, bf16: bool) -> AbstractContextManager[Any]:
    """`SplitProducts` where they are asked for and the device has units for them, else nothing: the same, slower."""
    return SplitProducts() if bf16 and multiplies_bf16(device) else nullcontext()


class SplitProducts(TorchFunctionMode):
    """Within this context linear layers of float32 multiply in bfloat16, by parts, and add up in float32.

    A float32 is split into its rounded value and the rounded rest, two bfloat16 with 16 bits of mantissa together. Of
    the products of these parts the three that matter are added up (Henry, Tang and Heinecke, "Leveraging the bfloat16
    Artificial Intelligence Datatype For Higher-Precision Computations", ARITH 2019). A single product of rounded
    numbers is one instead of three, and changes details of one report in eight (LOG.md, 2026-11-30).

    Weights are split once for as long as the context lasts. On a CPU one thread at a time may be in it while others
    multiply in float32, see `_Bf16Units`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._weights: dict[nn.Parameter, tuple[Tensor, Tensor]] = {}

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch in the place of each of its functions."""
        kwargs = kwargs or {}
        if function is functional.linear and args[0].dtype == torch.float32:
            return self._linear(*args, **kwargs)
        return function(*args, **kwargs)

    def _linear(
        self, input: Float[Tensor, "*row into"], weight: Float[Tensor, "out into"], bias: Tensor | None = None
    ) -> Float[Tensor, "*row out"]:
        high, low = _parts(input.reshape(-1, input.shape[-1]))
        weight_high, weight_low = self._parts_of(weight)
        sums = _sum_of_products(((high, weight_high), (low, weight_high), (high, weight_low)))
        if bias is not None:
            sums += bias
        return sums.view(*input.shape[:-1], len(weight))

    def _parts_of(self, weight: Float[Tensor, "out into"]) -> tuple[Tensor, Tensor]:
        if not isinstance(weight, nn.Parameter):  # but made for this product alone
            return _parts(weight)
        if weight not in self._weights:
            self._weights[weight] = _parts(weight)
        return self._weights[weight]


def _parts(matrix: Float[Tensor, "row column"]) -> tuple[Float[Tensor, "row column"], Float[Tensor, "row column"]]:
    """What bfloat16 keeps of each number, and the rest; on a CPU as float32, whose units round the rest themselves."""
    high = matrix.bfloat16()
    if matrix.is_cuda:
        return high, (matrix - high).bfloat16()
    return high.float(), matrix - high


def _sum_of_products(
    pairs: Sequence[tuple[Float[Tensor, "row into"], Float[Tensor, "out into"]]],
) -> Float[Tensor, "row out"]:
    (left, right), *others = pairs
    if left.is_cuda:
        return reduce(torch.add, (torch.mm(left, right.T, out_dtype=torch.float32) for left, right in pairs))
    with _UNITS:
        sums = left @ right.T
        for left, right in others:
            sums.addmm_(left, right.T)
    return sums


class _Bf16Units:
    """Lets oneDNN multiply float32 by units for bfloat16.

    The setting is the process's, not a thread's: what other threads multiply meanwhile is rounded, too.
    """

    def __init__(self) -> None:
        onednn: Any = torch.backends.mkldnn
        self._settings, self._lock = onednn.matmul, threading.Lock()
        self._users, self._before = 0, ""

    def __enter__(self) -> None:
        with self._lock:
            if not self._users:
                self._before = self._settings.fp32_precision
            self._users += 1
            self._settings.fp32_precision = "bf16"

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._settings.fp32_precision = self._before


_UNITS = _Bf16Units()
