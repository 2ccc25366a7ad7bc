"""Losses of two processes, each with half of a batch: their mean is the loss of the whole."""

from __future__ import annotations

import pytest
import torch
from rank_sets import Summing, together
from torch.testing import assert_close

from p2seg.method.losses import hardest_mean, offset_loss
from p2seg.runtime.ranks import mean_over_ranks
from p2seg.segmentors.data import InstanceTarget
from p2seg.segmentors.solov2.heads import RawOutputs
from p2seg.segmentors.solov2.losses import category_loss, mask_loss
from p2seg.structures import Points

IMAGES = 4


def half(items, rank):
    return items if rank is None else items[rank::2]


def of_network(rank):
    """Eqs. 4 and 3, where one image has no pixel that counts and one no instance."""
    random = torch.Generator().manual_seed(1)
    losses = torch.rand(IMAGES, 8, 8, generator=random)
    valid = torch.rand(IMAGES, 8, 8, generator=random) > 0.4
    valid[0] = False
    instances = torch.randint(0, 2, (IMAGES, 8, 8), generator=random)
    instances[1:3] = 0
    offset = torch.rand(IMAGES, 2, 8, 8, generator=random)
    one = Points(torch.tensor([[3.0, 4.0]]), torch.ones(1).long(), torch.ones(1).long())
    parts = [half(each, rank) for each in (losses, valid, offset, instances)]
    losses, valid, offset, instances = parts
    return {
        "hard": hardest_mean(losses, valid, 0.5),
        "all": hardest_mean(losses, valid, 1.0),
        "offset": offset_loss(offset, instances, half([one] * IMAGES, rank)),
        "nothing": offset_loss(offset, instances * 0, half([one] * IMAGES, rank)),
    }


def targets_of(random):
    """Images with 3, 0, 1 and 2 instances, one of them of weight 0."""
    targets = []
    for count in (3, 0, 1, 2):
        masks = torch.ones(count, 32, 32, dtype=torch.uint8)
        weights = torch.rand(count, generator=random)
        if count == 3:
            weights[1] = 0
        labels = torch.randint(1, 3, (count,), generator=random)
        targets.append(
            InstanceTarget(torch.zeros(count, 4).long(), labels, masks, weights, weights)
        )
    return targets


def of_solo(rank):
    random = torch.Generator().manual_seed(2)
    targets = targets_of(random)
    owners = [torch.arange(10) % 5 - (5 - len(each.labels)) for each in targets]
    owners = [own.clamp(min=-1) for own in owners]
    categories = torch.randn(IMAGES, 10, 2, generator=random)
    kernels = torch.randn(IMAGES, 10, 4, generator=random)
    features = torch.randn(IMAGES, 4, 8, 8, generator=random)
    categories, kernels, features = (half(x, rank) for x in (categories, kernels, features))
    owners, targets = half(owners, rank), half(targets, rank)
    return {
        "category": category_loss(categories, owners, targets),
        "mask": mask_loss(RawOutputs(categories, kernels, features), owners, targets),
    }


def of_mask2former(rank):
    """The test puts its random points all in one place, or they would be other ones."""
    from p2seg.segmentors.mask2former.weighted_losses import QueryTarget, WeightedLoss, config_of

    random = torch.Generator().manual_seed(3)
    own = WeightedLoss(config_of(2, num_queries=6, train_num_points=16))
    classes = torch.randn(IMAGES, 6, 3, generator=random)
    masks = torch.randn(IMAGES, 6, 1, 1, generator=random).expand(-1, -1, 8, 8)
    targets = [
        QueryTarget(each.labels - 1, each.masks, each.weights, each.mask_weights)
        for each in targets_of(random)
    ]
    layer = (half(classes, rank), half(masks, rank))
    return own([layer, layer], half(targets, rank))


@pytest.mark.parametrize("losses", [of_network, of_solo, of_mask2former])
def test_the_mean_over_processes_is_the_loss_of_the_whole_batch(losses, monkeypatch):
    if losses is of_mask2former:
        pytest.importorskip("transformers")
        monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, 0.5))
    wanted = losses(None)
    summing = Summing(2)
    monkeypatch.setattr("p2seg.runtime.ranks.distributed", summing)
    parts = together(2, lambda ranks: summing.of(ranks, losses))
    for name, loss in wanted.items():
        assert_close((parts[0][name] + parts[1][name]) / 2, loss, msg=lambda text, n=name: n + text)


def test_logged_losses_are_the_mean_over_processes(monkeypatch):
    summing = Summing(2)
    monkeypatch.setattr("p2seg.runtime.ranks.distributed", summing)

    def logged(rank):
        return mean_over_ranks({"a": torch.tensor(1.0 + rank), "b": torch.tensor(4.0 * rank)})

    means = together(2, lambda ranks: summing.of(ranks, logged))
    assert means == [{"a": 1.5, "b": 2.0}] * 2
