"""`p2seg review`: serves the page of masks, and keeps the decisions in the masks' folder."""

from __future__ import annotations

from argparse import Namespace
from contextlib import suppress
from secrets import token_urlsafe
from shlex import quote

from p2seg.cli.annotate_settings import check_extra
from p2seg.cli.photos.folder import MasksFolder
from p2seg.errors import UserError
from p2seg.runtime.preemption import Stopped
from p2seg.runtime.progress import console


def review_(options: Namespace) -> int:
    """Serves the page until Ctrl-C."""
    check_extra()
    from p2seg.apps.annotate.server import address_of, listening, open_browser
    from p2seg.apps.gallery.server import serve

    folder = MasksFolder.of(options.masks)
    if not (folder.page / "index.html").is_file():
        raise UserError(f"{folder.path} has no page yet; run p2seg masks {folder.photos}")
    with listening("127.0.0.1", options.port) as listener:
        token = token_urlsafe(16)
        address = address_of(listener, token)
        console.print(f"decisions go to {folder.review}", markup=False)
        console.print(f"open {address} in a browser; Ctrl-C ends it", markup=False)
        opened = None if options.no_browser else open_browser(address, folder.path)
        try:
            with suppress(Stopped, KeyboardInterrupt):
                serve(listener, token, folder.page, folder.review)
        finally:
            if opened:
                opened.unlink(missing_ok=True)
    if folder.review.is_file():
        photos = quote(str(folder.photos))
        console.print(f"p2seg masks {photos} applies {folder.review}", markup=False)
    else:
        console.print("no decisions were saved", markup=False)
    return 0
