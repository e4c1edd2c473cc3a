"""RadBERT as labeler: CT-RATE's text classifier, with weights from a local folder.

The published classifier (Hamamci et al. 2024) is RadBERT-RoBERTa-4m with one linear layer on its pooled output, 18
logits in the order of ABNORMALITY_NAMES. Texts are cut at 512 tokens; an abnormality is asserted where the sigmoid of
its logit exceeds 0.5.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedTokenizerBase,
)

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.errors import InputError

MAX_TOKENS = 512
THRESHOLD = 0.5
_BATCH = 16
_WEIGHTS = ("*.safetensors", "*.bin", "*.pth", "*.pt")


class RadBERTLabeler:
    """Labels by a RadBERT classifier.

    Args:
        classifier: from token ids and attention mask to 18 logits.
        tokenizer: the classifier's.
    """

    name = "radbert"

    def __init__(self, classifier: nn.Module, tokenizer: PreTrainedTokenizerBase):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.classifier = classifier.to(self.device).eval()
        self.tokenizer = tokenizer

    @classmethod
    def from_folder(cls, folder: Path) -> "RadBERTLabeler":
        """Reads a folder with RadBERT's ``config.json``, its tokenizer, and one file of weights.

        The weights are those published with CT-RATE (``RadBertClassifier.pth``) or a sequence classifier as
        transformers saves it; as safetensors, or read without executing anything in them.

        Raises:
            InputError: if something is missing or does not fit.
        """
        weights = next((path for kind in _WEIGHTS for path in sorted(folder.glob(kind))), None)
        if weights is None or not (folder / "config.json").is_file():
            raise InputError(
                f"{folder}: expected RadBERT's config.json, tokenizer and weights (RadBertClassifier.pth or "
                f".safetensors), found {'no weights' if weights is None else 'no config.json'}; put them together"
            )
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # transformers raises many kinds for files it cannot use
            reason = next(iter(str(error).splitlines()), type(error).__name__)[:120]
            raise InputError(
                f"{folder}: expected RadBERT's config.json and tokenizer, cannot read them ({reason})"
            ) from error
        return cls(_build(config, _read_weights(weights), weights), tokenizer)

    def label(self, texts: Sequence[str]) -> Bool[np.ndarray, "report abnormality"]:
        """One row per report: which abnormalities it asserts. An empty text asserts nothing."""
        labels = np.zeros((len(texts), len(ABNORMALITY_NAMES)), bool)
        asked = sorted((i for i, text in enumerate(texts) if text.strip()), key=lambda i: len(texts[i]))
        for start in range(0, len(asked), _BATCH):
            batch = asked[start : start + _BATCH]
            labels[batch] = (self._probabilities([texts[i] for i in batch]) > THRESHOLD).numpy()
        return labels

    @torch.inference_mode()
    def _probabilities(self, texts: list[str]) -> Float[Tensor, "report abnormality"]:
        tokens = self.tokenizer(texts, max_length=MAX_TOKENS, truncation=True, padding=True, return_tensors="pt")
        logits = self.classifier(tokens["input_ids"].to(self.device), tokens["attention_mask"].to(self.device))
        return torch.sigmoid(logits).float().cpu()


class PublishedClassifier(nn.Module):
    """The classifier as published with CT-RATE: an encoder and a linear layer on its pooled output."""

    def __init__(self, config: PretrainedConfig):
        super().__init__()
        self.model = AutoModel.from_config(config)
        self.classifier = nn.Linear(config.hidden_size, len(ABNORMALITY_NAMES))

    def forward(
        self, input_ids: Int[Tensor, "report token"], attention_mask: Int[Tensor, "report token"]
    ) -> Float[Tensor, "report abnormality"]:
        """Logits, one per abnormality."""
        encoded = self.model(input_ids=input_ids, attention_mask=attention_mask)
        return self.classifier(encoded.pooler_output)


class SequenceClassifier(nn.Module):
    """A sequence classifier of transformers; its logits are the output."""

    def __init__(self, config: PretrainedConfig):
        super().__init__()
        config.num_labels = len(ABNORMALITY_NAMES)
        self.network = AutoModelForSequenceClassification.from_config(config)

    def forward(
        self, input_ids: Int[Tensor, "report token"], attention_mask: Int[Tensor, "report token"]
    ) -> Float[Tensor, "report abnormality"]:
        """Logits, one per abnormality."""
        return self.network(input_ids=input_ids, attention_mask=attention_mask).logits


def _build(config: PretrainedConfig, weights: dict[str, Tensor], path: Path) -> nn.Module:
    # Older versions of transformers saved the positions 0, 1, 2, ... as if they were weights.
    weights = {name: tensor for name, tensor in weights.items() if not name.endswith("position_ids")}
    classifier: nn.Module
    if any(name.startswith("model.") for name in weights):
        classifier = PublishedClassifier(config)
    else:
        classifier = SequenceClassifier(config)
        weights = {f"network.{name}": tensor for name, tensor in weights.items()}
    try:
        classifier.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: expected the weights of a RadBERT classifier with 18 outputs ({reason})") from error
    return classifier


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # many kinds, one per way in which a file can be broken
        raise InputError(f"{path}: expected PyTorch weights or safetensors, cannot read it; fetch it again") from error
    if not isinstance(weights, dict) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise InputError(f"{path}: expected a table of tensors, found {type(weights).__name__}; save the state_dict")
    return weights
