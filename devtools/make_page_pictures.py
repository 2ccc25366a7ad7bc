"""Makes the docs' pictures of the pages: photographs of scikit-image, and the drawn set.

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

from devtools.make_pictures import TOOLS
from p2seg.cli.arguments import Parser, command, path
from p2seg.errors import UserError
from p2seg.runtime.files import write_bytes

# (x, y), clicked by hand
COINS = (
    *((45, 55), (100, 57), (156, 51), (216, 51), (276, 53), (335, 44)),
    *((46, 124), (103, 126), (154, 127), (206, 124), (271, 120), (337, 125)),
    *((44, 198), (103, 196), (155, 198), (213, 193), (274, 194), (347, 187)),
    *((46, 261), (115, 266), (173, 262), (245, 264), (301, 263), (358, 268)),
)
LARGE = (5, 17, 18, 20, 22)
"""Which of the coins are large ones."""


def parser() -> Parser:
    """The command line."""
    words = Parser(description="Makes the docs' pictures of the pages.", allow_abbrev=False)
    words.add_argument("--out", type=path, default=Path("docs/pictures"), metavar="DIR")
    words.add_argument("--chromium", help="the program; default: the one that is installed")
    return words


@command
def main(words: list[str]) -> None:
    """Runs the command line's words."""
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
    """A page of Chromium, as large as a laptop's screen."""
    from playwright.sync_api import sync_playwright

    program = program or which("chromium") or which("google-chrome")
    if program is None:
        raise UserError("no Chromium is found; install it or give --chromium FILE")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started.new_page(viewport={"width": 1280, "height": 800})
        started.close()


def annotate(page: Any, folder: Path) -> bytes:
    """The page to click on: coins, clicked, with their masks; a JPEG."""
    words = [f"images={folder}", "classes=[coin,large coin]", "port=0", "browser=false"]
    tool = [sys.executable, str(TOOLS / "annotate.py"), *words]
    with subprocess.Popen(tool, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = (re.search(r"open (http://\S+)", line) for line in process.stdout)
        page.goto(next(filter(None, found))[1])
        for number in ("1", "2"):  # the cat, the coffee, the coins
            _wait(page, number=str(int(number) - 1), ready="true")
            page.keyboard.press("d")
        _wait(page, number="2", ready="true")
        told = page.evaluate("({...document.querySelector('.stage').dataset})")
        box = page.locator(".stage").bounding_box()
        zoom, left, top = (float(told[key]) for key in ("zoom", "left", "top"))
        for k, (x, y) in enumerate(COINS):
            page.keyboard.press("2" if k in LARGE else "1")
            page.mouse.click(box["x"] + left + (x + 0.5) * zoom, box["y"] + top + (y + 0.5) * zoom)
        _wait(page, points=str(len(COINS)), masks=str(len(COINS)), unsaved="0")
        page.wait_for_timeout(1000)  # the masks of the last request
        shot: bytes = page.screenshot(type="jpeg", quality=88)
        process.send_signal(signal.SIGTERM)
    return shot


def drawn_gallery(home: Path) -> Path:
    """A gallery of masks of seeds on the drawn set, with its true masks; its folder."""
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
    """The page to judge, the worst masks rejected, and an image of it, large; JPEGs by name."""
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


def _wait(page: Any, **told: str) -> None:
    """Waits until the canvas says so."""
    page.wait_for_function(
        "told => Object.entries(told).every(([key, value]) => "
        "document.querySelector('.stage')?.dataset[key] === value)",
        arg=told,
    )


if __name__ == "__main__":
    raise SystemExit(main())
