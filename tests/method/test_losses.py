"""Every loss against its definition, written as a slow loop."""

from __future__ import annotations

import pytest
import torch
from strategies import points_of
from torch.nn import functional as F

from p2seg.method.affinity_loss import affinity_loss, pixel_groups
from p2seg.method.losses import (
    P2SegLoss,
    hardest_mean,
    offset_loss,
    offset_targets,
    segmentation_loss,
    segmentation_target,
)
from p2seg.ops.affinity import factors
from p2seg.structures import Batch, Labels, Outputs


def test_hardest_mean_takes_the_share_of_each_image():
    losses = torch.arange(20.0).reshape(2, 2, 5)
    valid = torch.ones(2, 2, 5, dtype=torch.bool)
    valid[0, 1] = False  # image 0: 0..4, image 1: 10..19
    assert hardest_mean(losses, valid, 0.4) == ((4 + 3) / 2 + (19 + 18 + 17 + 16) / 4) / 2
    assert hardest_mean(losses, valid, 1e-9) == (4 + 19) / 2
    assert hardest_mean(losses, valid & False, 0.2) == 0


def test_segmentation_loss_is_cross_entropy_without_ignored_pixels():
    logits = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[[0, 2], [255, 1]]])
    want = F.cross_entropy(logits, target, ignore_index=255)
    got = segmentation_loss(F.log_softmax(logits, 1), target, 1.0)
    torch.testing.assert_close(got, want)


def test_offsets_point_to_the_click_and_vanish_there():
    instances = torch.tensor([[1, 1, 2], [0, 1, 2]])
    [target] = offset_targets(instances[None], [points_of([(0, 1), (1, 2)], [1, 1])])
    assert target[:, 0, 1].tolist() == [0, 0]
    assert target[:, 1, 1].tolist() == [-1, 0]
    assert target[:, 0, 2].tolist() == [1, 0]
    assert target[:, 1, 0].tolist() == [0, 0]


def test_offset_loss_is_smooth_l1_over_labeled_pixels():
    instances = torch.tensor([[[1, 1, 0]]])
    points = [points_of([(0, 0)], [1])]
    offset = torch.zeros(1, 2, 1, 3)
    offset[0, 0, 0, 0] = 3.0  # wanted 0: |3| - .5 = 2.5; at x = 1 wanted -1: .5
    assert offset_loss(offset, instances, points) == pytest.approx((2.5 + 0.5) / 2)
    assert offset_loss(offset, instances * 0, points) == 0


@pytest.mark.parametrize("background", ["group", "apart", "unpaired"])
def test_affinity_loss_equals_the_loop_over_pairs(background):
    """Sec. 3.2: 1 where two pixels are of one instance, else 0; the background by its reading."""
    random = torch.Generator().manual_seed(0)
    f = torch.randn(12, 3, generator=random, dtype=torch.float64)
    groups = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2, 2, 3, -1, -1])  # group 4 has no pixel
    sigma = (f @ f.T).sigmoid()
    positive, negative = [], []
    for i, g in enumerate(groups.tolist()):
        for j, h in enumerate(groups.tolist()):
            kind = background if g == h == 0 else "group" if g == h else "apart"
            if min(g, h) >= 0 and kind != "unpaired":
                (positive if kind == "group" else negative).append(float(sigma[i, j]))
    want = 1 - sum(positive) / len(positive) + sum(negative) / len(negative)
    made = torch.stack([f, f * 9, f])
    alone = torch.full_like(groups, -1)
    # rounds of other groups, an image whose first round has no pair, one without any
    rounds = torch.stack([groups, groups.roll(3), alone, alone, alone, groups]).view(3, 2, 12)
    got = affinity_loss(made, rounds, 5, background=background)
    single = lambda b, r: affinity_loss(  # noqa: E731
        made[b, None], rounds[b, None, r, None], 5, background=background
    )
    assert float(single(0, 0)) == pytest.approx(want, rel=1e-5)
    whole = (single(0, 0) + (single(0, 1) + single(2, 1)) / 2) / 2
    torch.testing.assert_close(got, whole)


def test_affinity_loss_of_one_group_and_of_none():
    f = torch.zeros(1, 4, 2)
    assert affinity_loss(f, torch.zeros(1, 1, 4, dtype=torch.long), 1) == pytest.approx(0.5)
    assert affinity_loss(f, torch.full((1, 1, 4), -1), 1) == 0


def test_pixel_groups_leave_out_what_is_not_known():
    semantic = torch.zeros(1, 4, 20, dtype=torch.long)
    semantic[..., 4:] = 1
    semantic[..., 16:] = 255
    instances = torch.zeros_like(semantic)
    instances[..., 4:12] = 3
    # background, instance, instance, class without an instance, ignored
    assert pixel_groups(Labels(semantic, instances)).tolist() == [[[0, 3, 3, -1, -1]]]


def test_points_carry_their_class():
    semantic = torch.zeros(1, 1, 9, dtype=torch.long)
    semantic[..., 5:] = 1
    points = [points_of([(0, 4), (0, 99)], [1, 1])]
    assert segmentation_target(semantic, points).tolist() == [[[0, 0, 0, 0, 1, 1, 1, 1, 1]]]


def batch_and_outputs(seed: int = 0) -> tuple[Batch, Outputs]:
    random = torch.Generator().manual_seed(seed)
    semantic = torch.zeros(2, 16, 16, dtype=torch.long)
    semantic[:, 4:12, 4:14] = 1
    instances = (semantic > 0).long()
    instances[:, :, 9:] *= 2
    labels = Labels(semantic, instances)
    points = [points_of([(8, 6), (8, 12)], [1, 1])] * 2
    batch = Batch(["a", "b"], torch.zeros(2, 3, 16, 16, dtype=torch.uint8), points, labels)
    draw = lambda *shape: torch.randn(*shape, generator=random, requires_grad=True)  # noqa: E731
    return batch, Outputs(draw(2, 3, 4, 4), draw(2, 2, 4, 4), draw(2, 8, 4, 4))


def test_the_objective_reaches_every_output_and_averages_rounds():
    batch, outputs = batch_and_outputs()
    loss = P2SegLoss()
    f = factors(outputs.embedding)
    once = loss(outputs, [batch.labels], batch, f)
    twice = loss(outputs, [batch.labels] * 2, batch, f)
    for name in ("segmentation", "offset", "affinity"):
        torch.testing.assert_close(once[name], twice[name])
    torch.stack(list(once.values())).sum().backward()
    for each in outputs[:3]:
        assert each.grad is not None
        assert each.grad.abs().sum() > 0


def test_each_round_may_have_the_map_that_it_starts_from_as_its_target():
    """Sec. 3.1: since the second stage, the semantic map is that of the stage before."""
    batch, outputs = batch_and_outputs()
    f = factors(outputs.embedding)
    later = batch.labels.semantic.clone()
    later[:, :, ::2] = 1
    second = Labels(later, batch.labels.instances)
    first = batch.labels

    def loss(rounds, **settings):
        made = P2SegLoss(hard_pixel_ratio=1.0, **settings)(outputs, rounds, batch, f)
        return made["segmentation"]

    literal = loss([first, second], target="round")
    alone = loss([first])
    moved = Batch(batch.names, batch.images, batch.points, second)
    other = P2SegLoss(hard_pixel_ratio=1.0)(outputs, [second], moved, f)
    known = batch.labels.semantic != 255
    assert known.all()
    torch.testing.assert_close(literal, (alone + other["segmentation"]) / 2)
    # otherwise rounds change the labels of offsets and affinities alone
    torch.testing.assert_close(loss([first, second]), alone)
    assert not torch.equal(literal, alone)


def test_an_empty_batch_of_labels_costs_nothing_but_segmentation():
    batch, outputs = batch_and_outputs()
    nothing = Labels(batch.labels.semantic * 0 + 255, batch.labels.instances * 0)
    empty = Batch(batch.names, batch.images, [points_of([], [])] * 2, nothing)
    losses = P2SegLoss()(outputs, [nothing], empty, factors(outputs.embedding))
    assert all(float(value.detach()) == 0 for value in losses.values())
    torch.stack(list(losses.values())).sum().backward()


def test_logits_compete_with_the_image_s_own_classes_where_asked():
    batch, outputs = batch_and_outputs()  # its points are of class 1 alone
    rounds = [batch.labels]
    f = factors(outputs.embedding)
    loss = P2SegLoss(classes="image", hard_pixel_ratio=1.0)(outputs, rounds, batch, f)
    loss["segmentation"].backward()
    slope = outputs.class_logits.grad
    assert slope[:, :2].abs().sum() > 0
    assert slope[:, 2].abs().sum() == 0
    two = outputs._replace(class_logits=outputs.class_logits.detach()[:, :2])
    alone = P2SegLoss(hard_pixel_ratio=1.0)(two, rounds, batch, f)
    torch.testing.assert_close(loss["segmentation"], alone["segmentation"])
    every = P2SegLoss(hard_pixel_ratio=1.0)(outputs, rounds, batch, f)
    assert float(every["segmentation"].detach()) > float(loss["segmentation"].detach())
