"""Detects and blocks network requests inside a block of code."""

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
"""Python's audit events of a request, and the index of the address in their arguments."""

_watches: list[list[str]] = []
"""The requests of each active block."""


@contextmanager
def no_network() -> Iterator[list[str]]:
    """Raises an `OSError` for every request of this process, and yields the list of requests."""
    _listen()
    asked: list[str] = []
    _watches.append(asked)
    try:
        yield asked
    finally:
        _watches.remove(asked)


@cache
def _listen() -> None:
    """Adds the audit hook once, because a hook cannot be removed."""
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watches or event not in EVENTS:
        return
    first = arguments[0] if arguments else None
    if isinstance(first, socket.socket) and first.family == socket.AF_UNIX:
        return  # a local address
    address = arguments[EVENTS[event]]
    for asked in _watches:
        asked.append(f"{event} {address!r:.100}")
    raise OSError(f"no network here: {address!r:.100}")
