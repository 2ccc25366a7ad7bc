"""The affinity operators by fused Triton kernels (`kernels.py`), for CUDA.

A program owns a block of rows and goes over all columns, as in flash attention: nothing of N x N
leaves the chip, and no two programs write to one place. Forward is one product of the matrix,
backward two (the logits again, and the gradient); a sum over pairs alone makes its gradient in the
forward sweep. The products run in bf16 under bf16 autocast, otherwise in tf32 or float32 as
`torch.set_float32_matmul_precision` has it; everything else is float32.

With `TRITON_INTERPRET=1` in the environment the kernels run on the CPU, for tests.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor
from torch.nn import functional as F

from p2seg.ops._kernels import interpreted
from p2seg.ops.affinity.inputs import Factors, Pairs, Spread, symmetric
from p2seg.ops.affinity.kernels import backward_kernel, forward_kernel

VOTE_CHANNELS = 4
"""Of the factors: they stay in float32 and out of the matrix units, for their squares are large."""

SMALLEST = 16
"""Of a side of a product on the matrix units."""

LARGEST = 64
"""Rows or columns of a tile."""


def affinity(
    factors: Factors, pairs: Pairs | None, spread: Spread | None, matrix: torch.dtype
) -> tuple[Tensor | None, Tensor | None]:
    """As `p2seg.ops.affinity.affinity`, its products of `matrix`: float32 or bfloat16."""
    pairs = None if pairs is None else symmetric(pairs)
    asked = _Asked.of(factors, pairs, spread, matrix)
    p = None if spread is None else spread.probabilities.float()
    total, refined = _Sweep.apply(factors.left, factors.bias, p, asked)
    if refined is not None and p is not None and spread is not None and spread.valid is not None:
        refined = torch.where(spread.valid[:, :, None], refined, p)
    return total, refined


@dataclass(frozen=True)
class _Asked:
    """What is asked, laid out for the kernels: contiguous, small integers, padded channels."""

    votes: bool
    matrix: torch.dtype
    groups: Tensor | None  # [B, R, N] int32, G is in no pair
    weight: Tensor | None  # [B, R, G + 1, G + 1] float32
    beta: float | None
    log_gamma: float
    gate: Tensor | None  # [B, N] int32
    valid: Tensor | None  # [B, N] uint8

    @staticmethod
    def of(
        factors: Factors, pairs: Pairs | None, spread: Spread | None, matrix: torch.dtype
    ) -> _Asked:
        groups = weight = beta = gate = valid = None
        log_gamma = 0.0
        if pairs is not None:
            # one more group, of the pixels in no pair, whose weights are 0
            count = pairs.weight.shape[-1]
            groups = pairs.groups.masked_fill(pairs.groups < 0, count).int().contiguous()
            weight = F.pad(pairs.weight.float(), (0, 1, 0, 1)).contiguous()
        if spread is not None:
            beta = float(spread.beta)
            valid = None if spread.valid is None else spread.valid.byte().contiguous()
            if spread.groups is not None and spread.gamma != 1:
                gate = spread.groups.int().contiguous()
                log_gamma = math.log(spread.gamma) if spread.gamma > 0 else -math.inf
        return _Asked(factors.votes, matrix, groups, weight, beta, log_gamma, gate, valid)

    def launch(
        self,
        kernel: Any,
        left: Tensor,
        bias: Tensor,
        tensors: dict[str, Tensor | None],
        **constants: int,
    ) -> None:
        """Runs a kernel over all blocks of rows of all images."""
        images, n, channels = left.shape
        content = channels - VOTE_CHANNELS * self.votes
        p = tensors.get("p")
        rows, columns = _block(self.matrix, kernel is backward_kernel)
        assert LARGEST % rows == LARGEST % columns == 0
        filled = _filled_up(left[..., :content].to(self.matrix))
        used = {
            "content": filled,
            "tail": left[..., content:].contiguous() if self.votes else None,
            "bias": bias,
            "groups": self.groups,
            "weight": self.weight,
            "gate": self.gate,
            "valid": self.valid,
            **tensors,
        }
        exact = torch.get_float32_matmul_precision() == "highest"
        kernel[(triton.cdiv(n, rows), images)](
            **{name: bias if each is None else each for name, each in used.items()},
            N=n,
            beta=0.0 if self.beta is None else self.beta,
            log_gamma=self.log_gamma,
            N_PAD=filled.shape[1],
            D=filled.shape[2],
            P_PAD=SMALLEST if p is None else p.shape[2],
            **constants,
            ROUNDS=0 if self.groups is None else self.groups.shape[1],
            GROUPS=0 if self.weight is None else self.weight.shape[-1] - 1,
            VOTES=self.votes,
            SPREAD=p is not None,
            GATE=self.gate is not None,
            VALID=self.valid is not None,
            PRECISION="ieee" if exact and self.matrix == torch.float32 else "tf32",
            ROWS=rows,
            COLUMNS=columns,
            num_warps=4 if content <= 128 else 8,
            num_stages=2 if self.matrix != torch.float32 else 1,
        )


def _block(matrix: torch.dtype, backward: bool) -> tuple[int, int]:
    """Rows and columns of a tile: what a program's registers hold beside its sums."""
    if interpreted():
        return 16, 16
    wide = matrix != torch.float32 and not backward
    return LARGEST, LARGEST if wide else LARGEST // 2


def _filled_up(content: Tensor) -> Tensor:
    """`[B, N, d]` with zeros up to whole tiles, so that loads of it need no mask."""
    _, n, channels = content.shape
    width = max(SMALLEST, triton.next_power_of_2(channels))
    return F.pad(content, (0, width - channels, 0, -n % LARGEST)).contiguous()


def _padded(p: Tensor, last: Tensor | None = None) -> Tensor:
    """`[B, N, n]` with channels up to a power of two, `last` the first of them, the others 0."""
    extra = 0 if last is None else 1
    width = max(SMALLEST, triton.next_power_of_2(p.shape[2] + extra))
    parts = [p] if last is None else [p, last]
    return F.pad(torch.cat(parts, 2), (0, width - p.shape[2] - extra)).contiguous()


class _Sweep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, left: Tensor, bias: Tensor, p: Tensor | None, asked: _Asked
    ) -> tuple[Tensor | None, Tensor | None]:
        images, n, _ = left.shape
        sums = None if asked.groups is None else left.new_zeros(images, n)
        ctx.asked = asked
        if p is None:
            made: tuple[Tensor, ...] = ()
            if any(ctx.needs_input_grad):
                d_left, d_bias = torch.empty_like(left), left.new_empty(images, n)
                one = left.new_ones(images)
                _slopes_of(asked, left, bias, d_left, d_bias, d_total=one, sums=sums)
                made = d_left, d_bias.sum(1)
            else:
                given = {"sums": sums, "out": None, "log_sum": None, "p": None}
                asked.launch(forward_kernel, left, bias, given, CLASSES=0)
            ctx.save_for_backward(left, bias, None, None, None, *made)
            return (None if sums is None else sums.sum(1)), None
        padded = _padded(p, torch.ones_like(p[..., :1]))
        out, log_sum = torch.empty_like(padded), left.new_empty(images, n)
        classes = p.shape[2]
        given = {"sums": sums, "out": out, "log_sum": log_sum, "p": padded}
        asked.launch(forward_kernel, left, bias, given, CLASSES=classes)
        refined = out[..., :classes].contiguous()
        ctx.save_for_backward(left, bias, p, refined, log_sum)
        return (None if sums is None else sums.sum(1)), refined

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_total: Tensor | None, d_refined: Tensor | None) -> Any:
        left, bias, p, refined, log_sum, *made = ctx.saved_tensors
        asked: _Asked = ctx.asked
        if p is None:
            assert d_total is not None
            return made[0] * d_total[:, None, None], (made[1] * d_total).sum(), None, None
        assert d_refined is not None
        images, n, _ = left.shape
        d_left, d_bias = torch.empty_like(left), left.new_empty(images, n)
        if asked.valid is not None:
            d_refined = d_refined * asked.valid[:, :, None]
        given, asked_for = _padded(p), _padded(d_refined)
        d_p = torch.empty_like(given)
        _slopes_of(
            asked,
            left,
            bias,
            d_left,
            d_bias,
            p=given,
            d_refined=asked_for,
            own=(d_refined * refined).sum(2),
            log_sum=log_sum,
            d_p=d_p,
            d_total=left.new_zeros(images) if d_total is None else d_total.contiguous(),
        )
        return d_left, d_bias.sum(), d_p[..., : p.shape[2]], None


def _slopes_of(
    asked: _Asked,
    left: Tensor,
    bias: Tensor,
    d_left: Tensor,
    d_bias: Tensor,
    **tensors: Tensor | None,
) -> None:
    """Fills the gradients of the factor and, by rows, of the bias."""
    content = left.shape[2] - VOTE_CHANNELS * asked.votes
    d_content = torch.empty_like(_filled_up(left[..., :content]))
    d_tail = torch.empty_like(left[..., content:]) if asked.votes else None
    names = ("p", "d_refined", "own", "log_sum", "d_p", "d_total", "sums")
    given = {name: tensors.get(name) for name in names}
    made = {"d_content": d_content, "d_tail": d_tail, "d_bias": d_bias}
    asked.launch(backward_kernel, left, bias, given | made)
    d_left[..., :content] = d_content[:, : left.shape[1], :content]
    if d_tail is not None:
        d_left[..., content:] = d_tail
