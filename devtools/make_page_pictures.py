"""Makes the docs' pictures of the pages, and a film of the way from clicks to files.

python devtools/make_page_pictures.py --out docs/pictures

The images are micrographs of the demo, and the clicks are points inside the true nuclei.
"""

from __future__ import annotations

import html
import io
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

import numpy as np
from PIL import Image

from p2seg.cli.arguments import Parser, command, path
from p2seg.data.points import read_points
from p2seg.errors import UserError
from p2seg.runtime.files import write_bytes

ROOT = Path(__file__).resolve().parent.parent
NUCLEI = ROOT / "p2seg" / "demo" / "nuclei"
PHOTOS = ("colour_0012", "colour_0091", "dark_0035", "dark_0134", "dark_0161", "dark_0170")
CLICKED = 3
"""The image that is clicked: its place among the photos, sorted by name."""
FILM = (640, 400)
"""Width and height of the film, in pixels."""

Frame = tuple[bytes, int]
"""A picture of the film, and how long it is shown, in ms."""


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
    with tempfile.TemporaryDirectory() as folder, browser(args.chromium) as page:
        home = Path(folder)
        prepare(home)
        frames = annotate(page, home)
        write_bytes(args.out / "annotate.jpg", _jpeg(frames[-1][0]))
        page.goto((home / "gallery" / "index.html").as_uri())
        shots = review(page)
        write_bytes(args.out / "gallery.jpg", _jpeg(shots[0][0]))
        write_bytes(args.out / "gallery_detail.jpg", _jpeg(shots[-1][0]))
        frames += [*shots, export(page, home)]
        write_bytes(args.out / "clicks_to_files.gif", film(frames))


def prepare(home: Path) -> None:
    """Writes photos, points, masks without a network and the review page into a folder."""
    (home / "photos").mkdir()
    for name in PHOTOS:
        write_bytes(home / "photos" / f"{name}.png", bright(NUCLEI / "images" / f"{name}.png"))
    truth = NUCLEI / "instances_train.json"
    data = ("data=custom", "data.images=photos", "data.points=points.json", "data.semantic=maps")
    names = ("in=" + str(truth), "images=photos", "sampler=inner", "data.on_error=skip")
    for words in (
        ("import_points", *names, "out=points.json"),
        ("gen_semantic", *data, "semantic=threshold"),
        ("gen_pseudo", *data, "mdm=ellipses", "out=masks.json"),
        ("gallery", *data, "pred=masks.json", "out=gallery"),
    ):
        _p2seg(home, *words)


def bright(file: Path) -> bytes:
    """A micrograph as PNG in full contrast, because people cannot see the dark ones."""
    image = np.asarray(Image.open(file).convert("RGB"), np.float32)
    low, high = np.percentile(image, (1, 99.5))
    stretched = np.clip((image - low) / (high - low), 0, 1) * 255
    made = io.BytesIO()
    Image.fromarray(stretched.astype(np.uint8)).save(made, "PNG")
    return made.getvalue()


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


def annotate(page: Any, home: Path) -> list[Frame]:
    """The page to click on, from the first click of an image to the last."""
    known = read_points(home / "points.json")
    name = sorted(each.file_name for each in known.images)[CLICKED]
    number = next(k for k, each in enumerate(known.images) if each.file_name == name)
    words = ["annotate", "images=photos", "classes=[nucleus]", "port=0", "browser=false"]
    tool = [sys.executable, "-m", "p2seg", *words, "out=clicks.json"]
    frames = []
    with subprocess.Popen(tool, cwd=home, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = (re.search(r"open (http://\S+)", line) for line in process.stdout)
        page.goto(next(filter(None, found))[1])
        for k in range(CLICKED):
            _wait(page, number=str(k), ready="true")
            page.keyboard.press("d")
        _wait(page, number=str(CLICKED), ready="true")
        told = page.evaluate("({...document.querySelector('.stage').dataset})")
        box = page.locator(".stage").bounding_box()
        zoom, left, top = (float(told[key]) for key in ("zoom", "left", "top"))
        frames.append((page.screenshot(), 1200))
        for k, (y, x) in enumerate(known.points[number].yx.tolist(), start=1):
            page.mouse.click(box["x"] + left + (x + 0.5) * zoom, box["y"] + top + (y + 0.5) * zoom)
            _wait(page, points=str(k), masks=str(k), unsaved="0")
            page.wait_for_timeout(400)
            if k % 2 == 0:
                frames.append((page.screenshot(), 400))
        page.wait_for_timeout(600)  # the masks of the last request
        frames.append((page.screenshot(), 1500))
        process.send_signal(signal.SIGTERM)
    return frames


def review(page: Any) -> list[Frame]:
    """The review page in its own order: the list, decisions, and a mask in the large view."""
    page.wait_for_timeout(1500)
    frames = [(page.screenshot(), 1500)]
    for key in ("x", "y", "y", "y"):
        page.keyboard.press(key)
        page.wait_for_timeout(300)
        frames.append((page.screenshot(), 500))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_timeout(1000)
    return [*frames, (page.screenshot(), 1500)]


def export(page: Any, home: Path) -> Frame:
    """The export as a terminal shows it, and its files."""
    words = ("pred=masks.json", "images=photos", "formats=[yolo,labelme]", "out=exported")
    printed = _p2seg(home, "export_masks", *words)
    shown = ("pred=masks.json images=photos 'formats=[yolo,labelme]' out=exported", printed)
    files = sorted(
        each.relative_to(home).as_posix()
        for each in (home / "exported").rglob("*")
        if each.suffix in (".txt", ".yaml", ".json") and each.name[0] != "."
    )
    lines = ["$ p2seg export_masks " + shown[0], shown[1].strip().splitlines()[-1], "", *files]
    page.goto("about:blank")  # without the policy of the review page
    page.set_content(
        "<body style='margin:0;background:#263238;color:#eceff1'><pre style='padding:40px;"
        f"font:20px/1.7 monospace'>{html.escape(chr(10).join(lines[:18]))}</pre></body>"
    )
    return page.screenshot(), 3000


def film(frames: list[Frame]) -> bytes:
    """The frames as a GIF that repeats."""
    pictures = [Image.open(io.BytesIO(shot)).convert("RGB").resize(FILM) for shot, _ in frames]
    colors = [each.quantize(48, dither=Image.Dither.NONE) for each in pictures]
    times = [time for _, time in frames]
    file = io.BytesIO()
    colors[0].save(file, "GIF", save_all=True, append_images=colors[1:], duration=times, loop=0)
    return file.getvalue()


def _jpeg(shot: bytes) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(shot)).convert("RGB").save(file, "JPEG", quality=85)
    return file.getvalue()


def _p2seg(home: Path, *words: str) -> str:
    """Runs a command in a folder and returns what it prints."""
    line = [sys.executable, "-m", "p2seg", *words]
    return subprocess.run(line, cwd=home, check=True, stdout=subprocess.PIPE, text=True).stdout


def _wait(page: Any, **told: str) -> None:
    """Waits until the canvas has these values."""
    page.wait_for_function(
        "told => Object.entries(told).every(([key, value]) => "
        "document.querySelector('.stage')?.dataset[key] === value)",
        arg=told,
    )


if __name__ == "__main__":
    raise SystemExit(main())
