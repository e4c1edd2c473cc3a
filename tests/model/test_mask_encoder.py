import torch

from reg2rg.model.build import tiny
from reg2rg.model.mask_encoder import MaskEncoder
from reg2rg.model.vit3d import ViT3D


def test_mean_over_patches() -> None:
    torch.manual_seed(0)
    config = tiny()
    encoder = MaskEncoder(ViT3D(config.mask_encoder))
    masks = torch.rand(2, *config.crop_size_xyz)
    tokens = encoder.vit(masks)
    assert torch.allclose(encoder(masks), tokens.sum(1) / tokens.shape[1], atol=1e-6)


def two_masks(x: slice, other_x: slice) -> torch.Tensor:
    masks = torch.zeros(2, *tiny().crop_size_xyz)
    masks[0, x] = 1
    masks[1, other_x] = 1
    return masks


def test_where_a_region_lies_tells() -> None:
    torch.manual_seed(0)
    encoder = MaskEncoder(ViT3D(tiny().mask_encoder))
    left, right = encoder(two_masks(slice(2, 6), slice(10, 14)))
    assert (left - right).abs().max() > 1e-2


def test_a_patch_full_of_the_region_looks_like_an_empty_one() -> None:
    """A limit of the published encoder: the norm of a patch's voxels takes a constant away; it sees edges only."""
    torch.manual_seed(0)
    encoder = MaskEncoder(ViT3D(tiny().mask_encoder))
    first_patches, no_patches = encoder(two_masks(slice(0, 8), slice(0, 0)))
    assert torch.allclose(first_patches, no_patches, atol=1e-6)
