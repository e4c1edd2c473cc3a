"""The language model: any Hugging Face causal LM, with LoRA adapters where the configuration asks for them.

transformers and peft take seconds to import and are imported where they are used.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from reg2rg.errors import InputError
from reg2rg.model.config import LanguageConfig, LoRAConfig


def build_language_model(config: LanguageConfig) -> nn.Module:
    """A fresh causal language model, in torch's default dtype, with attention through torch's fused kernels.

    Raises:
        InputError: if transformers cannot make the architecture, or LoRA's targets are no layers of it.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        architecture = AutoConfig.for_model(**config.architecture)
        model = AutoModelForCausalLM.from_config(
            architecture, attn_implementation="sdpa", dtype=torch.get_default_dtype()
        )
    except Exception as error:  # architectures check their settings in many ways
        kind = config.architecture["model_type"]
        raise InputError(f"language.architecture: cannot make a {kind} language model ({one_line(error)})") from error
    return _with_lora(model, config.lora)


def load_language_model(folder: Path, lora: LoRAConfig | None) -> nn.Module:
    """A language model with its weights, in the dtype they were saved in, and fresh adapters.

    Raises:
        InputError: if the folder holds no language model with weights as safetensors, or LoRA's targets are no
            layers of it.
    """
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype="auto", attn_implementation="sdpa"
        )
    except Exception as error:  # transformers raises many kinds for files it cannot use
        raise InputError(
            f"{folder}: expected a language model with its weights as safetensors ({one_line(error)})"
        ) from error
    return _with_lora(model, lora)


def without_adapters(language: Any) -> Any:
    """The same language model with its LoRA adapters added to the weights that they adapt; those are changed."""
    return language.merge_and_unload() if hasattr(language, "merge_and_unload") else language


def text_embedding(language: Any) -> nn.Embedding:
    """The table of text embeddings of a Hugging Face language model, with or without adapters."""
    return language.get_input_embeddings()


def decoder_layers(language: Any) -> nn.ModuleList:
    """The layers of a Hugging Face language model in their order, with or without adapters."""
    return next(child for child in language.get_decoder().children() if isinstance(child, nn.ModuleList))


def one_line(error: Exception) -> str:
    """An exception's message, shortened, on one line."""
    return " ".join(str(error).split())[:200]


def _with_lora(model: nn.Module, lora: LoRAConfig | None) -> nn.Module:
    if lora is None:
        return model
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets),
    )
    try:
        return get_peft_model(model, settings)
    except ValueError as error:
        raise InputError(f"language.lora.targets: {one_line(error)}") from error
