"""Connected components of label maps by union-find, with Numba on the CPU and Triton on CUDA."""

from __future__ import annotations

from torch import Tensor

from p2seg.ops._kernels import fused


def connected_components(labels: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """8-connected components of equal labels.

    Args:
        labels: `[B, H, W]` int64, 0..M-1; pixels with label 0 belong to no component.
        wanted: `[B, M]` bool, the labels of which components are computed, per image.

    Returns:
        Component numbers `[B, H, W]` int32 on the same device, 0 outside; and the label of each
        component `[B, R]` int64, R > largest number, 0 at index 0. The numbers are unique per image
        and in no specified order; entries of unused numbers are unspecified.
    """
    if fused(labels):
        from p2seg.ops.components import triton  # Triton is not installed on every machine

        return triton.connected_components(labels, wanted)
    from p2seg.ops.components import cpu  # importing Numba takes time

    return cpu.connected_components(labels, wanted)
