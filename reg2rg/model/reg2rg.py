"""Reg2RG: CT crops and region masks in, a report out in which each sentence belongs to a region.

Chen, Bie, Jin, Chen: "Large Language Model with Region-guided Referring and Grounding for CT Report Generation", IEEE
TMI 2025. Each region goes to the language model as a texture crop (what is there: vision transformer, perceiver,
projection) and a mask token (where and how large it is: mask encoder, projection), after the same for the whole image.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from reg2rg.errors import InputError
from reg2rg.model.config import Reg2RGConfig, Sampling
from reg2rg.model.decode import Prompt, Written, write_on
from reg2rg.model.folder import check_names, check_shapes, read_model, write_model
from reg2rg.model.mask_encoder import MaskEncoder
from reg2rg.model.perceiver import Perceiver
from reg2rg.model.quantities import Quantities
from reg2rg.model.splice import splice
from reg2rg.model.vit3d import ViT3D
from reg2rg.vocabulary import IGNORED_LABEL

_CROPS_AT_ONCE = 4
"""On a CPU, whose caches do not hold what lies between two layers of more of them."""


@dataclass(frozen=True, eq=False)
class Features:
    """What the encoders make of a batch of studies, ready to be put into their prompts.

    Attributes:
        image_tokens: latents of each study's whole image.
        texture_tokens: latents of the present regions of all studies, packed one study after another, in prompt order.
        mask_tokens: one token per present region, in the same order.
        region_counts: how many regions each study has.
    """

    image_tokens: Float[Tensor, "batch latent embedding"]
    texture_tokens: Float[Tensor, "region latent embedding"]
    mask_tokens: Float[Tensor, "region embedding"]
    region_counts: tuple[int, ...]

    def of_regions(self, rows: Sequence[int]) -> "Features":
        """Those of one study, with some of its regions only."""
        return Features(self.image_tokens, self.texture_tokens[list(rows)], self.mask_tokens[list(rows)], (len(rows),))


class Prediction(NamedTuple):
    """What `Reg2RG.forward` gives.

    Attributes:
        loss: mean cross-entropy of the labelled tokens, each predicted from what stands before it; None without labels.
        logits: scores of the next token, over the text vocabulary.
    """

    loss: Float[Tensor, ""] | None
    logits: Float[Tensor, "batch token text"]


class Reg2RG(nn.Module):
    """The model. Its parts are built outside (`reg2rg.model.build`) and handed in.

    Images, textures and masks are ``x y z`` arrays of `config.crop_size_xyz`: scans and texture crops with HU scaled
    by `config.window`, masks as the share of each voxel (0 to 1) that lies in the region. `region_counts` says how
    many regions each study of a batch has; their textures and masks are packed one study after another, in the order
    of the prompt's slots. A region that a study lacks is not there at all.
    """

    language: Any
    """A Hugging Face causal language model; as a plain Module, its methods would pass for tensors."""

    def __init__(
        self,
        config: Reg2RGConfig,
        vision: ViT3D,
        perceiver: Perceiver,
        project_crops: nn.Linear,
        mask_encoder: MaskEncoder,
        project_masks: nn.Linear,
        language: nn.Module,
    ) -> None:
        super().__init__()
        self.config = config
        self.vision = vision
        self.perceiver = perceiver
        self.project_crops = project_crops
        self.mask_encoder = mask_encoder
        self.project_masks = project_masks
        self.language = language
        self.image_brackets = nn.Parameter(torch.empty(2, project_crops.out_features))
        self.region_brackets = nn.Parameter(torch.empty(2, project_crops.out_features))
        for brackets in (self.image_brackets, self.region_brackets):
            nn.init.normal_(brackets, std=0.02)

    def read_crops(self, crops: Float[Tensor, "crop x y z"]) -> Float[Tensor, "crop latent width"]:
        """Texture crops, or whole images, as latents in the vision encoder's width."""
        return self.read_patches(self.read_voxels(crops))

    def read_voxels(self, crops: Float[Tensor, "crop x y z"]) -> Float[Tensor, "crop patch width"]:
        """The first half of `read_crops`: a token per patch, by the vision encoder, which is frozen as published."""
        crops = self._checked(crops).to(_dtype(self.vision))
        at_once = _CROPS_AT_ONCE if crops.device.type == "cpu" else max(1, len(crops))
        return torch.cat([self.vision(part) for part in crops.split(at_once)])

    def read_patches(self, patches: Float[Tensor, "crop patch width"]) -> Float[Tensor, "crop latent width"]:
        """The second half of `read_crops`, by the perceiver."""
        return self.perceiver(patches.to(_dtype(self.perceiver)))

    def read_masks(self, masks: Float[Tensor, "region x y z"]) -> Float[Tensor, "region mask_width"]:
        """Region masks as one vector each in the mask encoder's width."""
        return self.mask_encoder(self._checked(masks).to(_dtype(self.mask_encoder)))

    def project(
        self,
        images: Float[Tensor, "batch latent width"],
        textures: Float[Tensor, "region latent width"],
        masks: Float[Tensor, "region mask_width"],
        region_counts: Sequence[int],
    ) -> Features:
        """What `read_crops` and `read_masks` gave, in the language model's width; zeros for what it is not shown."""
        image_tokens, texture_tokens, mask_tokens = (
            project(vectors) if name in self.config.inputs else vectors.new_zeros(*vectors.shape[:-1], width)
            for name, project, vectors, width in (
                ("global", self.project_crops, images, self.project_crops.out_features),
                ("texture", self.project_crops, textures, self.project_crops.out_features),
                ("geometry", self.project_masks, masks, self.project_masks.out_features),
            )
        )
        return Features(image_tokens, texture_tokens, mask_tokens, tuple(region_counts))

    def encode(
        self,
        images: Float[Tensor, "batch x y z"],
        textures: Float[Tensor, "region x y z"],
        masks: Float[Tensor, "region x y z"],
        region_counts: Sequence[int],
    ) -> Features:
        """Everything there is to see of a batch of studies; images and textures pass the encoder together."""
        latents = self.read_crops(torch.cat([images, textures]))
        return self.project(latents[: len(images)], latents[len(images) :], self.read_masks(masks), region_counts)

    def splice(
        self,
        token_ids: Int[Tensor, "batch token"],
        image_tokens: Float[Tensor, "batch latent embedding"],
        texture_tokens: Float[Tensor, "region latent embedding"],
        mask_tokens: Float[Tensor, "region embedding"],
        region_counts: Sequence[int],
    ) -> Float[Tensor, "batch token embedding"]:
        """Embeddings of prompts whose images and regions are encoded already, in the language model's dtype.

        Raises:
            ValueError: if an id is that of a region slot which its study does not fill.
            IndexError: if an id is negative.
        """
        special_rows = token_ids - self.config.text_vocabulary_size
        text = self.language.get_input_embeddings()(token_ids.masked_fill(special_rows >= 0, 0))
        brackets = torch.cat([self.image_brackets, self.region_brackets])
        regions = torch.cat([texture_tokens, mask_tokens[:, None]], dim=1)
        return splice(special_rows, text, brackets, image_tokens, regions, region_counts, self.config.tokens)

    def embed(
        self,
        token_ids: Int[Tensor, "batch token"],
        images: Float[Tensor, "batch x y z"],
        textures: Float[Tensor, "region x y z"],
        masks: Float[Tensor, "region x y z"],
        region_counts: Sequence[int],
    ) -> Float[Tensor, "batch token embedding"]:
        """Embeddings of prompts, from voxels: `encode`, then `splice`."""
        return self._embed_features(token_ids, self.encode(images, textures, masks, region_counts))

    def forward(
        self,
        token_ids: Int[Tensor, "batch token"],
        attention_mask: Int[Tensor, "batch token"],
        labels: Int[Tensor, "batch token"] | None = None,
        *,
        images: Float[Tensor, "batch x y z"] | None = None,
        textures: Float[Tensor, "region x y z"] | None = None,
        masks: Float[Tensor, "region x y z"] | None = None,
        region_counts: Sequence[int] | None = None,
        features: Features | None = None,
    ) -> Prediction:
        """Scores of each next token, and the loss on the labelled ones.

        Takes either voxels (`images`, `textures`, `masks`, `region_counts`) or `features` made of them before.

        Args:
            token_ids: prompts and their answers, padded on the right.
            attention_mask: 1 for tokens to attend to, 0 for padding.
            labels: the ids to be predicted, -100 where nothing is to be learned; not shifted.
            images: each study's whole image.
            textures: texture crops of the present regions.
            masks: masks of the present regions.
            region_counts: regions of each study.
            features: in place of the four above.
        """
        if features is None:
            if images is None or textures is None or masks is None or region_counts is None:
                raise TypeError("forward needs images, textures, masks and region_counts, or features in their place")
            features = self.encode(images, textures, masks, region_counts)
        embeddings = self._embed_features(token_ids, features)
        output = self.language(inputs_embeds=embeddings, attention_mask=attention_mask, labels=labels, use_cache=False)
        return Prediction(output.loss, output.logits)

    def loss(
        self,
        token_ids: Int[Tensor, "batch token"],
        labels: Int[Tensor, "batch token"],
        features: Features,
        weights: Float[Tensor, "batch token"] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss of `forward` for training: scores are made only from the first place that predicts a label.

        Args:
            token_ids: prompts and their answers, padded on the right; the padding needs no mask, as nothing that is
                labelled looks ahead.
            labels: the ids to be predicted, -100 where nothing is to be learned; not shifted.
            features: by `encode` or `project`.
            weights: of each token's prediction of the next one in the mean; None for equal ones.
        """
        embeddings = self._embed_features(token_ids, features)
        targets = labels[:, 1:]
        first = int((targets != IGNORED_LABEL).any(dim=0).nonzero()[0, 0])  # then all: few lengths, see ReportBatches
        places = torch.arange(first, targets.shape[1], device=targets.device)
        logits = self.language(inputs_embeds=embeddings, use_cache=False, logits_to_keep=places).logits
        scores, expected = logits.float().flatten(0, 1), targets[:, places].flatten()
        if weights is None:
            return functional.cross_entropy(scores, expected)
        losses = functional.cross_entropy(scores, expected, reduction="none")
        counted = weights[:, places].flatten() * (expected != IGNORED_LABEL)
        return (losses * counted).sum() / counted.sum()

    def embed_prompt(self, prompt: Sequence[int], features: Features) -> Float[Tensor, "token embedding"]:
        """Embeddings of one study's prompt, by its token ids and the study's features."""
        return self._embed_features(torch.tensor([list(prompt)], device=self.image_brackets.device), features)[0]

    def generate(
        self,
        prompts: Iterable[Prompt],
        *,
        eos_id: int,
        max_new_tokens: int = 500,
        rows: int = 1,
        sampling: Sampling | None = None,
        quantities: Quantities | None = None,
    ) -> Iterator[Written]:
        """Writes on from each prompt, greedily unless asked to sample; see `reg2rg.model.decode.write_on`."""
        return write_on(
            self.language,
            prompts,
            rows=rows,
            eos_id=eos_id,
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            quantities=quantities,
        )

    def save_pretrained(self, folder: Path | str) -> None:
        """Writes config.json and the weights, the language model's included; other files in the folder stay.

        Inverse of `from_pretrained`.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_model(folder, self.config, unique_tensors(self))

    @classmethod
    def from_pretrained(cls, folder: Path | str, dtype: torch.dtype | None = None, device: str = "cpu") -> "Reg2RG":
        """Reads a model from its folder, ready to generate (in evaluation mode).

        Args:
            folder: what `save_pretrained` or `reg2rg convert` wrote.
            dtype: of all weights; None for each as it was saved.
            device: where the weights go.

        Raises:
            InputError: if the folder holds no such model, or its tensors are missing, left over, broken or of the
                wrong shape; a pickle is never read.
        """
        from transformers.initialization import no_init_weights

        from reg2rg.model.build import build_model  # which imports this module

        folder = Path(folder)
        config, tensors = read_model(folder)
        with no_init_weights():
            model = build_model(config)
        model.language.tie_weights()
        load_tensors(model, tensors, folder, dtype, device)
        return model.to(device).eval()

    def _embed_features(
        self, token_ids: Int[Tensor, "batch token"], features: Features
    ) -> Float[Tensor, "batch token embedding"]:
        return self.splice(
            token_ids, features.image_tokens, features.texture_tokens, features.mask_tokens, features.region_counts
        )

    def _checked(self, grids: Float[Tensor, "grid x y z"]) -> Float[Tensor, "grid x y z"]:
        if tuple(grids.shape[1:]) != self.config.crop_size_xyz:
            raise ValueError(f"expected crops of {self.config.crop_size_xyz} voxels, got {tuple(grids.shape[1:])}")
        return grids


def freeze_as_published(model: Reg2RG) -> None:
    """Leaves to training what the paper trains, in float32: everything but vision encoder and language model.

    Trained are the LoRA adapters, the perceiver, the mask encoder, both projections and the four open/close rows.

    Raises:
        InputError: if the language model has no LoRA adapters.
    """
    adapters = [parameter for name, parameter in model.language.named_parameters() if "lora_" in name]
    if not adapters:
        raise InputError("language.lora: the published way of training needs LoRA adapters, the configuration has none")
    model.requires_grad_(False)
    parts = (model.perceiver, model.project_crops, model.mask_encoder, model.project_masks)
    trained = [parameter for part in parts for parameter in part.parameters()]
    for parameter in (*trained, *adapters, model.image_brackets, model.region_brackets):
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)


def unique_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The model's weights by name; a tensor that two names share goes by its first."""
    unique: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        unique.setdefault(id(tensor), (name, tensor))
    return dict(unique.values())


def load_tensors(
    model: nn.Module, tensors: dict[str, Tensor], source: Path, dtype: torch.dtype | None = None, device: str = "cpu"
) -> None:
    """Gives the model these tensors for its own, without a copy where dtype and device are right already.

    Raises:
        InputError: if a tensor is missing, left over or of the wrong shape.
    """
    expected = unique_tensors(model)
    check_names(tensors, expected, source)
    check_shapes(tensors, expected, source)
    for name, own in expected.items():
        own.data = tensors[name].to(device=device, dtype=dtype if own.is_floating_point() else None)


def _dtype(part: nn.Module) -> torch.dtype:
    return next(part.parameters()).dtype
