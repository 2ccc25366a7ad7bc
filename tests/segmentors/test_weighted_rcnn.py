"""Losses that weigh instances: equal to torchvision's at weight 1, and by hand."""

from __future__ import annotations

import pytest
import torch
from segmentor_sets import TINY
from torch.nn import functional as F
from torchvision.models.detection import roi_heads
from torchvision.ops import box_iou

from p2seg.segmentors.data import InstanceBatch, InstanceTarget
from p2seg.segmentors.mask_rcnn.model import build_mask_rcnn
from p2seg.segmentors.mask_rcnn.weighted_losses import box_losses, mask_loss


def some(count=12, classes=3, seed=0):
    random = torch.Generator().manual_seed(seed)

    def noise(*shape):
        return torch.randn(*shape, generator=random)

    labels = torch.randint(0, classes + 1, (count,), generator=random)
    return noise(count, classes + 1), noise(count, 4 * (classes + 1)), labels, noise(count, 4)


def test_at_weight_one_box_losses_are_torchvisions():
    logits, regressed, labels, deltas = some()
    theirs = roi_heads.fastrcnn_loss(logits, regressed, [labels], [deltas])
    ours = box_losses(logits, regressed, labels, deltas, torch.ones(len(labels)))
    torch.testing.assert_close(tuple(ours.values()), theirs)


def test_at_weight_one_the_mask_loss_is_torchvisions():
    random = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 4, 28, 28, generator=random)
    masks = (torch.rand(2, 40, 40, generator=random) < 0.5).byte()
    boxes = torch.tensor([[2.0, 3, 20, 30], [5, 5, 39, 20], [0, 0, 40, 40]])
    matched, labels = torch.tensor([0, 1, 1]), torch.tensor([1, 3])
    theirs = roi_heads.maskrcnn_loss(logits, [boxes], [masks], [labels], [matched])
    truth = roi_heads.project_masks_on_boxes(masks, boxes, matched, 28)
    torch.testing.assert_close(mask_loss(logits, labels[matched], truth, torch.ones(3)), theirs)
    assert mask_loss(logits[:0], labels[:0], truth[:0], torch.ones(0)) == 0


def test_weights_by_hand():
    logits, regressed, labels, deltas = some()
    weights = torch.rand(len(labels), generator=torch.Generator().manual_seed(4))
    ours = box_losses(logits, regressed, labels, deltas, weights)
    class_sum = box_sum = 0.0
    for k, label in enumerate(labels.tolist()):
        weight = float(weights[k]) if label else 1.0
        class_sum += weight * float(-logits[k].log_softmax(0)[label])
        if label:
            own = regressed[k, 4 * label : 4 * label + 4]
            box_sum += weight * float(F.smooth_l1_loss(own, deltas[k], beta=1 / 9, reduction="sum"))
    assert float(ours["loss_classifier"]) == pytest.approx(class_sum / 12, rel=1e-5)
    assert float(ours["loss_box_reg"]) == pytest.approx(box_sum / 12, rel=1e-5)


def scene(weights, mask_weights):
    """Two squares, the second of the given weights."""
    masks = torch.zeros(2, 64, 64, dtype=torch.uint8)
    masks[0, 4:24, 4:24] = 1
    masks[1, 34:60, 34:60] = 1
    boxes = torch.tensor([[4, 4, 24, 24], [34, 34, 60, 60]])
    target = InstanceTarget(
        boxes,
        torch.tensor([1, 2]),
        masks,
        torch.tensor([1.0, weights]),
        torch.tensor([1.0, mask_weights]),
    )
    image = (masks.sum(0) * 200).byte().expand(3, -1, -1)
    return InstanceBatch(["a"], [image], [target])


def gradients(model, batch, name):
    torch.manual_seed(1)
    model.zero_grad()
    losses = model.losses(batch)
    losses[name].backward()
    return losses, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def tiny():
    torch.manual_seed(0)
    return build_mask_rcnn(2, **{**TINY, "norm": "frozen"})


def test_proposals_in_mixed_precision_are_float32():
    model, seen = tiny(), []
    model.roi_heads.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model.losses(scene(1.0, 1.0))
    [boxes] = seen[0]
    assert boxes.dtype == torch.float32
    assert (boxes != boxes.bfloat16().float()).any()
    assert all(bool(loss.isfinite()) for loss in mixed.values())


def test_a_mask_of_weight_zero_teaches_no_mask():
    model = tiny()
    _, own = gradients(model, scene(1.0, 0.0), "loss_mask")
    channel = own["roi_heads.mask_predictor.mask_fcn_logits.weight"]
    assert channel[1].any()
    assert not channel[2].any()  # the second square is of class 2
    _, whole = gradients(model, scene(1.0, 1.0), "loss_mask")
    assert whole["roi_heads.mask_predictor.mask_fcn_logits.weight"][2].any()
    _, boxes = gradients(model, scene(1.0, 0.0), "loss_box_reg")
    assert boxes["roi_heads.box_predictor.bbox_pred.weight"][8:].any()  # but its box


def test_an_instance_of_weight_zero_is_neither_object_nor_background():
    model = tiny()
    batch = scene(0.0, 0.0)
    [target] = batch.targets
    given = [{**vars(target), "boxes": target.boxes.float()}]
    anchors = [
        torch.tensor([[4.0, 4, 24, 24], [34, 34, 60, 60], [32, 32, 64, 64], [40, 0, 60, 20]])
    ]
    labels, _ = model.rpn.assign_targets_to_anchors(anchors, given)
    assert labels[0].tolist() == [1, -1, -1, 0]
    _, own = gradients(model, batch, "loss_box_reg")
    assert not own["roi_heads.box_predictor.bbox_pred.weight"][8:].any()
    losses, own = gradients(model, batch, "loss_classifier")
    assert bool(losses["loss_classifier"] > 0)
    seen = []
    model.roi_heads.box_roi_pool.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    gradients(model, batch, "loss_classifier")
    [[boxes]] = seen
    assert (box_iou(boxes, target.boxes[1:].float()) < 0.5).all()
