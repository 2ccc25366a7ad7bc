"""Benchmarks the VOC evaluation on run-length codes next to one on dense NumPy masks."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import torch

from devtools.benchmarks.measure import Row, compared
from p2seg.data.coco import Category, ImageRecord, Instance, InstanceSet
from p2seg.data.rle import decode, encode
from p2seg.evaluation.voc import THRESHOLDS, area_ap, mean, overlaps, voc_scores

IMAGES, MASKS, CLASSES = 1449, 10_000, 20
HEIGHT, WIDTH = 375, 500


def sets(images: int = IMAGES, masks: int = MASKS) -> tuple[InstanceSet, InstanceSet]:
    """Returns ground truth of ellipses, and slightly shifted ellipses as predictions."""
    rng = np.random.default_rng(0)
    records = [ImageRecord(k + 1, f"{k}.jpg", HEIGHT, WIDTH) for k in range(images)]
    categories = [Category(k + 1, f"class {k}") for k in range(CLASSES)]
    truth: list[list[Instance]] = [[] for _ in records]
    guess: list[list[Instance]] = [[] for _ in records]
    for k in range(masks):
        label = int(rng.integers(1, CLASSES + 1))
        box = *rng.integers(0, (WIDTH, HEIGHT)), *rng.integers(8, 90, 2)
        near = box + rng.normal(0, 6, 4)
        for own, at, score in ((truth, box, 1.0), (guess, near, float(rng.random()))):
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            x, y, rx, ry = (int(value) for value in at)
            cv2.ellipse(mask, (x, y), (max(2, rx), max(2, ry)), 0, 0, 360, 1, -1)
            if not mask.any():
                mask[0, 0] = 1
            own[k % images].append(Instance(k + 1, label, encode(mask), score=score))
    return tuple(InstanceSet(records, categories, each) for each in (truth, guess))  # type: ignore[return-value]


def ours(gt: InstanceSet, pred: InstanceSet) -> float | None:
    """Returns mAP50 (area) by p2seg, which computes all thresholds and both measures."""
    return voc_scores(overlaps(gt, pred))["voc_area"]["mAP50"]


def rival(gt: InstanceSet, pred: InstanceSet) -> float | None:
    """Returns mAP50 from dense masks: one IoU per pair, hits per class and threshold."""
    aps = {name: np.full(CLASSES, np.nan) for name in THRESHOLDS}
    ranked: list[list[tuple[float, int, list[float]]]] = [[] for _ in range(CLASSES)]
    positives = np.zeros((len(gt.instances), CLASSES), np.int64)
    for image, (truths, guesses) in enumerate(zip(gt.instances, pred.instances, strict=True)):
        dense = [decode(each.rle) for each in truths]
        for each in truths:
            positives[image, each.label - 1] += 1
        for guess in guesses:
            mask = decode(guess.rle)
            ious = [
                (mask & other).sum() / (mask | other).sum()
                for other, truth in zip(dense, truths, strict=True)
                if truth.label == guess.label
            ]
            ranked[guess.label - 1].append((guess.score, image, ious))
    for label, own in enumerate(ranked):
        own.sort(key=lambda each: -each[0])
        total = int(positives[:, label].sum())
        for name, threshold in THRESHOLDS.items():
            taken: set[tuple[int, int]] = set()
            hits: list[bool] = []
            for _, image, ious in own:
                best = int(np.argmax(ious)) if ious else -1
                near = best >= 0 and np.float32(ious[best]) >= np.float32(threshold)
                hit = bool(near) and (image, best) not in taken
                hits.append(hit)
                if hit:
                    taken.add((image, best))
            found = np.cumsum(np.array(hits, np.int64))
            if total:
                aps[name][label] = area_ap(found / np.arange(1, len(found) + 1), found / total)
    return mean(aps["50"])


def suite(_device: torch.device, repeats: int) -> list[Row]:
    """Yields rows for 10,000 masks in 1,449 images, and for a tenth of them (memory)."""
    rows = []
    for images, masks in ((IMAGES // 10, MASKS // 10), (IMAGES, MASKS)):
        gt, pred = sets(images, masks)
        one, other = ours(gt, pred), rival(gt, pred)
        assert one is not None
        assert other is not None
        assert abs(one - other) < 1e-9, f"the reference disagrees: {one} and {other}"
        rows.append(
            compared(
                partial(ours, gt, pred),
                partial(rival, gt, pred),
                torch.device("cpu"),
                repeats,
                name=f"VOC evaluation, {masks:,} masks in {images:,} images",
                dtype="RLE",
                h=HEIGHT,
                d=0,
                batch=images,
                rival="dense masks in NumPy",
            )
        )
    return rows
