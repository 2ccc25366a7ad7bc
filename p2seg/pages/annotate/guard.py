"""Who may ask a page that runs on somebody's own machine: that machine's browser, for this page.

A browser sends what any page makes it send, also to 127.0.0.1. So each request, and each websocket,
must name this server as its host (a name of another owner may be made to lead here: DNS rebinding)
and, where it says so, come from a page of this server.
"""

from __future__ import annotations

import ipaddress
import platform
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADERS = (
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)
"""No other page may show this one in a frame, or its pictures."""


class Guard:
    """Lets through what this server's own pages ask.

    Args:
        app: what is guarded.
        host: the address that the server listens on.
    """

    def __init__(self, app: App, host: str) -> None:
        self.app, self.host = app, host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        names = [key for key, _ in scope["headers"]]
        headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
        if names.count(b"host") == 1 and is_allowed(headers, self.host):
            await self.app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            text = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": text})
            body = b"Only pages of this server may ask it; open the address that it has told.\n"
            await send({"type": "http.response.body", "body": body})


def is_allowed(headers: dict[bytes, str], host: str) -> bool:
    """Whether a request may be answered.

    Args:
        headers: their names in small letters.
        host: the address that the server listens on.
    """
    asked = headers.get(b"host", "")
    if not is_ours(_hostname(asked), host):
        return False
    origin = headers.get(b"origin")
    if origin is not None:
        return origin in (f"http://{asked}", f"https://{asked}")
    # what a page of another server embeds has no origin, but browsers say where it is from
    site, mode = headers.get(b"sec-fetch-site"), headers.get(b"sec-fetch-mode")
    return site in (None, "none", "same-origin") or mode == "navigate"


def is_ours(name: str, host: str) -> bool:
    """Whether a host's name means this server."""
    if is_loopback(name) or (name and is_loopback(host)):
        return is_loopback(name)
    if name in (host, platform.node().lower(), socket.getfqdn().lower()):
        return True
    try:
        ipaddress.ip_address(name)  # an address is not found by a name, which could lead elsewhere
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Whether a host is this machine alone, by its name or address."""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _hostname(netloc: str) -> str:
    """A host without its port, in small letters; empty where it is none."""
    try:
        parts = urlsplit(f"//{netloc}")
        return (parts.hostname or "") if parts.netloc == netloc and "@" not in netloc else ""
    except ValueError:
        return ""


def _with_headers(send: Send) -> Send:
    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
        await send(message)

    return sent
