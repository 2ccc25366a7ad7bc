"""The side panel: position in the folder, current class, images left, save status."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from nicegui import ui
from nicegui.element import Element

from p2seg.apps.annotate.album import Album
from p2seg.apps.annotate.classes import color_of, key_of
from p2seg.apps.annotate.preview import PreviewResult
from p2seg.apps.annotate.session import Session

KEYS = (
    (("1", "…", "9"), "select a class; the tenth class has the key b, and so on"),
    (("click",), "add a point on the object"),
    (("drag",), "on a point: move the point; elsewhere: move the view"),
    (("right click", "Del"), "remove the point under the mouse"),
    (("z", "Ctrl+Z"), "undo the last action on this image"),
    (("→", "d"), "next image"),
    (("←", "a"), "previous image"),
    (("n",), "next image that is left; images with proposed objects come first"),
    (
        ("Enter",),
        "finish this image and go to the next: accepts proposed objects; without points the image "
        "is marked as empty",
    ),
    (("y",), "accept all proposed objects (hollow) of this image; click one to accept only it"),
    (("x",), "remove all proposed objects of this image"),
    (("Space",), "hide or show the masks"),
    (("+", "-", "wheel"), "zoom at the mouse"),
    (("0",), "fit the whole image"),
)

Command = Callable[[str], Awaitable[None]]


class Side:
    """The side panel.

    Args:
        names: class names.
        command: called with the command name of a pressed button.
        choose: called with the selected class.
        preview: name of the mask source; `none` for no masks.
    """

    def __init__(
        self, names: list[str], command: Command, choose: Callable[[int], None], preview: str
    ) -> None:
        self.names, self.preview = names, preview
        with ui.element("aside").classes("side"):
            self._head(command)
            with _box("grow"):
                rows = [self._class(label, choose) for label in range(1, len(names) + 1)]
            self.rows, self.counts = zip(*rows, strict=True)
            self._tools(command)

    def choose(self, label: int) -> None:
        """Highlights the selected class."""
        for k, row in enumerate(self.rows, 1):
            row.classes(**{"add" if k == label else "remove": "chosen"})

    def place(self, album: Album, number: int) -> None:
        """Shows the position and name of an image."""
        self.name.set_text(album.names[number])
        self.position.set_text(f"{number + 1:,} of {len(album):,}")

    def refresh(self, session: Session, number: int) -> None:
        """Updates an image's name and all counts."""
        album, clicks = session.album, session.clicks
        count, left, name = len(album), session.left(), album.names[number]
        own = [click.label for click in clicks.clicks(name)]
        total = clicks.counts()
        self.place(album, number)
        self.left.set_text(f"{left:,}")
        self.left_text.set_text("image left" if left == 1 else "images left")
        self.points.set_text(_number(sum(total), "point"))
        self.fill.style(f"width: {100 * (1 - left / count):.2f}%")
        for label, text in enumerate(self.counts, 1):
            here, all_images = own.count(label), total[label - 1]
            text.set_text(f"{here} / {all_images:,}" if all_images else "")
        state = "empty" if clicks.is_empty(name) else _number(len(own), "point")
        pending = len(clicks.pending(name))
        self.proposed.set_text(f"{_number(pending, 'proposed object')}")
        for each in (self.proposed, self.answers):
            each.set_visibility(pending > 0)
        self.here.set_text(f"This image: {state}")
        done = "Next image" if clicks.is_done(name) else "Nothing here"
        self.done.set_text("Accept, next" if pending else done)
        others = len(album.faults) + len(album.left_out) + len(clicks.strangers(album.names))
        self.faults.set_text(f"{_number(others, 'image')} cannot be shown")
        self.faults.set_visibility(others > 0)
        bad = session.fault is not None
        self.saved.classes(**{"add" if bad else "remove": "bad"})
        text = f"Not saved: {session.fault}" if bad else f"Saved in {clicks.path.name}"
        self.saved.set_text(text if bad or clicks.path.exists() else "Nothing to save yet")

    def show_masks(self, result: PreviewResult) -> None:
        """Shows the number of masks."""
        if result.fault is not None:
            self.masks.set_text(result.fault)
        elif not len(result.points):
            self.masks.set_text(self._preview_text())
        else:
            missing = len(result.points) - len(result.outlines)
            more = f", {missing} without" if missing else ""
            masks = _number(len(result.outlines), "mask")
            self.masks.set_text(f"{masks}{more} · {self.preview} · {result.seconds:.1f} s")

    def help(self) -> None:
        """Shows the keys."""
        with _sheet("Keys"), ui.element("div").classes("keys"):
            for keys, text in KEYS:
                with ui.element("div"):
                    for key in keys:
                        if key == "…":
                            ui.label("…").style("display: inline; padding: 0 4px")
                        else:
                            _key(key).style("margin-right: 4px")
                ui.label(text)

    def list(self, sentences: list[str]) -> None:
        """Lists the images that cannot be shown and the reasons."""
        with _sheet("Images that cannot be shown"), ui.element("div").classes("list"):
            for sentence in sentences[:200]:
                ui.label(sentence)
            if len(sentences) > 200:
                ui.label(f"and {len(sentences) - 200:,} more")

    def _head(self, command: Command) -> None:
        with _box():
            self.name = ui.label().classes("name")
            with ui.element("div").classes("row apart").style("margin-top: 8px"):
                _button(partial(command, "back"), "←", "arrow", "previous image (a)")
                self.position = ui.label().classes("number")
                _button(partial(command, "forth"), "→", "arrow", "next image (d)")
        with _box():
            with ui.element("div").classes("row").style("align-items: baseline"):
                self.left = ui.label().classes("left")
                self.left_text = ui.label("images left")
                self.points = ui.label().classes("faint number").style("margin-left: auto")
            with ui.element("div").classes("bar"):
                self.fill = ui.element("div")
            self.faults = _button(partial(command, "faults"), "", "link")
            self.faults.style("margin-top: 10px").set_visibility(False)

    def _tools(self, command: Command) -> None:
        with _box():
            self.here = ui.label().classes("faint")
            self.proposed = ui.label().classes("faint")
            with ui.element("div").classes("row").style("margin-top: 8px") as self.answers:
                with _button(partial(command, "accept"), "", "wide"):
                    ui.label("Accept")
                    _key("y")
                with _button(partial(command, "reject"), "", "wide"):
                    ui.label("Remove")
                    _key("x")
            with ui.element("div").classes("row").style("margin-top: 8px"):
                with _button(partial(command, "undo"), "", "wide"):
                    ui.label("Undo")
                    _key("z")
                with _button(partial(command, "done"), "", "wide"):
                    self.done = ui.label("Nothing here")
                    _key("↵")
        with _box():
            self.masks = ui.label(self._preview_text()).classes("faint")
            self.saved = ui.label().classes("saved")
            with _button(partial(command, "help"), "", "link").style("margin-top: 6px"):
                ui.label("All keys: ?")

    def _class(self, label: int, choose: Callable[[int], None]) -> tuple[ui.label, ui.label]:
        with _button(partial(choose, label), "", "class") as row:
            key = key_of(label)
            if key:
                _key(key)
            else:
                ui.element("span")
            ui.element("span").classes("dot").style(f"background: {color_of(label)}")
            ui.label(self.names[label - 1]).classes("text")
            count = ui.label().classes("faint number").props('title="on this image / on all"')
        return row, count

    def _preview_text(self) -> str:
        return "No masks" if self.preview == "none" else f"Masks by {self.preview} at each click"


def _box(more: str = "") -> Element:
    return ui.element("div").classes(more)


def _button(act: Callable[[], object], text: str, style: str, title: str = "") -> ui.label:
    button = ui.label(text)  # a label, because its text must be changeable
    button.tag = "button"
    button.classes(style).on("click", act, args=[])
    # The keyboard focus stays on the image.
    button.on("mousedown", js_handler="(event) => event.preventDefault()")
    if title:
        button.props["title"] = title
    return button


def _key(text: str) -> ui.label:
    key = ui.label(text)
    key.tag = "kbd"
    return key


def _sheet(title: str) -> Element:
    with ui.dialog() as dialog, ui.element("div").classes("sheet") as sheet:
        ui.element("h2")._text = title
    dialog.on("hide", dialog.delete)
    dialog.on("keydown", js_handler="(event) => event.key === '?' && emit()", handler=dialog.close)
    dialog.open()
    return sheet


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")
