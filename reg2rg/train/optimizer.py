"""Muon for the matrices of the layers, AdamW for the rest: what few steps from scratch learn most with."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

_MOMENTUM = 0.95  # Muon's own default (Jordan et al. 2024)


class MuonWithAdamW(torch.optim.Optimizer):
    """Two optimizers that take the trainer's calls as one.

    Muon (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024) makes each step's directions
    equally long, so that what few of a token's numbers carry, as a lesion's side, is learnt as soon as what many do.
    Its steps are as large as AdamW's (Liu et al., "Muon is scalable for LLM training", 2025, section 2.2): one
    learning rate serves both.

    Args:
        named: the trained weights by name; matrices with a number in their name, which is a layer's, are Muon's.
        learning_rate: of both.
        weight_decay: of all but vectors, which are biases and norms.
        beta2: of AdamW.
    """

    def __init__(
        self, named: Iterable[tuple[str, nn.Parameter]], learning_rate: float, weight_decay: float, beta2: float
    ) -> None:
        matrices: list[nn.Parameter] = []
        tables: list[nn.Parameter] = []
        vectors: list[nn.Parameter] = []
        for name, parameter in named:
            if parameter.ndim == 2 and any(part.isdigit() for part in name.split(".")):
                matrices.append(parameter)
            else:
                (tables if parameter.ndim > 1 else vectors).append(parameter)
        rest = [{"params": tables, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        self._parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW([group for group in rest if group["params"]], learning_rate, betas=(0.9, beta2))
        ]
        if matrices:
            muon = torch.optim.Muon(
                matrices, learning_rate, weight_decay, momentum=_MOMENTUM, adjust_lr_fn="match_rms_adamw"
            )
            self._parts.append(muon)
        super().__init__(self._groups(), {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of both."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for part in self._parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of both; inverse of `load_state_dict`."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes on what `state_dict` gave."""
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = self._groups()  # the schedule sets their learning rates, and loading made new ones

    def _groups(self) -> list[dict[str, Any]]:
        return [group for part in self._parts for group in part.param_groups]
