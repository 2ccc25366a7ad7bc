"""One choice of normalization for a whole network."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from p2seg.models.norms import BATCH_MOMENTUM, groups_of, set_norms


def trained_norms(name):
    """A backbone whose norms have scales, shifts and statistics of their own."""
    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False, features_only=True)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return network


# test_efficientnet's norms have their activation inside
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_frozen_norms_compute_what_batch_norms_do_in_evaluation(name):
    network = trained_norms(name).eval()
    images = torch.randn(2, 3, 64, 64)
    wanted = network(images)
    parameters = sum(p.numel() for p in network.parameters())
    set_norms(network, "frozen").train()
    for one, other in zip(network(images), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert any(isinstance(module, FrozenBatchNorm2d) for module in network.modules())
    assert sum(p.numel() for p in network.parameters()) < parameters  # they are not trained


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_group_norms_keep_scales_and_make_images_independent(name):
    network = trained_norms(name)
    scales = [m.weight.clone() for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    set_norms(network, "group").train()
    groups = [m for m in network.modules() if isinstance(m, nn.GroupNorm)]
    assert all(map(torch.equal, scales, (m.weight for m in groups)))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    images = torch.randn(2, 3, 64, 64)
    for whole, alone in zip(network(images), network(images[:1]), strict=True):
        torch.testing.assert_close(whole[:1], alone, rtol=1e-4, atol=1e-5)


def test_batch_norms_have_the_papers_momentum():
    network = set_norms(trained_norms("test_efficientnet"), "batch")
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert all(module.momentum == BATCH_MOMENTUM == 0.01 for module in norms)


@pytest.mark.parametrize("channels", range(1, 130))
def test_groups_divide_the_channels(channels):
    groups = groups_of(channels)
    assert 1 <= groups <= 32
    assert channels % groups == 0
