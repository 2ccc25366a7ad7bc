"""The affinity operators as fused Triton kernels (`kernels.py`) for CUDA.

As in flash attention, each program processes a block of rows and loops over all columns, so no
N x N tensor is written to memory and no two programs write to the same address. The forward pass of
the sum over pairs also computes the gradient. Matrix products use bfloat16 under bfloat16 autocast,
otherwise TF32 or float32 as set by `torch.set_float32_matmul_precision`. All else is float32.

With the environment variable `TRITON_INTERPRET=1` the kernels run on the CPU, for tests.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor
from torch.nn import functional as F

from p2seg.ops._kernels import interpreted
from p2seg.ops.affinity.inputs import Pairs, Spread, symmetric
from p2seg.ops.affinity.kernels import pair_kernel, spread_kernel

SMALLEST = 16
"""Minimum side of a matrix product on tensor cores."""

LARGEST = 64
"""Maximum number of rows or columns of a tile."""


def pair_sum(factors: Tensor, pairs: Pairs, matrix: torch.dtype) -> Tensor:
    """See `p2seg.ops.affinity.pair_sum`; `matrix` is the dtype of products, float32 or bfloat16."""
    total: Tensor = _PairSum.apply(factors, symmetric(pairs), matrix)
    return total


class _PairSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, factors: Tensor, pairs: Pairs, matrix: torch.dtype) -> Tensor:
        images, n, channels = factors.shape
        # excluded pixels get an additional group with weight 0
        count = pairs.weight.shape[-1]
        content = _filled_up(factors.to(matrix))
        sums, slopes = factors.new_zeros(images, n), torch.empty_like(content, dtype=torch.float32)
        _launch(
            pair_kernel,
            content,
            (images, n, channels),
            groups=pairs.groups.masked_fill(pairs.groups < 0, count).int().contiguous(),
            weight=F.pad(pairs.weight.float(), (0, 1, 0, 1)).contiguous(),
            sums=sums,
            slopes=slopes,
            ROUNDS=pairs.groups.shape[1],
            GROUPS=count,
        )
        ctx.save_for_backward(slopes[:, :n, :channels])
        return sums.sum(1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_total: Tensor) -> Any:
        [slopes] = ctx.saved_tensors
        return slopes * d_total[:, None, None], None, None


def refine(factors: Tensor, spread: Spread, matrix: torch.dtype) -> Tensor:
    """See `p2seg.ops.affinity.refine`; `matrix` is the dtype of products, float32 or bfloat16."""
    p = spread.probabilities.float()
    classes = p.shape[2]
    width = max(SMALLEST, triton.next_power_of_2(classes + 1))
    one = torch.ones_like(p[..., :1])  # the result of this channel is the sum of the row
    padded = F.pad(torch.cat([p, one], 2), (0, width - classes - 1)).contiguous()
    out = torch.empty_like(padded)
    _launch(
        spread_kernel,
        _filled_up(factors.to(matrix)),
        tuple(factors.shape),
        valid=padded if spread.valid is None else spread.valid.byte().contiguous(),
        p=padded,
        out=out,
        beta=float(spread.beta),
        P_PAD=width,
        CLASSES=classes,
        VALID=spread.valid is not None,
    )
    refined = out[..., :classes].contiguous()
    return refined if spread.valid is None else torch.where(spread.valid[:, :, None], refined, p)


def _launch(kernel: Any, content: Tensor, shape: tuple[int, ...], **arguments: Any) -> None:
    """Runs a kernel on all blocks of rows of all images; `shape` is the factors' `[B, N, d]`."""
    images, n, channels = shape
    rows, columns = _block(content.dtype, kernel is pair_kernel)
    assert LARGEST % rows == LARGEST % columns == 0
    exact = torch.get_float32_matmul_precision() == "highest"
    kernel[(triton.cdiv(n, rows), images)](
        content=content,
        N=n,
        N_PAD=content.shape[1],
        D=content.shape[2],
        PRECISION="ieee" if exact and content.dtype == torch.float32 else "tf32",
        ROWS=rows,
        COLUMNS=columns,
        num_warps=4 if channels <= 128 else 8,
        num_stages=2 if content.dtype != torch.float32 else 1,
        **arguments,
    )


def _block(matrix: torch.dtype, gradient: bool) -> tuple[int, int]:
    """Rows and columns of a tile, limited by the registers of a program."""
    if interpreted():
        return 16, 16
    wide = matrix != torch.float32 and not gradient
    return LARGEST, LARGEST if wide else LARGEST // 2


def _filled_up(content: Tensor) -> Tensor:
    """Pads `[B, N, d]` with zeros to whole tiles, so that loads need no mask."""
    _, n, channels = content.shape
    width = max(SMALLEST, triton.next_power_of_2(channels))
    return F.pad(content, (0, width - channels, 0, -n % LARGEST)).contiguous()
