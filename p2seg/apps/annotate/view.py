"""One browser tab: the canvas and its side panel."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui
from nicegui.element import Element
from nicegui.events import GenericEventArguments

from p2seg.apps.annotate.classes import color_of, key_of
from p2seg.apps.annotate.preview import PreviewResult
from p2seg.apps.annotate.session import Session
from p2seg.apps.annotate.side import Side
from p2seg.data.schema import is_whole
from p2seg.errors import UserError

HELD = 0.15
"""A shorter time in seconds between two images means that a key is held down."""

MAX_NUMBER = 10**9
"""Largest number that the page sends."""


class Canvas(Element, component="browser/canvas.js", esm={"p2seg-annotate": "browser"}):
    """The image with its points and masks, drawn by the browser.

    Args:
        names: class names.
        start: unique per start of the server, so that no browser reuses an old cached picture.
    """

    def __init__(self, names: list[str], start: str) -> None:
        super().__init__()
        labels = range(1, len(names) + 1)
        self._props["names"], self._props["start"] = names, start
        self._props["colors"] = [color_of(label) for label in labels]
        self._props["keys"] = [key_of(label) or None for label in labels]


class View:
    """One tab.

    Args:
        session: the state that all tabs share.
        start: unique per start of the server.
        preview: name of the mask source; `none` for no masks.

    Attributes:
        number: number of the current image; -1 before the first one.
    """

    def __init__(self, session: Session, start: str, preview: str) -> None:
        self.session, self.number = session, -1
        self.label, self.hidden, self.seen = 1, False, 0
        self._size: tuple[int, int] | None = None
        self._shown = 0.0
        names = [category.name for category in session.clicks.categories]
        with ui.element("div").classes("desk"):
            self.side = Side(names, self.command, self.choose, preview)
            self.canvas = Canvas(names, start)
        acts: dict[str, Callable[..., Awaitable[None]]] = {}
        acts |= {"ready": self.ready, "click": self.click, "drag": self.drag}
        acts |= {"remove": self.remove, "broken": self.broken, "command": self.key}
        for name, act in acts.items():
            self.canvas.on(name, _checked(act))

    async def ready(self, number: int) -> None:
        """Shows the first image; the browser sends the image it showed before a reload."""
        self.session.tabs.add(self)
        self.choose(self.label)
        if not 0 <= number < len(self.session.album):
            first = self.session.next_left(-1)
            number = 0 if first is None else first
        await self.show(number)

    async def show(self, number: int) -> None:
        """Shows an image."""
        session, self.number, self._size = self.session, number, None
        self.side.place(session.album, number)
        now, before = time.monotonic(), self._shown
        self._shown = now
        if now - before < HELD:  # while a key is held, only the last image is read
            await asyncio.sleep(HELD)
            if self.number != number:
                return
        shown: dict[str, Any] = {"number": number, "next": self._ahead()}
        try:
            height, width = await self._measured(number)
        except UserError as error:
            shown["fault"] = f"This image cannot be shown.\n\n{error}"
        else:
            if self.number != number:
                return  # the user moved on to another image
            self._size = height, width
            shown |= {"height": height, "width": width}
        if self.number == number:
            self.canvas.run_method("show", shown)
            self.refresh()
            session.ask_masks(number)

    async def click(self, number: int, x: int, y: int, count: int) -> None:
        """Adds a point on a pixel."""
        self.seen = count
        if number != self.number:
            self.note("The page showed another image; click again.")
            self.refresh()
            return
        clicks, name, label = self.session.clicks, self.session.album.names[number], self.label
        try:
            size = self._size or await self._measured(number)
        except UserError as error:
            self.note(_sentence(error))
            self.refresh()
            return
        await self._act(lambda: clicks.add(name, size, label, x, y))

    async def drag(self, number: int, id: str, x: int, y: int) -> None:
        """Moves a point to another pixel."""
        if number == self.number:
            name = self.session.album.names[number]
            await self._act(lambda: self.session.clicks.move(name, _number(id), x, y))

    async def remove(self, number: int, id: str) -> None:
        """Removes a point."""
        if number == self.number:
            name = self.session.album.names[number]
            await self._act(lambda: self.session.clicks.remove(name, _number(id)))

    async def broken(self, number: int) -> None:
        """Reads an image again that the browser could not load, to report why."""
        if number == self.number and number in self.session.album.faults:
            await self.show(number)

    async def key(self, name: str, label: int) -> None:
        """Handles a pressed key."""
        if name == "class":
            self.choose(label)
        else:
            await self.command(name)

    async def command(self, name: str) -> None:
        """Runs the command of a key or button."""
        count = len(self.session.album)
        if name in ("back", "forth"):
            number = self.number + (1 if name == "forth" else -1)
            if 0 <= number < count:
                await self.show(number)
            else:
                self.note(
                    "This is the last image." if name == "forth" else "This is the first image."
                )
        elif name == "next":
            await self._next()
        elif name == "done":
            await self._done()
        elif name == "undo":
            await self._undo()
        elif name == "hide":
            self.hidden = not self.hidden
            self.canvas.run_method("hide", self.hidden)
            self.note("Masks are hidden; Space shows them." if self.hidden else "Masks are shown.")
        elif name == "help":
            self.side.help()
        elif name == "faults":
            self.side.list(self._faults())

    def choose(self, label: int) -> None:
        """Selects the class of the next clicks."""
        if 1 <= label <= len(self.session.clicks.categories):
            self.label = label
            self.canvas.run_method("choose", label)
            self.side.choose(label)

    def refresh(self) -> None:
        """Shows the current points and counts."""
        if self.number < 0:
            return
        session, name = self.session, self.session.album.names[self.number]
        clicks = session.clicks.clicks(name)
        # Ids are sent as text because JavaScript numbers have only 53 bits.
        points = [[str(each.id), each.label, each.x, each.y] for each in clicks]
        unsaved = [str(each.id) for each in clicks if each.id in session.clicks.unsaved]
        self.canvas.run_method("points", self.number, points, unsaved, self.seen)
        self.side.refresh(session, self.number)

    def draw(self, result: PreviewResult) -> None:
        """Shows masks."""
        outlines = [[str(each.id), each.path, color_of(each.id)] for each in result.outlines]
        self.canvas.run_method("outlines", result.number, outlines)
        self.side.show_masks(result)

    def note(self, text: str) -> None:
        """Shows a message below the image for some seconds."""
        self.canvas.run_method("note", text)

    def close(self) -> None:
        """Forgets the closed tab."""
        self.session.tabs.discard(self)

    async def _act(self, change: Callable[[], object]) -> None:
        """Applies a change to this image's points, or shows why it is not possible."""
        try:
            change()
        except UserError as error:
            self.note(_sentence(error))
            self.refresh()
        else:
            await self.session.changed(self.number)

    async def _next(self) -> None:
        number = self.session.next_left(self.number)
        if number is not None:
            await self.show(number)
        elif self.session.is_left(self.number):
            self.note("This is the last image without points.")
        else:
            self.note("All images have points or are marked as empty.")

    async def _done(self) -> None:
        """Finishes this image: marks it as empty if it has no points, and goes to the next."""
        name = self.session.album.names[self.number]
        if self._size is not None and not self.session.clicks.is_done(name):
            self.session.clicks.mark_done(name, self._size)
            await self.session.changed(self.number)
        await self._next()

    async def _undo(self) -> None:
        undone = self.session.clicks.undo(self.session.album.names[self.number], self._size)
        if undone is None:
            self.note("There is nothing to undo on this image.")
            return
        self.note(f"Undone: {undone}.")
        await self.session.changed(self.number)

    async def _measured(self, number: int) -> tuple[int, int]:
        image = await asyncio.to_thread(self.session.album.image, number)
        return image.shape[0], image.shape[1]

    def _ahead(self) -> int | None:
        number = self.number + 1
        return number if number < len(self.session.album) else None

    def _faults(self) -> list[str]:
        album = self.session.album
        strangers = self.session.clicks.strangers(album.names)
        missing = [f"{name} is in the points file but not in the folder" for name in strangers]
        return [album.faults[number] for number in sorted(album.faults)] + album.left_out + missing


def _sentence(error: UserError) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


def _number(id: str) -> int:
    """Parses an id from the page; -1, which is never used, for any other text."""
    return int(id) if re.fullmatch("[0-9]{1,19}", id) else -1


def _checked(
    act: Callable[..., Awaitable[None]],
) -> Callable[[GenericEventArguments], Awaitable[None]]:
    """Returns an event handler that ignores events which the page cannot send."""
    types = act.__annotations__

    async def handle(event: GenericEventArguments) -> None:
        values = event.args
        if not isinstance(values, dict) or values.keys() != types.keys() - {"return"}:
            return
        for key, value in values.items():
            valid = isinstance(value, str) if types[key] == "str" else is_whole(value)
            if not valid or (is_whole(value) and abs(value) > MAX_NUMBER):
                return
        await act(**values)

    return handle
