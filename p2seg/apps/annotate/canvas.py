"""The canvas of the page, and the check of the events that the browser sends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui.element import Element
from nicegui.events import GenericEventArguments

from p2seg.apps.annotate.classes import color_of, key_of
from p2seg.data.schema import is_whole

FAR = 10**9
"""Largest number that the page sends."""


class Canvas(Element, component="browser/canvas.js", esm={"p2seg-annotate": "browser"}):
    """The image with its points and masks, drawn by the browser.

    Args:
        names: of the classes.
        start: unique per start of the server, so that no browser reuses an old cached picture.
    """

    def __init__(self, names: list[str], start: str) -> None:
        super().__init__()
        labels = range(1, len(names) + 1)
        self._props["names"], self._props["start"] = names, start
        self._props["colors"] = [color_of(label) for label in labels]
        self._props["keys"] = [key_of(label) or None for label in labels]


def checked(
    act: Callable[..., Awaitable[None]],
) -> Callable[[GenericEventArguments], Awaitable[None]]:
    """Returns an event handler that ignores events which the page cannot send."""
    wanted = act.__annotations__

    async def handle(event: GenericEventArguments) -> None:
        given = event.args
        if not isinstance(given, dict) or given.keys() != wanted.keys() - {"return"}:
            return
        for key, value in given.items():
            fits = isinstance(value, str) if wanted[key] == "str" else is_whole(value)
            if not fits or (is_whole(value) and abs(value) > FAR):
                return
        await act(**given)

    return handle
