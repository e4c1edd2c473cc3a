import torch
from torch import nn

from reg2rg.model.config import PerceiverConfig
from reg2rg.model.perceiver import CrossAttention, Perceiver

CONFIG = PerceiverConfig(latents=3, depth=2, heads=2, head_dim=6, mlp_width=20)


def test_attention_is_torchs() -> None:
    torch.manual_seed(0)
    attention = CrossAttention(CONFIG, width=12)
    oracle = nn.MultiheadAttention(12, 2, bias=False, batch_first=True)
    with torch.no_grad():
        oracle.in_proj_weight.copy_(torch.cat([attention.query.weight, attention.key_value.weight]))
        oracle.out_proj.weight.copy_(attention.out.weight)
    latents, patches = torch.randn(2, 3, 12), torch.randn(2, 5, 12)
    asking = attention.norm_latents(latents)
    answering = torch.cat([attention.norm_patches(patches), asking], dim=1)
    expected = oracle(asking, answering, answering)[0]
    assert torch.allclose(attention(latents, patches), expected, atol=1e-6)


def test_as_many_latents_for_any_number_of_patches() -> None:
    perceiver = Perceiver(CONFIG, width=12)
    assert perceiver(torch.randn(4, 7, 12)).shape == (4, 3, 12)
    assert perceiver(torch.randn(0, 2, 12)).shape == (0, 3, 12)


def test_order_of_patches_does_not_matter() -> None:
    torch.manual_seed(0)
    perceiver = Perceiver(CONFIG, width=12)
    patches = torch.randn(1, 7, 12)
    assert torch.allclose(perceiver(patches), perceiver(patches.flip(1)), atol=1e-6)


def test_looks_are_the_attention_and_change_nothing_else() -> None:
    torch.manual_seed(0)
    perceiver = Perceiver(CONFIG, width=12)
    patches = torch.randn(2, 7, 12)
    looks: list[torch.Tensor] = []
    assert torch.allclose(perceiver(patches, looks), perceiver(patches), atol=1e-6)
    assert [look.shape for look in looks] == [(2, 6, 7)] * 2
    sums = torch.stack([look.detach().sum(dim=-1) for look in looks])
    assert float(sums.min()) > 0 and float(sums.max()) < 1
