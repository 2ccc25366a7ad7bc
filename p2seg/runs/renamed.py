"""Settings of earlier versions, and their names of today."""

from __future__ import annotations

from typing import Any

REMOVED: dict[str, Any] = {
    "mdm.prior": "network",
    "method.mdm.prior": "network",
    "loss.border": 0,
    "method.loss.border": 0,
    "mdm.ways.vote": 0.0,
    "mdm.ways.affinity": 0.0,
    "seeder.ways.vote": 0.0,
    "seeder.ways.affinity": 0.0,
    "mdm.ways._target_": "p2seg.mdm.ways.Ways",
    "mdm.ways": {},
    "data.augment.max_ratio": 4.0,
}
"""Settings that no longer exist, and the value that is the behavior of today.

A setting with another value stays, so that a training does not resume as if nothing had changed.
"""

RENAMED = {
    "mdm.ways.kind": "mdm.distance",
    "mdm.ways.colour": "mdm.color_weight",
    "seeder.ways.kind": "seeder.distance.kind",
    "seeder.ways.colour": "seeder.distance.color_weight",
    "seeder.ways._target_": "seeder.distance._target_",
    "data.augment.short_side": "data.short_side",
}
"""Settings with another name, and that name."""

_VALUES = {"straight": "euclidean", "p2seg.mdm.ways.Ways": "p2seg.mdm.distance.Distance"}
"""Values of the renamed settings that have another name, too."""

_DEFAULTS = {"mdm.ways.kind": "mdm.ways.colour", "seeder.ways.kind": "seeder.ways.colour"}
"""`mdm=bestie` had a kind alone; the color weight was then that of the class."""
_COLOR_WEIGHT = 3.0

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
        for key, weight in _DEFAULTS.items():
            if _get(tree, key) is not _ABSENT and _get(tree, weight) is _ABSENT:
                _put(tree, weight, _COLOR_WEIGHT)
        for key, name in RENAMED.items():
            found = _get(tree, key)
            if found is not _ABSENT:
                _remove(tree, key)
                _put(tree, name, _VALUES.get(found, found) if isinstance(found, str) else found)
        for key, value in REMOVED.items():
            if _get(tree, key) == value:
                _remove(tree, key)
        if isinstance(images, int):
            _put(tree, _BATCH[content["kind"]], images)


def _get(tree: dict[Any, Any], key: str) -> Any:
    """The value of a setting, of a tree with groups or of one with dots in its names."""
    if key in tree:
        return tree[key]
    group, _, rest = key.partition(".")
    below = tree.get(group)
    return _get(below, rest) if rest and isinstance(below, dict) else _ABSENT


def _remove(tree: dict[Any, Any], key: str) -> None:
    group, _, rest = key.partition(".")
    if key in tree:
        del tree[key]
    else:
        _remove(tree[group], rest)


def _put(tree: dict[Any, Any], key: str, value: Any) -> None:
    group, _, rest = key.partition(".")
    below = tree.get(group)
    if rest and isinstance(below, dict):
        _put(below, rest, value)
    else:
        tree[key] = value
