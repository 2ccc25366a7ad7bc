"""Mask2Former: losses, weights, gradients, what it finds, and what it may start from."""

from __future__ import annotations

import builtins
import json
import shutil
import socket
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from segmentor_sets import make_set, write_set
from torch.nn import functional as F

import p2seg
from p2seg.data.rle import decode
from p2seg.engine.checkpoint import load_checkpoint
from p2seg.errors import UserError
from p2seg.segmentors.augment import RandomResize
from p2seg.segmentors.data import InstanceBatch, InstanceDataset, target_of
from p2seg.segmentors.lazy_masks import cell_mask
from p2seg.segmentors.mask2former.model import build_mask2former
from p2seg.segmentors.training import segmentor_losses

transformers = pytest.importorskip("transformers", reason="the extra [mask2former] is not here")

TINY = {
    "queries": 6,
    "channels": 64,
    "heads": 2,
    "encoder_layers": 1,
    "encoder_channels": 32,
    "decoder_layers": 3,
    "decoder_channels": 32,
    "points": 64,
    "detections": 8,
}
SIDES = {"short_side": 64, "long_side": 128}
BODY = {"backbone": "test_resnet", "pretrained": False, "norm": "group"}
SCENES = ([(1, 6, 8, 20), (2, 34, 30, 24)], [(2, 10, 30, 18)])
AUGMENT = RandomResize(**SIDES, flip=True)


@pytest.fixture(autouse=True)
def without_a_net(monkeypatch):
    """Whoever asks for anything outside fails."""

    def refuse(*_):
        raise AssertionError("something was asked of the net")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def tiny(classes=2, **changes):
    torch.manual_seed(0)
    return build_mask2former(classes, **{**BODY, **SIDES, **TINY, **changes})


def batch_of(folder, *groups, **options):
    dataset = InstanceDataset(make_set(folder, *groups, **options), folder, AUGMENT, seed=0)
    return InstanceBatch.of([dataset[(0, k)] for k in range(len(dataset))])


def total(losses):
    return torch.stack(list(losses.values())).sum()


def test_losses_are_those_of_transformers(tmp_path):
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

    model = tiny()
    batch = batch_of(tmp_path, SCENES[0], [], SCENES[1])
    seen = []
    model.heads.register_forward_hook(lambda _module, _input, layers: seen.append(layers))
    torch.manual_seed(3)
    ours = model.losses(batch)
    [layers] = seen
    assert len(layers) == TINY["decoder_layers"] + 1
    theirs = Mask2FormerLoss(model.heads.config, {})
    logits = [{"class_queries_logits": c, "masks_queries_logits": m} for c, m in layers]
    torch.manual_seed(3)
    expected = theirs(
        **logits[-1],
        mask_labels=[target.masks.float() for target in batch.targets],  # all are of 64 x 64
        class_labels=[target.labels - 1 for target in batch.targets],
        auxiliary_predictions=logits[:-1],
    )
    for name, their_name, factor in (
        ("loss_class", "loss_cross_entropy", 2),
        ("loss_mask", "loss_mask", 5),
        ("loss_dice", "loss_dice", 5),
    ):
        own = [value for key, value in expected.items() if key.startswith(their_name)]
        assert len(own) == len(layers)
        torch.testing.assert_close(ours[name], factor * torch.stack(own).sum())


def test_weights_by_hand():
    model = tiny(no_object_weight=0.25)
    # in the middle: at the edges masks are interpolated with zeros
    model.loss.sample_points_using_uncertainty = lambda logits, *_: torch.full(
        (len(logits), TINY["points"], 2), 0.5
    )
    classes = torch.tensor([[[3.0, 0.0, 1.0], [0.0, 4.0, 1.0], [1.0, 0.0, 2.0]]])
    masks = torch.tensor([1.0, 2.0, -3.0])[None, :, None, None].expand(1, 3, 8, 8)
    whole = target_of(torch.ones(2, 32, 32).byte(), torch.tensor([1, 2]))

    def losses(weights, mask_weights):
        given = replace(
            whole, weights=torch.tensor(weights), mask_weights=torch.tensor(mask_weights)
        )
        model.layers = lambda _: [(classes, masks)]
        image = torch.zeros((3, 32, 32), dtype=torch.uint8)
        return {
            k: v.item() for k, v in model.losses(InstanceBatch(["a"], [image], [given])).items()
        }

    first, second, nothing = (-classes[0].log_softmax(1)[k, k].item() for k in range(3))
    points = TINY["points"]

    def entropy(logit):
        return np.log1p(np.exp(-logit))

    def dice(logit):
        chance = 1 / (1 + np.exp(-logit))
        return 1 - (2 * chance * points + 1) / (chance * points + points + 1)

    for weights in ([1.0, 1.0], [0.5, 3.0]):
        a, b = weights
        found = losses(weights, weights)
        class_loss = (a * first + b * second + 0.25 * nothing) / 2.25
        assert found["loss_class"] == pytest.approx(2 * class_loss, rel=1e-5)
        mask = (a * entropy(1) + b * entropy(2)) / 2
        assert found["loss_mask"] == pytest.approx(5 * mask, rel=1e-5)
        assert found["loss_dice"] == pytest.approx(5 * (a * dice(1) + b * dice(2)) / 2, rel=1e-5)
    # ignored: the query on it learns nothing at all, and counts as no query
    found = losses([1.0, 0.0], [1.0, 0.0])
    assert found["loss_class"] == pytest.approx(2 * (first + 0.25 * nothing) / 1.25, rel=1e-5)
    assert found["loss_mask"] == pytest.approx(5 * entropy(1), rel=1e-5)
    assert found["loss_dice"] == pytest.approx(5 * dice(1), rel=1e-5)
    # as class alone
    found = losses([1.0, 1.0], [0.0, 2.0])
    assert found["loss_class"] == pytest.approx(2 * (first + second + 0.25 * nothing) / 2.25)
    assert found["loss_mask"] == pytest.approx(5 * 2 * entropy(2), rel=1e-5)
    # nothing but ignored instances
    assert losses([0.0, 0.0], [0.0, 0.0])["loss_mask"] == 0


def test_the_query_on_an_ignored_instance_moves_nowhere():
    model = tiny()
    classes = torch.tensor(
        [[[3.0, 0.0, 1.0], [0.0, 4.0, 1.0], [1.0, 0.0, 2.0]]], requires_grad=True
    )
    masks = torch.randn((1, 3, 8, 8)).requires_grad_()
    given = target_of(torch.ones(2, 32, 32).byte(), torch.tensor([1, 2]))
    given = replace(given, weights=torch.tensor([1.0, 0.0]), mask_weights=torch.tensor([1.0, 0.0]))
    model.layers = lambda _: [(classes, masks)]
    image = torch.zeros((3, 32, 32), dtype=torch.uint8)
    total(model.losses(InstanceBatch(["a"], [image], [given]))).backward()
    moved = classes.grad[0].abs().sum(1) > 0
    assert moved.tolist() == [True, False, True]
    assert masks.grad[0, 1].abs().sum() == 0


def test_losses_reach_every_parameter(tmp_path):
    model = tiny()
    batch = batch_of(tmp_path, *SCENES)
    optimizer = torch.optim.SGD(model.parameters(), 0.001)
    for step in range(2):  # timm's residual blocks start with a last scale of 0
        losses = segmentor_losses(model, batch, step)
        assert list(losses) == ["loss_class", "loss_mask", "loss_dice"]
        assert all(bool(loss.isfinite() & (loss > 0)) for loss in losses.values())
        optimizer.zero_grad()
        total(losses).backward()
        optimizer.step()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert any(name.startswith("backbone.") for name, _ in model.named_parameters())


def test_trains_on_after_it_has_looked(tmp_path):
    model = tiny()
    batch = batch_of(tmp_path, SCENES[0])
    model.eval().predict(batch.images)  # transformers keeps the last map of positions
    total(model.train().losses(batch)).backward()


def test_an_image_without_instances_is_a_negative(tmp_path):
    model = tiny()
    batch = batch_of(tmp_path, SCENES[0], [])
    losses = model.losses(InstanceBatch(batch.names[1:], batch.images[1:], batch.targets[1:]))
    total(losses).backward()
    assert losses["loss_class"].item() > 0
    assert (losses["loss_mask"].item(), losses["loss_dice"].item()) == (0, 0)
    assert all(bool(loss.isfinite()) for loss in model.losses(batch).values())


def test_more_instances_than_queries():
    model = tiny()
    given = target_of(torch.ones(9, 32, 32).byte(), torch.ones(9, dtype=torch.int64))
    image = torch.zeros((3, 32, 32), dtype=torch.uint8)
    assert bool(total(model.losses(InstanceBatch(["a"], [image], [given]))).isfinite())


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (70, 64)])
def test_odd_sizes_train_and_are_detected(tmp_path, size):
    model = tiny()
    batch = batch_of(tmp_path, [(1, 0, 0, 1)], size=size)
    losses = model.losses(batch)
    assert all(bool(loss.isfinite()) for loss in losses.values())
    [found] = model.eval().predict([torch.zeros((3, *size), dtype=torch.uint8)], 0.0)
    for each in found:
        assert each.rle["size"] == list(size)
        assert each.label in (1, 2)
        assert 0 <= each.score <= 1
        x0, y0, x1, y1 = each.box
        assert 0 <= x0 < x1 <= size[1]
        assert 0 <= y0 < y1 <= size[0]


@pytest.mark.parametrize("size", [(128, 192), (148, 212), (64, 96), (37, 50)])
def test_masks_come_back_to_the_pixels_of_the_image(size):
    height, width = size
    large = np.zeros(size, np.uint8)
    middle, axes = (int(width * 0.47), int(height * 0.47)), (int(width * 0.3), int(height * 0.2))
    cv2.ellipse(large, middle, axes, 30, 0, 360, 1, -1)
    model = tiny().eval()
    h, w = (round(side * 64 / height) for side in size)
    small = cv2.resize(large.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA)
    padded = np.zeros((-(-h // 32) * 32, -(-w // 32) * 32), np.float32)
    padded[:h, :w] = small
    share = F.avg_pool2d(torch.from_numpy(padded)[None, None], 4)[0, 0]
    masks = torch.stack([8 * share - 4, torch.full_like(share, -2.0)])[None]
    classes = torch.tensor([[[0.0, 6.0, 0.0], [6.0, 0.0, 0.0]]])
    model.layers = lambda _: [(classes, masks)]
    [[detection]] = model.predict([torch.zeros((3, *size), dtype=torch.uint8)], 0.3)
    mask = decode(detection.rle)
    assert (mask & (large > 0)).sum() / (mask | (large > 0)).sum() > 0.93
    ys, xs = np.nonzero(mask)
    assert detection.box == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    ys, xs = np.nonzero(large)
    assert np.abs(np.argwhere(mask).mean(0) - (ys.mean(), xs.mean())).max() < 0.25  # not shifted
    cells = masks[0, 0][masks[0, 0] > 0].sigmoid().mean()
    chance = classes[0, 0].softmax(0)[1]
    assert detection.label == 2
    assert detection.score == pytest.approx(float(cells * chance), rel=1e-4)


def test_pixels_are_those_of_the_whole_map_interpolated():
    torch.manual_seed(1)
    model = tiny().eval()
    masks = F.interpolate(torch.randn(1, 6, 4, 6), (16, 24), mode="bicubic") - 0.6
    classes = torch.randn(1, 6, 3)
    model.layers = lambda _: [(classes, masks)]
    image = torch.zeros((1, 3, 64, 96))
    whole = F.interpolate(masks, (64, 96), mode="bilinear")[0].sigmoid()
    [found] = model.find(image, [(64, 96)], 0.0)
    scores = (classes[0].softmax(1)[:, :2]).flatten()
    inside = masks[0] > 0
    sure = (masks[0].sigmoid() * inside).sum((1, 2)) / inside.sum((1, 2))
    best = scores.topk(TINY["detections"] + 1).indices.tolist()
    # the one too many shows that there is more
    wanted = [k for k in best if bool(inside[k // 2].any())]
    assert len(found) == len(wanted) > 5
    for index, each in zip(wanted, found, strict=True):
        assert each.label == index % 2 + 1
        assert each.score == pytest.approx(float(scores[index] * sure[index // 2]), rel=1e-4)
        assert each.box is None
        expected = whole[index // 2]
        np.testing.assert_array_equal(each.mask.whole(64, 96), (expected >= 0.5).numpy())
        h, w = each.mask.values.shape
        rows, columns = (slice(at, at + n) for at, n in ((each.mask.top, h), (each.mask.left, w)))
        torch.testing.assert_close(each.mask.values, expected[rows, columns])


def test_a_mask_of_a_photograph_keeps_its_cells_alone():
    logits = torch.full((200, 267), -1.0)
    logits[20:180, 30:230] = 1.0
    mask = cell_mask(logits, (15.0, 4000 / 267), (3000, 4000))
    held = [value for value in vars(mask).values() if isinstance(value, torch.Tensor)]
    assert sum(value.untyped_storage().nbytes() for value in held) < 300_000
    whole = mask.whole(3000, 4000)
    ys, xs = np.nonzero(whole)
    assert (ys.min(), ys.max()) == (300, 2699)  # half way between two centers
    assert xs.min() == pytest.approx(30 * 4000 / 267, abs=1)
    assert xs.max() == pytest.approx(230 * 4000 / 267, abs=1)


def test_what_is_found_depends_on_no_other_image():
    random = torch.Generator().manual_seed(1)
    images = [
        torch.randint(0, 255, (3, *size), generator=random, dtype=torch.uint8)
        for size in ((64, 64), (1, 64), (64, 80), (64, 64))
    ]
    model = tiny().eval()
    together = model.predict(images, 0.0)
    assert any(together)
    for image, found in zip(images, together, strict=True):
        [alone] = model.predict([image], 0.0)
        assert [each.label for each in alone] == [each.label for each in found]
        for one, other in zip(alone, found, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-5)
            assert one.rle == other.rle


def test_the_floor_and_the_most_detections():
    model = tiny().eval()
    image = torch.randint(0, 255, (3, 64, 64), dtype=torch.uint8)
    [found] = model.predict([image], 0.0)
    assert 1 < len(found) <= TINY["detections"]
    floor = found[len(found) // 2].score
    [fewer] = model.predict([image], floor)
    assert [each.score for each in fewer] == [e.score for e in found if e.score >= floor]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"channels": 32}, r"segmentor\.model\.channels=32.*multiple of 64"),
        ({"heads": 5}, r"segmentor\.model\.heads=5"),
        ({"heads": 0}, r"segmentor\.model\.heads=0.*>= 1"),
        ({"dice_weight": 0.0}, r"segmentor\.model\.dice_weight=0\.0.*> 0"),
        ({"frozen": ["stem9"]}, "stem9.*layer1"),
        ({"backbone": "no_such_net"}, "no_such_net"),
        (
            {"checkpoint": "a/b"},
            r"a/b was trained on masks.*segmentor\.allow_mask_pretraining=true",
        ),
        ({"checkpoint": "nowhere", "allow_mask_pretraining": True}, "no such folder"),
    ],
)
def test_a_wrong_option_is_one_sentence(changes, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        tiny(**changes)
    assert "\n" not in str(caught.value)


def test_without_transformers_it_says_what_to_install(monkeypatch):
    own = builtins.__import__

    def missing(name, *rest):
        if name == "transformers":
            raise ImportError(name)
        return own(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UserError, match=r"pip install -e '\.\[mask2former\]'"):
        tiny()


WORDS = [
    "segmentor=mask2former_lean",
    "data=custom",
    "data.num_classes=2",
    "data.workers=0",
    "trainer.accelerator=cpu",
    "segmentor.batch_size=2",
    "segmentor.schedule.epochs=1",
    "segmentor.short_side=64",
    *(f"segmentor.model.{key}={value}" for key, value in TINY.items()),
]


def words_of(root, out, *more):
    paths = (f"pseudo={root}/pseudo.json", f"data.images={root}/images", f"out={out}")
    return [*WORDS, *paths, *more]


def test_trained_saved_and_loaded(tmp_path, run_tool):
    write_set(tmp_path, *SCENES)
    out = tmp_path / "out"
    words = words_of(tmp_path, out, "trainer.precision=bf16-mixed")
    code, said, error = run_tool("train_segmentor", *words)
    assert (code, error) == (0, "")
    assert "mask" not in said.replace("loss_mask", "")
    saved = load_checkpoint(out / "last.pt", "segmentor")
    assert saved["config"]["segmentor"]["allow_mask_pretraining"] is False
    predictor = p2seg.load(out / "last.pt", "cpu")
    for key, value in predictor.model.state_dict().items():
        assert torch.equal(value, saved["model"][key]), key
    found = predictor(tmp_path / "images" / "1.png", score=0.0)
    assert all(each.mask.shape == (64, 64) for each in found)
    # as the weights of a backbone it is refused: it has seen masks
    again = words_of(tmp_path, tmp_path / "again", f"segmentor.weights={out}/last.pt")
    code, _, error = run_tool("train_segmentor", *again)
    assert (code, error.count("\n")) == (2, 1)
    assert "last.pt were trained on masks" in error
    assert "segmentor.allow_mask_pretraining=true" in error


def whole_model(folder, classes):
    """A whole Mask2Former of transformers in a folder; gives its weights."""
    body = transformers.SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = transformers.Mask2FormerConfig(
        backbone_config=body,
        num_labels=classes,
        feature_size=64,
        mask_feature_size=64,
        hidden_dim=64,
        encoder_layers=1,
        encoder_feedforward_dim=32,
        decoder_layers=3,
        dim_feedforward=32,
        num_attention_heads=2,
        num_queries=5,
    )
    made = transformers.Mask2FormerForUniversalSegmentation(config)
    made.save_pretrained(folder)
    return made.state_dict()


@pytest.mark.parametrize("classes", [2, 7])
def test_a_whole_model_to_start_from(tmp_path, classes):
    theirs = whole_model(tmp_path, classes)
    model = tiny(checkpoint=str(tmp_path), allow_mask_pretraining=True)
    own = model.state_dict()
    places = {
        "model.transformer_module.": "heads.transformer_module.",
        "model.pixel_level_module.decoder.": "heads.pixel_decoder.",
        "model.pixel_level_module.encoder.": "backbone.body.",
        "class_predictor.": "heads.class_predictor.",
    }
    if classes != 2:
        del places["class_predictor."]
    for theirs_at, ours_at in places.items():
        shared = [key for key in theirs if key.startswith(theirs_at)]
        assert shared
        for key in shared:
            assert torch.equal(own[key.replace(theirs_at, ours_at, 1)], theirs[key]), key
    assert own["heads.class_predictor.weight"].shape == (3, 64)
    image = torch.randint(0, 255, (1, 3, 64, 96)) / 255
    classes_of, masks = model.eval().layers(image)[-1]
    assert classes_of.shape == (1, 5, 3)
    if classes == 2:
        whole = transformers.Mask2FormerForUniversalSegmentation.from_pretrained(tmp_path).eval()
        with torch.no_grad():
            expected = whole(image)
        torch.testing.assert_close(masks, expected.masks_queries_logits)
        torch.testing.assert_close(classes_of, expected.class_queries_logits)


def test_parts_of_a_whole_model_are_frozen(tmp_path):
    whole_model(tmp_path, 2)
    options = {"checkpoint": str(tmp_path), "allow_mask_pretraining": True}
    model = tiny(**options, frozen=["swin.embeddings"])
    still = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert still
    assert all(name.startswith("backbone.body.swin.embeddings.") for name in still)
    with pytest.raises(UserError, match=r"stem9.*swin"):
        tiny(**options, frozen=["stem9"])


def test_a_whole_model_must_be_asked_for_and_every_result_says_so(tmp_path, run_tool):
    write_set(tmp_path, *SCENES)
    whole_model(tmp_path / "whole", 7)
    start = f"segmentor.model.checkpoint={tmp_path}/whole"
    code, _, error = run_tool("train_segmentor", *words_of(tmp_path, tmp_path / "out", start))
    assert (code, error.count("\n")) == (2, 1)
    assert "segmentor.allow_mask_pretraining=true" in error
    words = words_of(tmp_path, tmp_path / "out", start, "segmentor.allow_mask_pretraining=true")
    code, said, error = run_tool("train_segmentor", *words)
    assert (code, error) == (0, "")
    assert "trained on masks" in said
    shutil.rmtree(tmp_path / "whole")
    ckpt = tmp_path / "out" / "last.pt"
    assert load_checkpoint(ckpt, "segmentor")["config"]["segmentor"]["allow_mask_pretraining"]
    found = tmp_path / "found"
    gt = f"gt={tmp_path}/pseudo.json"
    paths = (f"ckpt={ckpt}", f"images={tmp_path}/images", f"out={found}", gt)
    code, said, error = run_tool("predict", *paths, "trainer.accelerator=cpu", "predict.score=0")
    assert (code, error) == (0, "")
    assert "trained on masks" in said
    assert json.loads((found / "images.json").read_text())["info"]["mask_pretraining"] is True
    pred = f"pred={found}/predictions.json"
    code, said, error = run_tool("eval", gt, pred, "kind=model", f"out={found}")
    assert (code, error) == (0, "")
    assert "MASK PRETRAINING" in said
    assert json.loads((found / "metrics.json").read_text())["run"]["mask_pretraining"] is True


def test_a_folder_of_another_model_is_refused(tmp_path):
    options = {"checkpoint": str(tmp_path), "allow_mask_pretraining": True}
    for content in ("{", "[]", '{"model_type": "sam2"}'):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(UserError, match=r"config\.json") as caught:
            tiny(**options)
        assert "\n" not in str(caught.value)
    whole_model(tmp_path, 2)
    (tmp_path / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(UserError, match="is not a complete mask2former") as caught:
        tiny(**options)
    assert "\n" not in str(caught.value)
