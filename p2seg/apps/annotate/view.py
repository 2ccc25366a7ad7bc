"""One browser tab: the canvas and its side panel."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui

from p2seg.apps.annotate.canvas import Canvas, checked
from p2seg.apps.annotate.classes import color_of
from p2seg.apps.annotate.preview import PreviewResult
from p2seg.apps.annotate.proposals import Proposal
from p2seg.apps.annotate.session import Session
from p2seg.apps.annotate.side import Side
from p2seg.errors import UserError

HELD = 0.15
"""A shorter time in seconds between two images means that a key is held down."""


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
        acts |= {"accept": self.accept}
        for name, act in acts.items():
            self.canvas.on(name, checked(act))

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
        """Moves a point to another pixel; a proposal is accepted there."""
        if number != self.number:
            return
        clicks, name = self.session.clicks, self.session.album.names[number]
        own = self._pending(_number(id))
        if own and self._size is not None:
            size, moved = self._size, [own[0]._replace(x=x, y=y)]
            await self._act(lambda: clicks.accept(name, size, moved))
        else:
            await self._act(lambda: clicks.move(name, _number(id), x, y))

    async def remove(self, number: int, id: str) -> None:
        """Removes a point or a proposal."""
        if number != self.number:
            return
        clicks, name = self.session.clicks, self.session.album.names[number]
        if self._pending(_number(id)):
            await self.answer("reject", _number(id))
        else:
            await self._act(lambda: clicks.remove(name, _number(id)))

    async def accept(self, number: int, id: str) -> None:
        """Accepts a proposal."""
        if number == self.number and self._pending(_number(id)):
            await self.answer("accept", _number(id))

    async def answer(self, name: str, id: int | None = None) -> None:
        """Accepts (`accept`) or removes a proposal of this image, or all of them without an id."""
        clicks, image, size = self.session.clicks, self.session.album.names[self.number], self._size
        own = self._pending(id)
        if not own or size is None:
            self.note("This image has no proposed objects.")
        elif name == "accept":
            await self._act(lambda: clicks.accept(image, size, own))
        else:
            await self._act(lambda: clicks.reject(image, size, [each.id for each in own]))

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
        elif name in ("accept", "reject"):
            await self.answer(name)
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
        proposed = [[str(each.id), *each[1:]] for each in session.clicks.pending(name)]
        self.canvas.run_method("points", self.number, points, unsaved, self.seen, proposed)
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
            self.note("This is the last image that is left.")
        else:
            self.note("No image is left: all have points or are marked as empty.")

    async def _done(self) -> None:
        """Finishes this image and goes to the next.

        Pending proposals are accepted. An image without points is marked as empty.
        """
        name = self.session.album.names[self.number]
        if self._pending():
            await self.answer("accept")
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

    def _pending(self, id: int | None = None) -> list[Proposal]:
        """Returns the pending proposals of this image, or the one with an id."""
        own = self.session.clicks.pending(self.session.album.names[self.number])
        return own if id is None else [each for each in own if each.id == id]

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
