"""p2seg: instance segmentation from one click per object."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from p2seg.cli.photos.commands import train
    from p2seg.pseudo.label import label
    from p2seg.segmentors.load import Instance, Predictor, load

_MODULES = {
    "Instance": "p2seg.segmentors.load",
    "Predictor": "p2seg.segmentors.load",
    "load": "p2seg.segmentors.load",
    "label": "p2seg.pseudo.label",
    "train": "p2seg.cli.photos.commands",
}
__all__ = ["Instance", "Predictor", "label", "load", "train"]


def __getattr__(name: str) -> Any:
    """The names of `__all__`, imported at their first use, because they import torch."""
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'p2seg' has no attribute '{name}'")
