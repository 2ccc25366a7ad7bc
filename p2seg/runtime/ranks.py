"""Communication between the ranks of a distributed run: shares, gathering and reductions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed, nn

PATIENCE = timedelta(days=7)
"""Time limit for waiting on other ranks, which may have hours of work left. The end of a rank is
noticed at once, because its connection is closed."""

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """The processes of a run; by default a single one.

    Attributes:
        rank: index of this process.
        world: number of processes.
        group: process group (Gloo, on the CPU); None for a single process.
    """

    rank: int = 0
    world: int = 1
    group: Any = None

    @staticmethod
    def started() -> Ranks:
        """The connected processes of this run. Collective: every rank must call it."""
        if not _connected():
            return Ranks()
        group = distributed.new_group(backend="gloo", timeout=PATIENCE)
        return Ranks(distributed.get_rank(), distributed.get_world_size(), group)

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes the shared files and prints."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Every `world`-th item, starting at `rank`: the items of this rank."""
        return items[self.rank :: self.world]

    def gathered(self, value: T) -> list[T]:
        """The values of all ranks in rank order. Collective: every rank must call it."""
        if self.group is None:
            return [value]
        values: list[Any] = [None] * self.world
        distributed.all_gather_object(values, value, group=self.group)
        return values

    def merged(self, results: Sequence[T]) -> list[T]:
        """The results of all ranks, in the order of all items. Collective.

        Args:
            results: one result per item of this rank's `share`.
        """
        parts = self.gathered(list(results))
        whole: list[Any] = [None] * sum(map(len, parts))
        for rank, part in enumerate(parts):
            whole[rank :: self.world] = part
        return whole

    def wait(self) -> None:
        """Waits until every rank has called this."""
        if self.group is not None:
            distributed.barrier(group=self.group)

    def equal(self, module: nn.Module) -> None:
        """Copies the state of rank 0's module into the module of every rank, in place."""
        if self.group is not None:
            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, 0)


def shared_count(count: Tensor, least: float = 1.0, extra: float = 0.0) -> Tensor:
    """The denominator that makes the mean over processes equal to the mean over all items.

    With the sum `s_r` and `count_r` of rank r of R ranks, it is `max(sum_r count_r + extra, least)
    / R`. Collective: every rank must call it.

    Args:
        count: `[...]`, number of items of this process.
        least: lower bound of the total count, which prevents a division by 0.
        extra: added to the total count once.

    Returns:
        `[...]`: total count divided by the number of processes.
    """
    if not _connected():
        return (count + extra).clamp(min=least)
    total = count.detach().clone()
    distributed.all_reduce(total)
    return (total + extra).clamp(min=least) / distributed.get_world_size()


def mean_over_ranks(values: dict[str, Tensor]) -> dict[str, float]:
    """The mean of `[]` values by name over the processes. Collective."""
    means = torch.stack([value.detach().float() for value in values.values()])
    if _connected():
        distributed.all_reduce(means)
        means = means / distributed.get_world_size()
    return dict(zip(values, cast("list[float]", means.tolist()), strict=True))


def seed_rank(seed: int, rank: int) -> None:
    """Seeds torch's generators by (seed, rank), except in rank 0, which keeps its state.

    All ranks initialize the model from one seed. Later random numbers, such as the samples of
    proposals in Mask R-CNN, must differ between ranks.
    """
    if rank:
        torch.manual_seed((seed + rank * 0x9E3779B97F4A7C15) % 2**63)


def _connected() -> bool:
    return distributed.is_available() and distributed.is_initialized()
