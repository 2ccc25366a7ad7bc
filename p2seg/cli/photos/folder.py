"""The folder of a set's masks: where its files are, and which photographs they are of."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2seg.errors import UserError
from p2seg.runtime.files import read_json, write_json

SUMMARY = "summary.json"


@dataclass(frozen=True)
class MasksFolder:
    """What `p2seg masks` writes for a folder of photographs.

    Attributes:
        path: the folder.
        photos: folder of the photographs.
        points: the points file.
    """

    path: Path
    photos: Path
    points: Path

    @property
    def masks(self) -> Path:
        """One mask per click, COCO format."""
        return self.path / "masks.json"

    @property
    def review(self) -> Path:
        """Decisions about the masks, if somebody has judged them."""
        return self.path / "review.json"

    @property
    def page(self) -> Path:
        """Folder of the page to review the masks."""
        return self.path / "page"

    def write(self, decisions: dict[str, Any]) -> None:
        """Writes `summary.json`: the places of photographs and points, relative to the folder."""
        places = {
            key: os.path.relpath(path.absolute(), self.path.absolute())
            for key, path in (("photos", self.photos), ("points", self.points))
        }
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / SUMMARY, {**places, **decisions})

    @staticmethod
    def of(folder: Path) -> MasksFolder:
        """The folder of an earlier `p2seg masks`.

        Raises:
            UserError: it is none, or its photographs are not there any more.
        """
        if not (folder / SUMMARY).is_file():
            raise UserError(
                f"{folder} is not a folder that p2seg masks wrote (it has no {SUMMARY}); run "
                "p2seg masks PHOTOS first, and give PHOTOS_masks"
            )
        content = read_json(folder / SUMMARY, "summary of masks")
        places = content if isinstance(content, dict) else {}
        photos, points = (folder / str(places.get(key, "")) for key in ("photos", "points"))
        found = MasksFolder(folder, _short(photos), _short(points))
        if not found.photos.is_dir():
            raise UserError(
                f"the photographs of {folder} are not at {found.photos}; move them back, or run "
                f"p2seg masks FOLDER --out {folder} with their new place"
            )
        return found


def beside(folder: Path, ending: str) -> Path:
    """A folder next to another one: photos -> photos_masks, photos_masks -> photos_model."""
    whole = _absolute(folder)
    name = whole.name.removesuffix("_masks") if ending != "_masks" else whole.name
    return _short(whole.with_name(f"{name}{ending}"))


def hydra_words(
    command: str, settings: dict[str, Any], more: Sequence[str] = (), own: Sequence[str] = ()
) -> list[str]:
    """The words of a command of settings.

    Args:
        command: its name.
        settings: by name; None is left out.
        more: words before the settings.
        own: words of the user, which replace settings.
    """
    replaced = {word.lstrip("+").partition("=")[0] for word in own}
    words = [
        f"{key}={_text(value)}"
        for key, value in settings.items()
        if value is not None and key not in replaced
    ]
    return [command, *more, *words, *own]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    return str(value)


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - a link keeps its own name


def _short(path: Path) -> Path:
    """The path from the working folder, if it is below it."""
    whole, here = _absolute(path), Path.cwd()
    return whole.relative_to(here) if whole.is_relative_to(here) and whole != here else whole
