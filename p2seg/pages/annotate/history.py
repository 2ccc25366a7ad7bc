"""What was done on the images, so that it can be undone, also after a restart.

The last actions are kept in the points file's `info`, which others may have changed: what does not
fit is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeGuard, get_args

from p2seg.data.schema import MAX_ID, is_number, is_whole

KEPT = 200
"""Actions that can be undone, of all images together."""

Kind = Literal["add", "remove", "move", "done"]


@dataclass(frozen=True)
class Action:
    """One thing that was done.

    Attributes:
        do: `add`, `remove` or `move` a point, or mark an image as `done`.
        image_id: of the image.
        id: of the point; None for `done`.
        category_id: of the point that was removed.
        point: (x, y) in pixels, where it was before it was removed or moved.
        was_done: the image was marked as empty before the point was added.
    """

    do: Kind
    image_id: int
    id: int | None = None
    category_id: int | None = None
    point: tuple[float, float] | None = None
    was_done: bool = False

    @property
    def content(self) -> dict[str, Any]:
        """As the file holds it."""
        return {
            key: value
            for key, value in asdict(self).items()
            if value is not None and value is not False
        }


def actions_of(content: Any) -> list[Action]:
    """The actions that a file holds, without those that cannot be."""
    if not isinstance(content, list):
        return []
    return [action for item in content[-KEPT:] if (action := _action(item)) is not None]


def contents_of(actions: Sequence[Action]) -> list[dict[str, Any]]:
    """The last actions as a file holds them."""
    return [action.content for action in actions[-KEPT:]]


def ids_of(content: Any) -> list[int]:
    """The ids of a list in a file, without what are none."""
    return [each for each in content if _is_id(each)] if isinstance(content, list) else []


def _action(item: Any) -> Action | None:
    if not isinstance(item, dict) or item.get("do") not in get_args(Kind):
        return None
    do, image_id, id = item["do"], item.get("image_id"), item.get("id")
    category_id, point = item.get("category_id"), item.get("point")
    if not _is_id(image_id) or (do != "done" and not _is_id(id)):
        return None
    if do in ("remove", "move"):
        if not isinstance(point, list) or len(point) != 2 or not all(map(is_number, point)):
            return None
        if do == "remove" and not _is_id(category_id):
            return None
        return Action(do, image_id, id, category_id, (float(point[0]), float(point[1])))
    if do == "add":
        return Action(do, image_id, id, was_done=item.get("was_done") is True)
    return Action(do, image_id)


def _is_id(value: Any) -> TypeGuard[int]:
    return is_whole(value) and 0 <= value <= MAX_ID
