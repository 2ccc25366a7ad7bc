"""The processes of a run that share its work: a rank's share, what all have found, and sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed, nn

PATIENCE = timedelta(days=7)
"""How long a rank waits for the others, which may have hours of work left. One that died is
noticed at once: its connection is closed."""

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """The processes of a run; by default this one alone.

    Attributes:
        rank: of this process.
        world: how many they are.
        group: through which they talk, on the CPU; None for one alone.
    """

    rank: int = 0
    world: int = 1
    group: Any = None

    @staticmethod
    def started() -> Ranks:
        """Those that a launcher has started and connected, on every one of which this is called."""
        if not _connected():
            return Ranks()
        group = distributed.new_group(backend="gloo", timeout=PATIENCE)
        return Ranks(distributed.get_rank(), distributed.get_world_size(), group)

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes what there is one of, and speaks."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """The items that this rank works on; the same number, give or take one, for each rank."""
        return items[self.rank :: self.world]

    def gathered(self, value: T) -> list[T]:
        """The values of all ranks, in their order. Every rank takes part."""
        if self.group is None:
            return [value]
        values: list[Any] = [None] * self.world
        distributed.all_gather_object(values, value, group=self.group)
        return values

    def merged(self, made: Sequence[T]) -> list[T]:
        """What all ranks have made of their shares, in the order of all items.

        Args:
            made: one thing an item of this rank's `share`.
        """
        parts = self.gathered(list(made))
        whole: list[Any] = [None] * sum(map(len, parts))
        for rank, part in enumerate(parts):
            whole[rank :: self.world] = part
        return whole

    def wait(self) -> None:
        """Until every rank has come here."""
        if self.group is not None:
            distributed.barrier(group=self.group)

    def equal(self, module: nn.Module) -> None:
        """Gives the module of every rank the state of the first one's, in place."""
        if self.group is not None:
            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, 0)


def shared_count(count: Tensor, least: float = 1.0, extra: float = 0.0) -> Tensor:
    """What a process divides its sum by so that the mean over processes is that over all items.

    Args:
        count: `[...]`, items of this process.
        least: that the items of all processes count, so that nothing is divided by 0.
        extra: added to them, once.

    Returns:
        `[...]`: the items of all processes, over the number of processes.
    """
    if not _connected():
        return (count + extra).clamp(min=least)
    total = count.detach().clone()
    distributed.all_reduce(total)
    return (total + extra).clamp(min=least) / distributed.get_world_size()


def mean_over_ranks(values: dict[str, Tensor]) -> dict[str, float]:
    """The mean of `[]` values by name over the processes. Every one takes part."""
    means = torch.stack([value.detach().float() for value in values.values()])
    if _connected():
        distributed.all_reduce(means)
        means = means / distributed.get_world_size()
    return dict(zip(values, cast("list[float]", means.tolist()), strict=True))


def seed_rank(seed: int, rank: int) -> None:
    """Seeds torch's generators of a rank by (seed, rank); the first keeps what it has.

    Ranks build one model from one seed. What they draw from then on, such as the proposals of a
    Mask R-CNN, must differ.
    """
    if rank:
        torch.manual_seed((seed + rank * 0x9E3779B97F4A7C15) % 2**63)


def _connected() -> bool:
    return distributed.is_available() and distributed.is_initialized()
