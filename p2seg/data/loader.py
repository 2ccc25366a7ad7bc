"""Batches in an order that depends on nothing but the seed: not on workers, nor on a restart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator, Sized
from functools import partial
from typing import Any, cast

import torch
from lightning.fabric import Fabric
from torch.utils.data import DataLoader, Dataset, Sampler

from p2seg.errors import UserError
from p2seg.runs.preemption import end_with_parent, outlive_the_signal


class StepSampler(Sampler[list[tuple[int, int]]]):
    """Endless batches of (epoch, index), every epoch shuffled by (seed, epoch).

    The batches run on over the end of an epoch, so that all have one size. Ranks of a distributed
    run take the samples of one shared order in turn.

    Args:
        length: samples of the data set, at least 1.
        batch_size: samples a batch, of this process.
        seed: of the order.
        start: batches that are skipped, so that a resumed run goes on where it stopped.
        rank: of this process.
        world: processes.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        assert length > 0, "an empty data set has no batches"
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.start = start
        self.rank = rank
        self.world = world

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        total = self.batch_size * self.world
        step = self.start
        epoch, order = -1, list[int]()
        while True:
            batch = []
            for slot in range(self.rank, total, self.world):
                position = step * total + slot
                if position // self.length != epoch:
                    epoch = position // self.length
                    order = self._order(epoch)
                batch.append((epoch, order[position % self.length]))
            yield batch
            step += 1

    def _order(self, epoch: int) -> list[int]:
        order: list[int] = torch.randperm(
            self.length, generator=sample_generator(self.seed, epoch)
        ).tolist()
        return order


def sample_generator(*numbers: int) -> torch.Generator:
    """A generator seeded by several numbers, such as (seed, epoch, index)."""
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))


def batches(
    dataset: Dataset[Any],
    collate: Callable[[list[Any]], Any],
    sampler: StepSampler,
    *,
    workers: int,
    pin_memory: bool = False,
) -> Generator[Any, None, None]:
    """Endless batches of a data set that is indexed by (epoch, index).

    Args:
        dataset: `dataset[(epoch, index)]` gives a sample that depends on nothing else.
        collate: makes a batch of a list of samples.
        sampler: the order.
        workers: processes that prepare samples; 0 prepares them in this one.
        pin_memory: for copies to a GPU that do not wait.

    Raises:
        UserError: of the data set, also where a worker met it; or `workers` is negative.
    """
    if workers < 0:
        raise UserError(f"data.workers={workers}; it must be 0 or more")
    loader = DataLoader(
        _Telling(dataset),
        batch_sampler=sampler,
        collate_fn=partial(_collated, collate),
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        worker_init_fn=_begin_worker,
        generator=torch.Generator(),  # not the global one, whose state a resumed run restores
    )
    for batch in loader:
        if isinstance(batch, UserError):
            raise batch
        yield batch


def batches_of(
    fabric: Fabric,
    dataset: Dataset[Any],
    collate: Callable[[list[Any]], Any],
    *,
    batch_size: int,
    seed: int,
    workers: int,
) -> Callable[[int], Generator[Any, None, None]]:
    """What a trainer asks for: the batches of this process from a step on.

    Args:
        fabric: of the run; it knows the processes and the device.
        dataset: as of `batches`.
        collate: as of `batches`.
        batch_size: samples a batch of this process.
        seed: of the order.
        workers: processes that prepare samples.
    """
    length = len(cast(Sized, dataset))

    def from_step(start: int) -> Generator[Any, None, None]:
        rank, world = fabric.global_rank, fabric.world_size
        sampler = StepSampler(length, batch_size, seed=seed, start=start, rank=rank, world=world)
        on_gpu = fabric.device.type == "cuda"
        return batches(dataset, collate, sampler, workers=workers, pin_memory=on_gpu)

    return from_step


class _Telling(Dataset[Any]):
    """A data set whose mistakes are values: raised in a worker, torch would add its traceback."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitem__(self, key: tuple[int, int]) -> Any:
        try:
            return self.dataset[key]
        except UserError as error:
            return error


def _collated(collate: Callable[[list[Any]], Any], samples: list[Any]) -> Any:
    mistakes = (sample for sample in samples if isinstance(sample, UserError))
    return next(mistakes, None) or collate(samples)


def _begin_worker(_worker: int) -> None:
    outlive_the_signal()
    end_with_parent()
    torch.set_num_threads(1)
