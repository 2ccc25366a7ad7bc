"""A simulated user who corrects proposed clicks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from p2seg.data.coco import Instance, decode
from p2seg.structures import Points


def corrected(
    truths: Sequence[Instance], clicks: Points, proposed: Points | None
) -> tuple[Points, dict[str, int]]:
    """Returns one click per object of an image, and what the user did for it.

    A proposed click inside an object of its class is accepted, the first one per object. The user
    removes every other proposed click, and clicks every object without an accepted click.

    Args:
        truths: the true masks of the image.
        clicks: where the user clicks each object; `ids` are those of `truths`.
        proposed: proposed clicks; None: the image has none.

    Returns:
        The clicks, in the order of `clicks`, and the numbers of `clicks`, `removals` and `keys`:
        one key accepts the proposed clicks of an image.
    """
    masks = {each.id: decode(each) for each in truths}
    objects = list(zip(clicks.ids.tolist(), clicks.labels.tolist(), strict=True))
    yx, free = clicks.yx.clone(), list(range(len(objects)))
    count = 0 if proposed is None else len(proposed)
    if proposed is not None:
        for point, label in zip(proposed.yx, proposed.labels.tolist(), strict=True):
            y, x = point.round().long().tolist()
            for k in free:
                id, own = objects[k]
                height, width = masks[id].shape
                if own == label and masks[id][min(y, height - 1), min(x, width - 1)]:
                    yx[k] = point
                    free.remove(k)
                    break
    accepted = len(objects) - len(free)
    actions = {"clicks": len(free), "removals": count - accepted, "keys": int(count > 0)}
    return replace(clicks, yx=yx), actions
