"""Makes screenshots of the pages for the docs: photographs of scikit-image, and the drawn set.

python devtools/make_page_pictures.py --out docs/pictures
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Any

import cv2
import numpy as np
from skimage import data

from devtools.make_pictures import COINS, TOOLS
from p2seg.cli.arguments import Parser, command, path
from p2seg.errors import UserError
from p2seg.runtime.files import write_bytes

LARGE = (5, 17, 18, 20, 22)
"""Indices of the large coins."""


def parser() -> Parser:
    """Returns the parser of the command line."""
    words = Parser(description="Makes screenshots for the docs.", allow_abbrev=False)
    words.add_argument("--out", type=path, default=Path("docs/pictures"), metavar="DIR")
    words.add_argument("--chromium", help="the program (default: the installed one)")
    return words


@command
def main(words: list[str]) -> None:
    """Makes all screenshots."""
    args = parser().parse_args(words)
    with tempfile.TemporaryDirectory() as home, browser(args.chromium) as page:
        photographs(Path(home) / "photos")
        write_bytes(args.out / "annotate.jpg", annotate(page, Path(home) / "photos"))
        page.goto((drawn_gallery(Path(home)) / "index.html").as_uri())
        for name, shot in judged(page).items():
            write_bytes(args.out / f"{name}.jpg", shot)


def photographs(folder: Path) -> None:
    """Writes the photographs."""
    folder.mkdir()
    images = {
        "coffee": data.coffee(),
        "coins": np.dstack([data.coins()] * 3),
        "cat": data.chelsea(),
    }
    for name, image in images.items():
        write_bytes(folder / f"{name}.png", cv2.imencode(".png", image[:, :, ::-1])[1].tobytes())


@contextmanager
def browser(program: str | None) -> Iterator[Any]:
    """Yields a page of Chromium, of the size of a laptop's screen."""
    from playwright.sync_api import sync_playwright

    program = program or which("chromium") or which("google-chrome")
    if program is None:
        raise UserError("Chromium is not installed; install it or give --chromium FILE")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started.new_page(viewport={"width": 1280, "height": 800})
        started.close()


def annotate(page: Any, folder: Path) -> bytes:
    """Returns a JPEG of the annotation page: clicked coins with their masks."""
    words = [f"images={folder}", "classes=[coin,large coin]", "port=0", "browser=false"]
    tool = [sys.executable, str(TOOLS / "annotate.py"), *words]
    with subprocess.Popen(tool, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        matches = (re.search(r"open (http://\S+)", line) for line in process.stdout)
        page.goto(next(filter(None, matches))[1])
        for number in ("1", "2"):  # the first images show a cat and coffee
            _wait(page, number=str(int(number) - 1), ready="true")
            page.keyboard.press("d")
        _wait(page, number="2", ready="true")
        state = page.evaluate("({...document.querySelector('.stage').dataset})")
        box = page.locator(".stage").bounding_box()
        zoom, left, top = (float(state[key]) for key in ("zoom", "left", "top"))
        for k, (x, y) in enumerate(COINS):
            page.keyboard.press("2" if k in LARGE else "1")
            page.mouse.click(box["x"] + left + (x + 0.5) * zoom, box["y"] + top + (y + 0.5) * zoom)
        _wait(page, points=str(len(COINS)), masks=str(len(COINS)), unsaved="0")
        page.wait_for_timeout(1000)  # the masks of the last request
        shot: bytes = page.screenshot(type="jpeg", quality=88)
        process.send_signal(signal.SIGTERM)
    return shot


def drawn_gallery(home: Path) -> Path:
    """Makes a gallery of seed masks of the drawn set, with true masks; returns its folder."""
    drawn, points, maps = home / "drawn", home / "points.json", home / "maps"
    truth, masks, out = drawn / "instances_train.json", home / "masks.json", home / "gallery"
    scripts = TOOLS.parent / "scripts"
    words = [str(scripts / "prepare_synthetic.py"), "--out", str(drawn), "--train", "60"]
    subprocess.run([sys.executable, *words], check=True)
    settings = ["data=custom", "data.num_classes=4", f"data.images={drawn / 'images'}"]
    settings += [f"data.points={points}", f"data.semantic={maps}"]
    for tool, *more in (
        ("make_points", f"gt={truth}", f"out={points}"),
        ("gen_semantic", *settings, "semantic=grabcut"),
        ("gen_pseudo", *settings, f"out={masks}"),
        ("gallery", *settings, f"pred={masks}", f"gt={truth}", f"out={out}"),
    ):
        subprocess.run([sys.executable, str(TOOLS / f"{tool}.py"), *more], check=True)
    return out


def judged(page: Any) -> dict[str, bytes]:
    """Returns JPEGs of the gallery by name: the grid with rejected masks, and the large view."""
    page.wait_for_timeout(1500)
    for _ in range(7):
        page.keyboard.press("r")
        page.wait_for_timeout(100)
    page.mouse.wheel(0, 0)
    shots = {"gallery": page.screenshot(type="jpeg", quality=88)}
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_timeout(1000)
    return shots | {"gallery_detail": page.screenshot(type="jpeg", quality=88)}


def _wait(page: Any, **state: str) -> None:
    """Waits until the canvas has these data attributes."""
    page.wait_for_function(
        "told => Object.entries(told).every(([key, value]) => "
        "document.querySelector('.stage')?.dataset[key] === value)",
        arg=state,
    )


if __name__ == "__main__":
    raise SystemExit(main())
