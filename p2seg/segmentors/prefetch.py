"""Prefetching of an iterator's items in a thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prefetched(items: Iterator[T], count: int) -> Generator[T, None, None]:
    """The same items in the same order, of which up to `count` are computed in advance.

    One thread computes them in order. An exception is raised when its item is due.

    Args:
        items: the iterator, which no other code may use.
        count: maximum number of items in memory, at least 1.
    """
    end = object()
    futures: deque[Future[T | object]] = deque()
    thread = ThreadPoolExecutor(1)
    try:
        while True:
            while len(futures) < count:
                futures.append(thread.submit(next, items, end))
            item = futures.popleft().result()
            if item is end:
                return
            yield item  # type: ignore[misc]  # all but the end are items
    finally:
        thread.shutdown(cancel_futures=True)
        if isinstance(items, Generator):
            items.close()
