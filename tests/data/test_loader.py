"""The order of samples: a function of the seed alone, whatever the workers, ranks or restarts."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Dataset

from p2seg.data.loader import StepSampler, batches, sample_generator
from p2seg.errors import UserError


def first(sampler, count):
    return list(itertools.islice(sampler, count))


@given(
    st.integers(1, 9), st.integers(1, 4), st.integers(1, 3), st.integers(0, 7), st.integers(0, 99)
)
def test_a_restart_goes_on_where_it_stopped(length, batch, world, start, seed):
    for rank in range(world):
        whole = StepSampler(length, batch * world, seed=seed, rank=rank, world=world)
        later = StepSampler(length, batch * world, seed=seed, rank=rank, world=world, start=start)
        assert first(whole, start + 3)[start:] == first(later, 3)


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_ranks_share_one_order(length, batch, world, seed):
    """Together the ranks see what one process with the whole batch would see."""
    alone = first(StepSampler(length, batch * world, seed=seed), 6)
    ranks = [
        first(StepSampler(length, batch * world, seed=seed, rank=r, world=world), 6)
        for r in range(world)
    ]
    for step, whole in enumerate(alone):
        assert all(len(own[step]) == batch for own in ranks)
        assert sorted(whole) == sorted(key for own in ranks for key in own[step])


def test_every_epoch_has_every_image_once_in_an_order_of_its_own():
    keys = list(itertools.chain(*first(StepSampler(10, 4, seed=3), 15)))
    epochs = [[i for epoch, i in keys if epoch == e] for e in range(6)]
    assert all(sorted(order) == list(range(10)) for order in epochs)
    assert len({tuple(order) for order in epochs}) == 6
    assert [epoch for epoch, _ in keys] == sorted(epoch for epoch, _ in keys)


def test_another_seed_is_another_order():
    assert first(StepSampler(10, 10, seed=0), 1) != first(StepSampler(10, 10, seed=1), 1)


def test_a_batch_may_be_larger_than_the_set():
    [keys] = first(StepSampler(2, 5, seed=0), 1)
    assert sorted(keys)[:2] == [(0, 0), (0, 1)]
    assert len(set(keys)) == 5


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=3))
def test_generators_of_other_numbers_draw_other_values(numbers):
    def drawn(*seeds):
        return torch.rand(4, generator=sample_generator(*seeds)).tolist()

    assert drawn(*numbers) == drawn(*numbers)
    assert drawn(*numbers) != drawn(*numbers[:-1], numbers[-1] + 1)
    assert drawn(0, *numbers) != drawn(1, *numbers)


class Numbers(Dataset):
    """Samples that tell their key and a random number; one of them cannot be read."""

    def __init__(self, bad=None):
        self.bad = bad

    def __len__(self):
        return 7

    def __getitem__(self, key):
        if key[1] == self.bad:
            raise UserError("image 5.jpg is broken; replace it")
        return (*key, float(torch.rand((), generator=sample_generator(0, *key))))


def taken(workers, count=6, **options):
    loader = batches(
        Numbers(**options), list, StepSampler(7, 3, seed=1), workers=workers, pin_memory=False
    )
    return list(itertools.islice(loader, count))


def test_samples_do_not_depend_on_the_workers():
    alone = taken(0)
    torch.manual_seed(99)
    assert taken(1) == alone
    assert taken(2) == alone


@pytest.mark.parametrize("workers", [0, 1])
def test_a_users_mistake_is_still_one_sentence_behind_a_worker(workers):
    with pytest.raises(UserError) as error:
        taken(workers, bad=5)
    assert str(error.value) == "image 5.jpg is broken; replace it"
