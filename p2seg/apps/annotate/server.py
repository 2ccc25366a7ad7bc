"""Serves the page on a port of this machine with NiceGUI until the process is stopped."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import secrets
import socket
import sys
import warnings
import webbrowser
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import fields
from pathlib import Path
from tempfile import mkstemp

from fastapi import FastAPI, Request, Response
from nicegui import Client, ui

from p2seg.apps.annotate.album import Album, Part
from p2seg.apps.annotate.clicks import Clicks
from p2seg.apps.annotate.guard import is_loopback
from p2seg.apps.annotate.masks import MaskMaker
from p2seg.apps.annotate.preview import Preview, PreviewResult
from p2seg.apps.annotate.session import Session
from p2seg.apps.annotate.view import View
from p2seg.apps.serving import run_until_stopped
from p2seg.errors import UserError

STYLE = Path(__file__).parent / "browser" / "style.css"


def listening(host: str, port: int) -> socket.socket:
    """Returns a listening socket.

    Args:
        host: the address; a loopback address serves this machine only.
        port: 0 uses any free port.

    Raises:
        UserError: the port is in use, or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"port={port} is used by another program; give another port, or port=0 for any "
                "free one"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise UserError(f"port={port} needs root; give a port from 1024 on") from error
        raise UserError(
            f"host={host} is not an address of this machine ({error.strerror}); omit it to serve "
            "this machine only, or give host=0.0.0.0 to serve the network"
        ) from error


def address_of(listener: socket.socket, token: str) -> str:
    """Returns the address to open in a browser, with the token that grants access."""
    host, port = listener.getsockname()[:2]
    host = socket.gethostname() if host in ("0.0.0.0", "::") else host
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{port}/?token={token}"


def serve(
    listener: socket.socket,
    token: str,
    album: Album,
    clicks: Clicks,
    masks: MaskMaker | None,
    started: Callable[[], None],
) -> None:
    """Serves the page until the process is asked to stop, then saves the points.

    Args:
        listener: see `listening`.
        token: see `address_of`.
        album: the images.
        clicks: the points of the images.
        masks: makes the masks of the preview; None for no masks.
        started: called when the page can be opened.

    Raises:
        UserError: the last clicks could not be saved.
        Stopped: the process was asked to stop.
    """
    start = secrets.token_urlsafe(8)
    web = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    failures: list[BaseException] = []

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()

        def tell(result: PreviewResult) -> None:
            with suppress(RuntimeError):  # the loop is closed: no tab is open
                loop.call_soon_threadsafe(session.draw, result)

        preview = Preview(album, masks, tell) if masks else None
        session = Session(album, clicks, preview)
        _add_page(session, start, masks.name if masks else "none")
        work = asyncio.create_task(session.run())
        started()
        yield
        work.cancel()
        try:
            await session.close()
        except UserError as error:
            failures.append(error)

    web.router.lifespan_context = life
    _add_pictures(web, album)
    ui.run_with(
        web,
        title="p2seg · clicks",
        dark=True,
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=10,
    )
    with warnings.catch_warnings():
        # NiceGUI searches all objects for its server, and torch warns about one of them
        warnings.filterwarnings("ignore", category=FutureWarning, module="nicegui")
        try:
            run_until_stopped(web, listener, token)
        finally:  # also runs after Ctrl-C, which uvicorn raises again
            if failures:
                raise failures[0]


def open_browser(address: str, folder: Path) -> Path | None:
    """Opens the page in a browser if this machine has a screen.

    Every user of the machine can read a browser's command line. So the command line names a file
    that redirects to the address and that only its owner can read.

    Args:
        address: see `address_of`.
        folder: folder of the file. Some browsers cannot read the folder for temporary files.

    Returns:
        The file to remove at the end; None if no browser was opened.
    """
    has_screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not has_screen and sys.platform not in ("darwin", "win32"):
        return None
    try:
        for old in folder.glob("p2seg-open-*.html"):  # left by a killed process
            old.unlink()
        handle, name = mkstemp(".html", "p2seg-open-", folder.absolute())
        with os.fdopen(handle, "w") as page:
            page.write(f'<meta http-equiv="refresh" content="0; url={address}">\n')
    except OSError:  # the address is also printed
        return None
    webbrowser.open(Path(name).as_uri())
    return Path(name)


def is_open_to_others(listener: socket.socket) -> bool:
    """Returns whether other machines can reach the server."""
    return not is_loopback(listener.getsockname()[0])


def _add_page(session: Session, start: str, preview: str) -> None:
    @ui.page("/")
    def page(client: Client) -> None:
        ui.add_css(STYLE)
        view = View(session, start, preview)
        client.on_delete(view.close)


def _add_pictures(web: FastAPI, album: Album) -> None:
    @web.get("/picture/{number}")
    def picture(request: Request, number: str) -> Response:
        query = request.query_params
        try:
            place, fit = _number(number), _number(query.get("fit", "0"))
            part = Part(**{each.name: _number(query.get(each.name, "0")) for each in fields(Part)})
            content, kind = album.fitted(place, fit) if fit else album.picture(place, part)
        except IndexError:
            return Response("There is no such image.\n", 404, media_type="text/plain")
        except UserError as error:
            return Response(f"{error}\n", 422, media_type="text/plain")
        return Response(content, media_type=kind, headers={"cache-control": "private, max-age=600"})


def _number(text: str) -> int:
    """Parses the image number of a picture's address.

    Raises:
        IndexError: the text is not a number, or the number is too large.
    """
    if not re.fullmatch("[0-9]{1,9}", text):
        raise IndexError(text)
    return int(text)
