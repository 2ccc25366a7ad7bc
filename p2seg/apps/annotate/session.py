"""The state that all tabs of a page share: the points, saving them, and the masks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeVar

from p2seg.apps.annotate.album import Album
from p2seg.apps.annotate.clicks import Clicks
from p2seg.apps.annotate.preview import Preview, PreviewResult
from p2seg.apps.annotate.store import Snapshot
from p2seg.errors import UserError, refusal

T = TypeVar("T")

INTERVAL = 3.0
"""Seconds after which a failed save is retried, and without a click until the file is written."""

MAX_CHANGES = 1000
"""With more changes in the journal, the points file is written without a pause of the clicks."""


class Tab(Protocol):
    """A browser tab."""

    number: int

    def refresh(self) -> None:
        """Shows the current points and counts."""
        ...

    def draw(self, result: PreviewResult) -> None:
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
        fault: error message if the last changes are not saved, or None.
    """

    def __init__(self, album: Album, clicks: Clicks, preview: Preview | None) -> None:
        self.album, self.clicks, self.preview = album, clicks, preview
        self.tabs: set[Tab] = set()
        self.fault: str | None = None
        clicks.match(album.names)
        self._numbers = {name: number for number, name in enumerate(album.names)}
        self._appending, self._writing = asyncio.Lock(), asyncio.Lock()
        self._closed = False

    async def changed(self, number: int) -> None:
        """Saves a change of an image's points, then shows it in every tab."""
        self.ask_masks(number)
        await self.save()
        self.refresh()

    async def save(self) -> None:
        """Saves all unsaved changes. Of several waiting calls, the first saves for all."""
        async with self._appending:
            if self.clicks.unwritten() is not None:
                await self._append()
                return
        await self.write()

    async def write(self) -> None:
        """Writes the points file with all changes, including those in its journal.

        New clicks are saved in the journal meanwhile, if the journal accepts changes.
        """
        async with self._writing:
            async with self._appending:
                await self._append()
                snapshot, version = self.clicks.snapshot(), self.clicks.version
                if version == self.clicks.folded:
                    return
                begun = await self._attempt(self.clicks.store.begin, snapshot)
                if begun and self.clicks.written < version:
                    await self._finish(snapshot, version)
                    return
            if begun:
                await self._finish(snapshot, version)

    async def _append(self) -> None:
        """Appends the unsaved changes to the journal, if the journal accepts them."""
        version, changes = self.clicks.version, self.clicks.unwritten()
        if changes and await self._attempt(self.clicks.store.append, changes):
            self.clicks.note_saved(version)

    async def _finish(self, snapshot: Snapshot, version: int) -> None:
        if await self._attempt(self.clicks.store.finish, snapshot):
            self.clicks.note_written(version)

    async def _attempt(self, work: Callable[[T], None], argument: T) -> bool:
        """Runs work in a thread, sets `fault`, and returns whether the work succeeded."""
        try:
            await asyncio.to_thread(work, argument)
        except UserError as error:
            self.fault = str(error)
        except OSError as error:
            self.fault = refusal(error)
        else:
            self.fault = None
        return self.fault is None

    def ask_masks(self, number: int) -> None:
        """Requests masks for an image's points."""
        if self.preview is not None:
            self.preview.ask(number, self.clicks.shown_points(self.album.names[number]))

    def draw(self, result: PreviewResult) -> None:
        """Shows new masks in every tab with the image."""
        for tab in self.tabs:
            if tab.number == result.number:
                tab.draw(result)

    def refresh(self) -> None:
        """Updates every tab."""
        for tab in list(self.tabs):
            tab.refresh()

    def left(self) -> int:
        """Returns the number of readable images that are left to annotate."""
        return sum(map(self.is_left, range(len(self.album))))

    def is_left(self, number: int) -> bool:
        """Returns whether a readable image has neither points nor mark, or pending proposals."""
        name = self.album.names[number]
        if number in self.album.faults:
            return False
        return not self.clicks.is_done(name) or bool(self.clicks.pending(name))

    def next_left(self, number: int) -> int | None:
        """Returns the next image to annotate after `number`, wrapping around, or None.

        Images with pending proposals come first, in the order of the proposals file.
        """
        for name in self.clicks.proposals.order:
            place = self._numbers.get(name, number)
            if place != number and self.is_left(place):
                return place
        count = len(self.album)
        others = (place % count for place in range(number + 1, number + count))
        return next(filter(self.is_left, others), None)

    async def run(self) -> None:
        """Checks all images and retries failed saves until it is cancelled."""
        await asyncio.to_thread(self._look)
        self.refresh()
        while True:
            version, folded = self.clicks.version, self.clicks.folded
            await asyncio.sleep(INTERVAL)
            is_due = version == self.clicks.version or version - folded > MAX_CHANGES
            if self.fault is not None or (is_due and self.clicks.folded < version):
                await asyncio.shield(self.write())  # close() waits for its end
                self.refresh()

    async def close(self) -> None:
        """Saves the rest and ends the threads.

        Raises:
            UserError: the file cannot be saved; the points are in a second file if possible.
        """
        self._closed = True
        await self.write()
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
