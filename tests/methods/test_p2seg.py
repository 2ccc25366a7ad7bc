"""A training step of P2Seg, put together by hand from its parts."""

from __future__ import annotations

import pytest
import torch
from method_sets import batch_of
from networks import tiny_network

from p2seg.losses import P2SegLoss
from p2seg.mdm.rounds import MutualDistillation
from p2seg.methods.p2seg import P2Seg


@pytest.mark.parametrize(("step", "rounds"), [(4, 0), (5, 2)])
def test_the_objective_is_the_losses_of_the_rounds_labels(step, rounds):
    network, batch = tiny_network(2).eval(), batch_of()
    mdm, loss = MutualDistillation(rounds=2), P2SegLoss(segmentation=2.0)
    made = P2Seg(mdm, loss, start_step=5).objective(network, batch, step)
    outputs = network(batch.images)
    factors = mdm.factors(outputs, batch.points)
    wanted = loss(outputs, mdm(outputs, batch, rounds), batch, factors)
    assert set(made) == {"segmentation", "offset", "affinity"}
    for name, value in wanted.items():
        assert torch.equal(made[name], value), name


def test_the_labels_are_of_all_rounds():
    network, batch = tiny_network(2).eval(), batch_of()
    made = P2Seg(MutualDistillation(rounds=2), P2SegLoss(), 5).labels(network(batch.images), batch)
    assert [each.semantic is None for each in made] == [True, False, False]
