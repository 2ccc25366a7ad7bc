"""Batches in an order that depends on nothing but the seed: not on workers, nor on a restart."""

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
    """Endless batches of (epoch, index), every epoch shuffled by (seed, epoch).

    The batches run on over the end of an epoch, so that all have one size. Ranks of a distributed
    run take the samples of one shared order in turn.

    Args:
        length: samples of the data set, at least 1.
        batch_size: samples per step, of all processes together; a multiple of `world`.
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
        UserError: of the data set, also if a worker met it; or `workers` is negative.
        WorkerLost: a worker was killed.
    """
    if workers < 0:
        raise UserError(f"data.workers={workers}; it must be 0 or more")
    batch_of = partial(_batch_of, dataset, collate)
    if not workers:
        for keys in sampler:
            yield batch_of(keys).pin_memory() if pin_memory else batch_of(keys)
        return
    # the workers end before the thread does, which may be waiting for one of them
    processes = Workers(batch_of, iter(sampler), workers, setting="data.workers")
    with _reader(pin_memory) as thread, closing(processes) as made:
        read = deque(thread.submit(_next, made, pin_memory) for _ in range(2))
        while True:
            batch = read.popleft().result()
            read.append(thread.submit(_next, made, pin_memory))
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
    """What a trainer asks for: the batches of this process from a step on.

    Args:
        fabric: of the run; it knows the processes and the device.
        dataset: as of `batches`.
        collate: as of `batches`.
        batch_size: samples per step, of all processes together.
        seed: of the order.
        workers: processes that prepare samples.
        setting: what `batch_size` is called on the command line.

    Raises:
        UserError: the processes cannot share a step's samples equally.
    """
    length, processes = len(cast(Sized, dataset)), fabric.world_size
    if batch_size % processes:
        raise UserError(
            f"{setting}={batch_size} is the batch of all processes together, which {processes} "
            f"processes cannot share equally; set it to a multiple of {processes}, or start fewer "
            "processes"
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
    """A thread that reads batches while the one before is learned from."""
    if not pin_memory:
        return ThreadPoolExecutor(1)
    # memory is pinned for the GPU of the calling thread
    return ThreadPoolExecutor(1, "batches", torch.cuda.set_device, (torch.cuda.current_device(),))


def _next(made: Workers[Any], pin_memory: bool) -> Any:
    batch = next(made)
    return batch.pin_memory() if pin_memory else batch
