"""Connected regions of label maps: union-find, compiled by Numba on the CPU and Triton on CUDA."""

from __future__ import annotations

from torch import Tensor

from p2seg.ops._kernels import fused


def connected_components(labels: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """8-connected regions of equal labels.

    Args:
        labels: `[B, H, W]` int64, 0..M-1; 0 is in no region.
        wanted: `[B, M]` bool: the labels that form regions in each image.

    Returns:
        `[B, H, W]` int32 on the same device: 0 outside, and in each image one number for each
        region. And `[B, R]` int64, R more than the largest number: the label of every region, and
        0 at 0. Which number a region has is not specified, nor what labels others have.
    """
    if fused(labels):
        from p2seg.ops.components import triton  # not on every machine

        return triton.connected_components(labels, wanted)
    from p2seg.ops.components import cpu  # loads the compiler

    return cpu.connected_components(labels, wanted)
