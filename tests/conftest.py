"""What several test files share."""

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest
import torch

from reg2rg.generate import Reporter
from reg2rg.model.build import build_model, phantom
from reg2rg.model.decode import Written
from reg2rg.model.language import text_embedding
from reg2rg.model.reg2rg import Reg2RG
from reg2rg.phantom.world import Phantom, make_phantom
from reg2rg.processor import Processor
from reg2rg.prompt import INSTRUCTION
from reg2rg.report import ModelSource
from reg2rg.vocabulary import add_special_tokens, train_word_tokenizer

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The developers' data folder beside the repository; tests that need it skip where it is missing."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (the developers' data), which is not on this machine")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Two test processes on two cores: more threads would only wait for each other."""
    torch.set_num_threads(1)
    yield


@pytest.fixture(scope="session")
def phantom_study() -> Phantom:
    """A phantom with an effusion and a nodule; not to be changed."""
    return make_phantom(3, prevalence=1.0, only=("Pleural effusion", "Lung nodule"))


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of random weights at the phantom model's sizes, whose texts end at once."""
    folder = tmp_path_factory.mktemp("untrained")
    tokenizer = train_word_tokenizer([INSTRUCTION, "The region 0 is lung: Clear."], 300)
    vocabulary = len(tokenizer)
    add_special_tokens(tokenizer, phantom(vocabulary).tokens)
    torch.manual_seed(0)
    model = build_model(phantom(vocabulary))
    with torch.no_grad():
        text_embedding(model.language).weight[tokenizer.eos_token_id] *= 4
    model.save_pretrained(folder)
    Processor(model.config, tokenizer).save_pretrained(folder)
    return folder


class ScriptedModel(Reg2RG):
    """A model that writes what it is told to, for tests of what happens around a model."""

    texts: tuple[str, ...] = ()

    def generate(self, prompts, *, eos_id, max_new_tokens=500, **_):  # type: ignore[no-untyped-def]
        """The scripted texts in ids, one per prompt, cut where the caller says."""
        for place, (_, text) in enumerate(zip(prompts, cycle(self.texts), strict=False)):
            row = [*self.tokenizer(text, add_special_tokens=False)["input_ids"], eos_id]
            yield Written(place, row[:max_new_tokens])


@pytest.fixture
def scripted(untrained: Path) -> Reporter:
    """A reporter whose model writes ``reporter.model.texts``."""
    model = Reg2RG.from_pretrained(untrained)
    processor = Processor.from_pretrained(untrained)
    model.__class__ = ScriptedModel
    model.tokenizer = processor.tokenizer
    return Reporter(model, processor, ModelSource("scripted", "0" * 64, "0"), torch.device("cpu"))
