"""Sees whether a block of code asks the network for anything, and lets nothing through."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

EVENTS = {
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
    "socket.gethostbyaddr": 0,
}
"""What Python reports of a request, and which of the arguments is the address."""

_watches: list[list[str]] = []
"""What was asked for, of each block that is running."""


@contextmanager
def no_network() -> Iterator[list[str]]:
    """Refuses every request of this process with an `OSError`; gives the list of them."""
    _listen()
    asked: list[str] = []
    _watches.append(asked)
    try:
        yield asked
    finally:
        _watches.remove(asked)


@cache
def _listen() -> None:
    """A hook cannot be removed, so one serves all blocks."""
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watches or event not in EVENTS:
        return
    first = arguments[0] if arguments else None
    if isinstance(first, socket.socket) and first.family == socket.AF_UNIX:
        return  # of this machine
    address = arguments[EVENTS[event]]
    for asked in _watches:
        asked.append(f"{event} {address!r:.100}")
    raise OSError(f"no network here: {address!r:.100}")
