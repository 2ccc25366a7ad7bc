"""The effect of each setting on results, for caching, resuming and `run.json`; see `table.py`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from p2seg.runtime.settings.table import SETTINGS, Effect, Setting


def setting_of(key: str) -> Setting | None:
    """The row of a setting, or of the smallest group that contains it; None without a row.

    Args:
        key: dotted name, such as `data.workers`.
    """
    while key not in SETTINGS:
        key, dot, _ = key.rpartition(".")
        if not dot:
            return None
    return SETTINGS[key]


def effect_of(key: str) -> Effect:
    """The effect of a setting; `result` for one without a row."""
    row = setting_of(key)
    return "result" if row is None else row.effect


def deciding(config: Mapping[str, Any], command: str) -> dict[str, Any]:
    """The settings that affect the result of a command.

    Args:
        config: configuration of the command, as nested dicts and lists.
        command: name of the command, such as `gen_pseudo`.

    Returns:
        Values by dotted name.
    """
    rows = {key: (setting_of(key), value) for key, value in flat(config).items()}
    return {
        key: value
        for key, (row, value) in rows.items()
        if row is None or (row.effect == "result" and command in row.commands)
    }


def rounding(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that affect rounding only, by dotted name."""
    rows = {key: (setting_of(key), value) for key, value in flat(config).items()}
    return {
        key: value
        for key, (row, value) in rows.items()
        if row is not None and row.effect == "rounding"
    }


def paths_read(command: str) -> list[str]:
    """The settings that name inputs of a command."""
    return [
        key for key, row in SETTINGS.items() if row.effect == "content" and command in row.commands
    ]


def path_settings() -> frozenset[str]:
    """All settings that name inputs."""
    return frozenset(key for key, row in SETTINGS.items() if row.effect == "content")


def flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Flattens nested dicts and lists into one dict with dotted keys."""
    return dict(_flat("", tree))


def _flat(prefix: str, value: object) -> Iterable[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), item)
    elif isinstance(value, list):
        yield from _flat(prefix, {str(index): item for index, item in enumerate(value)})
    else:
        yield prefix, value
