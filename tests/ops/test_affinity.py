"""Every way of the affinity operators against the dense matrix, and that against loops."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from p2seg.errors import UserError
from p2seg.ops.affinity import Factors, Pairs, Spread, affinity, factors, pair_sum, refine, tiled
from p2seg.structures import to_device

triton = pytest.importorskip("p2seg.ops.affinity.triton")

WAYS = ["tiled", "triton"]
DTYPE = {"tiled": torch.float64, "dense": torch.float64, "triton": torch.float32}
DEVICE = {"triton": "cuda" if torch.cuda.is_available() else "cpu"}  # or Triton's interpreter


def problem(seed=0, images=2, n=13, d=6, votes=False, rounds=2, dtype=torch.float64, **options):
    """Random factors, pairs and a spread of everything: unused pixels, groups, invalid pixels."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=random, dtype=dtype)

    groups = torch.randint(-1, 4, (images, rounds, n), generator=random)
    pairs = Pairs(groups, torch.rand(images, rounds, 4, 4, generator=random, dtype=dtype))
    spread = Spread(draw(images, n, 3).softmax(2), 3.0)
    gates = torch.randint(0, 3, (images, n), generator=random)
    valid = torch.rand(images, n, generator=random) > 0.3
    known = {"valid": valid, "groups": gates}
    spread = replace(spread, **{k: known.get(k) if v is True else v for k, v in options.items()})
    return Factors(draw(images, n, d), torch.tensor(0.5, dtype=dtype), votes), pairs, spread


def gradients(way, factors, pairs, spread):
    """Both results and their gradients, under an objective without symmetry."""
    device = DEVICE.get(way, "cpu")
    factors, pairs, spread = (to_device(each, device) for each in (factors, pairs, spread))
    leaves = [factors.left, factors.bias]
    if spread is not None:
        leaves.append(spread.probabilities)
    left, bias, *p = (each.detach().clone().requires_grad_() for each in leaves)
    spread = None if spread is None else replace(spread, probabilities=p[0])
    total, refined = affinity(Factors(left, bias, factors.votes), pairs, spread, way)
    objective = left.new_zeros(())
    if total is not None:
        order = torch.arange(1, len(total) + 1, device=device)
        objective = objective + (total * order).sum()
    if refined is not None:
        weight = torch.arange(refined.numel()).view(refined.shape).to(refined).cos()
        objective = objective + (refined.square() * weight).sum()
    made = torch.autograd.grad(objective, [left, bias, *p])
    return [each.detach().cpu() for each in (total, refined, *made) if each is not None]


@pytest.fixture(params=[5, 512], ids=["many tiles", "one tile"])
def tile(request, monkeypatch):
    monkeypatch.setattr(tiled, "TILE", request.param)


ASKED = ["pairs", "spread", "both"]


def asked_of(what, pairs, spread):
    return (pairs if what != "spread" else None), (spread if what != "pairs" else None)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", ASKED)
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 999),
    n=st.integers(1, 17),
    d=st.integers(2, 9),
    votes=st.booleans(),
    beta=st.sampled_from([0.5, 1.0, 3.0, 10.0]),
    gamma=st.sampled_from([0.0, 0.1, 1.0]),
    valid=st.sampled_from([True, None]),
    groups=st.sampled_from([True, None]),
)
def test_every_way_equals_the_dense_matrix(way, what, seed, n, d, votes, **options):
    f, pairs, spread = problem(seed, n=n, d=d + 4 * votes, votes=votes, dtype=DTYPE[way], **options)
    if votes:  # what the two last channels hold: a Gram matrix less distances stays bounded
        f.left[..., -2:] = torch.stack(
            [-f.left[..., -2].abs(), (f.left[..., -1] > 0).to(f.left)], -1
        )
    pairs, spread = asked_of(what, pairs, spread)
    made, want = (gradients(each, f, pairs, spread) for each in (way, "dense"))
    close = {"rtol": 1e-6, "atol": 1e-8} if way == "tiled" else {"rtol": 1e-3, "atol": 1e-4}
    for one, other in zip(made, want, strict=True):
        torch.testing.assert_close(one, other, **close)


@pytest.mark.parametrize("what", ASKED)
def test_gradients_in_tiles(what, tile):
    f, pairs, spread = problem(3, valid=True, groups=True, gamma=0.1)
    pairs, spread = asked_of(what, pairs, spread)
    made, want = (gradients(each, f, pairs, spread) for each in ("tiled", "dense"))
    for one, other in zip(made, want, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("way", ["dense", "tiled"])  # Triton's sums are float32
@pytest.mark.parametrize("votes", [False, True])
@pytest.mark.parametrize("what", ASKED)
def test_gradcheck(way, votes, what, tile):
    f, pairs, spread = problem(2, n=6, d=4, votes=votes, valid=True, groups=True, gamma=0.1)

    def function(left, bias, p):
        own = asked_of(what, pairs, replace(spread, probabilities=p))
        return [
            each for each in affinity(Factors(left, bias, votes), *own, way) if each is not None
        ]

    leaves = [each.requires_grad_() for each in (f.left, f.bias, spread.probabilities)]
    assert torch.autograd.gradcheck(function, leaves)


@pytest.mark.parametrize(
    ("way", "dtype"),
    [("tiled", torch.float32), ("tiled", torch.float64), ("triton", torch.float32)],
)
def test_the_dtype_is_that_of_the_factors(way, dtype):
    f, pairs, spread = problem(1, dtype=dtype)
    assert [each.dtype for each in gradients(way, f, pairs, spread)] == [dtype] * 5


@pytest.mark.parametrize("way", ["dense", *WAYS])
def test_a_row_whose_weights_all_underflow(way):
    f = Factors(torch.full((1, 3, 1), 0.1), torch.tensor(200.0))
    spread = Spread(torch.eye(3)[None], beta=10.0)
    f, spread = (to_device(each, DEVICE.get(way, "cpu")) for each in (f, spread))
    made = refine(f, spread, way).cpu()
    torch.testing.assert_close(made, torch.full((1, 3, 3), 1 / 3))


@pytest.mark.parametrize("way", ["dense", *WAYS])
def test_nothing_valid_and_nothing_paired(way):
    problems = problem(4, dtype=DTYPE[way])
    f, pairs, spread = (to_device(each, DEVICE.get(way, "cpu")) for each in problems)
    nothing = torch.zeros(2, 13, dtype=torch.bool, device=f.left.device)
    f.left.requires_grad_()
    alone = Pairs(torch.full_like(pairs.groups, -1), pairs.weight)
    total, refined = affinity(f, alone, replace(spread, valid=nothing), way)
    assert total.tolist() == [0, 0]
    assert torch.equal(refined, spread.probabilities)
    total.sum().backward()
    assert f.left.grad.abs().sum() == 0


@pytest.mark.parametrize("what", ASKED)
@pytest.mark.parametrize("d", [16, 36])
def test_triton_in_half_precision(what, d):
    """Products of float16, sums of float32. (bf16 is the one in use; the interpreter lacks it.)"""
    f, pairs, spread = problem(7, n=37, d=d, votes=True, dtype=torch.float32, valid=True)
    f = replace(f, left=f.left * 0.5)
    device = DEVICE["triton"]
    f, pairs, spread = (to_device(each, device) for each in (f, pairs, spread))
    own = asked_of(what, pairs, spread)
    want = affinity(f, *own, "dense")
    made = triton.affinity(f, *own, torch.float16)
    for one, other in zip(made, want, strict=True):
        if other is not None:
            torch.testing.assert_close(one, other, rtol=5e-3, atol=5e-3)


def test_the_dense_sum_is_a_loop_over_pairs():
    f, pairs, _ = problem(1)
    made = pair_sum(f, pairs, "dense")
    for b in range(2):
        want = 0.0
        for r in range(2):
            for i, g in enumerate(pairs.groups[b, r].tolist()):
                for j, h in enumerate(pairs.groups[b, r].tolist()):
                    if g >= 0 and h >= 0:
                        logit = f.left[b, i] @ f.left[b, j] - f.bias
                        want += float(pairs.weight[b, r, g, h] * logit.sigmoid())
        assert float(made[b]) == pytest.approx(want)


def test_the_dense_spread_is_the_formula():
    f, _, spread = problem(1, valid=True, groups=True, gamma=0.1)
    made = refine(f, spread, "dense")
    for b in range(2):
        weight = (f.left[b] @ f.left[b].T - f.bias).sigmoid() ** 3
        other = spread.groups[b, :, None] != spread.groups[b]
        weight = torch.where(other, 0.1 * weight, weight) * spread.valid[b]
        want = weight / weight.sum(1, keepdim=True) @ spread.probabilities[b]
        want = torch.where(spread.valid[b, :, None], want, spread.probabilities[b])
        torch.testing.assert_close(made[b], want)


def test_votes_fold_into_the_inner_product():
    random = torch.Generator().manual_seed(0)
    embedding = torch.randn(2, 4, 3, 5, generator=random)
    votes = torch.randn(2, 3, 3, 5, generator=random) * 300
    votes[:, 2] = torch.rand(2, 3, 5, generator=random).round()
    made = factors(embedding, torch.tensor(0.0), votes, torch.tensor(20.0))
    for b in range(2):
        f = embedding[b].flatten(1).T
        v, voter = votes[b, :2].flatten(1).T, votes[b, 2].flatten()
        apart = torch.cdist(v, v).square() / (2 * 20.0**2) * voter[:, None] * voter[None]
        logit = made.left[b] @ made.right[b].T
        torch.testing.assert_close(logit, f @ f.T / 2 - apart, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("what", ASKED)
def test_autocast_changes_nothing(what):
    f, pairs, spread = problem(5, dtype=torch.float32)
    own = asked_of(what, pairs, spread)
    plain = affinity(f, *own, "tiled")
    with torch.autocast("cpu", torch.bfloat16):
        inside = affinity(f, *own, "tiled")
    for one, other in zip(plain, inside, strict=True):
        assert one is other is None or torch.equal(one, other)


def test_the_matrix_is_never_held(monkeypatch):
    n = 3000  # 9,000,000 entries, 36 MB
    largest = 0
    multiply = torch.addmm

    def watched(*arguments):
        nonlocal largest
        out = multiply(*arguments)
        largest = max(largest, out.numel())
        return out

    monkeypatch.setattr(torch, "addmm", watched)
    f, pairs, spread = problem(6, images=1, n=n, dtype=torch.float32)
    gradients("tiled", f, pairs, spread)
    assert largest == tiled.TILE**2


def test_triton_without_a_gpu_is_a_sentence(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(UserError, match=r"ops\.affinity=triton needs a CUDA GPU"):
        affinity(*problem(0), way="triton")


def test_a_compiled_function_breaks_once_around_it():
    f, pairs, _ = problem(8, dtype=torch.float32)

    def function(left, bias):
        return pair_sum(Factors(left * 2, bias), pairs).sum() + left.sum()

    compiled = torch.compile(function, backend="eager")
    torch.testing.assert_close(compiled(f.left, f.bias), function(f.left, f.bias))
    found = torch._dynamo.explain(function)(f.left, f.bias)
    assert found.graph_break_count == 1


@pytest.mark.gpu
@pytest.mark.parametrize("matrix", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("what", ASKED)
def test_triton_on_a_gpu(what, matrix):
    f, pairs, spread = problem(9, n=500, d=68, votes=True, dtype=torch.float32, valid=True)
    f = replace(f, left=f.left * 0.3)
    f, pairs, spread = (to_device(each, "cuda") for each in (f, pairs, spread))
    own = asked_of(what, pairs, spread)
    want = affinity(f, *own, "dense")
    with torch.autocast("cuda", torch.bfloat16, enabled=matrix == torch.bfloat16):
        made = affinity(f, *own, "triton")
    close = 2e-2 if matrix == torch.bfloat16 else 2e-3
    for one, other in zip(made, want, strict=True):
        if other is not None:
            torch.testing.assert_close(one, other, rtol=close, atol=close)
