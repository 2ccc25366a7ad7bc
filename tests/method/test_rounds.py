"""The rounds against I2S with the whole matrix, as in docs/explanation/method.md."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import points_of
from torch.nn import functional as F

from p2seg.errors import UserError
from p2seg.method.affinity_loss import pixel_groups
from p2seg.method.grid import on_grid, upsample
from p2seg.method.i2s import class_probabilities
from p2seg.method.rounds import MutualDistillation
from p2seg.method.s2i import semantic_to_instances
from p2seg.structures import Batch, Labels, Outputs, class_set

C, D = 3, 6


def scene(seed, height=22, width=27, with_ignored=True):
    """A batch of two images of odd sizes with clicks, and random outputs of a network."""
    random = torch.Generator().manual_seed(seed)
    h, w = -(-height // 4), -(-width // 4)

    def draw(*shape):
        return torch.randn(*shape, generator=random).requires_grad_()

    outputs = Outputs(
        draw(2, C + 1, h, w),
        (torch.randn(2, 2, h, w, generator=random) * 8).requires_grad_(),
        draw(2, D, h, w),
    )
    semantic = torch.randint(0, C + 1, (2, height, width), generator=random)
    if with_ignored:
        semantic[torch.rand(2, height, width, generator=random) < 0.3] = 255
    points = [
        points_of([(3, 4), (18, 20), (9, 13)], [1, 1, 3]),
        points_of([(0, 0), (21, 26)], [2, 2]),
    ]
    labels = Labels(semantic, torch.zeros_like(semantic))
    images = torch.zeros(2, 3, height, width, dtype=torch.uint8)
    return outputs, Batch(["a", "b"], images, points, labels)


def written_out(outputs, batch, b, rounds, beta):
    """`S_1 .. S_T` of one image: every formula of the method with dense matrices."""
    points = batch.points[b]
    h, w = outputs.offset.shape[2:]
    n = h * w
    classes = sorted({0, *points.labels.tolist()})
    P = torch.zeros(n, C + 1)
    P[:, classes] = outputs.class_logits[b][classes].reshape(len(classes), n).T.softmax(1)
    height, width = batch.labels.semantic.shape[1:]
    first = torch.stack(
        [
            batch.labels.semantic[b, min(4 * i + 2, height - 1), min(4 * j + 2, width - 1)]
            for i in range(h)
            for j in range(w)
        ]
    )
    valid = first != 255
    f = outputs.embedding[b].reshape(D, n).T
    A = f @ f.T / D**0.5
    W = A.sigmoid() ** beta * valid[None]
    W = W / W.sum(1, keepdim=True)
    maps = []
    for _ in range(rounds):
        P = torch.where(valid[:, None], W @ P, P)
        maps.append(P.T.reshape(C + 1, h, w))
    return maps


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 3),
    st.sampled_from([1.0, 3.0]),
)
def test_rounds_equal_the_method_written_out(seed, rounds, beta):
    outputs, batch = scene(seed)
    mdm = MutualDistillation(rounds=rounds, beta=beta)
    made = mdm.semantics(outputs, batch.points, batch.labels.semantic, rounds)
    for b in range(2):
        wanted = written_out(outputs, batch, b, rounds, beta)
        for one, other in zip(made, wanted, strict=True):
            torch.testing.assert_close(one[b], other, rtol=1e-3, atol=1e-5)


def test_rows_sum_to_one_over_the_class_set():
    outputs, batch = scene(1)
    maps = MutualDistillation(rounds=3).semantics(outputs, batch.points, batch.labels.semantic, 3)
    for each in maps:
        torch.testing.assert_close(each.sum(1), torch.ones_like(each[:, 0]))
        assert (each[0, 2] == 0).all()  # the first image has clicks of classes 1 and 3
        assert (each[1, [1, 3]] == 0).all()
        assert (each[0, [0, 1, 3]] > 0).all()


def test_the_class_set_is_background_and_the_clicked_classes():
    points = [points_of([(0, 0), (1, 1)], [3, 3]), points_of([(2, 2)], [1])]
    made = class_set(points, 4, torch.device("cpu"))
    assert made.long().tolist() == [[1, 0, 0, 1, 0], [1, 1, 0, 0, 0]]
    logits = torch.zeros(1, 4, 1, 1)
    p = class_probabilities(logits, [points_of([(0, 0)], [2])])
    assert p.flatten().tolist() == [0.5, 0, 0.5, 0]
    p = class_probabilities(logits, [points_of([], [])])
    assert p.flatten().tolist() == [1, 0, 0, 0]


def test_ignored_pixels_keep_their_probabilities_and_reach_nobody():
    outputs, batch = scene(2)
    mdm = MutualDistillation(rounds=2)
    semantic = batch.labels.semantic
    made = mdm.semantics(outputs, batch.points, semantic, 2)
    first = class_probabilities(outputs.class_logits, batch.points)
    ignored = on_grid(semantic) == 255
    assert 0 < ignored.sum() < ignored.numel()
    for each in made:
        assert torch.equal(each.movedim(1, -1)[ignored], first.movedim(1, -1)[ignored])
    changed = outputs._replace(
        class_logits=outputs.class_logits + 5 * ignored[:, None] * torch.arange(4)[:, None, None]
    )
    again = mdm.semantics(changed, batch.points, semantic, 1)[0]
    torch.testing.assert_close(
        again.movedim(1, -1)[~ignored], made[0].movedim(1, -1)[~ignored], rtol=1e-4, atol=1e-6
    )


def test_an_image_of_ignored_pixels_alone_stays_as_it_is():
    outputs, batch = scene(3)
    nothing = torch.full_like(batch.labels.semantic, 255)
    for each in MutualDistillation().semantics(outputs, batch.points, nothing, 2):
        assert torch.equal(each, class_probabilities(outputs.class_logits, batch.points))


def test_a_batch_equals_its_images_one_by_one():
    outputs, batch = scene(4)
    mdm = MutualDistillation(rounds=2)
    whole = mdm(outputs, batch)
    for b in range(2):
        own = Outputs(*(None if each is None else each[b : b + 1] for each in outputs))
        labels = Labels(*(each[b : b + 1] for each in vars(batch.labels).values()))
        alone = mdm(own, Batch(["x"], batch.images[b : b + 1], [batch.points[b]], labels))
        for one, other in zip(whole, alone, strict=True):
            assert torch.equal(one.semantic[b], other.semantic[0])
            assert torch.equal(one.instances[b], other.instances[0])


def test_the_first_round_is_the_seed_and_the_count_is_that_of_the_call():
    outputs, batch = scene(5)
    mdm = MutualDistillation(rounds=2)
    rounds = mdm(outputs, batch)
    assert len(rounds) == 3
    assert rounds[0] is batch.labels
    [seed] = mdm(outputs, batch, rounds=0)
    assert seed is batch.labels


def test_labels_and_maps_carry_no_gradient():
    outputs, batch = scene(6)
    *_, last = MutualDistillation(rounds=2)(outputs, batch)
    assert not last.semantic.requires_grad
    [made] = MutualDistillation().semantics(outputs, batch.points, batch.labels.semantic, 1)
    assert not made.requires_grad


def test_rounds_of_a_network_without_affinities_are_one_sentence():
    outputs, batch = scene(6)
    outputs = outputs._replace(embedding=None)
    assert MutualDistillation(rounds=0)(outputs, batch) == [batch.labels]
    with pytest.raises(UserError, match=r"need affinities, .* set mdm\.rounds, export\.rounds"):
        MutualDistillation(rounds=1)(outputs, batch)


def test_labels_are_those_of_the_map_brought_up():
    """Labels at input size: the bilinear map's argmax, S2I on bilinear offsets."""
    outputs, batch = scene(7, with_ignored=False)
    mdm = MutualDistillation(rounds=1)
    made = mdm(outputs, batch)[1]
    [refined] = mdm.semantics(outputs, batch.points, batch.labels.semantic, 1)
    large = F.interpolate(refined, scale_factor=4, mode="bilinear")[..., :22, :27]
    assert torch.equal(made.semantic, large.argmax(1))
    offset = F.interpolate(outputs.offset.detach(), scale_factor=4, mode="bilinear")[..., :22, :27]
    instances = semantic_to_instances(large.argmax(1), offset, batch.points)
    for b, wanted in enumerate(instances):
        assert torch.equal(made.instances[b], wanted)


def test_what_the_first_map_ignores_is_in_no_label_of_any_round():
    """Padding is neither background nor an object, or a loss would look at it from round 1 on."""
    outputs, batch = scene(7)
    ignored = batch.labels.semantic == 255
    _, *later = MutualDistillation(rounds=2)(outputs, batch)
    for each in later:
        assert torch.equal(each.semantic == 255, ignored)
        clicks = torch.zeros_like(ignored)
        for b, points in enumerate(batch.points):
            clicks[b, points.pixels[:, 0], points.pixels[:, 1]] = True
        assert not each.instances[ignored & ~clicks].any()
        groups = pixel_groups(each)
        assert (groups[ignored[:, 2::4, 2::4] & ~clicks[:, 2::4, 2::4]] == -1).all()


def test_the_grid_takes_the_middle_of_each_cell_and_stays_in_the_image():
    labels = torch.arange(6 * 9).reshape(1, 6, 9)
    assert on_grid(labels).tolist() == [[[20, 24, 26], [47, 51, 53]]]
    assert on_grid(torch.tensor([[[7]]])).tolist() == [[[7]]]


def test_upsampling_is_bilinear_and_cut_to_the_image():
    grid = torch.tensor([[[0.0, 4.0]]])
    made = upsample(grid[None], (3, 7))[0]
    assert made.shape == (1, 3, 7)
    assert made[0, 0].tolist() == [0, 0, 0.5, 1.5, 2.5, 3.5, 4]
