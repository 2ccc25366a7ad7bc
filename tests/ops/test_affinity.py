"""Every way of the affinity operators against the dense matrix, and that against loops."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from p2seg.errors import UserError
from p2seg.ops.affinity import Pairs, Spread, dense, factors, pair_sum, refine, tiled
from p2seg.structures import to_device

triton = pytest.importorskip("p2seg.ops.affinity.triton")

WAYS = ["tiled", "triton"]
DTYPE = {"tiled": torch.float64, "dense": torch.float64, "triton": torch.float32}
DEVICE = {"triton": "cuda" if torch.cuda.is_available() else "cpu"}  # or Triton's interpreter


def problem(seed=0, images=2, n=13, d=6, rounds=2, dtype=torch.float64, beta=3.0, valid=False):
    """Random factors, pairs and a spread, with unused and, if asked for, invalid pixels."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=random, dtype=dtype)

    groups = torch.randint(-1, 4, (images, rounds, n), generator=random)
    pairs = Pairs(groups, torch.rand(images, rounds, 4, 4, generator=random, dtype=dtype))
    some = torch.rand(images, n, generator=random) > 0.3
    spread = Spread(draw(images, n, 3).softmax(2), beta, some if valid else None)
    return draw(images, n, d), pairs, spread


def results(way, f, pairs, spread):
    """The sum, its gradient under an objective without symmetry, and the spread."""
    f, pairs, spread = (to_device(each, DEVICE.get(way, "cpu")) for each in (f, pairs, spread))
    left = f.detach().clone().requires_grad_()
    total = pair_sum(left, pairs, way)
    order = torch.arange(1, len(total) + 1, device=total.device)
    made = total, *torch.autograd.grad((total * order).sum(), [left]), refine(left, spread, way)
    return [each.detach().cpu() for each in made]


@pytest.fixture(params=[5, 512], ids=["many tiles", "one tile"])
def tile(request, monkeypatch):
    monkeypatch.setattr(tiled, "TILE", request.param)


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    n=st.integers(1, 17),
    d=st.integers(2, 9),
    beta=st.sampled_from([0.5, 1.0, 3.0, 10.0]),
    valid=st.booleans(),
)
def test_every_way_equals_the_dense_matrix(way, **options):
    asked = problem(dtype=DTYPE[way], **options)
    made, want = (results(each, *asked) for each in (way, "dense"))
    close = {"rtol": 1e-6, "atol": 1e-8} if way == "tiled" else {"rtol": 1e-3, "atol": 1e-4}
    for one, other in zip(made, want, strict=True):
        torch.testing.assert_close(one, other, **close)


def test_results_in_tiles(tile):
    asked = problem(3, valid=True)
    made, want = (results(each, *asked) for each in ("tiled", "dense"))
    for one, other in zip(made, want, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("way", ["dense", "tiled"])  # Triton's sums are float32
def test_gradcheck(way, tile):
    f, pairs, _ = problem(2, n=6, d=4)
    assert torch.autograd.gradcheck(lambda left: pair_sum(left, pairs, way), [f.requires_grad_()])


@pytest.mark.parametrize("way", ["dense", *WAYS])
def test_the_spread_has_no_gradient(way):
    f, _, spread = problem(2, dtype=DTYPE[way])
    f, spread = (to_device(each, DEVICE.get(way, "cpu")) for each in (f, spread))
    assert not refine(f.requires_grad_(), spread, way).requires_grad


@pytest.mark.parametrize(
    ("way", "dtype"),
    [("tiled", torch.float32), ("tiled", torch.float64), ("triton", torch.float32)],
)
def test_the_dtype_is_that_of_the_factors(way, dtype):
    asked = problem(1, dtype=dtype)
    assert [each.dtype for each in results(way, *asked)] == [dtype] * 3


@pytest.mark.parametrize("way", ["dense", *WAYS])
def test_an_invalid_row_whose_weights_all_underflow_stays_as_it_is(way):
    f = torch.tensor([[[20.0], [20.0], [-20.0]]])
    spread = Spread(torch.eye(3)[None], beta=10.0, valid=torch.tensor([[True, True, False]]))
    f, spread = (to_device(each, DEVICE.get(way, "cpu")) for each in (f, spread))
    made = refine(f, spread, way).cpu()
    torch.testing.assert_close(made[0, :2, :2], torch.full((2, 2), 0.5))
    assert made[0, 2].tolist() == [0, 0, 1]


@pytest.mark.parametrize("way", ["dense", *WAYS])
def test_nothing_valid_and_nothing_paired(way):
    problems = problem(4, dtype=DTYPE[way])
    f, pairs, spread = (to_device(each, DEVICE.get(way, "cpu")) for each in problems)
    nothing = torch.zeros(2, 13, dtype=torch.bool, device=f.device)
    f.requires_grad_()
    total = pair_sum(f, Pairs(torch.full_like(pairs.groups, -1), pairs.weight), way)
    assert total.tolist() == [0, 0]
    assert torch.equal(refine(f, replace(spread, valid=nothing), way), spread.probabilities)
    total.sum().backward()
    assert f.grad.abs().sum() == 0


@pytest.mark.parametrize("d", [16, 36])
def test_triton_in_half_precision(d):
    """Products of float16, sums of float32. (bf16 is the one in use; the interpreter lacks it.)"""
    f, pairs, spread = problem(7, n=37, d=d, dtype=torch.float32, valid=True)
    f, pairs, spread = (to_device(each, DEVICE["triton"]) for each in (f * 0.5, pairs, spread))
    for what, asked in (("pair_sum", pairs), ("refine", spread)):
        want = getattr(dense, what)(f, asked)
        made = getattr(triton, what)(f, asked, torch.float16)
        torch.testing.assert_close(made, want, rtol=5e-3, atol=5e-3)


def test_the_dense_sum_is_a_loop_over_pairs():
    f, pairs, _ = problem(1)
    made = pair_sum(f, pairs, "dense")
    for b in range(2):
        want = 0.0
        for r in range(2):
            for i, g in enumerate(pairs.groups[b, r].tolist()):
                for j, h in enumerate(pairs.groups[b, r].tolist()):
                    if g >= 0 and h >= 0:
                        want += float(pairs.weight[b, r, g, h] * (f[b, i] @ f[b, j]).sigmoid())
        assert float(made[b]) == pytest.approx(want)


def test_the_dense_spread_is_the_formula():
    f, _, spread = problem(1, valid=True)
    made = refine(f, spread, "dense")
    for b in range(2):
        weight = (f[b] @ f[b].T).sigmoid() ** 3 * spread.valid[b]
        want = weight / weight.sum(1, keepdim=True) @ spread.probabilities[b]
        want = torch.where(spread.valid[b, :, None], want, spread.probabilities[b])
        torch.testing.assert_close(made[b], want)


def test_factors_give_the_scaled_inner_product():
    embedding = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0))
    made = factors(embedding)
    for b in range(2):
        f = embedding[b].flatten(1).T
        torch.testing.assert_close(made[b] @ made[b].T, f @ f.T / 2)


def test_autocast_changes_nothing():
    asked = problem(5, dtype=torch.float32)
    plain = results("tiled", *asked)
    with torch.autocast("cpu", torch.bfloat16):
        inside = results("tiled", *asked)
    assert all(torch.equal(one, other) for one, other in zip(plain, inside, strict=True))


def test_the_matrix_is_never_held():
    n = 3000  # 9,000,000 entries, 36 MB
    asked = problem(6, images=1, n=n, dtype=torch.float32)
    largest = 0

    class Watched(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            out = function(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                largest = max(largest, out.numel())
            return out

    with Watched():
        results("tiled", *asked)
    assert largest == tiled.TILE**2


def test_triton_without_a_gpu_is_a_sentence(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    f, pairs, _ = problem(0)
    with pytest.raises(UserError, match=r"ops\.affinity=triton needs a CUDA GPU"):
        pair_sum(f, pairs, "triton")


def test_a_compiled_function_breaks_once_around_it():
    f, pairs, _ = problem(8, dtype=torch.float32)

    def function(left):
        return pair_sum(left * 2, pairs).sum() + left.sum()

    compiled = torch.compile(function, backend="eager")
    torch.testing.assert_close(compiled(f), function(f))
    assert torch._dynamo.explain(function)(f).graph_break_count == 1


@pytest.mark.gpu
@pytest.mark.parametrize("matrix", [torch.float32, torch.bfloat16])
def test_triton_on_a_gpu(matrix):
    f, pairs, spread = problem(9, n=500, d=68, dtype=torch.float32, valid=True)
    f, pairs, spread = (to_device(each, "cuda") for each in (f * 0.3, pairs, spread))
    with torch.autocast("cuda", torch.bfloat16, enabled=matrix == torch.bfloat16):
        made = pair_sum(f, pairs, "triton"), refine(f, spread, "triton")
    close = 2e-2 if matrix == torch.bfloat16 else 2e-3
    want = pair_sum(f, pairs, "dense"), refine(f, spread, "dense")
    for one, other in zip(made, want, strict=True):
        torch.testing.assert_close(one, other, rtol=close, atol=close)
