"""SOLOv2: parts, losses by hand, and what it finds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from segmentor_sets import SOLO, batch_of, make_set, square

from p2seg.data.rle import decode
from p2seg.errors import UserError
from p2seg.segmentors.augment import RandomResize
from p2seg.segmentors.data import InstanceBatch, InstanceDataset, InstanceTarget
from p2seg.segmentors.solov2.heads import RawOutputs, with_places
from p2seg.segmentors.solov2.losses import category_loss, dice_loss, mask_loss, shrunk
from p2seg.segmentors.solov2.model import build_solov2, peaks
from p2seg.segmentors.solov2.targets import GridLevel, grid_owners
from p2seg.segmentors.training import segmentor_losses

AUGMENT = RandomResize(short_side=64, long_side=128, flip=True)
SCENES = ([(1, 6, 8, 20), (2, 34, 30, 24)], [(2, 10, 30, 18)])
LEVELS = (GridLevel(3, 1, 40, 8), GridLevel(2, 20, 512, 8))


def tiny(**changes):
    torch.manual_seed(0)
    return build_solov2(2, **{**SOLO, **changes})


def test_the_papers_network_has_its_shapes():
    model = build_solov2(3, backbone="test_resnet", pretrained=False, head_depth=1).eval()
    seen = model.forward_features(torch.zeros(2, 3, 64, 96))
    assert seen.categories.shape == (2, 40**2 + 36**2 + 24**2 + 16**2 + 12**2, 3)
    assert seen.kernels.shape == (2, 3872, 256)
    assert seen.features.shape == (2, 256, 16, 24)
    assert [each.stride for each in model.levels] == [8, 8, 16, 32, 32]
    with torch.no_grad():  # every class is rare at first
        assert float(seen.categories.sigmoid().mean()) == pytest.approx(0.01, rel=0.2)


def test_places_run_from_minus_one_to_one():
    placed = with_places(torch.zeros(1, 4, 3, 5))
    assert placed.shape == (1, 6, 3, 5)
    assert placed[0, 4, 1].tolist() == [-1, -0.5, 0, 0.5, 1]  # x
    assert placed[0, 5, :, 2].tolist() == [-1, 0, 1]  # y


def test_losses_are_finite_and_reach_every_parameter(tmp_path):
    model = tiny()
    batch = batch_of(tmp_path, AUGMENT, *SCENES)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    for step in range(2):  # timm's residual blocks start with a last scale of 0
        losses = segmentor_losses(model, batch, step)
        assert set(losses) == {"loss_category", "loss_mask"}
        assert all(bool(loss.isfinite() & (loss > 0)) for loss in losses.values())
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def target(*squares, size=(64, 64), weights=None, mask_weights=None):
    masks = torch.stack([torch.from_numpy(square(*size, *each)) for each in squares]).byte()
    boxes = torch.tensor([[left, top, left + side, top + side] for top, left, side in squares])
    ones = torch.ones(len(squares))
    return InstanceTarget(
        boxes,
        torch.arange(1, len(squares) + 1),
        masks,
        ones if weights is None else torch.tensor(weights),
        ones if mask_weights is None else torch.tensor(mask_weights),
    )


def test_the_category_loss_by_hand():
    own = target((4, 4, 20), (30, 30, 30), weights=[0.5, 0.0])
    owner = grid_owners(own, LEVELS, 0.2, 64, 64)
    logits = torch.randn(1, 13, 2, generator=torch.Generator().manual_seed(0))
    total, positives = 0.0, 0
    for cell in range(13):
        k = int(owner[cell])
        positives += k == 0  # the other weighs nothing
        weight = 1.0 if k < 0 else float(own.weights[k])
        for c in range(2):
            p = 1 / (1 + math.exp(-float(logits[0, cell, c])))
            if k >= 0 and int(own.labels[k]) == c + 1:
                total += weight * 0.25 * (1 - p) ** 2 * -math.log(p)
            else:
                total += weight * 0.75 * p**2 * -math.log(1 - p)
    assert positives >= 1
    assert 1 in owner
    made = category_loss(logits, [owner], [own])
    assert float(made) == pytest.approx(total / (positives + 1), rel=1e-5)


def test_the_mask_loss_by_hand():
    own = target((4, 4, 20), (30, 30, 30), (40, 2, 8), mask_weights=[1.0, 0.25, 0.0])
    owner = grid_owners(own, LEVELS, 0.2, 64, 64)
    assert set(owner.tolist()) == {-1, 0, 1, 2}
    random = torch.Generator().manual_seed(0)
    kernels = torch.randn(1, 13, 5, generator=random)
    features = torch.randn(1, 5, 16, 16, generator=random)
    truth = own.masks.numpy().reshape(3, 16, 4, 16, 4).mean((2, 4)) >= 0.5
    losses = []
    for cell in range(13):
        k = int(owner[cell])
        if k in (0, 1):
            logits = np.einsum("e,ehw->hw", kernels[0, cell], features[0])
            p = 1 / (1 + np.exp(-logits))
            dice = 2 * (p * truth[k]).sum() / ((p**2).sum() + truth[k].sum())
            losses.append((1 - dice) * float(own.mask_weights[k]))
    made = mask_loss(RawOutputs(torch.empty(0), kernels, features), [owner], [own])
    assert float(made) == pytest.approx(np.mean(losses), rel=1e-5)


def test_a_mask_too_small_for_the_features_teaches_nothing():
    small = target((4, 4, 20), (40, 40, 1))  # one pixel of sixteen
    owner = torch.full((13,), -1)
    owner[2], owner[5] = 0, 1
    random = torch.Generator().manual_seed(0)
    seen = RawOutputs(
        torch.empty(0),
        torch.randn(1, 13, 5, generator=random),
        torch.randn(1, 5, 16, 16, generator=random),
    )
    both = mask_loss(seen, [owner], [small])
    owner[5] = -1
    assert torch.equal(both, mask_loss(seen, [owner], [small]))


def test_dice_of_equal_and_of_disjoint_masks():
    a = torch.tensor([[1.0, 1, 0, 0]])
    assert float(dice_loss(a, a)) == 0
    assert float(dice_loss(a, 1 - a)) == 1
    assert float(dice_loss(0 * a, 0 * a)) == 1  # no division by nothing


def test_masks_shrink_by_what_covers_half_a_cell():
    masks = torch.zeros(1, 6, 9).byte()
    masks[0, :2, :4] = 1  # half of the first cell
    masks[0, 4:, 4:7] = 1  # six of sixteen, the padding counts
    assert shrunk(masks, 3, 4)[0].nonzero().tolist() == [[0, 0]]


def test_only_peaks_stay():
    random = torch.Generator().manual_seed(0)
    scores = torch.rand(13, 2, generator=random)
    kept = peaks(scores, LEVELS)
    start = 0
    for level in LEVELS:
        n = level.cells
        for c in range(2):
            own = scores[start : start + n * n, c].reshape(n, n)
            for i in range(n):
                for j in range(n):
                    before = own[max(0, i - 1) : i + 1, max(0, j - 1) : j + 1]
                    expected = own[i, j] if own[i, j] >= before.max() else 0
                    assert kept[start + i * n + j, c] == expected
        start += n * n


def test_an_image_without_instances_is_a_negative(tmp_path):
    model = tiny()
    both = batch_of(tmp_path, AUGMENT, SCENES[0], [])
    alone = InstanceBatch(both.names[1:], both.images[1:], both.targets[1:])
    for batch in (both, alone):
        losses = segmentor_losses(model, batch, 0)
        assert all(bool(loss.isfinite()) for loss in losses.values())
        torch.stack(list(losses.values())).sum().backward()
    assert losses["loss_mask"].item() == 0
    assert losses["loss_category"].item() > 0


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (70, 64)])
def test_odd_sizes_train_and_are_predicted(tmp_path, size):
    model = tiny(norm="frozen", candidate_score=0.0)
    batch = batch_of(tmp_path, AUGMENT, [(1, 0, 0, 1)], size=size)
    losses = segmentor_losses(model, batch, 0)
    assert all(bool(loss.isfinite()) for loss in losses.values())
    [found] = model.eval().predict([torch.zeros((3, *size), dtype=torch.uint8)], 0.0)
    assert found or size != (70, 64)
    for each in found:
        assert each.rle["size"] == list(size)
        x0, y0, x1, y1 = each.box
        assert 0 <= x0 < x1 <= size[1]
        assert 0 <= y0 < y1 <= size[0]


def planted(model, boxes, label=2, h=16, w=24):
    """What the network would see of an image with one certain instance a box, in cells."""
    cells = sum(each.cells**2 for each in model.levels)
    seen = RawOutputs(
        torch.full((1, cells, 2), -9.0), torch.zeros(1, cells, 8), torch.zeros(1, 8, h, w)
    )
    for k, (y0, x0, y1, x1) in enumerate(boxes):
        seen.features[0, k] = -1
        seen.features[0, k, y0:y1, x0:x1] = 1
        place = 50 + 3 * k
        seen.categories[0, place, label - 1] = 5.0 - k
        seen.kernels[0, place, k] = 20
    return seen


def test_masks_come_back_to_the_pixels_of_the_image(monkeypatch):
    model = tiny().eval()  # 100 x 180 becomes 64 x 115, padded to 64 x 128
    seen = planted(model, [(3, 5, 11, 14), (2, 20, 9, 29)], w=32)
    monkeypatch.setattr(model, "forward_features", lambda _images: seen)
    [found] = model.predict([torch.zeros((3, 100, 180), dtype=torch.uint8)], 0.3)
    assert [each.label for each in found] == [2, 2]
    scale_y, scale_x = 4 * 100 / 64, 4 * 180 / 115
    for each, (y0, x0, y1, x1) in zip(found, [(3, 5, 11, 14), (2, 20, 9, 29)], strict=True):
        y0, y1, x0, x1 = y0 * scale_y, y1 * scale_y, x0 * scale_x, min(180, x1 * scale_x)
        np.testing.assert_allclose(each.box, (x0, y0, x1, y1), atol=1.01)
        truth = np.zeros((100, 180), dtype=bool)
        truth[round(y0) : round(y1), round(x0) : round(x1)] = True
        mask = decode(each.rle)
        assert (mask & truth).sum() / (mask | truth).sum() > 0.95
    assert found[0].score > found[1].score > 0.97


def test_a_twin_of_another_cell_is_lowered(monkeypatch):
    model = tiny().eval()
    seen = planted(model, [(3, 5, 11, 14), (3, 5, 11, 14)])
    monkeypatch.setattr(model, "forward_features", lambda _images: seen)
    [found] = model.predict([torch.zeros((3, 64, 96), dtype=torch.uint8)], 0.0)
    assert found[1].score == pytest.approx(found[0].score * math.exp(-2), rel=0.03)


def test_what_is_found_depends_on_no_other_image():
    random = torch.Generator().manual_seed(1)
    model = tiny(norm="frozen", candidate_score=0.0).eval()
    images = [
        torch.randint(0, 255, (3, *size), generator=random, dtype=torch.uint8)
        for size in ((64, 64), (64, 96), (64, 64))
    ]
    together = model.predict(images, 0.0)
    for image, found in zip(images, together, strict=True):
        [alone] = model.predict([image], 0.0)
        assert len(alone) == len(found) > 0
        for one, other in zip(alone, found, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-5)


def test_learns_two_images(tmp_path, learned_solov2):
    model = learned_solov2
    still = InstanceDataset(
        make_set(tmp_path, *SCENES), tmp_path, RandomResize(64, 128, flip=False), 0
    )
    for index in range(2):
        _, image, own = still[(0, index)]
        [found] = model.predict([image], 0.4)
        assert sorted(each.label for each in found) == sorted(own.labels.tolist())
        for each in found:
            truth = own.masks[own.labels.tolist().index(each.label)].bool().numpy()
            mask = decode(each.rle)
            assert (mask & truth).sum() / (mask | truth).sum() > 0.75


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"grids": (8, 4)}, "grids has 2 and sizes has 4 levels.*4 feature maps"),
        ({"frozen": ["stem9"]}, "stem9.*layer1"),
        ({"grids": (0, 8, 6, 4)}, r"grids=\[0, 8, 6, 4\]"),
        ({"sizes": ((1, 16), (24, 10), (16, 40), (30, 512))}, r"sizes has \[24, 10\]"),
        ({"head_depth": 0}, "head_depth=0"),
        ({"candidates": -1}, "candidates=-1"),
        ({"candidate_score": 2.0}, "candidate_score=2.0"),
        ({"backbone": "no_such_net"}, "no_such_net"),
    ],
)
def test_a_wrong_option_is_one_sentence(changes, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        tiny(**changes)
    assert "\n" not in str(caught.value)


def test_the_pyramid_may_have_one_level_more(tmp_path):
    model = tiny(grids=(10, 8, 6, 4, 3), sizes=((1, 16), (10, 24), (16, 40), (30, 50), (45, 512)))
    losses = segmentor_losses(model, batch_of(tmp_path, AUGMENT, *SCENES), 0)
    assert all(bool(loss.isfinite()) for loss in losses.values())


def test_losses_in_mixed_precision_are_those_in_float32(tmp_path):
    model, batch = tiny(), batch_of(tmp_path, AUGMENT, *SCENES)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model.losses(batch)
    for name, loss in model.losses(batch).items():
        assert mixed[name].dtype == torch.float32
        assert mixed[name].item() == pytest.approx(loss.item(), rel=0.03)
