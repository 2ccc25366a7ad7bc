"""BESTIE: its heatmap, its labels and its objective, against loops and by hand."""

from __future__ import annotations

import math

import pytest
import torch
from method_sets import batch_of
from networks import tiny_network
from strategies import points_of

from p2seg.errors import UserError
from p2seg.losses import label_losses
from p2seg.mdm.s2i import semantic_to_instances
from p2seg.methods.bestie import Bestie, BestieLoss, BestieNetwork, centre_targets
from p2seg.models.backbones import build_backbone
from p2seg.pseudo.infer import NetworkLabeller
from p2seg.structures import Outputs


def bestie_network(num_classes: int = 2) -> BestieNetwork:
    torch.manual_seed(0)
    trunk = tiny_network()  # its backbone has a gradient everywhere
    made = BestieNetwork(
        build_backbone("test_resnet", pretrained=False), num_classes, width=8, dilations=(1, 2)
    )
    made.backbone.load_state_dict(trunk.backbone.state_dict())
    return made


def test_heatmaps_are_the_nearest_clicks_gaussian():
    points = [points_of([(3, 10), (20.5, 2)], [1, 2]), points_of([], [])]
    made = centre_targets(points, (6, 5), sigma=6.0)
    assert made.shape == (2, 1, 6, 5)
    for i in range(6):
        for j in range(5):
            y, x = 4 * i + 1.5, 4 * j + 1.5
            near = min(math.dist((y, x), each) for each in [(3, 10), (20.5, 2)])
            assert float(made[0, 0, i, j]) == pytest.approx(math.exp(-(near**2) / 72), abs=1e-6)
    assert not made[1].any()


def test_first_labels_lack_the_shared_region_and_refined_ones_have_it():
    batch = batch_of()
    shared = batch.labels.semantic == 1
    assert not batch.labels.instances[shared].any()
    offset = torch.zeros(1, 2, 16, 16)
    offset[:, 1, :, :7] = -9.0  # the left part votes left, the rest right
    offset[:, 1, :, 7:] = 9.0
    logits = torch.zeros(1, 3, 16, 16)
    seed, refined = Bestie(BestieLoss()).labels(Outputs(logits, offset), batch)
    assert seed.labels is batch.labels
    instances = refined.labels.instances
    assert set(instances[shared].unique().tolist()) == {1, 2}
    assert (instances[batch.labels.semantic == 2] == 3).all()
    assert not instances[(batch.labels.semantic == 0) | (batch.labels.semantic == 255)].any()
    assert refined.semantic is None
    assert float(refined.labels.weight[0, 15, 15]) == pytest.approx(1 / 3, abs=1e-5)
    assert len(Bestie(BestieLoss(), rounds=0).labels(Outputs(logits, offset), batch)) == 1


def test_every_parameter_gets_a_gradient():
    network, batch = bestie_network().train(), batch_of()
    outputs = network(batch.images)
    assert outputs.centre.shape == (1, 1, 16, 16)
    assert outputs.embedding is None
    losses = Bestie(BestieLoss(hard_pixel_ratio=1.0), start_step=0).objective(network, batch, 0)
    assert set(losses) == {"segmentation", "offset", "centre"}
    sum(losses.values()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_objective_by_hand():
    batch = batch_of()
    random = torch.Generator().manual_seed(1)
    outputs = Outputs(
        torch.randn(1, 3, 16, 16, generator=random),
        torch.randn(1, 2, 16, 16, generator=random),
        centre=torch.rand(1, 1, 16, 16, generator=random),
    )
    method = Bestie(BestieLoss(segmentation=2.0, offset=0.5, centre=3.0), start_step=7)
    rounds = method.labels(outputs, batch)
    made = method.objective(lambda _: outputs, batch, 7)
    alone = method.objective(lambda _: outputs, batch, 6)
    segmentation, offset = label_losses(
        outputs, rounds, batch, hard_pixel_ratio=0.2, offset_weight="margin"
    )
    before, _ = label_losses(
        outputs, rounds[:1], batch, hard_pixel_ratio=0.2, offset_weight="margin"
    )
    assert float(alone["segmentation"]) == pytest.approx(2 * float(before))
    assert not torch.equal(alone["offset"], made["offset"])  # refined labels come at step 7
    heat = centre_targets(batch.points, (16, 16), 6.0)
    assert float(made["segmentation"]) == pytest.approx(2 * float(segmentation))
    assert float(made["offset"]) == pytest.approx(0.5 * float(offset))
    assert float(made["centre"]) == pytest.approx(
        3 * float((outputs.centre - heat).square().mean())
    )


def test_it_labels_images_by_its_own_offsets():
    network, batch = bestie_network().eval(), batch_of()
    first = batch.labels.semantic[0]
    labeller = NetworkLabeller(network, None)
    made = labeller(batch.images[0], batch.points[0], first)
    offset = torch.nn.functional.interpolate(
        network(batch.images).offset.detach(), (64, 64), mode="bilinear", align_corners=False
    )
    known = made.semantic  # what is 255 in the first map is the network's
    [want] = semantic_to_instances(
        known[None], offset, [batch.points[0]], decode="point", snap_radius=16
    )
    assert torch.equal(made.instances, want)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(UserError, match="0 or 1 times"):
        Bestie(BestieLoss(), rounds=2)
    with pytest.raises(UserError, match="hard_pixel_ratio"):
        BestieLoss(hard_pixel_ratio=0)
