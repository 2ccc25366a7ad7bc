"""The undo history of the images, which survives a restart.

The last actions are in a file next to the points file, so the points file changes only when the
points do. The history is written first, for the state before and after the change. A kill between
the two writes therefore loses no action. If another program has changed the points, only actions
on unmoved points can be undone. The points never depend on the history.
"""

from __future__ import annotations

from bisect import bisect
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeGuard, get_args

from p2seg.data.points import PointSet, points_fingerprint
from p2seg.data.schema import MAX_ID, is_number, is_whole, storable
from p2seg.errors import UserError
from p2seg.runtime.files import fingerprint, read_json, write_json

STATE_KEY = "annotate"
"""The key of `info` under which the page stores its own state."""

KEPT = 200
"""Most actions that can be undone, of all images together."""

Kind = Literal["add", "remove", "move", "done", "accept", "reject"]


@dataclass(frozen=True)
class Action:
    """One user action.

    Attributes:
        do: `add`, `remove` or `move` a point, mark an image as `done`, or `accept` or `reject`
            proposals.
        image_id: id of the image.
        id: id of the point; None for `done`, `accept` and `reject`.
        category_id: category of the removed point.
        point: (x, y) in pixels before the point was removed or moved.
        was_done: the image was marked as empty before the point was added.
        row: row of the removed point; the row stays reserved.
        was: JSON text of the removed entry, or of `point` before the move.
        ids: of the proposals that were accepted or rejected.
    """

    do: Kind
    image_id: int
    id: int | None = None
    category_id: int | None = None
    point: tuple[float, float] | None = None
    was_done: bool = False
    row: int | None = None
    was: str | None = None
    ids: tuple[int, ...] = ()

    @property
    def content(self) -> dict[str, Any]:
        """The action as the history file stores it."""
        return {
            key: value
            for key, value in asdict(self).items()
            if value is not None and value is not False and value != ()
        }


def actions_of(content: Any) -> list[Action]:
    """Returns the valid actions of a history file."""
    if not isinstance(content, list):
        return []
    return [action for item in content[-KEPT:] if (action := _action(item)) is not None]


def history_path(points: Path) -> Path:
    """Returns the path of the history file of a points file."""
    return points.with_suffix(".history.json")


def state_of(points: PointSet) -> str:
    """Returns a fingerprint of the points and marks that a history belongs to."""
    return fingerprint([points_fingerprint(points), points.info.get(STATE_KEY)])


def read_history(path: Path, points: PointSet, state: str) -> tuple[list[Action], bool]:
    """Reads the actions that led to the points of a file.

    Args:
        path: the points file.
        points: its content.
        state: the result of `state_of(points)`.

    Returns:
        The actions that can be undone, and whether these are all actions of the history file.
    """
    if not history_path(path).exists():
        return [], True
    try:
        content = read_json(history_path(path), "undo history")
    except (UserError, OSError):
        return [], False
    if not isinstance(content, dict) or not content:
        return [], False
    known = state in content
    written = content[state] if known else list(content.values())[-1]
    if not isinstance(written, dict) or not isinstance(written.get("places"), dict):
        return [], False
    actions = actions_of(written.get("actions"))
    if known:
        return actions, True
    if written.get("marks") != fingerprint(points.info.get(STATE_KEY)):
        return [], False
    then, now = written["places"], places_of(points, actions)
    kept = [each for each in actions if each.id is None or then.get(str(each.id)) == now[each.id]]
    return kept, len(kept) == len(actions)


def write_history(path: Path, states: dict[str, dict[str, Any]]) -> None:
    """Writes the history of several states next to the points file; see `written_of`.

    Raises:
        OSError: the file cannot be written.
    """
    write_json(history_path(path), states)


def renumbered(actions: list[Action], rows: list[int]) -> list[Action]:
    """Returns the last actions with the row numbers that apply after the file is read again.

    Args:
        actions: all actions.
        rows: sorted rows of the points in the file.
    """
    last = actions[-KEPT:]
    free = sorted({each.row for each in last if each.row is not None})
    new = {row: place + bisect(rows, row) for place, row in enumerate(free)}
    return [each if each.row is None else replace(each, row=new[each.row]) for each in last]


def found_in(actions: list[Action], wanted: Action) -> int:
    """The last index of an action in a list; the length of the list if it is missing.

    Rows are not compared, because they change when the file is read again.
    """
    places = (k for k in reversed(range(len(actions))) if _rowless(actions[k]) == _rowless(wanted))
    return next(places, len(actions))


def _rowless(action: Action) -> Action:
    return replace(action, row=None)


def written_of(points: PointSet, actions: list[Action]) -> dict[str, Any]:
    """Returns the history file's entry for one state of the points."""
    places = {str(id): place for id, place in places_of(points, actions).items()}
    marks = fingerprint(points.info.get(STATE_KEY))
    return {"actions": [action.content for action in actions], "places": places, "marks": marks}


def places_of(points: PointSet, actions: list[Action]) -> dict[int, list[float] | None]:
    """Returns [x, y] of each point in the actions, or None for a point that does not exist."""
    images = {action.image_id for action in actions}
    places: dict[int, list[float] | None] = {
        action.id: None for action in actions if action.id is not None
    }
    for record, own in zip(points.images, points.points, strict=True):
        if record.id in images:
            for id, (y, x) in zip(own.ids.tolist(), own.yx.tolist(), strict=True):
                if id in places:
                    places[id] = [x, y]
    return places


def ids_of(content: Any) -> list[int]:
    """Returns the valid ids of a list in a file."""
    return [each for each in content if is_id(each)] if isinstance(content, list) else []


def _action(item: Any) -> Action | None:
    if not isinstance(item, dict) or item.get("do") not in get_args(Kind):
        return None
    do, image_id, id = item["do"], item.get("image_id"), item.get("id")
    category_id, point = item.get("category_id"), item.get("point")
    if not is_id(image_id):
        return None
    if do in ("accept", "reject"):
        ids = ids_of(item.get("ids"))
        return Action(do, image_id, ids=tuple(ids)) if ids else None
    if do != "done" and not is_id(id):
        return None
    if do in ("remove", "move"):
        if not isinstance(point, list) or len(point) != 2 or not all(map(is_number, point)):
            return None
        if do == "remove" and not is_id(category_id):
            return None
        row, was = item.get("row"), item.get("was")
        where = float(point[0]), float(point[1])
        row = row if do == "remove" and is_id(row) else None
        was = was if isinstance(was, str) and storable(was) else None
        return Action(do, image_id, id, category_id, where, row=row, was=was)
    if do == "add":
        return Action(do, image_id, id, was_done=item.get("was_done") is True)
    return Action(do, image_id)


def is_id(value: Any) -> TypeGuard[int]:
    """Returns whether a value of a file is a valid id."""
    return is_whole(value) and 0 <= value <= MAX_ID
