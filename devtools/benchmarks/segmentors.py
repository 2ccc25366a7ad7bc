"""Benchmarks SOLOv2 next to torchvision's Mask R-CNN, with one backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import maskrcnn_resnet50_fpn

from devtools.benchmarks.measure import Row, compared
from devtools.benchmarks.step import CLASSES, batch_of
from p2seg.engine.optim import sgd
from p2seg.segmentors.data import InstanceBatch, target_of
from p2seg.segmentors.mask_rcnn.model import build_mask_rcnn
from p2seg.segmentors.segmentor import Segmentor
from p2seg.segmentors.solov2.model import build_solov2
from p2seg.structures import Batch, to_device

SIDE = 512
GPU_BATCH = 8
"""Images per training step on a GPU; all other work has one image."""
RIVAL = "torchvision's Mask R-CNN"
LIGHT: dict[str, Any] = {"head_channels": 256, "head_depth": 2, "kernel_channels": 128}

Work = Callable[[], object]


def suite(device: torch.device, repeats: int, side: int = SIDE) -> Iterator[Row]:
    """Yields one row per segmentor and kind of work, with ResNet-50 on noise with blobs.

    Weights are random and thresholds are 0. So every model produces a hundred masks at image size,
    as for a crowded image. All models freeze the norms and the first stage, as the configs do.

    Args:
        device: device of the models.
        repeats: timed runs of each.
        side: side of the square images in pixels.
    """
    torch.manual_seed(0)
    options: dict[str, Any] = {
        "backbone": "resnet50",
        "pretrained": False,
        "frozen": ["conv1", "bn1", "layer1"],
        "short_side": side,
        "long_side": side,
    }
    models: dict[str, Callable[[], Segmentor]] = {
        "SOLOv2 light": lambda: build_solov2(CLASSES, **options, **LIGHT, candidate_score=0.0),
        "SOLOv2": lambda: build_solov2(CLASSES, **options, candidate_score=0.0),
        "Mask R-CNN": lambda: build_mask_rcnn(CLASSES, **options),
    }
    rival = _torchvisions(side).to(device)
    drawn = batch_of(side, GPU_BATCH if device.type == "cuda" else 1, CLASSES)
    batch = to_device(instances_of(drawn), device)
    for name, build in models.items():
        model = build().to(device)
        for kind, count, ours, theirs in _kinds(model, rival, batch):
            yield compared(
                ours,
                theirs,
                device,
                repeats,
                name=f"{name}, {kind}",
                dtype="float32",
                h=side,
                d=0,
                batch=count,
                rival=RIVAL,
                parameters=sum(each.numel() for each in model.parameters()),
            )


def _torchvisions(side: int) -> nn.Module:
    model: nn.Module = maskrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=CLASSES + 1,
        trainable_backbone_layers=3,
        min_size=side,
        max_size=side,
        box_score_thresh=0.0,
    )
    for part in ("conv1", "bn1", "layer1"):
        model.get_submodule(f"backbone.body.{part}").requires_grad_(False)
    return model


def _kinds(
    model: Segmentor, rival: nn.Module, batch: InstanceBatch
) -> Iterator[tuple[str, int, Work, Work]]:
    """Yields name, number of images, the work of p2seg and of the reference."""
    image = batch.images[0]

    def find() -> object:
        return model.predict([image], 0.0)

    @torch.inference_mode()
    def their_find() -> object:
        return rival([image.float() / 255])

    model.eval()
    rival.eval()
    yield "forward", 1, find, their_find
    model.train()
    rival.train()
    targets = [{**vars(each), "boxes": each.boxes.float()} for each in batch.targets]
    images = [each.float() / 255 for each in batch.images]
    ours = _step(model, lambda: model.losses(batch))
    yield "training step", len(images), ours, _step(rival, lambda: rival(images, targets))


def _step(model: nn.Module, losses: Callable[[], dict[str, Tensor]]) -> Work:
    optimizer = sgd(model, lr=1e-6, weight_decay=0.0)

    def work() -> None:
        optimizer.zero_grad()
        torch.stack(list(losses().values())).sum().backward()
        optimizer.step()

    return work


def instances_of(batch: Batch) -> InstanceBatch:
    """Returns the blobs around the clicks of a batch as instance masks."""
    samples = []
    for image, points, owners in zip(
        batch.images, batch.points, batch.labels.instances, strict=True
    ):
        masks = torch.stack([owners == k + 1 for k in range(len(points))]).byte()
        samples.append(("", image, target_of(masks, points.labels)))
    return InstanceBatch.of(samples)
