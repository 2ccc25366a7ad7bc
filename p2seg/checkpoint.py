"""Checkpoints: written whole, read without running code from them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from p2seg.data.schema import storable
from p2seg.errors import UserError, shown
from p2seg.files import atomic_path

FORMAT = 1

_FIXED = ("inputs", "categories", "skipped")
"""What must not change in a run, beside its settings."""


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes a checkpoint atomically.

    Args:
        path: the file.
        content: tensors, numbers, strings, and lists and dicts of them; `kind` says whose it is.
    """
    with atomic_path(path) as temporary:
        torch.save({"format": FORMAT, **content}, temporary)


def load_checkpoint(path: Path, kind: str) -> dict[str, Any]:
    """Reads a checkpoint onto the CPU, refusing files that hold more than data.

    Args:
        path: the file.
        kind: what the checkpoint must be of, `network` or `segmentor`.

    Raises:
        UserError: missing, unreadable, of another kind, or holding code.
    """
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}: give the path of one that p2seg has written")
    if path.suffix == ".safetensors":
        raise UserError(
            f"{path} is a .safetensors file, which holds weights alone and not their settings; "
            f"give a checkpoint of a {kind} that p2seg has written, such as last.pt"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path} is not a checkpoint of p2seg: it is cut short, of another format, or holds "
            f"objects that could run code ({type(error).__name__}); give one that p2seg has written"
        ) from error
    if not isinstance(content, dict) or "format" not in content:
        raise UserError(
            f"{path} is not a checkpoint of p2seg but a file of another program, such as weights "
            f"alone; give a checkpoint of a {kind} that p2seg has written, such as last.pt"
        )
    if type(content["format"]) is not int or content["format"] != FORMAT:
        raise UserError(f"{path} is not a checkpoint of this version of p2seg; train again")
    given = content.get("kind")
    if not isinstance(given, str) or given != kind:
        theirs = given if isinstance(given, str) else shown(given)
        raise UserError(f"{path} is a checkpoint of a {theirs}, but a {kind} is needed here")
    if not _well_formed(content):
        raise UserError(f"{path} is a checkpoint of p2seg that was changed since; train again")
    return content


def _well_formed(content: dict[str, Any]) -> bool:
    """Whether what every checkpoint has is of the type that it must have, where it is there."""
    categories = content.get("categories", [])
    return (
        all(isinstance(content.get(key, {}), dict) for key in ("model", "config"))
        and isinstance(content.get("average"), (dict, type(None)))
        and storable(content.get("config"))
        and isinstance(categories, list)
        and all(isinstance(each, dict) for each in categories)
        and all(type(each.get("id")) is int for each in categories)
        and all(isinstance(each.get("name"), str) for each in categories)
        and isinstance(content.get("step", 0), int)
    )


def refuse_other_run(path: Path, saved: dict[str, Any], present: dict[str, Any]) -> None:
    """A run goes on only with the settings, inputs and categories it was started with.

    Args:
        path: of the checkpoint, for the error.
        saved: its content.
        present: what the run would save.

    Raises:
        UserError: they differ; the sentence names the first keys that do.
    """
    old, new = (
        flat({**run.get("config", {}), **{key: run.get(key) for key in _FIXED}})
        for run in (saved, present)
    )
    other = sorted(k for k in old.keys() | new.keys() if old.get(k) != new.get(k))
    if other:
        seen = ", ".join(f"{k} was {old.get(k)!s:.40} and is {new.get(k)!s:.40}" for k in other[:5])
        raise UserError(
            f"{path} was trained with other settings ({seen}); give another out=DIR, or "
            "trainer.resume=false to start over"
        )


def flat(tree: dict[str, Any]) -> dict[str, Any]:
    """Nested dicts and lists as one dict, its keys joined by dots."""
    return dict(_flat("", tree))


def _flat(prefix: str, value: object) -> Iterable[tuple[str, object]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), item)
    elif isinstance(value, list):
        yield from _flat(prefix, {str(index): item for index, item in enumerate(value)})
    else:
        yield prefix, value
