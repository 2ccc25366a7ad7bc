"""Mask R-CNN: losses, gradients, weights and what it finds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from segmentor_sets import TINY, make_set
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.ops import roi_align
from torchvision.transforms.v2 import functional as F

from p2seg.data.rle import decode
from p2seg.engine.optim import steps
from p2seg.errors import UserError
from p2seg.models.network import IMAGENET_MEAN as MEAN
from p2seg.models.network import IMAGENET_STD as STD
from p2seg.segmentors.augment import RandomResize
from p2seg.segmentors.data import InstanceBatch, InstanceDataset, target_of
from p2seg.segmentors.mask_rcnn.model import build_mask_rcnn
from p2seg.segmentors.training import EpochSchedule, segmentor_losses

AUGMENT = RandomResize(short_side=64, long_side=128, flip=True)
SCENES = ([(1, 6, 8, 20), (2, 34, 30, 24)], [(2, 10, 30, 18)])


def tiny(**changes):
    torch.manual_seed(5)
    return build_mask_rcnn(2, **{**TINY, **changes})


def batch_of(folder, *groups, **options):
    dataset = InstanceDataset(make_set(folder, *groups, **options), folder, AUGMENT, seed=0)
    return InstanceBatch.of([dataset[(0, k)] for k in range(len(dataset))])


def test_losses_are_finite_and_reach_every_parameter(tmp_path):
    model = tiny()
    batch = batch_of(tmp_path, *SCENES)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    for step in range(
        2
    ):  # timm's residual blocks start with a last scale of 0: one step opens them
        losses = segmentor_losses(model, batch, step)
        assert set(losses) == {
            "loss_classifier",
            "loss_box_reg",
            "loss_mask",
            "loss_objectness",
            "loss_rpn_box_reg",
        }
        assert all(bool(loss.isfinite() & (loss > 0)) for loss in losses.values())
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_backbone_sees_normalized_images_in_their_own_size(tmp_path):
    model, seen = tiny(), []
    model.backbone.register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    batch = batch_of(tmp_path, [(1, 6, 8, 20)], size=(64, 80))
    smaller = F.resize(batch.images[0], [50, 60])
    targets = [*batch.targets, target_of(torch.ones((1, 50, 60)).byte(), torch.tensor([1]))]
    segmentor_losses(model, InstanceBatch(["a", "b"], [batch.images[0], smaller], targets), 0)
    [images] = seen
    assert images.shape == (2, 3, 64, 96)  # padded to a multiple of 32, not resized
    gray = torch.tensor([(110 / 255 - m) / s for m, s in zip(MEAN, STD, strict=True)])
    for image, (height, width) in zip(images, ((64, 80), (50, 60)), strict=True):
        torch.testing.assert_close(image[:, height - 1, width - 1], gray)
        assert not image[:, height:].any()
        assert not image[:, :, width:].any()


def test_an_image_without_instances_is_a_negative(tmp_path):
    model = tiny()
    mixed = batch_of(tmp_path / "mixed", SCENES[0], [])
    alone = batch_of(tmp_path / "mixed", SCENES[0], [])
    alone = InstanceBatch(alone.names[1:], alone.images[1:], alone.targets[1:])
    for batch in (mixed, alone):
        losses = segmentor_losses(model, batch, 0)
        assert all(bool(loss.isfinite()) for loss in losses.values())
        torch.stack(list(losses.values())).sum().backward()
    assert losses["loss_mask"].item() == 0
    assert losses["loss_objectness"].item() > 0


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (70, 64)])
def test_odd_sizes_train_and_are_detected(tmp_path, size):
    model = tiny(norm="frozen")
    batch = batch_of(tmp_path, [(1, 0, 0, 1)], size=size)
    losses = segmentor_losses(model, batch, 0)
    assert all(bool(loss.isfinite()) for loss in losses.values())
    [found] = model.eval().predict([torch.zeros((3, *size), dtype=torch.uint8)], 0.0)
    for each in found:
        assert each.rle["size"] == list(size)
        assert each.label in (1, 2)
        x0, y0, x1, y1 = each.box
        assert 0 <= x0 <= x1 <= size[1]
        assert 0 <= y0 <= y1 <= size[0]


def test_learns_two_images_and_finds_their_masks_in_other_sizes(tmp_path, learned_mask_rcnn):
    model = learned_mask_rcnn
    given = make_set(
        tmp_path / "large",
        *(
            [(label, 2 * top, 2 * left, 2 * side) for label, top, left, side in squares]
            for squares in SCENES
        ),
        size=(128, 128),
    )
    larger = InstanceDataset(given, tmp_path / "large", RandomResize(128, 128, flip=False), 0)
    for index, own in enumerate(given.instances):
        [found] = model.predict([larger[(0, index)][1]], 0.5)
        assert sorted(each.label for each in found) == sorted(each.label for each in own)
        assert [each.score for each in found] == sorted((e.score for e in found), reverse=True)
        for each in found:
            [truth] = [decode(other.rle) for other in own if other.label == each.label]
            mask = decode(each.rle)
            assert (mask & truth).sum() / (mask | truth).sum() > 0.85
            ys, xs = np.nonzero(truth)
            edges = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
            np.testing.assert_allclose(each.box, edges, atol=5)


def test_masks_come_back_to_the_pixels_of_the_image(monkeypatch):
    large = np.zeros((128, 192), np.uint8)
    cv2.ellipse(large, (90, 60), (50, 22), 30, 0, 360, 1, -1)
    small = torch.nn.functional.avg_pool2d(torch.from_numpy(large)[None, None].float(), 2)
    ys, xs = np.nonzero(small[0, 0].numpy() >= 0.5)
    box = torch.tensor([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]]).float()
    masks = roi_align(small, [box], (28, 28))  # as torchvision makes its training targets
    found = {
        "boxes": box.repeat(2, 1),
        "masks": torch.cat([masks, masks * 0.4]),  # the second is nowhere at least a half
        "labels": torch.tensor([2, 1]),
        "scores": torch.tensor([0.9, 0.8]),
    }
    model = tiny().eval()  # 128 x 192 becomes 64 x 96
    monkeypatch.setattr(GeneralizedRCNN, "forward", lambda _self, _images: [found])
    [[detection]] = model.predict([torch.zeros((3, *large.shape), dtype=torch.uint8)], 0.5)
    mask = decode(detection.rle)
    assert (mask & (large > 0)).sum() / (mask | (large > 0)).sum() > 0.975
    assert detection.box == tuple(2 * box[0].tolist()[k] for k in range(4))
    assert (detection.label, detection.score) == (2, pytest.approx(0.9))


def test_what_is_found_depends_on_no_other_image():
    random = torch.Generator().manual_seed(1)
    images = [
        torch.randint(0, 255, (3, *size), generator=random, dtype=torch.uint8)
        for size in ((64, 64), (1, 64), (64, 80), (64, 64))
    ]
    fresh, used = tiny(norm="frozen").eval(), tiny(norm="frozen").eval()
    used.predict([images[1]], 0.0)  # one row of pixels, from which torchvision guesses no strides
    together = used.predict(images, 0.0)
    assert all(together)
    for image, found in zip(images, together, strict=True):
        [alone] = fresh.predict([image], 0.0)
        assert [each.label for each in alone] == [each.label for each in found]
        for one, other in zip(alone, found, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-5)
            assert one.box == pytest.approx(other.box, abs=1e-3)


def test_frozen_parts_keep_still(tmp_path):
    model = tiny(norm="frozen", frozen=["conv1", "layer1"])
    parts = {
        name.split(".")[3]: parameter.requires_grad
        for name, parameter in model.named_parameters()
        if name.startswith("backbone.body.body.")
    }
    names = ("conv1", "layer1", "layer2", "layer3", "layer4")
    assert [parts[name] for name in names] == [False, False, True, True, True]
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"frozen": ["stem9"]}, "stem9.*layer1"),
        ({"anchor_sizes": (8, 16)}, "2 sizes.*4 feature maps"),
        ({"weights": "nowhere.safetensors"}, r"nowhere\.safetensors.*segmentor\.pretrained=false"),
        ({"backbone": "no_such_net"}, "no_such_net"),
    ],
)
def test_a_wrong_option_is_one_sentence(changes, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        tiny(**changes)
    assert "\n" not in str(caught.value)


def test_one_level_more_than_the_backbone_is_pooled(tmp_path):
    model = tiny(anchor_sizes=(8, 12, 16, 24, 32))
    losses = segmentor_losses(model, batch_of(tmp_path, *SCENES), 0)
    assert all(bool(loss.isfinite()) for loss in losses.values())


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_takes_the_backbone_of_a_classifier(tmp_path, suffix):
    torch.manual_seed(5)
    classifier = timm.create_model("test_resnet").state_dict()
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(classifier, path)
    else:
        save_file(classifier, path)
    model = tiny(pretrained=True, weights=path)
    body = model.backbone.body.state_dict()
    shared = [key for key in classifier if f"body.{key}" in body]
    assert any(key.startswith("fc") for key in classifier.keys() - set(shared))
    assert len(shared) > 20
    for key in shared:
        assert torch.equal(body[f"body.{key}"], classifier[key]), key


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(timm.create_model("test_vit").state_dict(), path)
    with pytest.raises(UserError, match="another network"):
        tiny(weights=path)


def test_the_schedule_is_the_papers():
    schedule = EpochSchedule()
    assert schedule.steps(images=1600, batch=16) == 1200
    assert schedule.peak(16) == pytest.approx(0.02)
    assert schedule.peak(2) == pytest.approx(0.0025)
    factor = schedule.factor(images=1600, batch=16)
    assert factor(0) == pytest.approx(1 / 500)
    assert [factor(step) for step in (500, 799, 800, 1099, 1100, 1199)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )
    assert factor(499) == steps([800, 1100], 500)(499)
    assert "0.0025 = 0.02 x 2 / 16" in schedule.said(1600, 2)
    assert EpochSchedule(epochs=0.1).steps(images=3, batch=16) == 1


def test_the_learning_rate_falls_at_the_same_shares_of_any_number_of_epochs():
    """A training that is made longer is no tail of a short one's."""
    assert EpochSchedule().falls == (8, 11)
    assert EpochSchedule(epochs=24).falls == (16, 22)
    assert EpochSchedule(epochs=36, milestones=[27, 33]).falls == [27, 33]
    factor = EpochSchedule(epochs=60, warmup_steps=0).factor(images=100, batch=4)
    assert [round(factor(25 * epoch), 6) for epoch in (39, 41, 54, 56)] == [1, 0.1, 0.1, 0.01]
    assert "after epoch 40 and 55 of 60" in EpochSchedule(epochs=60).said(100, 4)
