"""Models of tiny sizes whose weights matter."""

from dataclasses import replace

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from reg2rg.model.build import build_model, tiny
from reg2rg.model.config import LoRAConfig
from reg2rg.model.reg2rg import Reg2RG


def tiny_model(with_lora: bool) -> Reg2RG:
    """All of its weights, adapters included, are large enough to change what it writes."""
    torch.manual_seed(0)
    config = tiny()
    if with_lora:
        adapters = LoRAConfig(rank=2, alpha=4, dropout=0.0, targets=("q_proj", "v_proj"))
        config = replace(config, language=replace(config.language, lora=adapters))
    model = build_model(config).eval()
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.2)  # adapters begin at zero, where they would do nothing
    return model


def tiny_language() -> LlamaForCausalLM:
    """A language model alone, whose texts end at different lengths."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=24, num_key_value_heads=2, initializer_range=0.2, eos_token_id=None, **sizes)
    return LlamaForCausalLM(config).eval()
