"""p2seg: instance segmentation from one click per object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from p2seg.segmentors.load import Instance, Predictor, load

__all__ = ["Instance", "Predictor", "load"]


def __getattr__(name: str) -> Any:
    """`load` and what it gives, imported when they are asked for: they bring torch with them."""
    if name in __all__:
        from p2seg.segmentors import load as module

        return getattr(module, name)
    raise AttributeError(f"module 'p2seg' has no attribute '{name}'")
