"""How work is shared over ranks, and how counts are."""

from __future__ import annotations

import pytest
import torch
from rank_sets import together

from p2seg.data.loader import StepSampler
from p2seg.runtime.ranks import Ranks, mean_over_ranks, seed_rank, shared_count


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_shares_are_everything_once_and_come_back_in_order(world, count):
    items = list(range(count))

    def work(ranks):
        share = ranks.share(items)
        assert abs(len(share) - count / world) < 1
        return ranks.merged([10 * item for item in share])

    assert together(world, work) == [[10 * item for item in items]] * world


def test_a_process_alone_has_everything_and_waits_for_nobody():
    alone = Ranks.started()
    assert alone == Ranks()
    assert alone.first
    assert alone.share([1, 2, 3]) == [1, 2, 3]
    assert alone.gathered("a") == ["a"]
    assert alone.merged([1, 2]) == [1, 2]
    alone.wait()
    alone.equal(torch.nn.Linear(1, 1))


def test_counts_of_a_process_alone_are_its_own():
    assert shared_count(torch.tensor(3)) == 3
    assert shared_count(torch.tensor(0)) == 1
    assert shared_count(torch.tensor(0.0), 0.1) == pytest.approx(0.1)
    assert shared_count(torch.tensor(3), extra=1) == 4
    assert mean_over_ranks({"a": torch.tensor(2.0), "b": torch.tensor(1.0)}) == {"a": 2, "b": 1}


def test_ranks_draw_differently_but_each_always_the_same():
    drawn = []
    for _ in range(2):
        for rank in (0, 1, 2):
            torch.manual_seed(3)
            seed_rank(3, rank)
            drawn.append(torch.rand(4).tolist())
    assert drawn[:3] == drawn[3:]
    assert len({tuple(each) for each in drawn[:3]}) == 3
    torch.manual_seed(3)
    assert torch.rand(4).tolist() == drawn[0]  # the first rank goes on as if it were alone


@pytest.mark.parametrize("world", [2, 4, 8])
def test_the_samples_of_a_step_are_the_same_over_any_number_of_processes(world):
    """So a run may go on over another number with the same total batch."""
    alone = iter(StepSampler(21, 8, seed=5))
    for step in range(7):
        ranks = [
            next(iter(StepSampler(21, 8, seed=5, start=step, rank=rank, world=world)))
            for rank in range(world)
        ]
        whole = [sample for slot in zip(*ranks, strict=True) for sample in slot]
        assert whole == next(alone)
