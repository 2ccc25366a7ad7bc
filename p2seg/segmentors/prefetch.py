"""Work done ahead in a thread, while what it gave before is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T], count: int) -> Generator[T, None, None]:
    """The same items in the same order, up to `count` of them made before they are asked for.

    One thread makes them, one after the other. What making raises is raised here, in its turn.

    Args:
        items: nobody else may ask it.
        count: at least 1; so many are in memory.
    """
    end = object()
    made: deque[Future[T | object]] = deque()
    thread = ThreadPoolExecutor(1)
    try:
        while True:
            while len(made) < count:
                made.append(thread.submit(next, items, end))
            item = made.popleft().result()
            if item is end:
                return
            yield item  # type: ignore[misc]  # all but the end are items
    finally:
        thread.shutdown(cancel_futures=True)
        if isinstance(items, Generator):
            items.close()
