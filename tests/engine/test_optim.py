"""Learning rates as functions of the step, parameter groups, and the average of the weights."""

from __future__ import annotations

import pytest
import torch
from networks import tiny_network
from torch import nn

from p2seg.engine.optim import WeightAverage, adamw, poly, sgd, steps


def test_poly_warms_up_and_then_decays_by_the_papers_formula():
    factor = poly(100, warmup_steps=10)
    assert [factor(step) for step in (0, 4, 9)] == [0.1, 0.5, 1.0]
    for step in (10, 50, 99):
        assert factor(step) == pytest.approx((1 - (step - 10) / 90) ** 0.9)
    assert factor(10) == 1  # no jump where the warm-up ends
    assert factor(100) == factor(500) == 0
    assert poly(100)(0) == 1
    assert poly(5, warmup_steps=10)(4) == 0.5


@pytest.mark.parametrize("max_steps", [1, 10, 1000, 50_000])
def test_poly_of_any_length_reaches_its_peak_by_default(max_steps):
    factor = poly(max_steps, warmup_steps=None)
    assert max(map(factor, range(max_steps))) == 1
    assert poly(50_000, warmup_steps=None)(1999) == 1 > poly(50_000, warmup_steps=None)(1998)


def test_poly_falls_steadily_after_the_warm_up():
    factor = poly(50, warmup_steps=5)
    values = [factor(step) for step in range(4, 50)]
    assert values == sorted(values, reverse=True)


def test_steps_fall_to_a_tenth_at_each_milestone():
    factor = steps([8, 11], warmup_steps=4)
    wanted = [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01]
    assert [factor(step) for step in range(12)] == pytest.approx(wanted)


def test_adamw_has_every_parameter_once_and_decays_weights_alone():
    network = tiny_network(norm="group")
    optimizer = adamw(network, lr=1e-3, backbone_lr=1e-4, weight_decay=0.01)
    names = {id(p): name for name, p in network.named_parameters()}
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    trained = [id(p) for p in network.parameters() if p.requires_grad]
    assert sorted(held) == sorted(trained)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            in_backbone = names[id(parameter)].startswith("backbone.")
            assert group["lr"] == (1e-4 if in_backbone else 1e-3)
            assert group["weight_decay"] == (0.01 if parameter.ndim > 1 else 0)
    assert len(optimizer.param_groups) == 4


def test_the_backbone_may_have_a_factor():
    groups = adamw(tiny_network(), lr=2e-4, backbone_factor=0.1).param_groups
    assert [group["lr"] for group in groups] == pytest.approx([2e-5, 2e-5, 2e-4, 2e-4])
    own = adamw(tiny_network(), lr=2e-4, backbone_lr=3e-5, backbone_factor=0.1).param_groups
    assert {group["lr"] for group in own} == {2e-4, 3e-5}


def test_adamw_has_one_learning_rate_unless_told_otherwise():
    assert {group["lr"] for group in adamw(tiny_network(), lr=2e-4).param_groups} == {2e-4}


def test_sgd_leaves_frozen_parameters_out():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[0].requires_grad_(False)
    [group] = sgd(network, lr=0.1, weight_decay=1e-4).param_groups
    assert [id(p) for p in group["params"]] == [id(p) for p in network[1].parameters()]
    assert (group["momentum"], group["weight_decay"]) == (0.9, 1e-4)


def test_the_average_follows_its_formula():
    module = nn.BatchNorm1d(1)
    average = WeightAverage(module)
    wanted = 1.0
    for t in range(2000):
        with torch.no_grad():
            module.weight.fill_(float(t % 3))
        module.num_batches_tracked.add_(1)
        average.update(module)
        decay = min(0.999, (1 + t) / (10 + t))
        wanted = decay * wanted + (1 - decay) * (t % 3)
    assert float(average.state["weight"]) == pytest.approx(wanted, abs=1e-4)
    assert average.updates == 2000
    assert average.state["num_batches_tracked"] == 2000  # counts are taken over, not averaged


def test_the_average_is_the_same_to_the_bit_as_tensor_by_tensor():
    module = nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5)).to(torch.float32)
    module[0].to(torch.bfloat16)  # another dtype
    average = WeightAverage(module)
    wanted = {name: value.clone() for name, value in average.state.items()}
    for t in range(30):
        for value in module.state_dict().values():
            value.copy_(torch.randn(value.shape) * 10)
        average.update(module)
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                wanted[name].lerp_(value, 1 - min(0.999, (1 + t) / (10 + t)))
            else:
                wanted[name].copy_(value)
    assert all(torch.equal(wanted[name], average.state[name]) for name in wanted)


def test_the_average_takes_a_few_kernels_for_all_tensors():
    module = nn.Sequential(*(nn.Linear(3, 3) for _ in range(20)))
    average = WeightAverage(module)
    with torch.profiler.profile() as profile:
        average.update(module)
    assert {each.key: each.count for each in profile.key_averages()}["aten::_foreach_lerp_"] == 1


def test_the_average_is_a_copy_that_fits_the_module():
    module = nn.Linear(2, 2)
    average = WeightAverage(module)
    before = average.state["weight"].clone()
    with torch.no_grad():
        module.weight.add_(1)
    assert torch.equal(average.state["weight"], before)
    average.update(module)
    assert not torch.equal(average.state["weight"], before)
    assert not average.state["weight"].requires_grad
    module.load_state_dict(average.state)
