"""The batch size is that of the whole run: processes share it, and the losses stay equal."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from networks import tiny_network
from rank_sets import Summing, together
from torch.testing import assert_close
from training_sets import training_set

from p2seg.data.dataset import PointDataset
from p2seg.data.loader import batches_of
from p2seg.data.network_input import NetworkInput
from p2seg.data.transforms import Augment
from p2seg.errors import UserError
from p2seg.method.bestie import Bestie, BestieLoss, BestieNetwork
from p2seg.method.losses import P2SegLoss
from p2seg.method.p2seg import P2Seg
from p2seg.method.rounds import MutualDistillation
from p2seg.method.seed import Seeder
from p2seg.models.backbones import build_backbone
from p2seg.runtime.ranks import mean_over_ranks
from p2seg.structures import Batch

BATCH = 4


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    made = training_set(tmp_path_factory.mktemp("set"), 6)
    return PointDataset(
        made.points,
        made.reader,
        Seeder(),
        Augment(crop=32, input=NetworkInput(short_side=40)),
        seed=0,
    )


def batches(dataset, rank=0, world=1, batch_size=BATCH):
    """Returns the batches of one of `world` processes."""
    fabric = SimpleNamespace(global_rank=rank, world_size=world, device=torch.device("cpu"))
    return batches_of(
        fabric,
        dataset,
        Batch.of,
        batch_size=batch_size,
        seed=0,
        workers=0,
        setting="trainer.batch_size",
    )(0)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_share_the_images_of_a_step(dataset, world):
    alone, ranks = batches(dataset), [batches(dataset, rank, world) for rank in range(world)]
    for _ in range(3):
        shares = [next(own).names for own in ranks]
        assert [len(own) for own in shares] == [BATCH // world] * world
        assert sorted(name for own in shares for name in own) == sorted(next(alone).names)


@pytest.mark.parametrize(("batch_size", "world"), [(8, 3), (2, 4)])
def test_a_batch_that_cannot_be_shared_is_rejected(dataset, batch_size, world):
    said = f"trainer.batch_size={batch_size} is the batch size .* a multiple of {world}, or start"
    with pytest.raises(UserError, match=said) as error:
        batches(dataset, 0, world, batch_size)
    assert "\n" not in str(error.value)


def p2seg_of():
    network = tiny_network(norm="group")
    return P2Seg(MutualDistillation(), P2SegLoss(), start_step=0), network


def bestie_of():
    torch.manual_seed(0)
    backbone = build_backbone("test_resnet", pretrained=False)
    network = BestieNetwork(backbone, 2, width=8, dilations=(1, 2), norm="group")
    return Bestie(BestieLoss()), network


@pytest.mark.parametrize("made", [p2seg_of, bestie_of])
def test_two_processes_have_the_first_losses_of_one(dataset, made, monkeypatch):
    method, network = made()
    first = method.objective(network, next(batches(dataset)), 0)
    summing = Summing(2)
    monkeypatch.setattr("p2seg.runtime.ranks.distributed", summing)

    def of_rank(rank):
        return mean_over_ranks(method.objective(network, next(batches(dataset, rank, 2)), 0))

    shared = together(2, lambda ranks: summing.of(ranks, of_rank))
    for own in shared:
        for name, loss in first.items():
            assert_close(torch.tensor(own[name]), loss.detach(), rtol=1e-5, atol=1e-6)
