"""The state that all tabs of a page share: the points, saving them, and the masks."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

from p2seg.apps.annotate.album import Album
from p2seg.apps.annotate.clicks import Clicks
from p2seg.apps.annotate.preview import Found, Preview
from p2seg.errors import UserError, refusal

AGAIN = 3.0
"""Seconds until a failed save is tried again."""


class Tab(Protocol):
    """A browser tab."""

    number: int

    def refresh(self) -> None:
        """Shows the current points and counts."""
        ...

    def draw(self, found: Found) -> None:
        """Shows masks."""
        ...


class Session:
    """The annotation of one folder.

    All methods run in the server's event loop. Threads write files, read images and make masks.

    Args:
        album: the images.
        clicks: the points of the images.
        preview: makes masks; None for no masks.

    Attributes:
        tabs: the open tabs.
        fault: why the last changes are not saved, or None.
    """

    def __init__(self, album: Album, clicks: Clicks, preview: Preview | None) -> None:
        self.album, self.clicks, self.preview = album, clicks, preview
        self.tabs: set[Tab] = set()
        self.fault: str | None = None
        clicks.match(album.names)
        self._writing = asyncio.Lock()
        self._closed = False

    async def changed(self, number: int) -> None:
        """Saves a change of an image's points, then shows it in every tab."""
        self.ask_masks(number)
        await self.save()
        self.refresh()

    async def save(self) -> None:
        """Writes unsaved changes; the first of several waiting calls writes for all."""
        async with self._writing:
            version = self.clicks.version
            if version == self.clicks.written:
                return
            snapshot = self.clicks.snapshot()
            try:
                await asyncio.to_thread(self.clicks.write, snapshot)
            except UserError as error:
                self.fault = str(error)
            except OSError as error:
                self.fault = refusal(error)
            else:
                self.fault = None
                self.clicks.note_written(version)

    def ask_masks(self, number: int) -> None:
        """Requests masks for an image's points."""
        if self.preview is not None:
            self.preview.ask(number, self.clicks.points(self.album.names[number]))

    def found(self, found: Found) -> None:
        """Shows new masks in every tab."""
        for tab in self.tabs:
            if tab.number == found.number:
                tab.draw(found)

    def refresh(self) -> None:
        """Updates every tab."""
        for tab in list(self.tabs):
            tab.refresh()

    def left(self) -> int:
        """Returns the number of readable images that have no points and no mark."""
        return sum(map(self.is_left, range(len(self.album))))

    def is_left(self, number: int) -> bool:
        """Returns whether a readable image has no points and no mark."""
        name = self.album.names[number]
        return number not in self.album.faults and not self.clicks.is_done(name)

    def next_left(self, number: int) -> int | None:
        """Returns the next image to annotate after `number`, wrapping around, or None."""
        count = len(self.album)
        others = (place % count for place in range(number + 1, number + count))
        return next(filter(self.is_left, others), None)

    async def run(self) -> None:
        """Checks all images and retries failed saves until it is cancelled."""
        await asyncio.to_thread(self._look)
        self.refresh()
        while True:
            await asyncio.sleep(AGAIN)
            if self.fault is not None:
                await self.save()
                self.refresh()

    async def close(self) -> None:
        """Saves the rest and ends the threads.

        Raises:
            UserError: the file cannot be saved; the points are in a second file if possible.
        """
        self._closed = True
        await self.save()
        if self.preview is not None:
            self.preview.close()
        self.album.close()
        if self.fault is not None:
            raise UserError(f"{self.fault}; {await asyncio.to_thread(self._rescued)}")

    def _rescued(self) -> str:
        """Writes unsaved points to a second file and returns a sentence with its path."""
        try:
            path = self.clicks.rescue()
        except OSError as error:
            return f"{len(self.clicks.unsaved)} clicks are lost because {refusal(error)}"
        return f"all points, including the unsaved ones, are in {path}"

    def _look(self) -> None:
        for number in range(len(self.album)):
            if self._closed:
                return
            with suppress(OSError):
                self.album.look(number)
