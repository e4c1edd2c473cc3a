"""Where a region lies, as one vector: the half of local feature decoupling that a crop forgets (paper, section III)."""

from jaxtyping import Float
from torch import Tensor, nn

from reg2rg.model.vit3d import ViT3D


class MaskEncoder(nn.Module):
    """A small 3D vision transformer over the whole-body mask, averaged over its patches."""

    def __init__(self, vit: ViT3D) -> None:
        super().__init__()
        self.vit = vit

    def forward(self, masks: Float[Tensor, "region x y z"]) -> Float[Tensor, "region width"]:
        """One vector per mask. Masks hold the share of each voxel, 0 to 1, that lies in the region."""
        return self.vit(masks).mean(dim=1)
