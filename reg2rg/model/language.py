"""The language model: any Hugging Face causal LM, with LoRA adapters where the configuration asks for them.

transformers and peft take seconds to import and are imported where they are used.
"""

import torch
from torch import nn

from reg2rg.errors import InputError
from reg2rg.model.config import LanguageConfig


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
    except (ValueError, TypeError, AttributeError) as error:
        kind = config.architecture["model_type"]
        raise InputError(f"language.architecture: cannot make a {kind} language model ({_one_line(error)})") from error
    if config.lora is None:
        return model
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        target_modules=list(config.lora.targets),
    )
    try:
        return get_peft_model(model, lora)
    except ValueError as error:
        raise InputError(f"language.lora.targets: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
