"""Checkpoints: written whole, read without running code from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from p2seg.errors import UserError
from p2seg.files import atomic_path

FORMAT = 1


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
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path} is not a checkpoint of p2seg: it is cut short, of another format, or holds "
            f"objects that could run code ({type(error).__name__}); give one that p2seg has written"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} is not a checkpoint of this version of p2seg; train again")
    if content.get("kind") != kind:
        raise UserError(
            f"{path} is a checkpoint of a {content.get('kind')}, but a {kind} is needed here"
        )
    return content
