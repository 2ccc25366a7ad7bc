"""The classes of the page: those of the points file, then the new ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import ascii_lowercase

from p2seg.apps.report.pictures import palette
from p2seg.data.records import Category
from p2seg.data.schema import categories_of
from p2seg.errors import UserError
from p2seg.structures import IGNORED


def with_new(known: list[Category], classes: Sequence[str], path: Path) -> list[Category]:
    """Returns the categories of a points file, followed by new categories for unknown names."""
    names = [category.name for category in known]
    double = next((name for place, name in enumerate(classes) if name in classes[:place]), None)
    if double is not None:
        raise UserError(f"classes lists {double} twice; list each class once")
    new = [name for name in classes if name not in names]
    first = max((category.id for category in known), default=0) + 1
    items = [{"id": id, "name": name} for id, name in enumerate(new, first)]
    categories = [*known, *categories_of(items)]
    if not categories:
        raise UserError(
            f"the points file {path} does not exist yet; name the classes, for example "
            "classes=[cat,dog]"
        )
    if len(categories) >= IGNORED:
        raise UserError(
            f"{len(categories)} classes are too many; at most {IGNORED - 1} are supported"
        )
    return categories


def place_of(categories: list[Category], id: int | None) -> int | None:
    """Returns the class 1..C of a category id, or None."""
    return next((k for k, each in enumerate(categories, 1) if each.id == id), None)


RESERVED = "adnxyz"
"""Letters that the page uses for other commands."""


def key_of(label: int) -> str:
    """Returns the key that selects class 1..C: a digit, then a letter, or an empty string."""
    keys = [*"123456789", *(each for each in ascii_lowercase if each not in RESERVED)]
    return keys[label - 1] if label <= len(keys) else ""


def color_of(number: int) -> str:
    """Returns the CSS color of class 1..C or of a point id."""
    red, green, blue = _COLORS[(number - 1) % len(_COLORS)]
    return f"#{red:02x}{green:02x}{blue:02x}"


_COLORS = palette(IGNORED - 1).tolist()
