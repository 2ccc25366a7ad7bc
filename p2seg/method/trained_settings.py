"""The settings of a training, read from its checkpoint as an untrusted file.

A checkpoint contains the settings of its training, which later commands reuse. Only numbers,
booleans, names and lists of these are read, and only for settings of this version. `_target_`,
interpolations, paths and URLs are never read.
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
"""Groups of settings that affect what a network learns."""
INPUT = ("data.short_side", "data.long_side", "data.stretch")
"""Settings of the input size (`p2seg.data.network_input`)."""
FREE = ("export", "ops", "mdm.snap_radius", "mdm.split", "mdm.color_weight", *INPUT)
"""Settings and groups that a command may change for a trained network, because they only affect how
outputs become masks. Settings that the command does not set are those of the training."""
OF_TRAINING = ("loss", "method", "mdm.start_step")
"""Settings of the training without an effect on masks."""

NAME = re.compile(r"[\w.-]{0,80}", re.ASCII)
"""A text that cannot be a path, a URL or a reference to another setting."""
MOST = 1000
"""Maximum length of a list."""
MOST_SHOWN = 8
"""Maximum number of list entries in a message."""


@dataclass(frozen=True)
class Trained:
    """The settings of a training.

    Attributes:
        path: path of the checkpoint.
        values: unchecked values by dotted name.
        method: `_target_` of the method, used for comparison only; None if unknown.
        network: `_target_` of the network, used for comparison only; None if unknown.
    """

    path: Path
    values: dict[str, Any]
    method: str | None
    network: str | None

    @classmethod
    def of(cls, path: Path, content: Mapping[str, Any]) -> Trained:
        """The settings of a checkpoint of kind `network`.

        Args:
            path: path of the checkpoint, for messages.
            content: returned by `load_checkpoint`.
        """
        config = content.get("config", {})
        groups = {key: config[key] for key in FIXED if key in config}
        groups |= {key: content[key] for key in ("method", "export") if key in content}
        values, data = leaves(groups), config.get("data")
        data_values = leaves({"data": data} if isinstance(data, Mapping) else {})
        return cls(
            path,
            values | {key: data_values[key] for key in INPUT if key in data_values},
            _target_of(groups, "method"),
            _target_of(groups, "model", "network"),
        )

    def differing(self, own: Mapping[str, Any]) -> list[str]:
        """The settings of a command that had other values in training.

        Args:
            own: settings of the command by dotted name.
        """
        return [
            key
            for key, value in own.items()
            if is_kept(key) and key in self.values and not _same(value, self.values[key])
        ]

    def value(self, key: str) -> Any:
        """The value of a setting in training.

        Raises:
            UserError: the value could be a path, a URL or a reference.
        """
        value = self.values[key]
        if not _is_plain(value):
            raise UserError(
                f"{self.path} has {key}={shown(value)}, which is not read from checkpoints because "
                f"it can name a file or a URL; add {key}=... to the command if you trust it"
            )
        return value

    def missing(self, own: Iterable[str]) -> list[str]:
        """The settings of a command that affect masks and are missing in the checkpoint.

        If a whole group is missing, only the name of the group is returned.

        Args:
            own: names of the command's settings.
        """
        lacking = [key for key in own if is_kept(key) and key not in self.values]
        groups = {key.split(".")[0] for key in self.values} | {"data"}
        names = (key if key.split(".")[0] in groups else key.split(".")[0] for key in lacking)
        return list(dict.fromkeys(each for each in names if not is_in(each, OF_TRAINING)))

    def unknown(self, own: Iterable[str]) -> list[str]:
        """The settings of the training that affect masks and do not exist in this version.

        Args:
            own: names of the command's settings.
        """
        others = (key for key in self.values.keys() - set(own) if NAME.fullmatch(key))
        return sorted(
            key
            for key in others
            if is_kept(key) and not is_in(key, (*OF_TRAINING, "model.network"))
        )


def is_free(key: str) -> bool:
    """Whether a command may change a setting of a trained network."""
    return is_in(key, FREE)


def is_kept(key: str) -> bool:
    """Whether a setting is read from the checkpoint: those that affect results, except weights."""
    weights = key.rpartition(".")[2] == "pretrained"
    return is_in(key, (*FIXED, *INPUT, "export")) and effect_of(key) == "result" and not weights


def leaves(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested dicts into one with dotted keys; keeps lists, drops `_target_`."""
    values: dict[str, Any] = {}
    for key, value in tree.items():
        if not isinstance(key, str) or key.startswith("_"):
            continue
        if isinstance(value, Mapping):
            values |= leaves(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = value
    return values


def departures(own: Mapping[str, Any], reference: Mapping[str, Any]) -> list[str]:
    """Each setting that differs from a reference, such as `mdm.beta=20 (3)`.

    Args:
        own: settings by dotted name.
        reference: reference settings; their values are in parentheses.
    """
    return [
        f"{key}={written(value)} ({written(reference[key]) if key in reference else 'none'})"
        for key, value in own.items()
        if key not in reference or not _same(value, reference[key])
    ]


def written(value: Any) -> str:
    """A value in the syntax of the command line."""
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
    """Whether a setting is in a list of settings and groups, or in one of these groups."""
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
