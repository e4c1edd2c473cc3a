"""The models that ship with the package, and how a model's name becomes a folder."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal, get_args

from reg2rg.errors import InputError

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


@dataclass(frozen=True)
class ShippedModel:
    """A model inside the package.

    Attributes:
        name: what ``--model`` calls it.
        description: one line.
    """

    name: str
    description: str

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return Path(str(files("reg2rg"))) / "weights" / self.name


SHIPPED_MODELS: tuple[ShippedModel, ...] = (
    ShippedModel("phantom", "tiny, trained from scratch on synthetic phantoms only; for trying the program"),
)

_NOTICES = {
    "phantom": "The model knows synthetic phantoms only: it has never seen a patient, and what it writes about one "
    "means nothing."
}
DEFAULT_MODEL = SHIPPED_MODELS[0].name

Precision = Literal["saved", "8bit", "4bit", "offload"]
"""How a language model's weights are held: as they were saved, in fewer bits, or as saved but partly in main memory."""
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

Engine = Literal["torch", "compiled", "vllm"]
"""What writes on from prompts."""
ENGINES: tuple[Engine, ...] = get_args(Engine)


def find_model(name_or_folder: str) -> Path:
    """The folder of a shipped model, or of one's own.

    Raises:
        InputError: if it is neither, or the folder holds no model of ours.

    >>> find_model("phantom").name
    'phantom'
    """
    for model in SHIPPED_MODELS:
        if name_or_folder == model.name:
            return model.folder
    folder = Path(name_or_folder)
    names = ", ".join(model.name for model in SHIPPED_MODELS)
    if not folder.is_dir():
        raise InputError(f"unknown model {name_or_folder!r}: expected one of {names}, or a folder with a model in it")
    if not (folder / "config.json").is_file() or not any((folder / n).is_file() for n in (WEIGHTS_FILE, INDEX_FILE)):
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".ckpt"))
        found = (
            f"found {pickles[0]}, a pickle: turn it into safetensors with reg2rg convert" if pickles else "found none"
        )
        raise InputError(f"{folder}: expected config.json and {WEIGHTS_FILE}, {found}")
    return folder


def notice_of(trained_on: str) -> str:
    """What must be said wherever a model is used that was trained on this; empty for data we know nothing of."""
    return _NOTICES.get(trained_on, "")
