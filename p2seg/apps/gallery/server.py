"""Serves a gallery's page on this machine, and saves the review that the page sends."""

from __future__ import annotations

import socket
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles

from p2seg.apps.serving import run_until_stopped
from p2seg.errors import UserError
from p2seg.pseudo.review import read_review
from p2seg.runtime.files import atomic_path

MAX_BYTES = 2**30
"""Maximum size of a review."""


def application(page: Path, review: Path) -> FastAPI:
    """A web application that serves the files of a page and saves its review.

    `PUT /review.json` writes the review if it is valid.

    Args:
        page: folder of `p2seg gallery`.
        review: the file of decisions.
    """
    web = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @web.put("/review.json")
    async def save(request: Request) -> Response:
        content = await request.body()
        if len(content) > MAX_BYTES:
            return Response("The review is too large.\n", 413, media_type="text/plain")
        try:
            with atomic_path(review) as temporary:
                temporary.write_bytes(content)
                read_review(temporary)
        except (UserError, OSError) as error:
            return Response(f"{error}\n", 422, media_type="text/plain")
        return Response(status_code=204)

    web.mount("/", StaticFiles(directory=page, html=True))
    return web


def serve(listener: socket.socket, token: str, page: Path, review: Path) -> None:
    """Serves the page until the process is asked to stop.

    Args:
        listener: see `p2seg.apps.annotate.server.listening`.
        token: the secret of the address.
        page: folder of the page.
        review: the file of decisions.

    Raises:
        Stopped: the process was asked to stop.
    """
    run_until_stopped(application(page, review), listener, token)
