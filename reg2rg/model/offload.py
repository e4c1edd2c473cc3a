"""Layers of a language model that wait in main memory, and are on the device only while they work."""

from itertools import accumulate

import torch
from torch import nn

from reg2rg.model.language import decoder_layers


def offload_layers(model: nn.Module, language: nn.Module, device: torch.device, room: int) -> int:
    """Moves a model to a device; of its language model, the last layers that do not fit there wait in main memory.

    What it computes stays the same. Each waiting layer is copied for each token that is written, so that many studies
    written together cost little more than one.

    Args:
        model: with its weights, mapped from their files.
        language: its language model.
        device: where it works.
        room: bytes for layers on the device.

    Returns:
        how many layers wait.
    """
    from accelerate import cpu_offload  # comes with peft; takes long to import

    layers = decoder_layers(language)
    fitting = sum(total <= room for total in accumulate(map(layer_bytes, layers)))
    waiting = list(layers)[fitting:]
    for layer in waiting:
        cpu_offload(layer, device, preload_module_classes=[type(layer).__name__])
    for parameter in model.parameters():
        if not parameter.is_meta:  # as those of the waiting layers are, whose weights their hooks hold
            parameter.data = parameter.data.to(device)
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(device))
    return len(waiting)


def layer_bytes(layer: nn.Module) -> int:
    """What a layer's weights take."""
    return sum(parameter.nbytes for parameter in layer.parameters())
