"""A headless Chromium for the tests of pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
LOCAL = ("127.0.0.1", "localhost", None)
OPTIONS = (
    "--no-sandbox",  # containers run as root
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


def chromium() -> str | None:
    """Returns the path of Chromium: `P2SEG_CHROMIUM`, else the system's."""
    found = (shutil.which(name) for name in (os.environ.get("P2SEG_CHROMIUM"), *NAMES) if name)
    return next(filter(None, found), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Playwright's browser; the test is skipped if it is missing.

    One a file: its program ends when its pipe is closed, and a process that a later test forks
    would hold the pipe open for ever. Its event loop would also stand in the way of others.
    """
    sync = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    program = chromium()
    if program is None:
        pytest.skip("no Chromium is found; install it or set P2SEG_CHROMIUM=FILE")
    with sync.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=list(OPTIONS))
        yield started
        started.close()


@pytest.fixture
def page(browser):
    """A page of 1440 x 900 pixels; a script error or an internet request fails the test.

    `page.faults` are the texts of what was raised: a test that expects some clears it.
    """
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(10_000)
    opened.faults = []
    opened.on("pageerror", lambda error: opened.faults.append(str(error)))

    def look(request):
        if urlsplit(request.url).hostname not in LOCAL:
            opened.faults.append(f"asked the internet for {request.url}")

    context.on("request", look)
    yield opened
    faults = list(opened.faults)
    context.close()
    assert not faults, faults
