"""Numbers multiplied in two parts are as exact as in float32 nearly, and nobody else is multiplied so."""

import copy
import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from reg2rg.model import split_products
from reg2rg.model.build import build_model, tiny
from reg2rg.model.split_products import SplitProducts, products

CPU = torch.device("cpu")


@pytest.fixture
def numbers() -> Tensor:
    return torch.randn(3, 50, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def layer() -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(96, 40)


def apart(found: Tensor, exact: Tensor) -> float:
    return float(((found - exact).norm() / exact.norm()).detach())


def test_far_nearer_than_rounded_numbers(numbers: Tensor, layer: nn.Linear) -> None:
    exact = functional.linear(numbers.double(), layer.weight.double(), layer.bias.double())
    with SplitProducts():
        split = layer(numbers)
    assert split.shape == exact.shape and split.dtype == torch.float32
    assert apart(split, exact) < 1e-5
    with SplitProducts():
        assert layer(numbers[:0]).shape == (0, 50, 40)
    assert apart(layer.bfloat16()(numbers.bfloat16()), exact) > 1e-3


def test_near_where_units_round_both_parts(numbers: Tensor, layer: nn.Linear, monkeypatch: pytest.MonkeyPatch) -> None:
    def rounded(matrix: Tensor) -> tuple[Tensor, Tensor]:
        high, low = parts(matrix)
        assert torch.equal(high, high.bfloat16().float())
        assert torch.equal(high + low, matrix)
        return high, low.bfloat16().float()

    parts = split_products._parts
    monkeypatch.setattr(split_products, "_parts", rounded)
    exact = functional.linear(numbers.double(), layer.weight.double(), layer.bias.double())
    with SplitProducts():
        assert apart(layer(numbers), exact) < 1e-5


def test_an_encoder_reads_the_same() -> None:
    torch.manual_seed(0)
    model = build_model(tiny()).eval()
    crops = torch.rand(5, *model.config.crop_size_xyz) * 2 - 1
    with torch.inference_mode():
        plain = model.read_crops(crops), model.read_masks(crops.abs())
        with SplitProducts():
            split = model.read_crops(crops), model.read_masks(crops.abs())
    for one, other in zip(plain, split, strict=True):
        assert 0 < apart(other, one) < 2e-5


def test_weights_are_split_once(numbers: Tensor, layer: nn.Linear, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    parts = split_products._parts
    monkeypatch.setattr(split_products, "_parts", lambda matrix: (seen.append(matrix), parts(matrix))[1])
    with SplitProducts():
        for _ in range(3):
            layer(numbers)
    assert sum(matrix is layer.weight for matrix in seen) == 1 and len(seen) == 4
    with torch.no_grad():
        layer.weight.zero_()
    with SplitProducts():
        assert torch.equal(layer(numbers), layer.bias.expand(3, 50, 40)), "another context splits anew"


def test_others_are_left_alone(numbers: Tensor, layer: nn.Linear) -> None:
    doubled, halved = copy.deepcopy(layer).double(), copy.deepcopy(layer).bfloat16()

    def others() -> tuple[Tensor, ...]:
        return numbers @ layer.weight.T, doubled(numbers.double()), halved(numbers.bfloat16())

    with SplitProducts():
        inside, split = others(), layer(numbers)
    assert all(map(torch.equal, inside, others()))
    assert not torch.equal(split, layer(numbers))


def test_the_setting_is_as_before_afterwards() -> None:
    onednn: Any = torch.backends.mkldnn
    settings = onednn.matmul
    before, meeting, seen = settings.fp32_precision, threading.Barrier(2, timeout=60), list[str]()

    def work(last: bool) -> None:
        with split_products._UNITS:
            meeting.wait()
            seen.append(settings.fp32_precision)
            meeting.wait()
            if last:
                other.join()
                seen.append(settings.fp32_precision)

    other = threading.Thread(target=work, args=(False,))
    other.start()
    work(True)
    assert seen == ["bf16"] * 3 and settings.fp32_precision == before
    with pytest.raises(ValueError), split_products._UNITS:
        raise ValueError
    assert settings.fp32_precision == before


def test_only_where_a_device_has_units(numbers: Tensor, layer: nn.Linear, monkeypatch: pytest.MonkeyPatch) -> None:
    for asked, has_units, splits in ((True, True, True), (True, False, False), (False, True, False)):
        monkeypatch.setattr(split_products, "multiplies_bf16", lambda _, has=has_units: has)
        with products(CPU, asked):
            found = layer(numbers)
        assert torch.equal(found, layer(numbers)) != splits
