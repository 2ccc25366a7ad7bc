"""Small instance sets for the tests of the evaluation."""

from __future__ import annotations

import numpy as np
from PIL import Image

from p2seg.data.coco import Category, ImageRecord, Instance, InstanceSet, decode, encode

SCORES = (0.2, 0.5, 0.5, 0.9)
"""Few, so that ties are common."""


def bits(text):
    """Returns a square mask from a row-major text: `bits("0011")` is 2x2, its last row is ones."""
    side = int(len(text) ** 0.5)
    return np.array(list(text)).reshape(side, side) == "1"


def instance(id, mask, label=1, **fields):
    mask = bits(mask) if isinstance(mask, str) else np.asarray(mask)
    return Instance(id=id, label=label, rle=encode(mask), **fields)


def instance_set(*images, size=(2, 2), names=("cat", "cow", "dog"), info=None):
    """Returns a set of images `1.jpg`, `2.jpg`, ..., each with a list of instances."""
    records = [ImageRecord(k, f"{k}.jpg", *size) for k in range(1, len(images) + 1)]
    categories = [Category(10 * k, name) for k, name in enumerate(names, start=1)]
    return InstanceSet(records, categories, [list(each) for each in images], info or {})


def random_pair(seed, *, crowds=False, side=4, images=3, density=0.5):
    """Returns random ground truth and predictions, with ties, misses and empty images."""
    rng = np.random.default_rng(seed)

    def masks(count):
        return rng.random((count, side, side)) < density

    truths, guesses, id = [], [], 0
    for _ in range(images):
        truths.append([])
        guesses.append([])
        for mask in masks(rng.integers(0, 5)):
            id += 1
            crowd = bool(crowds and rng.random() < 0.3)
            truths[-1].append(instance(id, mask, int(rng.integers(1, 4)), crowd=crowd))
        for k, mask in enumerate(masks(rng.integers(0, 7))):
            label, score = int(rng.integers(1, 4)), float(rng.choice(SCORES))
            if truths[-1] and rng.random() < 0.6:  # close to a true mask, so that there are hits
                near = truths[-1][rng.integers(len(truths[-1]))]
                label = near.label
                mask = flipped(near, rng, rng.integers(0, 4))
            guesses[-1].append(instance(-k - 1, mask, label, score=score))
    size = (side, side)
    return instance_set(*truths, size=size), instance_set(*guesses, size=size)


def flipped(near, rng, count):
    mask = decode(near)
    for _ in range(count):
        place = tuple(rng.integers(0, mask.shape))
        mask[place] = ~mask[place]
    return mask


def write_voc(root):
    """Writes a VOC folder with one image: an object of class 2 (bicycle) and void pixels."""
    for name in ("JPEGImages", "SegmentationObject", "SegmentationClass", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("a\n")
    Image.new("RGB", (4, 2)).save(root / "JPEGImages" / "a.jpg")
    objects = np.array([[1, 1, 255, 0], [1, 1, 255, 0]], np.uint8)
    for folder, values in (("Object", objects), ("Class", np.where(objects == 1, 2, objects))):
        image = Image.fromarray(values.astype(np.uint8))
        image.putpalette([k for k in range(256) for _ in range(3)])
        image.save(root / f"Segmentation{folder}" / "a.png")
    return root
