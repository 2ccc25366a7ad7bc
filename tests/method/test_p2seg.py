"""A training step of P2Seg, put together by hand from its parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from method_sets import batch_of
from networks import tiny_network

from p2seg.errors import UserError
from p2seg.method.grid import upsample
from p2seg.method.i2s import affinity_factors
from p2seg.method.losses import P2SegLoss
from p2seg.method.p2seg import P2Seg
from p2seg.method.rounds import MutualDistillation
from p2seg.method.s2i import semantic_to_instances


@pytest.mark.parametrize(("step", "rounds"), [(4, 0), (5, 2)])
def test_the_objective_is_the_losses_of_the_rounds_labels(step, rounds):
    network, batch = tiny_network(2).eval(), batch_of()
    mdm, loss = MutualDistillation(rounds=2), P2SegLoss(segmentation=2.0)
    made = P2Seg(mdm, loss, start_step=5).objective(network, batch, step)
    outputs = network(batch.images)
    factors = affinity_factors(outputs)
    labels = mdm(outputs, batch, rounds)
    pairs = [mdm.decoded(outputs, batch), *labels[1:]] if rounds else labels
    wanted = loss(outputs, labels, batch, factors, pairs=pairs)
    assert set(made) == {"segmentation", "offset", "affinity"}
    for name, value in wanted.items():
        assert torch.equal(made[name], value), name


def test_pairs_of_the_first_stage_follow_the_offsets_after_the_warm_up():
    network, batch = tiny_network(2).eval(), batch_of()
    outputs = network(batch.images)
    mdm = MutualDistillation(rounds=1, decode="point")
    decoded = mdm.decoded(outputs, batch)
    offset = upsample(outputs.offset, batch.labels.semantic.shape[1:])
    instances = semantic_to_instances(batch.labels.semantic, offset, batch.points, decode="point")
    assert torch.equal(decoded.instances, instances)
    assert not torch.equal(decoded.instances, batch.labels.instances)
    method = P2Seg(mdm, P2SegLoss(segmentation=0.0, offset=0.0), start_step=5)
    later = replace(batch, labels=replace(batch.labels, instances=decoded.instances))
    assert not torch.equal(*(method.objective(network, b, 4)["affinity"] for b in (batch, later)))
    assert torch.equal(*(method.objective(network, b, 5)["affinity"] for b in (batch, later)))


def test_the_labels_are_of_all_rounds():
    network, batch = tiny_network(2).eval(), batch_of()
    made = P2Seg(MutualDistillation(rounds=2), P2SegLoss(), 5).labels(network(batch.images), batch)
    assert len(made) == 3
    assert made[0] is batch.labels


def test_a_network_without_affinities_has_no_loss_of_them():
    network, batch = tiny_network(2, embedding=0), batch_of()
    mdm, loss = MutualDistillation(rounds=0), P2SegLoss(affinity=0.0)
    made = P2Seg(mdm, loss).objective(network, batch, 0)
    assert set(made) == {"segmentation", "offset"}
    torch.stack(list(made.values())).sum().backward()
    assert all(p.grad is not None for p in network.parameters())  # as DDP needs


@pytest.mark.parametrize(("rounds", "affinity"), [(1, 0.0), (0, 1.0)])
def test_affinities_that_the_network_lacks_are_one_sentence_before_the_first_step(rounds, affinity):
    method = P2Seg(MutualDistillation(rounds=rounds), P2SegLoss(affinity=affinity), start_step=9)
    with pytest.raises(UserError, match="need affinities, which this network does not have"):
        method.objective(tiny_network(2, embedding=0), batch_of(), 0)
