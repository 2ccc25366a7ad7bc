"""Batches whose order depends only on the seed, not on the workers or on a restart."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.utils.data import Dataset, Sampler

from p2seg.errors import UserError
from p2seg.runtime.workers import Workers

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class StepSampler(Sampler[list[tuple[int, int]]]):
    """Endless batches of (epoch, index); every epoch is shuffled by (seed, epoch).

    A batch can contain samples of two epochs, so that all batches have the same size. The ranks of
    a distributed run take the samples of one shared order in turn.

    Args:
        length: number of samples of the data set, at least 1.
        batch_size: samples per step, summed over all processes; a multiple of `world`.
        seed: random seed of the order.
        start: number of batches to skip, so that a resumed run continues where it stopped.
        rank: index of this process.
        world: number of processes.
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
        assert batch_size % world == 0, "the processes have batches of one size"
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.start = start
        self.rank = rank
        self.world = world

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        step = self.start
        epoch, order = -1, list[int]()
        while True:
            batch = []
            for slot in range(self.rank, self.batch_size, self.world):
                position = step * self.batch_size + slot
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
    """Returns a generator seeded by several numbers, such as (seed, epoch, index)."""
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
    """Yields endless batches of a data set that is indexed by (epoch, index).

    Args:
        dataset: `dataset[(epoch, index)]` returns a sample that depends on nothing else.
        collate: converts a list of samples to a batch.
        sampler: the order.
        workers: number of processes that prepare samples; 0 prepares them in this process.
        pin_memory: whether batches are in pinned memory, for asynchronous copies to a GPU.

    Raises:
        UserError: the data set raised it, here or in a worker; or `workers` is negative.
        WorkerLost: a worker was killed.
    """
    if workers < 0:
        raise UserError(f"data.workers={workers}: must be an integer >= 0")
    batch_of = partial(_batch_of, dataset, collate)
    if not workers:
        for keys in sampler:
            yield batch_of(keys).pin_memory() if pin_memory else batch_of(keys)
        return
    processes = Workers(batch_of, iter(sampler), workers, setting="data.workers")
    # the thread can wait for a worker, so the workers are closed first
    with _reader(pin_memory) as thread, closing(processes):
        queue = deque(thread.submit(_next, processes, pin_memory) for _ in range(2))
        while True:
            batch = queue.popleft().result()
            queue.append(thread.submit(_next, processes, pin_memory))
            yield batch


def batches_of(
    fabric: Fabric,
    dataset: Dataset[Any],
    collate: Callable[[list[Any]], Any],
    *,
    batch_size: int,
    seed: int,
    workers: int,
    setting: str,
) -> Callable[[int], Generator[Any, None, None]]:
    """Returns a function that yields the batches of this process from a given step on.

    Args:
        fabric: defines the processes and the device of the run.
        dataset: as in `batches`.
        collate: as in `batches`.
        batch_size: samples per step, summed over all processes.
        seed: random seed of the order.
        workers: number of processes that prepare samples.
        setting: the configuration key of `batch_size`, for the error.

    Raises:
        UserError: `batch_size` is not a multiple of the number of processes.
    """
    length, processes = len(cast(Sized, dataset)), fabric.world_size
    if batch_size % processes:
        raise UserError(
            f"{setting}={batch_size} is the batch size summed over all {processes} processes; set "
            f"it to a multiple of {processes}, or start fewer processes"
        )

    def from_step(start: int) -> Generator[Any, None, None]:
        rank = fabric.global_rank
        sampler = StepSampler(
            length, batch_size, seed=seed, start=start, rank=rank, world=processes
        )
        on_gpu = fabric.device.type == "cuda"
        return batches(dataset, collate, sampler, workers=workers, pin_memory=on_gpu)

    return from_step


def _batch_of(
    dataset: Dataset[Any], collate: Callable[[list[Any]], Any], keys: list[tuple[int, int]]
) -> Any:
    return collate([dataset[key] for key in keys])


def _reader(pin_memory: bool) -> ThreadPoolExecutor:
    """A thread that fetches the next batches during a training step."""
    if not pin_memory:
        return ThreadPoolExecutor(1)
    # CUDA pins memory for the current device of the thread
    return ThreadPoolExecutor(1, "batches", torch.cuda.set_device, (torch.cuda.current_device(),))


def _next(processes: Workers[Any], pin_memory: bool) -> Any:
    batch = next(processes)
    return batch.pin_memory() if pin_memory else batch
