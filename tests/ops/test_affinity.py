"""The tiled affinity operators against the dense matrix, written out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from p2seg.ops import affinity
from p2seg.ops.affinity import factors, pair_sums, refine


def dense_refine(left, right, bias, p, beta, groups, gamma, valid):
    """`W P` from the whole matrix."""
    weight = (left @ right.T - bias).sigmoid() ** beta
    if groups is not None:
        weight = torch.where(groups[:, None] == groups[None], weight, gamma * weight)
    if valid is not None:
        weight = weight * valid[None]
    out = (weight / weight.sum(1, keepdim=True)) @ p
    return out if valid is None else torch.where(valid[:, None], out, p)


def inputs(seed: int, n: int, d: int = 5, classes: int = 3):
    random = torch.Generator().manual_seed(seed)
    f = torch.randn(n, d, generator=random, dtype=torch.float64)
    p = torch.rand(n, classes, generator=random, dtype=torch.float64).softmax(1)
    groups = torch.randint(-1, 4, (n,), generator=random)
    return f, p, groups, torch.rand(n, generator=random) > 0.3


@pytest.fixture(params=[7, 1 << 22], ids=["many tiles", "one tile"])
def tile(request, monkeypatch):
    monkeypatch.setattr(affinity, "TILE_ELEMENTS", request.param)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 999),
    st.integers(1, 17),
    st.sampled_from([0.5, 1.0, 3.0, 10.0]),
    st.booleans(),
    st.sampled_from([0.0, 0.1, 1.0]),
)
def test_refine_equals_the_dense_matrix(seed, n, beta, masked, gamma):
    f, p, groups, valid = (x.double() if x.is_floating_point() else x for x in inputs(seed, n))
    keep = valid if masked else None
    bias = torch.tensor(0.5, dtype=torch.float64)
    made = refine(f, f, bias, p, beta, groups, gamma, keep)
    want = dense_refine(f, f, bias, p, beta, groups, gamma, keep)
    torch.testing.assert_close(made.double(), want, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made.sum(1), torch.ones(n, dtype=made.dtype))


def test_refine_with_tiles_and_gradients(tile):
    f, p, groups, valid = inputs(3, 13)
    f, p = f.float(), p.float()
    bias = torch.tensor(0.5)
    grads = []
    for function in (refine, dense_refine):
        a, b, c = (x.clone().requires_grad_() for x in (f, p, bias))
        (function(a, a, c, b, 3.0, groups, 0.1, valid).square().sum()).backward()
        grads.append((a.grad, b.grad, c.grad))
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_refine_where_every_weight_underflows():
    left = torch.full((3, 1), 100.0)
    out = refine(left, -left, torch.tensor(0.0), torch.eye(3), beta=10.0)
    torch.testing.assert_close(out, torch.full((3, 3), 1 / 3))


def test_pair_sums_equal_a_loop_over_pairs(tile):
    f, _, groups, _ = inputs(1, 11)
    bias = torch.tensor(0.3, dtype=torch.float64)
    made = pair_sums(f, f, bias, groups, 4)
    want = torch.zeros(4, 4, dtype=torch.float64)
    for i in range(11):
        for j in range(11):
            if groups[i] >= 0 and groups[j] >= 0:
                want[groups[i], groups[j]] += torch.sigmoid(f[i] @ f[j] - bias)
    torch.testing.assert_close(made, want)


def test_pair_sums_pass_gradcheck(tile):
    f, _, groups, _ = inputs(2, 6, d=2)
    bias = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    f.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: pair_sums(a, a, b, groups, 4), (f, bias))


def test_votes_fold_into_the_inner_product():
    random = torch.Generator().manual_seed(0)
    embedding = torch.randn(2, 4, 3, 5, generator=random)
    votes = torch.randn(2, 3, 3, 5, generator=random) * 300
    votes[:, 2] = torch.rand(2, 3, 5, generator=random).round()
    left, right = factors(embedding, votes, torch.tensor(20.0))
    for b in range(2):
        f = embedding[b].flatten(1).T
        v, voter = votes[b, :2].flatten(1).T, votes[b, 2].flatten()
        apart = torch.cdist(v, v).square() / (2 * 20.0**2) * voter[:, None] * voter[None]
        torch.testing.assert_close(left[b] @ right[b].T, f @ f.T / 2 - apart, rtol=1e-4, atol=1e-3)


def test_the_matrix_is_never_held(monkeypatch):
    n = 3000  # 9,000,000 entries, 36 MB
    largest = 0
    multiply = torch.Tensor.__matmul__

    def watched(self, other):
        nonlocal largest
        out = multiply(self, other)
        largest = max(largest, out.numel())
        return out

    monkeypatch.setattr(torch.Tensor, "__matmul__", watched)
    f = torch.randn(n, 4)
    refine(f, f, torch.tensor(0.0), F.one_hot(torch.arange(n) % 3).float(), 3.0)
    pair_sums(f, f, torch.tensor(0.0), torch.arange(n) % 5, 5)
    assert n * n // 3 < largest <= affinity.TILE_ELEMENTS
