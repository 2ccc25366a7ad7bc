"""The two Triton kernels of the affinity operators, and what they share.

Both take a block of rows of one image over all columns. `content` is padded to whole tiles; the
constants say what is asked for, so that what is not costs nothing.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _logits(rows, own, tail, bias, image, i, j, N, VOTES: tl.constexpr, PRECISION: tl.constexpr):
    """A tile of logits from the content of its rows and (transposed) columns, and its votes."""
    logit = tl.dot(rows, own, input_precision=PRECISION).to(tl.float32) - tl.load(bias)
    if VOTES:
        # left (y, x, square, one) and right (y, x, one, square)
        at_i = tail + (image * N + i) * 4
        at_j = tail + (image * N + j) * 4
        for channel in tl.static_range(4):
            a = tl.load(at_i + channel, mask=i < N, other=0.0)
            exchanged = channel if channel < 2 else 5 - channel
            b = tl.load(at_j + exchanged, mask=j < N, other=0.0)
            logit += a[:, None] * b[None, :]
    return logit


@triton.jit
def _log_sigmoid(x):
    """And the sigmoid; neither overflows."""
    small = tl.exp(-tl.abs(x))
    return tl.minimum(x, 0.0) - tl.log(1.0 + small), tl.where(x >= 0, 1.0, small) / (1.0 + small)


@triton.jit
def _pair_weight(groups, weight, image, i, j, N, ROUNDS: tl.constexpr, GROUPS: tl.constexpr):
    """What each pair of a tile counts, over all groupings."""
    total = tl.zeros((i.shape[0], j.shape[0]), tl.float32)
    for r in tl.static_range(ROUNDS):
        at = image * ROUNDS + r
        a = tl.load(groups + at * N + i, mask=i < N, other=GROUPS)
        b = tl.load(groups + at * N + j, mask=j < N, other=GROUPS)
        table = weight + at * (GROUPS + 1) * (GROUPS + 1)
        total += tl.load(table + (a[:, None] * (GROUPS + 1) + b[None, :]))
    return total


@triton.jit
def _gated(log_weight, gate, image, i, j, N, log_gamma, GATE: tl.constexpr):
    if GATE:
        a = tl.load(gate + image * N + i, mask=i < N, other=-1)
        b = tl.load(gate + image * N + j, mask=j < N, other=-1)
        log_weight = tl.where(a[:, None] == b[None, :], log_weight, log_weight + log_gamma)
    return log_weight


@triton.jit
def _is_valid(valid, image, i, N, VALID: tl.constexpr):
    inside = i < N
    if VALID:
        inside = inside & (tl.load(valid + image * N + i, mask=inside, other=0) > 0)
    return inside


@triton.jit
def forward_kernel(
    content,
    tail,
    bias,
    groups,
    weight,
    gate,
    valid,
    p,
    sums,
    out,
    log_sum,
    N,
    N_PAD,
    beta,
    log_gamma,
    D: tl.constexpr,
    P_PAD: tl.constexpr,
    CLASSES: tl.constexpr,
    ROUNDS: tl.constexpr,
    GROUPS: tl.constexpr,
    VOTES: tl.constexpr,
    SPREAD: tl.constexpr,
    GATE: tl.constexpr,
    VALID: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    image = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    d = tl.arange(0, D)
    content += image * N_PAD * D
    k = tl.arange(0, P_PAD)
    rows = tl.load(content + (i[:, None] * D + d[None, :]))
    top = tl.full((ROWS,), -1e30, tl.float32)
    spread = tl.zeros((ROWS, P_PAD), tl.float32)
    pair_sum = tl.zeros((ROWS,), tl.float32)
    for start in range(0, N, COLUMNS):
        j = start + tl.arange(0, COLUMNS)
        columns = tl.load(content + (j[None, :] * D + d[:, None]))
        logit = _logits(rows, columns, tail, bias, image, i, j, N, VOTES, PRECISION)
        log_sigma, sigma = _log_sigmoid(logit)
        if ROUNDS > 0:
            counts = _pair_weight(groups, weight, image, i, j, N, ROUNDS, GROUPS)
            pair_sum += tl.sum(counts * sigma, 1)
        if SPREAD:
            log_weight = _gated(beta * log_sigma, gate, image, i, j, N, log_gamma, GATE)
            open_j = _is_valid(valid, image, j, N, VALID)
            log_weight = tl.where(open_j[None, :], log_weight, -float("inf"))
            higher = tl.maximum(top, tl.max(log_weight, 1))
            share = tl.exp(log_weight - higher[:, None])
            at_p = p + image * N * P_PAD + (j[:, None] * P_PAD + k[None, :])
            given = tl.load(at_p, mask=j[:, None] < N, other=0.0)
            spread *= tl.exp(top - higher)[:, None]
            spread += tl.dot(share, given, input_precision=PRECISION)
            top = higher
    if ROUNDS > 0:
        tl.store(sums + image * N + i, pair_sum, mask=i < N)
    if SPREAD:
        row_sum = tl.sum(tl.where(k[None, :] == CLASSES, spread, 0.0), 1)
        row_sum = tl.where(row_sum > 0, row_sum, 1.0)  # an invalid row may have none
        at_o = out + image * N * P_PAD + (i[:, None] * P_PAD + k[None, :])
        tl.store(at_o, spread / row_sum[:, None], mask=i[:, None] < N)
        tl.store(log_sum + image * N + i, top + tl.log(row_sum), mask=i < N)


@triton.jit
def backward_kernel(
    content,
    tail,
    bias,
    groups,
    weight,
    gate,
    valid,
    p,
    d_refined,
    own,
    log_sum,
    d_total,
    sums,
    d_content,
    d_tail,
    d_bias,
    d_p,
    N,
    N_PAD,
    beta,
    log_gamma,
    D: tl.constexpr,
    P_PAD: tl.constexpr,
    ROUNDS: tl.constexpr,
    GROUPS: tl.constexpr,
    VOTES: tl.constexpr,
    SPREAD: tl.constexpr,
    GATE: tl.constexpr,
    VALID: tl.constexpr,
    PRECISION: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    image = tl.program_id(1).to(tl.int64)
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    d = tl.arange(0, D)
    content += image * N_PAD * D
    k = tl.arange(0, P_PAD)
    rows = tl.load(content + (i[:, None] * D + d[None, :]))
    pull = tl.load(d_total + image)
    d_rows = tl.zeros((ROWS, D), tl.float32)
    d_spread = tl.zeros((ROWS, P_PAD), tl.float32)
    d_y = tl.zeros((ROWS,), tl.float32)
    d_x = tl.zeros((ROWS,), tl.float32)
    d_square = tl.zeros((ROWS,), tl.float32)
    d_one = tl.zeros((ROWS,), tl.float32)
    d_logit = tl.zeros((ROWS,), tl.float32)
    pair_sum = tl.zeros((ROWS,), tl.float32)
    if SPREAD:
        at_pi = image * N * P_PAD + (i[:, None] * P_PAD + k[None, :])
        p_i = tl.load(p + at_pi, mask=i[:, None] < N, other=0.0)
        d_i = tl.load(d_refined + at_pi, mask=i[:, None] < N, other=0.0)
        own_i = tl.load(own + image * N + i, mask=i < N, other=0.0)
        sum_i = tl.load(log_sum + image * N + i, mask=i < N, other=0.0)
        open_i = _is_valid(valid, image, i, N, VALID)
    for start in range(0, N, COLUMNS):
        j = start + tl.arange(0, COLUMNS)
        columns = tl.load(content + (j[None, :] * D + d[:, None]))
        logit = _logits(rows, columns, tail, bias, image, i, j, N, VOTES, PRECISION)
        log_sigma, sigma = _log_sigmoid(logit)
        slope = tl.zeros((ROWS, COLUMNS), tl.float32)
        if SPREAD:
            at_pj = image * N * P_PAD + (j[None, :] * P_PAD + k[:, None])
            p_j = tl.load(p + at_pj, mask=j[None, :] < N, other=0.0)
            d_j = tl.load(d_refined + at_pj, mask=j[None, :] < N, other=0.0)
            own_j = tl.load(own + image * N + j, mask=j < N, other=0.0)
            sum_j = tl.load(log_sum + image * N + j, mask=j < N, other=0.0)
            open_j = _is_valid(valid, image, j, N, VALID)
            log_weight = _gated(beta * log_sigma, gate, image, i, j, N, log_gamma, GATE)
            both = open_i[:, None] & open_j[None, :]
            # as rows i over columns j, and as rows j over columns i
            share = tl.exp(tl.where(both, log_weight - sum_i[:, None], -float("inf")))
            slope += share * (tl.dot(d_i, p_j, input_precision=PRECISION) - own_i[:, None])
            share = tl.exp(tl.where(both, log_weight - sum_j[None, :], -float("inf")))
            slope += share * (tl.dot(p_i, d_j, input_precision=PRECISION) - own_j[None, :])
            slope *= beta * (1.0 - sigma)
            d_spread += tl.dot(share, tl.trans(d_j), input_precision=PRECISION)
        if ROUNDS > 0:
            counts = _pair_weight(groups, weight, image, i, j, N, ROUNDS, GROUPS)
            pair_sum += tl.sum(counts * sigma, 1)
            slope += counts * sigma * (1.0 - sigma) * (2.0 * pull)
        slope = tl.where((i[:, None] < N) & (j[None, :] < N), slope, 0.0)
        d_logit += tl.sum(slope, 1)
        if VOTES:
            at_tail = tail + (image * N + j) * 4
            d_y += tl.sum(slope * tl.load(at_tail, mask=j < N, other=0.0)[None, :], 1)
            d_x += tl.sum(slope * tl.load(at_tail + 1, mask=j < N, other=0.0)[None, :], 1)
            d_square += tl.sum(slope * tl.load(at_tail + 3, mask=j < N, other=0.0)[None, :], 1)
            d_one += tl.sum(slope * tl.load(at_tail + 2, mask=j < N, other=0.0)[None, :], 1)
        d_rows += tl.dot(slope.to(columns.dtype), tl.trans(columns), input_precision=PRECISION)
    tl.store(d_content + image * N_PAD * D + (i[:, None] * D + d[None, :]), d_rows)
    tl.store(d_bias + image * N + i, -0.5 * d_logit, mask=i < N)
    if VOTES:
        at_tail = d_tail + (image * N + i) * 4
        tl.store(at_tail, d_y, mask=i < N)
        tl.store(at_tail + 1, d_x, mask=i < N)
        tl.store(at_tail + 2, d_square, mask=i < N)
        tl.store(at_tail + 3, d_one, mask=i < N)
    if SPREAD:
        tl.store(d_p + at_pi, d_spread, mask=i[:, None] < N)
    elif ROUNDS > 0:
        tl.store(sums + image * N + i, pair_sum, mask=i < N)
