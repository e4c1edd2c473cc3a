"""RadBERT's classifier at its shape, tiny and with random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import RobertaConfig, RobertaForSequenceClassification

from reg2rg.abnormalities import ABNORMALITY_NAMES
from reg2rg.errors import InputError
from reg2rg.evaluate.labeler import find_labeler
from reg2rg.evaluate.radbert import PublishedClassifier, RadBERTLabeler
from reg2rg.vocabulary import train_word_tokenizer

TEXTS = ["No pleural effusion.", "The heart is enlarged. " * 200, "", "A nodule of 7 mm in the left lung."]


@pytest.fixture(scope="module")
def config() -> RobertaConfig:
    return RobertaConfig(
        vocab_size=300,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=516,  # RoBERTa counts positions from the padding id + 1
        pad_token_id=3,
        bos_token_id=1,
        eos_token_id=2,
    )


@pytest.fixture
def folder(tmp_path: Path, config: RobertaConfig) -> Path:
    """RadBERT's files without weights."""
    config.save_pretrained(tmp_path)
    train_word_tokenizer(["The heart is enlarged."], 300).save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def published(config: RobertaConfig) -> PublishedClassifier:
    torch.manual_seed(0)
    classifier = PublishedClassifier(config).eval()
    torch.nn.init.normal_(classifier.classifier.weight, std=2.0)
    return classifier


def by_hand(classifier: PublishedClassifier, folder: Path, text: str) -> list[bool]:
    """The published recipe, one text at a time."""
    tokenizer = RadBERTLabeler.from_folder(folder).tokenizer
    ids = torch.tensor([tokenizer(text)["input_ids"][:512]])
    with torch.no_grad():
        pooled = classifier.model(input_ids=ids, attention_mask=torch.ones_like(ids)).pooler_output
        logits = pooled @ classifier.classifier.weight.T + classifier.classifier.bias
    return (1 / (1 + torch.exp(-logits)) > 0.5)[0].tolist()


def test_published_weights_give_the_published_labels(folder: Path, published: PublishedClassifier) -> None:
    weights = dict(published.state_dict())
    weights["model.embeddings.position_ids"] = torch.arange(516)[None]
    torch.save(weights, folder / "RadBertClassifier.pth")
    labeler = find_labeler(f"radbert:{folder}")
    labels = labeler.label(TEXTS)
    assert labeler.name == "radbert"
    assert labels.shape == (4, len(ABNORMALITY_NAMES))
    assert not labels[2].any(), "an empty text asserts nothing"
    for text, row in zip(TEXTS, labels, strict=True):
        if text:
            assert row.tolist() == by_hand(published, folder, text)
    assert 0 < labels.sum() < labels.size


def test_safetensors_give_the_same(folder: Path, published: PublishedClassifier) -> None:
    torch.save(published.state_dict(), folder / "RadBertClassifier.pth")
    expected = RadBERTLabeler.from_folder(folder).label(TEXTS)
    (folder / "RadBertClassifier.pth").unlink()
    save_file({name: tensor.contiguous() for name, tensor in published.state_dict().items()}, folder / "w.safetensors")
    np.testing.assert_array_equal(RadBERTLabeler.from_folder(folder).label(TEXTS), expected)


def test_sequence_classifier_as_transformers_saves_it(folder: Path, config: RobertaConfig) -> None:
    torch.manual_seed(1)
    config.num_labels = len(ABNORMALITY_NAMES)
    network = RobertaForSequenceClassification(config).eval()
    torch.nn.init.normal_(network.classifier.out_proj.weight, std=2.0)
    network.save_pretrained(folder)
    labeler = RadBERTLabeler.from_folder(folder)
    tokens = labeler.tokenizer([TEXTS[3]], return_tensors="pt")
    with torch.no_grad():
        logits = network(tokens["input_ids"], attention_mask=tokens["attention_mask"]).logits
    assert labeler.label(TEXTS[3:])[0].tolist() == (logits[0] > 0).tolist()


def test_wrong_folders_are_refused_in_one_line(folder: Path, published: PublishedClassifier) -> None:
    with pytest.raises(InputError, match="found no weights"):
        find_labeler(f"radbert:{folder}")
    (folder / "RadBertClassifier.pth").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="cannot read it"):
        RadBERTLabeler.from_folder(folder)
    weights = dict(published.state_dict())
    weights["classifier.weight"] = weights["classifier.weight"][:14]
    torch.save(weights, folder / "RadBertClassifier.pth")
    with pytest.raises(InputError, match="18 outputs") as refused:
        RadBERTLabeler.from_folder(folder)
    assert "\n" not in str(refused.value)
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"found no config\.json"):
        RadBERTLabeler.from_folder(folder)


def test_weights_are_not_executed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    trace = tmp_path_factory.mktemp("trace") / "executed"

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (trace,)  # type: ignore[return-value]

    torch.save({"model.x": Payload()}, folder / "RadBertClassifier.pth")
    with pytest.raises(InputError, match="cannot read it"):
        RadBERTLabeler.from_folder(folder)
    assert not trace.exists()
