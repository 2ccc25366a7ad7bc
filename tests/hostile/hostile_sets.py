"""Hostile checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def segmentor_checkpoint(file: Path, target: Any, **settings: Any) -> Path:
    """A segmentor's checkpoint without weights, whose config names what builds the model.

    Args:
        file: to write.
        target: `_target_` of the model, whatever it is.
        settings: the other settings of the model.
    """
    content = {
        "format": 1,
        "kind": "segmentor",
        "categories": [{"id": 1, "name": "a"}],
        "step": 1,
        "model": {},
        "average": None,
        "config": {"segmentor": {"model": {"_target_": target, **settings}}},
    }
    torch.save(content, file)
    return file
