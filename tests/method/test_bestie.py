"""BESTIE: its heatmaps, its labels and its objective, against loops and by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from method_sets import batch_of
from networks import tiny_network
from strategies import points_of

from p2seg.errors import UserError
from p2seg.method.bestie import Bestie, BestieLoss, BestieNetwork, center_targets
from p2seg.method.losses import segmentation_loss
from p2seg.method.s2i import semantic_to_instances
from p2seg.models.backbones import build_backbone
from p2seg.pseudo.network import NetworkLabeler
from p2seg.structures import Batch, Outputs


def bestie_network(num_classes: int = 2) -> BestieNetwork:
    torch.manual_seed(0)
    trunk = tiny_network()  # its backbone has a gradient everywhere
    made = BestieNetwork(
        build_backbone("test_resnet", pretrained=False), num_classes, width=8, dilations=(1, 2)
    )
    made.backbone.load_state_dict(trunk.backbone.state_dict())
    return made


def outputs_of(offset: torch.Tensor | None = None) -> Outputs:
    random = torch.Generator().manual_seed(1)
    return Outputs(
        torch.randn(1, 3, 16, 16, generator=random),
        5 * torch.randn(1, 2, 16, 16, generator=random) if offset is None else offset,
        center=torch.rand(1, 2, 16, 16, generator=random),
    )


def enlarged(maps: torch.Tensor) -> np.ndarray:
    large = torch.nn.functional.interpolate(maps, scale_factor=4, mode="bilinear")
    return large[0].double().numpy()


def heatmaps(points, num_classes, height, width, sigma):
    """The slow twin: one pixel, one click at a time."""
    heat = np.zeros((num_classes, height, width))
    reach = 3 * sigma + 1
    for (y, x), label in zip(points.pixels.tolist(), points.labels.tolist(), strict=True):
        if not (0 <= y < height and 0 <= x < width):
            continue
        for i in range(height):
            for j in range(width):
                if abs(i - y) <= reach and abs(j - x) <= reach:
                    value = math.exp(-((i - y) ** 2 + (j - x) ** 2) / (2 * sigma**2))
                    heat[label - 1, i, j] = max(heat[label - 1, i, j], value)
    return heat


coordinates = st.tuples(st.floats(-9, 40, width=32), st.floats(-9, 40, width=32))


@given(
    st.lists(st.lists(st.tuples(coordinates, st.integers(1, 3)), max_size=4), min_size=1),
    st.sampled_from([1.5, 6.0]),
)
def test_every_class_has_a_heatmap_of_its_own_clicks(images, sigma):
    points = [points_of([yx for yx, _ in each], [c for _, c in each]) for each in images[:3]]
    made = center_targets(points, 3, (16, 36), sigma)
    assert made.shape == (len(points), 3, 16, 36)
    for own, clicks in zip(made, points, strict=True):
        np.testing.assert_allclose(own.numpy(), heatmaps(clicks, 3, 16, 36, sigma), atol=1e-6)


def test_first_labels_lack_the_shared_region_and_refined_ones_have_it():
    batch = batch_of()
    shared = batch.labels.semantic == 1
    offset = torch.zeros(1, 2, 16, 16)
    offset[:, 1, :, :7] = -9.0  # the left part points left, the rest right
    offset[:, 1, :, 7:] = 9.0
    seed, refined = Bestie(BestieLoss()).labels(outputs_of(offset), batch)
    assert torch.equal(seed.instances, batch.labels.instances)
    assert not seed.instances[shared].any()
    instances = refined.instances
    assert set(instances[shared].unique().tolist()) == {1, 2}
    assert (instances[batch.labels.semantic == 2] == 3).all()
    assert not instances[(batch.labels.semantic == 0) | (batch.labels.semantic == 255)].any()


def test_a_pixel_goes_where_it_points_in_every_region_of_its_class():
    """Also in a region with one click and in one without; 255 and classes without clicks wait."""
    random = torch.Generator().manual_seed(4)
    semantic = torch.zeros(64, 64, dtype=torch.long)
    semantic[2:30, 2:20], semantic[2:30, 24:40], semantic[40:50, 2:60] = 1, 1, 1
    semantic[52:60, 2:60], semantic[20:26, 44:60], semantic[2:10, 44:60] = 2, 3, 255
    points = points_of([(10, 10), (15, 30), (55, 20)], [1, 1, 2])
    offset = 20 * torch.randn(1, 2, 16, 16, generator=random)
    batch = batch_of()
    labels = replace(batch.labels, semantic=semantic[None])
    batch = replace(batch, labels=labels, points=[points])
    made = Bestie(BestieLoss()).labels(outputs_of(offset), batch)[1].instances[0]
    large = enlarged(offset)
    for y in range(64):
        for x in range(64):
            own = [k for k in range(3) if int(points.labels[k]) == int(semantic[y, x])]
            aim = np.array([y, x]) + large[:, y, x]
            far = [float(np.linalg.norm(aim - points.yx[k].numpy())) for k in own]
            want = own[int(np.argmin(far))] + 1 if own else 0
            assert int(made[y, x]) == want or abs(far[0] - far[1]) < 1e-3


@pytest.mark.parametrize(("side", "kept"), [(7, False), (8, True)])
def test_a_region_below_50_pixels_makes_no_first_label(side, kept):
    batch = batch_of()
    semantic, instances = torch.zeros(2, 1, 64, 64, dtype=torch.long)
    semantic[:, 4 : 4 + side, 4 : 4 + side] = 1
    instances[:, 4 : 4 + side, 4 : 4 + side] = 1
    labels = replace(batch.labels, semantic=semantic, instances=instances)
    batch = replace(batch, labels=labels, points=[points_of([(5, 5)], [1])])
    first, refined = Bestie(BestieLoss()).labels(outputs_of(), batch)
    assert bool(first.instances.any()) == kept
    assert torch.equal(refined.instances, instances), "refined labels have no such rule"
    assert first.semantic is semantic, "the class stays"
    losses = BestieLoss()(outputs_of(), [first, refined], batch)
    assert (float(losses["center"]) > 0) == kept


def test_every_parameter_gets_a_gradient():
    network, batch = bestie_network().train(), batch_of()
    outputs = network(batch.images)
    assert outputs.center.shape == (1, 2, 16, 16)
    assert outputs.embedding is None
    losses = Bestie(BestieLoss(hard_pixel_ratio=1.0)).objective(network, batch, 0)
    assert set(losses) == {"segmentation", "offset", "center"}
    sum(losses.values()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_objective_by_hand():
    """Each error by loops over the labeled pixels, refined labels from the first step on."""
    batch, outputs = batch_of(), outputs_of()
    method = Bestie(BestieLoss(segmentation=2.0, offset=0.5, center=3.0))
    made = method.objective(lambda _: outputs, batch, 0)
    first, refined = (each.instances[0].numpy() for each in method.labels(outputs, batch))
    offset, center = enlarged(outputs.offset), enlarged(outputs.center)
    clicks = batch.points[0].yx.double().numpy()
    heat = heatmaps(batch.points[0], 2, 64, 64, 6.0)
    where = np.argwhere(first > 0)
    assert {int(first[y, x]) for y, x in where} == {3}, "one region with one click"
    middle = where.mean(0)
    to_centroid = [np.abs(offset[:, y, x] - (middle - [y, x])).sum() for y, x in where]
    to_click = [
        np.abs(offset[:, y, x] - (clicks[refined[y, x] - 1] - [y, x])).sum()
        for y, x in np.argwhere(refined > 0)
    ]
    own = (np.mean(to_centroid) + np.mean(to_click)) / 2
    assert float(made["offset"]) == pytest.approx(0.5 * own, rel=1e-5)
    # all classes' heatmaps count, at pixels with a first label alone
    square = [((center[:, y, x] - heat[:, y, x]) ** 2).sum() for y, x in where]
    assert float(made["center"]) == pytest.approx(3 * np.mean(square), rel=1e-5)
    log_p = torch.nn.functional.interpolate(outputs.class_logits, scale_factor=4, mode="bilinear")
    want = segmentation_loss(log_p.log_softmax(1), batch.labels.semantic, 0.2)
    assert float(made["segmentation"]) == pytest.approx(2 * float(want), rel=1e-5)


def test_all_labeled_pixels_of_a_batch_count_alike():
    """As in one image that has the pixels of all."""
    one, outputs = batch_of(), outputs_of()
    other = replace(one, labels=replace(one.labels, instances=one.labels.instances * 0))
    two = Batch(
        ["a", "b"],
        torch.cat([one.images] * 2),
        [*one.points, *other.points],
        type(one.labels)(
            *(
                torch.cat([getattr(b.labels, key) for b in (one, other)])
                for key in ("semantic", "instances")
            )
        ),
    )
    twice = Outputs(*(None if each is None else torch.cat([each] * 2) for each in outputs))
    method = Bestie(BestieLoss())
    alone, both = (
        method.objective(lambda _, o=o: o, b, 0) for o, b in ((outputs, one), (twice, two))
    )
    assert float(both["center"]) == pytest.approx(float(alone["center"]), rel=1e-5)


def test_an_image_without_labels_costs_nothing_but_its_classes():
    batch = batch_of()
    nothing = torch.zeros_like(batch.labels.semantic)
    batch = replace(batch, labels=replace(batch.labels, semantic=nothing, instances=nothing))
    losses = Bestie(BestieLoss()).objective(lambda _: outputs_of(), batch, 0)
    assert (float(losses["offset"]), float(losses["center"])) == (0, 0)
    assert float(losses["segmentation"]) > 0


def test_it_labels_images_by_its_own_offsets():
    network, batch = bestie_network().eval(), batch_of()
    first = batch.labels.semantic[0]
    labeler = NetworkLabeler(network, None, snap_radius=0)
    made = labeler(batch.images[0], batch.points[0], first)
    offset = torch.nn.functional.interpolate(
        network(batch.images).offset.detach(), (64, 64), mode="bilinear", align_corners=False
    )
    known = made.semantic  # what is 255 in the first map is the network's
    [want] = semantic_to_instances(known[None], offset, [batch.points[0]], decode="point")
    assert torch.equal(made.instances, want)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(UserError, match="hard_pixel_ratio"):
        BestieLoss(hard_pixel_ratio=0)
    with pytest.raises(UserError, match="sigma"):
        BestieLoss(sigma=0)
