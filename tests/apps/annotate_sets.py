"""A folder of images, p2seg annotate as a process, and the page in a browser."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np
from PIL import Image

from p2seg.apps.annotate.clicks import Clicks
from p2seg.data.journal import journal_path

TOOL = Path(__file__).resolve().parent.parent.parent / "tools" / "annotate.py"


def scene(width, height, seed=0):
    """Returns a dark image with a bright disc in the middle of each quarter."""
    image = np.random.default_rng(seed).integers(20, 40, (height, width, 3), dtype=np.uint8)
    for x, y in discs(width, height):
        cv2.circle(image, (x, y), min(width, height) // 8, (220, 180, 60), -1)
    return image


def discs(width, height):
    """Returns the centers of the discs."""
    return [(x * width // 4, y * height // 4) for y in (1, 3) for x in (1, 3)]


def folder_of_images(home):
    """Writes images of every kind, sorted by name: 0 plain, 1 large, 2 rotated, ..."""
    folder = home / "photos"
    (folder / "g below").mkdir(parents=True)
    Image.fromarray(scene(320, 240)).save(folder / "a plain.png")
    Image.fromarray(scene(2400, 1600)).save(folder / "b_large.jpg", quality=90)
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright: shown as 200 x 300
    Image.fromarray(scene(300, 200)).save(folder / "c_turned.jpg", exif=turned)
    (folder / "d_broken.png").write_bytes(b"\x89PNG no more")
    Image.fromarray(scene(160, 120)).save(folder / "e ünï%2e&#?.png")
    deep = np.arange(160 * 120, dtype=np.uint16).reshape(120, 160) * 3
    Image.fromarray(deep).save(folder / "f_deep.png")
    Image.fromarray(scene(160, 120, 5)).save(folder / "g below" / "z.png")
    return folder


class Tool:
    """p2seg annotate in a separate process.

    Args:
        folder: of images.
        words: settings.
    """

    def __init__(self, folder, *words):
        given = [f"images={folder}", "browser=false", *words]
        command = [sys.executable, str(TOOL), *map(str, given)]
        start = time.monotonic()
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder.parent
        )
        self.said, self.url = "", ""
        for line in self.process.stdout:
            self.said += line
            if found := re.search(r"open (http://\S+)", line):
                self.url = found[1]
                break
        assert self.url, self.said
        self.seconds = time.monotonic() - start

    @property
    def port(self):
        return urlsplit(self.url).port

    @property
    def token(self):
        return parse_qs(urlsplit(self.url).query)["token"][0]

    @property
    def cookie(self):
        """The cookie header of a browser with access."""
        return {"Cookie": f"p2seg-{self.port}={self.token}"}

    def kill(self):
        """Kills the process, as a power failure would."""
        self.process.kill()
        self.process.wait()

    def end(self, number=signal.SIGTERM):
        """Asks it to stop; returns its exit code and its output."""
        self.process.send_signal(number)
        more, _ = self.process.communicate(timeout=30)
        return self.process.returncode, self.said + more

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class Stage:
    """The page, with pixels of the image instead of the screen's.

    Args:
        page: of Playwright.
        url: of the tool.
    """

    def __init__(self, page, url):
        self.page = page
        page.goto(url)
        self.wait(ready=True)

    def told(self):
        """Returns the data attributes of the canvas."""
        return dict(self.page.evaluate("({...document.querySelector('.stage').dataset})"))

    def wait(self, **told):
        """Waits until the canvas has these data attributes."""
        words = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in told.items()}
        script = """words => {
            const told = document.querySelector('.stage')?.dataset ?? {};
            return Object.entries(words).every(([key, value]) => told[key] === value);
        }"""
        self.page.wait_for_function(script, arg=words, polling=10)

    def at(self, x, y):
        """Returns the screen position of the center of a pixel."""
        told, box = self.told(), self.page.locator(".stage").bounding_box()
        zoom, left, top = (float(told[key]) for key in ("zoom", "left", "top"))
        return box["x"] + left + (x + 0.5) * zoom, box["y"] + top + (y + 0.5) * zoom

    def click(self, x, y, button="left"):
        self.page.mouse.click(*self.at(x, y), button=button)

    def move(self, x, y):
        self.page.mouse.move(*self.at(x, y))

    def press(self, key):
        self.page.keyboard.press(key)

    def text(self):
        """Returns the text of the side panel."""
        return " ".join(self.page.inner_text(".side").split())

    def says(self, text):
        """Waits until the page shows a text."""
        self.page.wait_for_function(
            "text => document.body.innerText.replace(/\\s+/g, ' ').includes(text)", arg=text
        )


def settled(path):
    """The points file as soon as it holds what its journal held."""
    until = time.monotonic() + 20
    while journal_path(path).exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    return path


def saved(path):
    """Of each image its points [name of the class, x, y], as a start after a kill has them."""
    with TemporaryDirectory() as folder:
        for each in path.parent.glob(f"{path.stem}.*json*"):
            copyfile(each, Path(folder) / each.name)
        clicks = Clicks(Path(folder) / path.name)
        clicks.write(clicks.snapshot())
        content = json.loads(clicks.path.read_text())
    names = {each["id"]: each["name"] for each in content["categories"]}
    found = {each["file_name"]: [] for each in content["images"]}
    images = {each["id"]: each["file_name"] for each in content["images"]}
    for each in content["annotations"]:
        found[images[each["image_id"]]].append([names[each["category_id"]], *each["point"]])
    return found
