"""The published checkpoint as a contract: the authors' tensor names and ours in one table, and the way between them.

The authors' ``pytorch_model.bin`` holds 678 tensors, or 710 when it was written by a transformers that also kept the
32 rotary frequencies; the text embeddings stand in it under two names. RadFM's files (Wu et al. 2023) hold the vision
encoder and the perceiver that the authors began with. All of them are pickles, and are read as numbers only.
"""

import dataclasses
import pickle
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reg2rg.errors import InputError
from reg2rg.files import TOKENIZER_FILES, check_free, staged_folder
from reg2rg.model.build import assemble, build_model, published
from reg2rg.model.config import LanguageConfig, Reg2RGConfig, read_json_object
from reg2rg.model.folder import check_names, check_shapes, write_model
from reg2rg.model.language import load_language_model, one_line
from reg2rg.model.reg2rg import Reg2RG, load_tensors, unique_tensors

_VIT = (
    ("patches.norm_voxels.*", "to_patch_embedding.1.*"),
    ("patches.project.*", "to_patch_embedding.2.*"),
    ("patches.norm_tokens.*", "to_patch_embedding.3.*"),
    ("positions.x", "pos_embedding.row_embed.weight"),
    ("positions.y", "pos_embedding.col_embed.weight"),
    ("positions.z", "pos_embedding.dep_embed.weight"),
    ("blocks.#.attention.norm.*", "transformer.layers.#.0.norm.*"),
    ("blocks.#.attention.query_key_value.*", "transformer.layers.#.0.fn.to_qkv.*"),
    ("blocks.#.attention.out.*", "transformer.layers.#.0.fn.to_out.0.*"),
    ("blocks.#.mlp.norm.*", "transformer.layers.#.1.norm.*"),
    ("blocks.#.mlp.up.*", "transformer.layers.#.1.fn.net.0.*"),
    ("blocks.#.mlp.down.*", "transformer.layers.#.1.fn.net.3.*"),
)
_PERCEIVER = (
    ("latents", "latents"),
    ("layers.#.attention.norm_patches.*", "layers.#.0.norm_media.*"),
    ("layers.#.attention.norm_latents.*", "layers.#.0.norm_latents.*"),
    ("layers.#.attention.query.*", "layers.#.0.to_q.*"),
    ("layers.#.attention.key_value.*", "layers.#.0.to_kv.*"),
    ("layers.#.attention.out.*", "layers.#.0.to_out.*"),
    ("layers.#.mlp.norm.*", "layers.#.1.0.*"),
    ("layers.#.mlp.up.*", "layers.#.1.1.*"),
    ("layers.#.mlp.down.*", "layers.#.1.3.*"),
    ("norm.*", "norm.*"),
)
_TEXT_TABLE = "language.base_model.model.model.embed_tokens.weight"
_ROTARY = ".rotary_emb.inv_freq"
NAMES: tuple[tuple[str, str], ...] = (
    *((f"vision.{ours}", f"embedding_layer.vision_encoder.{theirs}") for ours, theirs in _VIT),
    *((f"perceiver.{ours}", f"embedding_layer.perceiver.{theirs}") for ours, theirs in _PERCEIVER),
    *((f"mask_encoder.vit.{ours}", f"embedding_layer.mask_encoder.{theirs}") for ours, theirs in _VIT),
    ("project_crops.*", "embedding_layer.fc.*"),
    ("project_masks.*", "embedding_layer.mask_fc.*"),
    ("image_brackets", "embedding_layer.image_token_weight"),
    ("region_brackets", "embedding_layer.region_token_weight"),
    (_TEXT_TABLE, "embedding_layer.weight"),
    ("language.*", "lang_model.*"),
)
"""Ours and the authors': ``#`` stands for a block's number, ``*`` for the rest. The text table has two names there."""


def convert_checkpoint(
    checkpoint: Path, llm: Path, out: Path, sizes: Reg2RGConfig | None = None, force: bool = False
) -> None:
    """Brings the authors' checkpoint into a folder that `Reg2RG.from_pretrained` reads.

    The weights go from file to file, as they are, so that hardly more memory is needed than the pages of the one file
    that the system keeps.

    Args:
        checkpoint: the authors' ``pytorch_model.bin``, or the folder that holds it.
        llm: the folder of the language model they began with (Llama-2-7b-chat-hf): its config.json and tokenizer are
            taken, its weights are in the checkpoint.
        out: the new folder.
        sizes: the model's sizes, for a checkpoint that was trained at others than the published ones.
        force: replace `out` if it holds something.

    Raises:
        InputError: if a file is missing, holds more than tensors, lacks some, has some left over or of another shape.
    """
    check_free(out, force)
    if checkpoint.is_dir():
        checkpoint = checkpoint / "pytorch_model.bin"
    config = _with_language(sizes or published(), llm)
    with torch.device("meta"):
        expected = unique_tensors(build_model(config))
    tensors = from_authors(read_pickle(checkpoint), expected, checkpoint)
    with staged_folder(out, force) as staging:
        _copy_tokenizer(llm, staging)
        write_model(staging, config, tensors)


def convert_radfm(
    vit3d: Path, perceiver: Path, llm: Path, out: Path, sizes: Reg2RGConfig | None = None, force: bool = False
) -> None:
    """Makes the folder that training begins with: RadFM's vision encoder and perceiver, and a language model.

    Everything else is fresh: mask encoder, both projections, the open/close rows, LoRA.

    Args:
        vit3d: ``RadFM_vit3d.pth``.
        perceiver: ``RadFM_perceiver_fc.pth``.
        llm: a language model's folder, with its weights as safetensors.
        out: the new folder.
        sizes: the model's sizes; the published ones if not given.
        force: replace `out` if it holds something.

    Raises:
        InputError: if a file is missing, is no such file, or does not fit the sizes.
    """
    check_free(out, force)
    config = _with_language(sizes or published(), llm)
    model = assemble(config, load_language_model(llm, config.language.lora))
    load_radfm(model, vit3d, perceiver)
    with staged_folder(out, force) as staging:
        _copy_tokenizer(llm, staging)
        model.save_pretrained(staging)


def load_radfm(model: Reg2RG, vit3d: Path, perceiver: Path) -> None:
    """Gives a model RadFM's vision encoder and perceiver.

    RadFM's projection, which lies in the perceiver's file as well, is left there, as the authors did: it leads into
    RadFM's own language model, which is wider (5120) than Llama-2-7B (4096).

    Raises:
        InputError: if a file is missing, is no such file, or does not fit the model.
    """
    _load_part(model.vision, "vision", "embedding_layer.vision_encoder", read_pickle(vit3d), vit3d)
    state = read_pickle(perceiver).get("perceiver")
    if not isinstance(state, dict):
        raise InputError(f"{perceiver}: expected RadFM's perceiver under the key 'perceiver', found no such key")
    _load_part(model.perceiver, "perceiver", "embedding_layer.perceiver", state, perceiver)


def read_pickle(path: Path) -> dict[str, Any]:
    """A pickled dictionary of tensors, mapped rather than read; nothing that the file says is executed.

    Raises:
        InputError: if there is no such file, or it holds anything but tensors and plain containers.
    """
    try:
        # A file of the older format cannot be mapped.
        values = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except FileNotFoundError as error:
        raise InputError(f"{path}: expected a checkpoint, found no such file") from error
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: expected a checkpoint of tensors only, found something that could run code; not read"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        raise InputError(
            f"{path}: expected a checkpoint, cannot read it ({one_line(error)}); fetch it again"
        ) from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise InputError(f"{path}: expected tensors by name, found a {type(values).__name__} of something else")
    return values


def to_authors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors by the authors' names; inverse of `from_authors`. The text embeddings appear under both names."""
    return {theirs: tensor for name, tensor in tensors.items() for theirs in authors_names(name)}


def from_authors(tensors: Mapping[str, Any], expected: Mapping[str, Tensor], source: Path) -> dict[str, Tensor]:
    """The authors' tensors by our names.

    The rotary frequencies, which follow from the architecture, are dropped, and so is the second copy of the text
    embeddings. Checkpoints of peft before 0.7, which called the base of an adapted layer by the layer's own name,
    are understood as well.

    Args:
        tensors: what the authors' file holds, by its names.
        expected: our tensors, for their names and shapes.
        source: the file, for the messages.

    Raises:
        InputError: if a tensor is missing, left over, of another shape or no tensor at all, or the two copies of the
            text embeddings differ; the message has the file's own names.
    """
    bases = {name.replace(".base_layer.", "."): name for name in expected if ".base_layer." in name}
    ours: dict[str, Tensor] = {}
    left_over = []
    for theirs, tensor in tensors.items():
        if theirs.endswith(_ROTARY):
            continue
        name = our_name(theirs) or ""
        name = bases.get(name, name)
        if not isinstance(tensor, Tensor):
            raise InputError(f"{source}: expected tensors only, but {theirs} is a {type(tensor).__name__}")
        if name not in expected:
            left_over.append(theirs)
        elif name in ours and not torch.equal(ours[name], tensor):
            raise InputError(f"{source}: {theirs} should be a copy of the text embeddings, but differs from them")
        else:
            ours[name] = tensor
    missing = [authors_names(name)[0] for name in expected if name not in ours]
    check_names({*to_authors(ours), *left_over}, {*to_authors(ours), *missing}, source)
    check_shapes(to_authors(ours), to_authors(expected), source)
    return ours


def authors_names(name: str) -> tuple[str, ...]:
    """The authors' names of one of our tensors: none, one, or two for the text embeddings.

    >>> authors_names("vision.blocks.11.mlp.up.weight")
    ('embedding_layer.vision_encoder.transformer.layers.11.1.fn.net.0.weight',)
    """
    return tuple(_translate(name, NAMES))


def our_name(theirs: str) -> str | None:
    """Our name of one of the authors' tensors, or None.

    >>> our_name("embedding_layer.fc.bias")
    'project_crops.bias'
    """
    return next(_translate(theirs, ((theirs, ours) for ours, theirs in NAMES)), None)


def _translate(name: str, patterns: Iterable[tuple[str, str]]) -> Iterator[str]:
    for pattern, replacement in patterns:
        match = re.fullmatch(re.escape(pattern).replace(r"\#", r"(\d+)").replace(r"\*", "(.+)"), name)
        if match:
            yield re.sub(r"[#*]", "{}", replacement).format(*match.groups())


def _with_language(sizes: Reg2RGConfig, llm: Path) -> Reg2RGConfig:
    """The sizes with the architecture of the language model in this folder."""
    path = llm / "config.json"
    architecture = read_json_object(path, "a language model's configuration")
    try:
        language = LanguageConfig(architecture, sizes.language.lora)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return dataclasses.replace(sizes, language=language)


def _copy_tokenizer(llm: Path, folder: Path) -> None:
    present = [name for name in TOKENIZER_FILES if (llm / name).is_file()]
    if not {"tokenizer.model", "tokenizer.json"} & set(present):
        raise InputError(f"{llm}: expected the language model's tokenizer.model or tokenizer.json, found neither")
    for name in present:
        shutil.copyfile(llm / name, folder / name)


def _load_part(part: nn.Module, ours: str, theirs: str, values: Mapping[str, Any], source: Path) -> None:
    """Loads one part from a file whose names lack the prefixes that the part has in the whole model."""
    prefixed = {f"{theirs}.{name}": value for name, value in values.items()}
    found = from_authors(prefixed, {f"{ours}.{name}": tensor for name, tensor in unique_tensors(part).items()}, source)
    load_tensors(part, {name.removeprefix(f"{ours}."): tensor for name, tensor in found.items()}, source)
