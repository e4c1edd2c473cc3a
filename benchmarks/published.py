"""The published way of encoding and of assembling prompts, written from its description, for comparison.

It runs on the weights of our model and gives the same numbers: crops one by one with their one channel three times,
attention with all its scores in memory, absent regions as crops of zeros, and a one-hot matrix times the whole table in
place of looking rows up.
"""

from collections.abc import Sequence

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from reg2rg.model.reg2rg import Reg2RG
from reg2rg.model.vit3d import Block, PatchEmbedding, SelfAttention, ViT3D


def encode_crops(model: Reg2RG, crops: Sequence[Float[Tensor, "x y z"]]) -> list[Float[Tensor, "latent embedding"]]:
    """Texture crops, or images, one after the other."""
    return [model.project_crops(model.perceiver(vit_tokens(model.vision, crop)))[0] for crop in crops]


def encode_masks(model: Reg2RG, masks: Sequence[Float[Tensor, "x y z"]]) -> list[Float[Tensor, " embedding"]]:
    """Region masks, one after the other."""
    vit = model.mask_encoder.vit
    return [model.project_masks(vit_tokens(vit, mask).mean(dim=1))[0] for mask in masks]


def vit_tokens(vit: ViT3D, crop: Float[Tensor, "x y z"]) -> Float[Tensor, "1 patch width"]:
    """One crop's tokens, with every channel and every attention score in memory."""
    assert isinstance(vit.patches, PatchEmbedding)
    x, y, z = crop.shape
    tokens = vit.dropout(_patches(vit.patches, crop) + vit.positions(*vit.config.patches_xyz((x, y, z))))
    for block in vit.blocks:
        assert isinstance(block, Block)
        tokens = tokens + _attention(block.attention, tokens)
        tokens = tokens + block.mlp(tokens)
    return tokens


def one_hot_embeddings(
    model: Reg2RG,
    token_ids: Int[Tensor, " token"],
    image: Float[Tensor, "latent embedding"],
    regions: Sequence[tuple[Float[Tensor, "latent embedding"], Float[Tensor, " embedding"]]],
) -> Float[Tensor, "token embedding"]:
    """One prompt's embeddings: a matrix with a one in each row, times text table, brackets and visual tokens."""
    text = model.language.get_input_embeddings().weight
    slots = [torch.cat([texture, mask[None]]) for texture, mask in regions]
    table = torch.cat([text, model.image_brackets, model.region_brackets, image, *slots])
    return functional.one_hot(token_ids, len(table)).to(table.dtype) @ table


def _patches(embedding: PatchEmbedding, crop: Float[Tensor, "x y z"]) -> Float[Tensor, "1 patch width"]:
    px, py, pz = embedding.patch_size_xyz
    voxels = repeat(crop, "x y z -> 1 x y z channel", channel=embedding.channels)
    flat = rearrange(voxels, "one (x px) (y py) (z pz) channel -> one (x y z) (px py pz channel)", px=px, py=py, pz=pz)
    return embedding.norm_tokens(embedding.project(embedding.norm_voxels(flat)))


def _attention(attention: SelfAttention, tokens: Float[Tensor, "1 patch width"]) -> Float[Tensor, "1 patch width"]:
    query, key, value = rearrange(
        attention.query_key_value(attention.norm(tokens)),
        "one patch (part head dim) -> part one head patch dim",
        part=3,
        head=attention.heads,
    )
    scores = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(dim=-1)
    read = rearrange(attention.dropout(scores) @ value, "one head patch dim -> one patch (head dim)")
    return attention.dropout(attention.out(read))
