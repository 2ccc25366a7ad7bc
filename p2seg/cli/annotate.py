"""Opens a page to annotate objects with points, and previews their masks.

p2seg annotate images=DIR classes=[coin,button] out=clicks.json
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from secrets import token_urlsafe

from omegaconf import DictConfig

from p2seg.apps.annotate.album import Album
from p2seg.apps.annotate.clicks import Clicks
from p2seg.apps.annotate.history import history_path
from p2seg.cli.annotate_settings import check_extra, check_points, masks_of, names_of, out_of
from p2seg.cli.claims import writes
from p2seg.cli.paths import check_file, path_of
from p2seg.cli.provenance import record_run
from p2seg.data.image_notes import notes_on
from p2seg.runtime.progress import console


@writes("annotate", out_of)
def run(cfg: DictConfig) -> Path:
    """Serves the page until the user stops it, and returns the path of the points file."""
    check_extra()
    from p2seg.apps.annotate import server

    out = check_file(out_of(cfg))
    clicks = Clicks(out, names_of(cfg))
    check_points(clicks)
    if not clicks.history_fits:
        console.print(
            f"{history_path(out)} does not fit all points in {out}: what does not fit cannot be "
            "undone",
            markup=False,
        )
    if clicks.folded < clicks.version:
        clicks.write(clicks.snapshot())
        clicks.note_written(clicks.version)
        console.print(
            f"restored the changes ({clicks.version}) that an earlier start saved in the journal "
            f"of {out}",
            markup=False,
        )
    album = Album(path_of(cfg, "images"), clicks.size)
    masks = masks_of(cfg, clicks)
    with server.listening(str(cfg.host), cfg.port) as listener, ExitStack() as ending:
        token = token_urlsafe(16)
        address = server.address_of(listener, token)
        if server.is_open_to_others(listener):
            console.print(
                f"host={cfg.host}: whoever has the address below sees the images and can change "
                "the points; the connection is not encrypted",
                markup=False,
            )
        record_run(cfg, "annotate", out)

        def started() -> None:
            console.print(
                f"{len(album)} images of {album.folder}; points go to {out}", markup=False
            )
            for sentence in notes_on([album.folder / name for name in album.names], album.folder):
                console.print(sentence, markup=False)
            console.print(f"open {address} in a browser; Ctrl-C ends it", markup=False)
            if cfg.browser and (file := server.open_browser(address, out.parent)):
                ending.callback(file.unlink, missing_ok=True)

        server.serve(listener, token, album, clicks, masks, started)
    return out
