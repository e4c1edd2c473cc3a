"""Studies and texts on the way into the model, and back."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Integer, Shaped
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reg2rg.model.config import Reg2RGConfig, load_config
from reg2rg.model.quantities import Quantities
from reg2rg.preprocess import STEPS, StudyCrops, crop_study, to_spacing
from reg2rg.prompt import build_prompt, build_target
from reg2rg.vocabulary import (
    Example,
    decode_text,
    encode_example,
    encode_text,
    load_tokenizer,
    scales,
    token_spans,
)
from reg2rg.volume import Study

_CONFIG_FILE = "config.json"


def crops_of(study: Study, config: Reg2RGConfig) -> StudyCrops:
    """The study's crops as a model of this configuration reads them.

    Raises:
        InputError: if there is nothing to encode.
    """
    return crop_study(to_spacing(study, config.grid_spacing_mm), config.crop_size_xyz, config.window, config.outside_hu)


def crop_tensor(crops: Shaped[np.ndarray, "*shape"], device: torch.device | str) -> Float[Tensor, "*shape"]:
    """Crops as the networks read them; those in steps become floats on the device, as `preprocess.as_floats` does."""
    tensor = torch.from_numpy(crops if crops.flags.writeable else crops.copy()).to(device)
    steps = STEPS.get(crops.dtype)
    return tensor if steps is None else tensor.float() / steps


class Processor:
    """What a model needs around it: crops as it reads them, prompts in its ids, text from its ids.

    Args:
        config: the model's configuration.
        tokenizer: its Hugging Face tokenizer, the special tokens included (`vocabulary.load_tokenizer`).
    """

    def __init__(self, config: Reg2RGConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.tokens = config.tokens

    @classmethod
    def from_pretrained(cls, folder: Path) -> "Processor":
        """Reads configuration and tokenizer of a model's folder.

        Raises:
            InputError: if they are missing or do not fit together.
        """
        config = load_config(folder / _CONFIG_FILE)
        return cls(config, load_tokenizer(folder, config.tokens, config.text_vocabulary_size))

    def save_pretrained(self, folder: Path) -> None:
        """Writes the tokenizer's files; inverse of `from_pretrained`, the model writes the configuration."""
        self.tokenizer.save_pretrained(folder)

    @property
    def eos_id(self) -> int:
        """The token that ends a report."""
        return int(self.tokenizer.eos_token_id)

    @cached_property
    def quantities(self) -> Quantities:
        """How words that say how much are chosen, where a median is asked for."""
        return Quantities(scales(self.tokenizer))

    def crop(self, study: Study) -> StudyCrops:
        """The study's crops as the model reads them; regions in the order of the ten."""
        return crops_of(study, self.config)

    def prompt(self, num_regions: int, with_other: bool = False) -> str:
        """The prompt for that many regions; with an other report where the dataset has them (CTRG)."""
        return build_prompt(num_regions, self.tokens, with_other)

    def prompt_ids(self, num_regions: int, with_other: bool = False) -> list[int]:
        """The prompt in ids, ending as it does in training where the answer begins."""
        return encode_text(self.tokenizer, self.prompt(num_regions, with_other))

    def example(
        self, findings: Sequence[tuple[str, str]], max_length: int, other: Mapping[str, str] | None = None
    ) -> Example:
        """Prompt and answer of one study for training: (region name, text) in prompt order, and the other report."""
        prompt = self.prompt(len(findings), with_other=bool(other))
        return encode_example(self.tokenizer, self.tokens, prompt, build_target(findings, other), max_length)

    def answer_spans(
        self, findings: Sequence[tuple[str, str]], other: Mapping[str, str] | None = None
    ) -> Integer[np.ndarray, "token 2"]:
        """Where each token of `example` lies in the answer: its first letter and the one behind it.

        The prompt's tokens lie before 0; the end token is not among them.
        """
        prompt = self.prompt(len(findings), with_other=bool(other))
        return np.array(token_spans(self.tokenizer, f"{prompt} {build_target(findings, other)}")) - (len(prompt) + 1)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of generated ids."""
        return decode_text(self.tokenizer, ids).strip()
