"""The settings that a trained network fixes, read from its checkpoint as from any stranger's file.

A checkpoint of p2seg train holds the settings of its training, so nobody repeats them at export.
Only numbers, truth values, names and lists of these are taken from it, and only for settings that
this version has: no `_target_`, interpolation, path or address.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2seg.errors import UserError, shown
from p2seg.runtime.settings import effect_of

FIXED = ("mdm", "loss", "method", "model")
"""Groups of settings that decide what a network learns."""
INPUT = ("data.short_side", "data.long_side", "data.stretch")
"""How the network saw images (`p2seg.data.network_input`)."""
FREE = ("export", "ops", "mdm.snap_radius", "mdm.split", "mdm.color_weight", *INPUT)
"""Settings, and groups of them, that a command with a trained network may choose: they decide how
its outputs become masks. What the command does not name is as in training."""
OF_TRAINING = ("loss", "method", "mdm.start_step")
"""Fixed settings without an effect on masks."""

NAME = re.compile(r"[\w.-]{0,80}", re.ASCII)
"""A text that can name no path, address or reference to another setting."""
MOST = 1000
"""Entries of a list."""
MOST_SHOWN = 8
"""Those of them that a message shows."""


@dataclass(frozen=True)
class Trained:
    """The settings of a training, by their names with dots.

    Attributes:
        path: the checkpoint.
        values: as the file has them, not yet checked.
        method: what built the method; None if the file does not say. It is only compared.
        network: what built the network, likewise.
    """

    path: Path
    values: dict[str, Any]
    method: str | None
    network: str | None

    @classmethod
    def of(cls, path: Path, content: Mapping[str, Any]) -> Trained:
        """The settings of a checkpoint of kind `network`.

        Args:
            path: of the checkpoint, for messages.
            content: as `load_checkpoint` gives it.
        """
        config = content.get("config", {})
        groups = {key: config[key] for key in FIXED if key in config}
        groups |= {key: content[key] for key in ("method", "export") if key in content}
        values, data = leaves(groups), config.get("data")
        seen = leaves({"data": data} if isinstance(data, Mapping) else {})
        return cls(
            path,
            values | {key: seen[key] for key in INPUT if key in seen},
            _target_of(groups, "method"),
            _target_of(groups, "model", "network"),
        )

    def differing(self, own: Mapping[str, Any]) -> list[str]:
        """The settings of a command that were others in training.

        Args:
            own: of the command, by their names with dots.
        """
        return [
            key
            for key, value in own.items()
            if is_kept(key) and key in self.values and not _same(value, self.values[key])
        ]

    def value(self, key: str) -> Any:
        """A setting as it was in training.

        Raises:
            UserError: the file has a value there that could name something outside of it.
        """
        value = self.values[key]
        if not _is_plain(value):
            raise UserError(
                f"{self.path} has {key}={shown(value)}, which no checkpoint may choose, for it can "
                f"name a file or an address; add {key}=... to the command if you trust it"
            )
        return value

    def missing(self, own: Iterable[str]) -> list[str]:
        """The settings of a command that decide masks and that the checkpoint lacks; of a group
        that it lacks as a whole, the group.

        Args:
            own: of the command, by their names with dots.
        """
        lacking = [key for key in own if is_kept(key) and key not in self.values]
        groups = {key.split(".")[0] for key in self.values} | {"data"}
        names = (key if key.split(".")[0] in groups else key.split(".")[0] for key in lacking)
        return list(dict.fromkeys(each for each in names if not is_in(each, OF_TRAINING)))

    def unknown(self, own: Iterable[str]) -> list[str]:
        """The settings of the training that decide masks and that this version has not.

        Args:
            own: of the command, by their names with dots.
        """
        theirs = (key for key in self.values.keys() - set(own) if NAME.fullmatch(key))
        return sorted(
            key
            for key in theirs
            if is_kept(key) and not is_in(key, (*OF_TRAINING, "model.network"))
        )


def is_free(key: str) -> bool:
    """Whether a command with a trained network may choose a setting."""
    return is_in(key, FREE)


def is_kept(key: str) -> bool:
    """Whether a setting follows the checkpoint: all that decide results, but no weights."""
    weights = key.rpartition(".")[2] == "pretrained"
    return is_in(key, (*FIXED, *INPUT, "export")) and effect_of(key) == "result" and not weights


def leaves(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, the keys joined by dots; lists stay whole, `_target_` is left out."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if not isinstance(key, str) or key.startswith("_"):
            continue
        if isinstance(value, Mapping):
            found |= leaves(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def departures(own: Mapping[str, Any], reference: Mapping[str, Any]) -> list[str]:
    """Each setting that differs from a reference, as `mdm.beta=20 (3)`.

    Args:
        own: settings by their names with dots.
        reference: those to compare with; the value in brackets.
    """
    return [
        f"{key}={written(value)} ({written(reference[key]) if key in reference else 'none'})"
        for key, value in own.items()
        if key not in reference or not _same(value, reference[key])
    ]


def written(value: Any) -> str:
    """A value as the command line has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(written, value[:MOST_SHOWN]))}{',...' * (len(value) > MOST_SHOWN)}]"
    if isinstance(value, str):
        return value if NAME.fullmatch(value) else shown(value)
    return f"{value:g}" if isinstance(value, float) else shown(value)


def _target_of(tree: Any, *keys: str) -> str | None:
    for key in (*keys, "_target_"):
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree if isinstance(tree, str) else None


def is_in(key: str, groups: Iterable[str]) -> bool:
    """Whether a setting is one of some, or in one of these groups."""
    return any(key == each or key.startswith(f"{each}.") for each in groups)


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _is_plain(value: Any, depth: int = 1) -> bool:
    if isinstance(value, (list, tuple)):
        return depth > 0 and len(value) <= MOST and all(_is_plain(v, depth - 1) for v in value)
    if isinstance(value, str):
        return NAME.fullmatch(value) is not None
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or (isinstance(value, int) and abs(value) < 2**31)
