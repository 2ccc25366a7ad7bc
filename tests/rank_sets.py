"""Ranks as threads, to test work shared through `Ranks` without processes."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor, nn

from p2seg.runtime.ranks import Ranks

T = TypeVar("T")


class Meeting:
    """A meeting point at which threads exchange values."""

    def __init__(self, count: int) -> None:
        self.barrier = threading.Barrier(count, timeout=60)
        self.values: list[bytes] = [b""] * count


@dataclass(frozen=True)
class ThreadRanks(Ranks):
    """Like `Ranks`, with values pickled as between processes."""

    meeting: Meeting = field(default_factory=lambda: Meeting(1))

    def gathered(self, value: T) -> list[T]:
        self.meeting.values[self.rank] = pickle.dumps(value)
        self.wait()
        values: list[Any] = [pickle.loads(each) for each in self.meeting.values]
        self.wait()
        return values

    def wait(self) -> None:
        self.meeting.barrier.wait()

    def equal(self, module: nn.Module) -> None:  # noqa: ARG002
        self.wait()  # the threads share one module


def together(world: int, work: Callable[[Ranks], T]) -> list[T]:
    """Returns the result of the same work on each of `world` ranks."""
    meeting = Meeting(world)

    def of_rank(rank: int) -> T:
        try:
            return work(ThreadRanks(rank, world, None, meeting))
        except threading.BrokenBarrierError:
            raise
        except BaseException:
            meeting.barrier.abort()  # like the other ranks of a job
            raise

    with ThreadPoolExecutor(world) as pool:
        made = [pool.submit(of_rank, rank) for rank in range(world)]
    errors = [each.exception() for each in made]
    own = [each for each in errors if not isinstance(each, threading.BrokenBarrierError | None)]
    if own:
        raise own[0]
    return [each.result() for each in made]


class Summing:
    """Replaces `torch.distributed` for threads that only sum tensors."""

    def __init__(self, world: int) -> None:
        self.meeting = Meeting(world)
        self.world = world
        self._own = threading.local()

    def of(self, ranks: Ranks, work: Callable[[int], T]) -> T:
        """Runs the work of a rank in its thread."""
        self._own.rank = ranks.rank
        return work(ranks.rank)

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return hasattr(self._own, "rank")

    def get_world_size(self) -> int:
        return self.world

    def all_reduce(self, tensor: Tensor) -> None:
        self.meeting.values[self._own.rank] = pickle.dumps(tensor)
        self.meeting.barrier.wait()
        tensor.copy_(sum(pickle.loads(each) for each in self.meeting.values))
        self.meeting.barrier.wait()
