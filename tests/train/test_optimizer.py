"""Muon and AdamW as one: whose weights are whose, the same steps as the two apart, and a state that comes back."""

import copy

import torch
from torch import nn

from reg2rg.train.optimizer import MuonWithAdamW


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 3))


def set_gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        weight.grad = torch.randn(weight.shape, generator=generator)


def test_steps_as_the_two_apart() -> None:
    model = network()
    plain = copy.deepcopy(model)
    both = MuonWithAdamW(model.named_parameters(), 0.01, 0.1, 0.95)
    matrices = [plain[0].weight, plain[2].weight]
    vectors = [weight for weight in plain.parameters() if weight.ndim == 1]
    muon = torch.optim.Muon(matrices, 0.01, 0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(vectors, 0.01, betas=(0.9, 0.95), weight_decay=0.0)
    for seed in range(3):
        set_gradients(model, seed)
        set_gradients(plain, seed)
        both.step()
        muon.step()
        adamw.step()
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_tables_without_a_layer_are_adamws() -> None:
    model = nn.ModuleDict({"head": nn.Linear(6, 8)})
    optimizer = MuonWithAdamW(model.named_parameters(), 0.01, 0.1, 0.95)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert "ns_steps" not in optimizer.param_groups[0]


def test_the_schedule_and_the_state_come_back() -> None:
    model = network()
    optimizer = MuonWithAdamW(model.named_parameters(), 0.01, 0.1, 0.95)
    set_gradients(model, 0)
    optimizer.step()
    twin = copy.deepcopy(model)
    again = MuonWithAdamW(twin.named_parameters(), 0.01, 0.1, 0.95)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    schedules = [torch.optim.lr_scheduler.LambdaLR(one, lambda step: 0.5**step) for one in (optimizer, again)]
    for seed in range(1, 4):
        set_gradients(model, seed)
        set_gradients(twin, seed)
        for one, schedule in zip((optimizer, again), schedules, strict=True):
            one.step()
            schedule.step()
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert {group["lr"] for group in again.param_groups} == {0.01 / 8}
