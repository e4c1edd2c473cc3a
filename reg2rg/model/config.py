"""Every size of the model, as frozen records that go to JSON and back. Imports no torch.

The published sizes, and those of the small models, are values of these records: see `reg2rg.model.build`.
"""

import dataclasses
import json
import math
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reg2rg.errors import InputError
from reg2rg.intensity import HUWindow
from reg2rg.tokens import SpecialTokens

FORMAT = "reg2rg.model/1"
"""Written into config.json, so that no other program's config.json is taken for ours."""

INPUTS = ("global", "texture", "geometry")
"""What the language model is given to see: the whole image, each region's crop, each region's mask."""


@dataclass(frozen=True)
class ViTConfig:
    """Sizes of a 3D vision transformer.

    Attributes:
        patch_size_xyz: voxels of a patch along each axis.
        position_rows_xyz: rows of the position table of each axis; a multiple of the number of patches along it.
        channels: copies of the one input channel that the patch embedding reads.
        width: size of a token; a third of it belongs to each axis's position table.
        depth: number of blocks.
        heads: attention heads per block.
        head_dim: size of one head.
        mlp_width: hidden size of a block's MLP.
        dropout: probability, after the positions and throughout the blocks.
        stem_channels: widths of strided convolutions ahead of the patches, each of which halves the grid; none as
            published.
        stem_windows: parts of the input's scale, -1 to 1, each of which the convolutions see as a channel of its own,
            clipped and spread, beside the whole.
        stem_spheres: radii in voxels of spheres with nothing as bright as their middle around it (`isolation`), told to
            the convolutions as a channel each; and each patch's token is told the highest value of each eighth of it.
        stem_sphere_window: the part of the scale in which they are found, so that calcium does not outshine all else.
    """

    patch_size_xyz: tuple[int, int, int]
    position_rows_xyz: tuple[int, int, int]
    channels: int
    width: int
    depth: int
    heads: int
    head_dim: int
    mlp_width: int
    dropout: float
    stem_channels: tuple[int, ...] = ()
    stem_windows: tuple[tuple[float, float], ...] = ()
    stem_spheres: tuple[int, ...] = ()
    stem_sphere_window: tuple[float, float] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        _check_positive(self)
        _check_probability("dropout", self.dropout)
        if any(size % 2 ** len(self.stem_channels) for size in self.patch_size_xyz):
            raise InputError(
                f"stem_channels: {len(self.stem_channels)} halvings do not divide patches of {self.patch_size_xyz}"
            )
        if self.stem_windows and not self.stem_channels:
            raise InputError("stem_windows: only convolutions (stem_channels) read them")
        if self.stem_spheres and not self.stem_channels:
            raise InputError("stem_spheres: only convolutions (stem_channels) read them")
        if list(self.stem_spheres) != sorted({radius for radius in self.stem_spheres if radius > 1}):
            raise InputError(f"stem_spheres: expected growing whole numbers from 2 on, got {self.stem_spheres}")
        for name, windows in (("stem_windows", self.stem_windows), ("stem_sphere_window", (self.stem_sphere_window,))):
            if any(not -1 <= low < high <= 1 for low, high in windows):
                raise InputError(f"{name}: expected pairs from low to high within -1 to 1, got {windows}")
        if self.width % 3:
            raise InputError(f"width: expected a multiple of 3 (a third for each axis's positions), got {self.width}")

    def patches_xyz(self, crop_size_xyz: tuple[int, int, int]) -> tuple[int, int, int]:
        """Patches of a crop along each axis; patches are ordered with x slowest and z fastest."""
        x, y, z = (size // patch for size, patch in zip(crop_size_xyz, self.patch_size_xyz, strict=True))
        return x, y, z


@dataclass(frozen=True)
class PerceiverConfig:
    """Sizes of the perceiver resampler; its width is that of the vision transformer.

    Attributes:
        latents: tokens it makes of a crop.
        depth: number of layers.
        heads: attention heads per layer.
        head_dim: size of one head.
        mlp_width: hidden size of a layer's MLP.
    """

    latents: int
    depth: int
    heads: int
    head_dim: int
    mlp_width: int

    def __post_init__(self) -> None:
        _check_positive(self)


@dataclass(frozen=True)
class LoRAConfig:
    """Low-rank adapters on the language model (Hu et al. 2021): ``W x + (alpha / rank) B A dropout(x)``.

    Attributes:
        rank: rows of A.
        alpha: scale of the adapter's output.
        dropout: probability on the adapter's input.
        targets: names of the linear layers that get an adapter.
    """

    rank: int
    alpha: int
    dropout: float
    targets: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_positive(self)
        _check_probability("dropout", self.dropout)
        if not self.targets:
            raise InputError("targets: expected the names of the layers that get an adapter, got none")


@dataclass(frozen=True)
class LanguageConfig:
    """How the language model is made.

    Attributes:
        architecture: the configuration of a Hugging Face causal language model, as its config.json says it; the key
            ``model_type`` chooses the architecture.
        lora: the adapters on it, or None.
    """

    architecture: dict[str, Any]
    lora: LoRAConfig | None

    def __post_init__(self) -> None:
        if not isinstance(self.architecture.get("model_type"), str):
            raise InputError(
                "architecture: expected the config.json of a Hugging Face language model, "
                f"found no model_type among its {len(self.architecture)} keys"
            )


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn.

    Attributes:
        temperature: divides the scores before drawing: above 1 unlikely tokens come more often, below 1 more rarely.
        top_p: draw among the likeliest tokens that together reach this probability.
        top_k: draw among this many likeliest tokens; None for all.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise InputError(f"temperature: expected a positive number, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p: expected a share above 0 and up to 1, got {self.top_p}")
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"top_k: expected at least 1, got {self.top_k}")


@dataclass(frozen=True)
class WritingConfig:
    """How a model's text is written unless its user asks for another way; by default as published.

    Attributes:
        regions_per_prompt: regions that one prompt asks for; None for all of a study's regions in one. With 1, the
            text of a region hangs on nothing but that region and the whole image.
        sampling: how words are drawn; None for the likeliest.
        median_quantities: write the median of the numbers and degrees that the model believes in, not the likeliest
            word (`reg2rg.model.quantities`); of numbers only where whole ones are words of the vocabulary.
        drafts: texts that are drawn for each prompt, of which the one is kept that agrees most with the others
            (`reg2rg.evaluate.consensus`).
    """

    regions_per_prompt: int | None = None
    sampling: Sampling | None = None
    median_quantities: bool = False
    drafts: int = 1

    def __post_init__(self) -> None:
        for name in ("regions_per_prompt", "drafts"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name}: expected at least 1, got {value}")
        if self.drafts > 1 and self.sampling is None:
            raise InputError(
                f"drafts: {self.drafts} of the likeliest words would all be the same; draw words, or leave 1"
            )


@dataclass(frozen=True)
class Reg2RGConfig:
    """Everything that decides the model's shapes, how its input is prepared and how its text is written.

    Attributes:
        crop_size_xyz: voxels of every crop and mask the model sees, along each axis.
        window: the HU that are kept; low becomes -1, high +1.
        outside_hu: HU of the voxels of a texture crop that lie outside its region.
        grid_spacing_mm: spacing to which a scan is brought before cropping, or None to leave it as scanned.
        vision: the transformer that reads texture crops and the whole image.
        perceiver: what condenses its patches to a few latents.
        mask_encoder: the transformer that reads region masks.
        language: the language model.
        max_regions: region slots of a prompt.
        text_vocabulary_size: ids of the tokenizer without our special tokens.
        inputs: those of `INPUTS` that the model sees; the tokens of the others are zero (for ablations and controls).
        trained_on: ``phantom`` if synthetic phantoms are all it knows; empty if we cannot tell.
        writing: how text is written unless asked for otherwise.
    """

    crop_size_xyz: tuple[int, int, int]
    window: HUWindow
    outside_hu: float
    grid_spacing_mm: tuple[float, float, float] | None
    vision: ViTConfig
    perceiver: PerceiverConfig
    mask_encoder: ViTConfig
    language: LanguageConfig
    max_regions: int
    text_vocabulary_size: int
    inputs: tuple[str, ...] = INPUTS
    trained_on: str = ""
    writing: WritingConfig = WritingConfig()

    def __post_init__(self) -> None:
        _check_positive(self)
        if self.grid_spacing_mm is not None and not all(0 < spacing < math.inf for spacing in self.grid_spacing_mm):
            raise InputError(f"grid_spacing_mm: expected positive lengths, got {self.grid_spacing_mm}")
        if unknown := [name for name in self.inputs if name not in INPUTS]:
            raise InputError(f"inputs: expected some of {', '.join(INPUTS)}, got {unknown[0]!r}")
        if self.mask_encoder.channels != 1:
            raise InputError(f"mask_encoder.channels: a mask has 1 channel, got {self.mask_encoder.channels}")
        for name, vit in (("vision", self.vision), ("mask_encoder", self.mask_encoder)):
            for axis, size, patch, rows in zip(
                "xyz", self.crop_size_xyz, vit.patch_size_xyz, vit.position_rows_xyz, strict=True
            ):
                if size % patch:
                    raise InputError(
                        f"{name}.patch_size_xyz: patches of {patch} do not fill the crop's {size} in {axis}"
                    )
                if rows % (size // patch):
                    raise InputError(
                        f"{name}.position_rows_xyz: {rows} rows for {size // patch} patches in {axis}; "
                        "expected a multiple"
                    )

    @property
    def tokens(self) -> SpecialTokens:
        """The special tokens; their ids follow those of the text vocabulary."""
        return SpecialTokens(self.perceiver.latents, self.max_regions)

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON values; inverse of `from_dict`."""
        return {"format": FORMAT, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Reg2RGConfig":
        """The configuration from JSON values.

        Raises:
            InputError: if a key is unknown or missing, or a value cannot be used; the message names the key.
        """
        found = values.get("format")
        if found != FORMAT:
            raise InputError(f"expected a reg2rg model ('format': {FORMAT!r}), got 'format': {found!r}")
        return _read(cls, {key: value for key, value in values.items() if key != "format"}, "")


def load_config(path: Path) -> Reg2RGConfig:
    """Reads a config.json.

    Raises:
        InputError: if there is none, it is not JSON, or `Reg2RGConfig.from_dict` refuses it.
    """
    values = read_json_object(path, "a model's configuration")
    try:
        return Reg2RGConfig.from_dict(values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def read_json_object(path: Path, what: str) -> dict[str, Any]:
    """A JSON file that holds one object.

    Raises:
        InputError: if it is missing or holds something else; the message says that `what` was expected.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: expected {what}, cannot read it ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # the latter for brackets in brackets without end
        raise InputError(f"{path}: expected {what}, found no JSON ({error})") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected {what}, found a {type(values).__name__}")
    return values


def _read(kind: Any, value: Any, name: str) -> Any:
    """The JSON value as an instance of an annotation: a record, a tuple, an optional, a dict, a number, a text."""
    if dataclasses.is_dataclass(kind):
        return _read_record(kind, value, name)
    if isinstance(kind, types.UnionType):
        (inner,) = (choice for choice in typing.get_args(kind) if choice is not types.NoneType)
        return None if value is None else _read(inner, value, name)
    if typing.get_origin(kind) is tuple:
        return _read_tuple(typing.get_args(kind), value, name)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    plain = typing.get_origin(kind) or kind
    if not isinstance(value, plain) or isinstance(value, bool) != (plain is bool):
        raise InputError(f"{name}: expected {_NOUNS[plain]}, got {value!r}")
    return value


def _read_record(kind: Any, value: Any, name: str) -> Any:
    prefix = f"{name}." if name else ""
    if not isinstance(value, dict):
        raise InputError(f"{name}: expected an object, got {value!r}")
    annotations = typing.get_type_hints(kind)
    known = dataclasses.fields(kind)
    names = [field.name for field in known]
    unknown = sorted(value.keys() - names)
    missing = [field.name for field in known if field.name not in value and field.default is dataclasses.MISSING]
    if unknown:
        raise InputError(f"{prefix}{unknown[0]}: unknown key; expected {', '.join(names)}")
    if missing:
        raise InputError(f"{prefix}{missing[0]}: missing key")
    fields = {key: _read(annotations[key], value[key], prefix + key) for key in names if key in value}
    try:
        return kind(**fields)
    except ValueError as error:
        raise InputError(f"{prefix}{error}") from error


def _read_tuple(kinds: tuple[Any, ...], value: Any, name: str) -> Any:
    if not isinstance(value, list | tuple):
        raise InputError(f"{name}: expected a list, got {value!r}")
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(value) != len(kinds):
        raise InputError(f"{name}: expected {len(kinds)} values, got {value!r}")
    return tuple(_read(kind, item, name) for kind, item in zip(kinds, value, strict=True))


_NOUNS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", dict: "an object"}


def _check_positive(record: Any) -> None:
    """Every whole number of a record is a size or a count, alone or in a tuple: at least 1."""
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(number, int) and number < 1 for number in numbers):
            raise InputError(f"{field.name}: expected whole numbers from 1, got {value!r}")


def _check_probability(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise InputError(f"{name}: expected a probability from 0 to below 1, got {value}")
