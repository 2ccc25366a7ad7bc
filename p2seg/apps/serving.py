"""Runs a web application on a port of this machine until the process is asked to stop."""

from __future__ import annotations

import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from p2seg.apps.annotate.guard import Guard
from p2seg.runtime.preemption import ASKED, Stopped, handled


def run_until_stopped(web: FastAPI, listener: socket.socket, token: str) -> None:
    """Serves requests that have the secret token.

    Raises:
        Stopped: the process was asked to stop.
    """
    web.add_middleware(Guard, host=listener.getsockname()[0], token=token)
    options = {"log_level": "critical", "access_log": False, "server_header": False}
    config = uvicorn.Config(web, timeout_graceful_shutdown=1, **options)  # type: ignore[arg-type]
    server, signals = uvicorn.Server(config), list[int]()

    def stop(number: int, _: FrameType | None) -> None:
        signals.append(number)
        server.should_exit = True  # the event loop would swallow an exception

    with handled(stop, ASKED):  # uvicorn itself handles only SIGTERM and Ctrl-C
        server.run(sockets=[listener])
    if signals:
        raise Stopped(signals[0])
