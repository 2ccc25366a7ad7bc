"""Settings in checkpoints of earlier versions, under the names of today."""

from __future__ import annotations

from typing import Any

_REMOVED: dict[str, Any] = {
    "mdm.prior": "network",
    "method.mdm.prior": "network",
    "loss.border": 0,
    "method.loss.border": 0,
    "mdm.ways.vote": 0.0,
    "mdm.ways.affinity": 0.0,
    "seeder.ways.vote": 0.0,
    "seeder.ways.affinity": 0.0,
}
"""Settings that no longer exist, and the value that is the behavior of today.

A setting with another value stays, so that a training does not resume as if nothing had changed.
"""

_BATCH = {"network": "trainer.batch_size", "segmentor": "segmentor.batch_size"}
"""Was the batch of each process; `images_a_step` was that of all together."""

_ABSENT = object()


def rename_settings(content: dict[str, Any]) -> None:
    """Gives the settings in a checkpoint the names of today, in place.

    Args:
        content: of a checkpoint; `config` holds settings in groups, `settings` under their full
            names with dots.
    """
    images = content.pop("images_a_step", None)
    for part in ("config", "settings"):
        tree = content.get(part)
        if not isinstance(tree, dict):
            continue
        for key, value in _REMOVED.items():
            found = _take(tree, key)
            if found is not _ABSENT and found != value:
                _put(tree, key, found)
        if isinstance(images, int):
            _put(tree, _BATCH[content["kind"]], images)


def _take(tree: dict[Any, Any], key: str) -> Any:
    """Removes a setting and returns its value."""
    if key in tree:
        return tree.pop(key)
    group, _, rest = key.partition(".")
    below = tree.get(group)
    return _take(below, rest) if rest and isinstance(below, dict) else _ABSENT


def _put(tree: dict[Any, Any], key: str, value: Any) -> None:
    group, _, rest = key.partition(".")
    below = tree.get(group)
    if rest and isinstance(below, dict):
        _put(below, rest, value)
    else:
        tree[key] = value
