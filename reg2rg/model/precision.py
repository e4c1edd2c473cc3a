"""In how many bits numbers are held and multiplied: what is fast on a device, and what fits on it."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reg2rg.errors import InputError
from reg2rg.model.language import decoder_layers
from reg2rg.model.offload import layer_bytes
from reg2rg.models import PRECISIONS, Precision

_BITS_PER_WEIGHT = {"8bit": 8.0, "4bit": 4.5}  # NF4 keeps a float32 for 64 weights
_TOKENS = 3000  # prompt and report of one study, generously; their keys and values are kept, too
_GIB = 2**30
_LARGE = 1_000_000_000  # weights; above, float32 may not fit into memory


def multiplies_bf16(device: torch.device) -> bool:
    """Whether a device has units that multiply matrices in bfloat16.

    GPUs from Ampere on and CPUs with AMX do. Others convert first, which takes longer than float32.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_amx_tile_supported()


def leave_half_precision(model: nn.Module) -> None:
    """Float16 is 80 times slower than float32 on a CPU; large models go to bfloat16, which takes no more memory."""
    parameters = list(model.parameters())
    instead = torch.bfloat16 if sum(parameter.numel() for parameter in parameters) > _LARGE else torch.float32
    for parameter in parameters:
        if parameter.dtype == torch.float16:
            parameter.data = parameter.data.to(instead)


def check_precision(precision: str, device: torch.device) -> None:
    """Raises InputError if weights cannot be held so here."""
    if precision not in PRECISIONS:
        raise InputError(f"precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision == "offload" and device.type == "cpu":
        raise InputError("precision offload: on a CPU all weights are in main memory already; leave --precision out")
    if precision in _BITS_PER_WEIGHT and find_spec("bitsandbytes") is None:
        raise InputError(
            f"precision {precision} needs bitsandbytes; pip install 'reg2rg[quantized]', or leave --precision out"
        )


def reduce_precision(language: Any, precision: Precision) -> None:
    """Lets the layers of a Hugging Face language model hold 8 or 4 bits from when they are next moved to a device.

    8 bits: vector-wise int8 with outliers apart (Dettmers et al., "LLM.int8()", NeurIPS 2022). 4 bits: NF4 in blocks of
    64 (Dettmers et al., "QLoRA", NeurIPS 2023). Either changes results a little. Embeddings, the layer that scores the
    vocabulary, norms and LoRA adapters stay as they are.
    """
    if precision not in _BITS_PER_WEIGHT:
        return
    import bitsandbytes as bnb

    for name, layer in _reducible(language):
        sizes = {"input_features": layer.in_features, "output_features": layer.out_features, "bias": False}
        if precision == "8bit":
            reduced = bnb.nn.Linear8bitLt(**sizes, has_fp16_weights=False)
            reduced.weight = bnb.nn.Int8Params(layer.weight.data, requires_grad=False, has_fp16_weights=False)
        else:
            reduced = bnb.nn.Linear4bit(**sizes, quant_type="nf4")
            reduced.weight = bnb.nn.Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
        reduced.bias = layer.bias
        language.set_submodule(name, reduced)


def check_fits(
    model: nn.Module, language: Any, precision: Precision, device: torch.device, free: int | None = None
) -> None:
    """Checks that a model and the texts of one study fit on a device, before anything is moved there.

    Args:
        model: with its weights, mapped from their files.
        language: its language model.
        precision: how its weights will be held.
        device: where it is to go.
        free: bytes that are free there; None to ask the system.

    Raises:
        InputError: if it does not fit; says what would.
    """
    free = free_bytes(device) if free is None else free
    sizes = {other: needed_bytes(model, language, other) for other in PRECISIONS}
    needed = sizes[precision]
    if free is None or needed <= free:
        return
    if device.type == "cpu":
        del sizes["offload"]
    less = [f"--precision {other} (about {_gib(size)})" for other, size in sizes.items() if size < needed]
    raise InputError(
        f"the model needs about {_gib(needed)} on {device}, where {_gib(free)} are free; "
        f"give {' or '.join([*less, 'another --device'])}"
    )


def needed_bytes(model: nn.Module, language: Any, precision: Precision) -> int:
    """About how much memory a model takes, with the keys and values of one study's prompt and report.

    Offloaded, it is what a device needs at least: one layer at a time.
    """
    reducible = {id(layer.weight) for _, layer in _reducible(language)} if precision in _BITS_PER_WEIGHT else set()
    weights = sum(
        weight.numel() * _BITS_PER_WEIGHT[precision] / 8 if id(weight) in reducible else weight.nbytes
        for weight in model.parameters()
    )
    if precision == "offload":
        layers = [layer_bytes(layer) for layer in decoder_layers(language)]
        weights += max(layers) - sum(layers)
    sizes = language.config.get_text_config()
    heads = getattr(sizes, "num_key_value_heads", None) or sizes.num_attention_heads
    dim = getattr(sizes, "head_dim", None) or sizes.hidden_size // sizes.num_attention_heads
    element = next(language.parameters()).element_size()
    return int(weights + 2 * sizes.num_hidden_layers * heads * dim * _TOKENS * element)


def room_for_layers(model: nn.Module, language: Any, device: torch.device) -> int:
    """Bytes on a device that layers of the language model may keep, beside what `needed_bytes` says is needed at least.

    A tenth of what is free is left for intermediate results, and for studies that are written together.
    """
    free = free_bytes(device)
    return 0 if free is None else int(free * 0.9) - needed_bytes(model, language, "offload")


def free_bytes(device: torch.device) -> int | None:
    """Memory that is free on a device; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return {line.split(":")[0]: int(line.split()[1]) for line in lines}["MemAvailable"] * 1024
    except (OSError, KeyError, ValueError):
        return None


def _reducible(language: Any) -> list[tuple[str, nn.Linear]]:
    scores = language.get_output_embeddings()
    return [
        (name, layer)
        for name, layer in language.named_modules()
        if isinstance(layer, nn.Linear) and layer is not scores and "lora_" not in name
    ]


def _gib(size: float) -> str:
    return f"{size / _GIB:.1f} GiB"
