"""Access control of the page: only a browser with the secret token, and only for this page.

Every user of a machine can reach its ports. So each request and each websocket needs a secret. It
is in the printed address first, and then in a cookie.

Any page can make a browser send a request to 127.0.0.1. So each request must name this server as
its host, because a foreign host name can be made to resolve to this address (DNS rebinding). If a
request has an origin, that must be this server.
"""

from __future__ import annotations

import hmac
import ipaddress
import platform
import socket
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Header = tuple[bytes, bytes]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADERS = (
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)
"""No other page may show this page in a frame or embed its pictures."""


REFUSAL = (
    "Open the whole address that the command printed when it started, including its token; each "
    "start prints a new token.\n"
)


class Guard:
    """ASGI middleware that accepts requests with the token from pages of this server.

    `/?token=...` sets a cookie and redirects to `/`. All other requests need the cookie.

    Args:
        app: the application to protect.
        host: the address on which the server listens.
        token: the secret.
    """

    def __init__(self, app: App, host: str, token: str) -> None:
        self.app, self.token = app, token
        self.names = own_names(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one ASGI connection."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        is_http = scope["type"] == "http"
        names = [key for key, _ in scope["headers"]]
        headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
        first = is_http and scope["path"] == "/"
        changes = not is_http or scope["method"] not in ("GET", "HEAD", "OPTIONS")
        host = headers.get(b"host", "")
        allowed = names.count(b"host") == 1 and is_allowed(headers, self.names, first, changes)
        if allowed and first and not changes and self._is_token(_token_of(scope)):
            await _answer(send, *_welcome(headers, f"{_cookie(host)}={self.token}"))
        elif allowed and any(map(self._is_token, _values(headers, _cookie(host)))):
            await self.app(scope, receive, _with_headers(send))
        elif is_http:
            await _answer(send, 403, [], REFUSAL)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self.token.encode())


def is_allowed(
    headers: dict[bytes, str], names: Collection[str], first: bool = False, changes: bool = False
) -> bool:
    """Returns whether a request comes from a page of this server, or from no page at all.

    Old browsers send no `Sec-Fetch-...` headers. They are protected by the cookie
    (`SameSite=Strict`), the `Origin` header and the headers against frames.

    Args:
        headers: by name in lower case.
        names: see `own_names`.
        first: the request is for the page itself, which may only be opened as a document.
        changes: the request may change something or opens a websocket, so browsers send an origin.
    """
    host = headers.get(b"host", "")
    if not is_ours(_hostname(host), names):
        return False
    dest = headers.get(b"sec-fetch-dest")
    if first and dest not in (None, "document"):
        return False
    origin = headers.get(b"origin")
    if origin is not None:
        return origin in (f"http://{host}", f"https://{host}")
    # A request embedded in a foreign page has no origin, but `sec-fetch-site` names its source.
    site, mode = headers.get(b"sec-fetch-site"), headers.get(b"sec-fetch-mode")
    is_link = mode == "navigate" and dest == "document"
    return not changes and (site in (None, "none", "same-origin") or is_link)


def own_names(host: str) -> frozenset[str]:
    """Returns the names of this machine, or none if the server listens on loopback only.

    Args:
        host: the address on which the server listens.
    """
    if is_loopback(host):
        return frozenset()
    return frozenset({host, platform.node().lower(), socket.getfqdn().lower()})


def is_ours(name: str, names: Collection[str]) -> bool:
    """Returns whether a host name means this server; `names` is the result of `own_names`."""
    if is_loopback(name) or not names or name in names:
        return is_loopback(name) or name in names
    try:
        ipaddress.ip_address(name)  # an IP address cannot be rebound
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Returns whether a host name or address is the loopback interface."""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _hostname(netloc: str) -> str:
    """Returns the host without its port in lower case, or an empty string if it is invalid."""
    try:
        parts = urlsplit(f"//{netloc}")
        valid = parts.netloc == netloc and "@" not in netloc and parts.port != 0
        return (parts.hostname or "") if valid else ""
    except ValueError:
        return ""


def _cookie(host: str) -> str:
    """Returns the cookie name, with the port: cookies are shared between the ports of a host."""
    return f"p2seg-{urlsplit(f'//{host}').port or 80}"


def _values(headers: dict[bytes, str], name: str) -> list[str]:
    pairs = (each.strip().partition("=") for each in headers.get(b"cookie", "").split(";"))
    return [value for key, _, value in pairs if key == name]


def _token_of(scope: Scope) -> str:
    query: bytes = scope["query_string"]
    return parse_qs(query.decode("latin-1")).get("token", [""])[0]


def _welcome(headers: dict[bytes, str], cookie: str) -> tuple[int, list[Header], str]:
    """Returns the response that stores the token in a cookie and removes it from the address."""
    kept = (b"set-cookie", f"{cookie}; Path=/; HttpOnly; SameSite=Strict".encode())
    if headers.get(b"sec-fetch-site") in ("cross-site", "same-site"):
        # After a link on a foreign page, a redirect is still cross-site and lacks the cookie.
        return 200, [kept, (b"refresh", b"0; url=/")], ""
    return 303, [kept, (b"location", b"/")], ""


async def _answer(send: Send, status: int, headers: list[Header], text: str) -> None:
    plain = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    start = {"type": "http.response.start", "status": status, "headers": [*plain, *headers]}
    await _with_headers(send)(start)
    await send({"type": "http.response.body", "body": text.encode()})


def _with_headers(send: Send) -> Send:
    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
        await send(message)

    return sent
