"""Tiny images of bright squares and their instances, for the tests of the segmentors."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from p2seg.data.coco import Category, ImageRecord, Instance, InstanceSet, encode, write_instances
from p2seg.segmentors.augment import RandomResize
from p2seg.segmentors.data import InstanceBatch, InstanceDataset
from p2seg.segmentors.training import segmentor_losses

TINY = {
    "backbone": "test_resnet",
    "pretrained": False,
    "norm": "batch",
    "short_side": 64,
    "long_side": 128,
    "anchor_sizes": (12, 16, 24, 32),
    "pyramid_channels": 16,
    "pyramid_norm": True,
    "proposals_train": 30,
    "proposals_test": 30,
    "anchors_sampled": 32,
    "boxes_sampled": 16,
    "box_channels": 32,
    "mask_channels": (16,),
}
"""A Mask R-CNN that a test can train."""

NAMES = [Category(10, "red"), Category(20, "bleu é")]
"""Categories of what a test has trained."""

COLORS = ((230, 40, 40), (40, 40, 230))


def square(height, width, top, left, side):
    mask = np.zeros((height, width), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def make_set(folder, *groups, size=(64, 64), names=("red", "blue"), **fields):
    """Writes `1.png`, `2.png` ... below `folder`, each with its squares (label, top, left, side).

    Gives the set; the squares are painted in their class's color over gray.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records, instances, id = [], [], 0
    for number, squares in enumerate(groups, start=1):
        image = np.full((*size, 3), 110, dtype=np.uint8)
        own = []
        for label, top, left, side in squares:
            id += 1
            mask = square(*size, top, left, side)
            image[mask] = COLORS[label - 1]
            own.append(Instance(id=id, label=label, rle=encode(mask), **fields))
        Image.fromarray(image).save(folder / f"{number}.png")
        records.append(ImageRecord(number, f"{number}.png", *size))
        instances.append(own)
    categories = [Category(10 * k, name) for k, name in enumerate(names, start=1)]
    return InstanceSet(records, categories, instances, {"source": "tiny"})


def write_set(root, *groups, **options):
    """The same, with the instances file `root`/pseudo.json; images lie in `root`/images."""
    made = make_set(root / "images", *groups, **options)
    write_instances(root / "pseudo.json", made)
    return made


SOLO = {
    "backbone": "test_resnet",
    "pretrained": False,
    "norm": "batch",
    "short_side": 64,
    "long_side": 128,
    "pyramid_channels": 16,
    "pyramid_norm": True,
    "grids": (10, 8, 6, 4),
    "sizes": ((1, 16), (10, 24), (16, 40), (30, 512)),
    "head_channels": 16,
    "head_depth": 2,
    "feature_channels": 8,
    "kernel_channels": 8,
}
"""A SOLOv2 that a test can train."""


def batch_of(folder, augment, *groups, **options):
    """A training batch of all images of `make_set`."""
    dataset = InstanceDataset(make_set(folder, *groups, **options), folder, augment, seed=0)
    return InstanceBatch.of([dataset[(0, k)] for k in range(len(dataset))])


SCENES = ([(1, 6, 8, 20), (2, 34, 30, 24)], [(2, 10, 30, 18)])


def learned(model, folder, steps, rate):
    """Trains a model on the images of `SCENES` and gives it in evaluation mode."""
    augment = RandomResize(short_side=64, long_side=128, flip=True)
    dataset = InstanceDataset(make_set(folder, *SCENES), folder, augment, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), rate)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        batch = InstanceBatch.of([dataset[(step, 0)], dataset[(step, 1)]])
        total = torch.stack(list(segmentor_losses(model, batch, step).values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return model.eval()
