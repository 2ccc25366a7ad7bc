"""The two Triton kernels of the affinity operators, and their shared functions.

Each program processes a block of rows of one image and loops over all columns. `content` holds the
factors, padded to whole tiles.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _sigmoid(x):
    """The sigmoid and the log sigmoid, both without overflow."""
    small = tl.exp(-tl.abs(x))
    return tl.where(x >= 0, 1.0, small) / (1.0 + small), tl.minimum(x, 0.0) - tl.log(1.0 + small)


@triton.jit
def _pair_weight(groups, weight, image, i, j, N, ROUNDS: tl.constexpr, GROUPS: tl.constexpr):
    """The weight of each pair of a tile, summed over all groupings."""
    total = tl.zeros((i.shape[0], j.shape[0]), tl.float32)
    for r in tl.static_range(ROUNDS):
        at = image * ROUNDS + r
        a = tl.load(groups + at * N + i, mask=i < N, other=GROUPS)
        b = tl.load(groups + at * N + j, mask=j < N, other=GROUPS)
        table = weight + at * (GROUPS + 1) * (GROUPS + 1)
        total += tl.load(table + (a[:, None] * (GROUPS + 1) + b[None, :]))
    return total


@triton.jit
def pair_kernel(
    content,
    groups,
    weight,
    sums,
    slopes,
    N,
    N_PAD,
    D: tl.constexpr,
    ROUNDS: tl.constexpr,
    GROUPS: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """The sum over pairs for each row, and its derivative with respect to the rows' factors."""
    image = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    d = tl.arange(0, D)
    content += image * N_PAD * D
    rows = tl.load(content + (i[:, None] * D + d[None, :]))
    d_rows = tl.zeros((ROWS, D), tl.float32)
    pair_sum = tl.zeros((ROWS,), tl.float32)
    for start in range(0, N, COLUMNS):
        j = start + tl.arange(0, COLUMNS)
        columns = tl.load(content + (j[None, :] * D + d[:, None]))
        sigma, _ = _sigmoid(tl.dot(rows, columns, input_precision=PRECISION).to(tl.float32))
        counts = _pair_weight(groups, weight, image, i, j, N, ROUNDS, GROUPS)
        pair_sum += tl.sum(counts * sigma, 1)
        slope = counts * sigma * (1.0 - sigma) * 2.0  # pixel i occurs as row and as column
        slope = tl.where((i[:, None] < N) & (j[None, :] < N), slope, 0.0)
        d_rows += tl.dot(slope.to(columns.dtype), tl.trans(columns), input_precision=PRECISION)
    tl.store(slopes + image * N_PAD * D + (i[:, None] * D + d[None, :]), d_rows)
    tl.store(sums + image * N + i, pair_sum, mask=i < N)


@triton.jit
def spread_kernel(
    content,
    valid,
    p,
    out,
    N,
    N_PAD,
    beta,
    D: tl.constexpr,
    P_PAD: tl.constexpr,
    CLASSES: tl.constexpr,
    VALID: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """`W P` for each row; channel CLASSES of p is 1, and its result is the sum of the row."""
    image = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    d = tl.arange(0, D)
    content += image * N_PAD * D
    k = tl.arange(0, P_PAD)
    rows = tl.load(content + (i[:, None] * D + d[None, :]))
    top = tl.full((ROWS,), -1e30, tl.float32)
    spread = tl.zeros((ROWS, P_PAD), tl.float32)
    for start in range(0, N, COLUMNS):
        j = start + tl.arange(0, COLUMNS)
        columns = tl.load(content + (j[None, :] * D + d[:, None]))
        _, log_sigma = _sigmoid(tl.dot(rows, columns, input_precision=PRECISION).to(tl.float32))
        shown = j < N
        if VALID:
            shown = shown & (tl.load(valid + image * N + j, mask=shown, other=0) > 0)
        log_weight = tl.where(shown[None, :], beta * log_sigma, -float("inf"))
        higher = tl.maximum(top, tl.max(log_weight, 1))
        share = tl.exp(log_weight - higher[:, None])
        at_p = p + image * N * P_PAD + (j[:, None] * P_PAD + k[None, :])
        given = tl.load(at_p, mask=j[:, None] < N, other=0.0)
        spread *= tl.exp(top - higher)[:, None]
        spread += tl.dot(share, given, input_precision=PRECISION)
        top = higher
    row_sum = tl.sum(tl.where(k[None, :] == CLASSES, spread, 0.0), 1)
    row_sum = tl.where(row_sum > 0, row_sum, 1.0)  # a row may have no valid column
    at_o = out + image * N * P_PAD + (i[:, None] * P_PAD + k[None, :])
    tl.store(at_o, spread / row_sum[:, None], mask=i[:, None] < N)
