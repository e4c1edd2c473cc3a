"""Parts of the vision transformer against torch's own, and against formulas written out."""

import pytest
import torch
from torch import Tensor, nn

from reg2rg.model.config import ViTConfig
from reg2rg.model.isolation import isolation
from reg2rg.model.vit3d import AxisPositions, ConvolutionalPatches, PatchEmbedding, SelfAttention, ViT3D

CONFIG = ViTConfig(
    patch_size_xyz=(2, 3, 1),
    position_rows_xyz=(4, 2, 3),
    channels=2,
    width=12,
    depth=1,
    heads=3,
    head_dim=4,
    mlp_width=20,
    dropout=0.0,
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def test_patches_are_cut_one_by_one() -> None:
    embedding = PatchEmbedding(CONFIG)
    crop = torch.randn(4, 6, 3)
    cut = []
    for x in (0, 2):
        for y in (0, 3):
            for z in (0, 1, 2):
                patch = crop[x : x + 2, y : y + 3, z : z + 1]
                cut.append(torch.stack([patch, patch], dim=-1).flatten())
    expected = embedding.norm_tokens(embedding.project(embedding.norm_voxels(torch.stack(cut))))
    assert torch.allclose(embedding(crop[None])[0], expected, atol=1e-6)


def test_windows_of_the_stem_are_channels_of_their_own() -> None:
    config = ViTConfig(
        (4, 4, 4), (2, 2, 2), 1, 12, 1, 2, 4, 8, 0.0, stem_channels=(3,), stem_windows=((-1.0, -0.5), (0.0, 0.4))
    )
    patches = ConvolutionalPatches(config)
    seen: list[Tensor] = []
    patches.stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    crop = torch.linspace(-1, 1, 8**3).view(1, 8, 8, 8)
    patches(crop)
    (channels,) = seen
    torch.testing.assert_close(channels[:, 0], crop)
    torch.testing.assert_close(channels[:, 1], (4 * crop + 3).clamp(-1, 1))
    torch.testing.assert_close(channels[:, 2], (5 * crop - 1).clamp(-1, 1))


def test_positions_take_the_last_row_of_each_stride() -> None:
    positions = AxisPositions(CONFIG)
    vectors = positions(2, 2, 3).reshape(2, 2, 3, 12)
    for x in range(2):
        for y in range(2):
            for z in range(3):
                expected = torch.cat([positions.x[2 * x + 1], positions.y[y], positions.z[z]])
                assert torch.equal(vectors[x, y, z], expected)


def test_attention_is_torchs() -> None:
    attention = SelfAttention(CONFIG)
    oracle = nn.MultiheadAttention(12, 3, batch_first=True)
    with torch.no_grad():
        oracle.in_proj_weight.copy_(attention.query_key_value.weight)
        oracle.in_proj_bias.zero_()
        oracle.out_proj.load_state_dict(attention.out.state_dict())
    tokens = torch.randn(2, 5, 12)
    normed = attention.norm(tokens)
    assert torch.allclose(attention(tokens), oracle(normed, normed, normed)[0], atol=1e-6)


def test_crops_do_not_see_each_other() -> None:
    vit = ViT3D(CONFIG).eval()
    crops = torch.randn(3, 4, 6, 3)
    assert torch.allclose(vit(crops)[1:2], vit(crops[1:2]), atol=1e-6)


def test_no_crops_give_no_tokens() -> None:
    assert ViT3D(CONFIG)(torch.zeros(0, 4, 6, 3)).shape == (0, 12, 12)


def test_dropout_acts_in_training_only() -> None:
    vit = ViT3D(ViTConfig(**{**vars(CONFIG), "dropout": 0.5}))
    crops = torch.randn(1, 4, 6, 3)
    assert not torch.equal(vit(crops), vit(crops))
    vit.eval()
    assert torch.equal(vit(crops), vit(crops))


def test_each_token_is_told_what_stands_alone_in_the_eighths_of_its_patch() -> None:
    sizes = ((4, 4, 4), (2, 2, 2), 1, 12, 1, 2, 4, 8, 0.0)
    config = ViTConfig(*sizes, stem_channels=(3,), stem_spheres=(2, 3), stem_sphere_window=(-0.5, 0.5))
    patches = ConvolutionalPatches(config)
    seen: list[Tensor] = []
    patches.project_spheres.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    convolved: list[Tensor] = []
    patches.stem.register_forward_pre_hook(lambda _, inputs: convolved.append(inputs[0]))
    crop = -torch.ones(1, 8, 8, 8)
    crop[0, 5, 2, 6] = 1.0
    without, told = patches(-torch.ones(1, 8, 8, 8)), patches(crop)
    channels = seen[-1]
    assert torch.equal(convolved[-1][:, 1:], isolation(crop, (2, 3), (-0.5, 0.5)))
    assert channels.shape == (1, 2, 4, 4, 4)
    assert channels.amax() == isolation(crop, (2, 3), (-0.5, 0.5)).amax() > 0
    assert (channels[0, 0] == channels[0, 0].amax()).nonzero().tolist() == [[2, 1, 3]]
    changed = (told - without).abs().amax(-1)[0] > 1e-6
    assert changed[0b101], "the patch at x 1, y 0, z 1"


def test_gradients_reach_the_voxels_of_the_crops() -> None:
    sizes = ((4, 4, 4), (2, 2, 2), 1, 12, 1, 2, 4, 8, 0.0)
    patches = ConvolutionalPatches(
        ViTConfig(*sizes, stem_channels=(3,), stem_windows=((-0.5, 0.5),), stem_spheres=(2, 3))
    )
    crops = torch.randn(1, 8, 8, 8, requires_grad=True)
    patches(crops).square().sum().backward()
    assert crops.grad is not None and crops.grad.abs().amin() > 0
