"""A synthetic data set in VOC's layout, for demos and tests of the whole method.

Objects of four classes lie on textured ground. Most of them are in heaps of one class, in which
they touch and overlap. Objects differ in size and many are long, so that splitting a heap by the
nearest point (Eq. 1) cuts objects. Each object has its own hue, a shaded rim and a marked center,
so that a network can learn where a pixel lies in its object. The seed determines everything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from p2seg.data.labels import write_labels
from p2seg.data.sets.synthetic_shapes import CLASSES, Shape, ground, new_shape, paint
from p2seg.data.sets.voc import Progress
from p2seg.runtime.files import atomic_path, write_text

FINE = 3
"""Supersampling: objects are drawn at this scale and averaged."""

MIN_VISIBLE = 0.65
"""Smallest share of an object that is visible: inside the image and not covered."""
MIN_PIXELS = 70
"""Fewest visible pixels of an object."""

GRAIN = 0.012
"""Standard deviation of the image noise, for values in 0..1."""

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """An image and its ground truth.

    Attributes:
        image: `[H, W, 3]` uint8 RGB.
        semantic: `[H, W]` uint8, 0 for the ground, 1..4 for the classes.
        objects: `[H, W]` uint8, 0 for the ground, k + 1 for the k-th object.
    """

    image: NDArray[np.uint8]
    semantic: Labels
    objects: Labels


def write_synthetic(
    root: Path, seed: int, train: int, val: int, size: int = 128, progress: Progress = iter
) -> None:
    """Writes the set in VOC's layout; `p2seg.data.sets.voc.read_voc` reads it with `CLASSES`.

    Args:
        root: the folder in which `JPEGImages`, `SegmentationClass`, `SegmentationObject` and
            `ImageSets/Segmentation/{train,val}.txt` are created.
        seed: an integer >= 0; the k-th image of a split depends only on `seed`, split, k, `size`.
        train: number of images for training.
        val: number of images for validation.
        size: average side of an image in pixels, at least 32; sides vary by an eighth.
        progress: wraps the list of the image names of a split, to show progress.
    """
    for number, (split, count) in enumerate([("train", train), ("val", val)]):
        names = [f"{split}_{k:05d}" for k in range(count)]
        for k, name in enumerate(progress(names)):
            scene = draw_scene(np.random.default_rng([seed, number, k]), size)
            with atomic_path(root / "JPEGImages" / f"{name}.jpg") as path:
                Image.fromarray(scene.image).save(path, quality=95)
            write_labels(root / "SegmentationClass" / f"{name}.png", scene.semantic)
            write_labels(root / "SegmentationObject" / f"{name}.png", scene.objects)
        lines = "".join(f"{name}\n" for name in names)
        write_text(root / "ImageSets" / "Segmentation" / f"{split}.txt", lines)


def draw_scene(rng: np.random.Generator, size: int = 128) -> Scene:
    """Draws a scene of 3 to 8 objects.

    Args:
        rng: random generator of the scene.
        size: average side of the image in pixels, at least 32; sides vary by an eighth.
    """
    height, width = (int(side) for side in rng.integers(size - size // 8, size + size // 8 + 1, 2))
    shapes = _arrange(rng, height, width, size / 128)
    canvas = ground(rng, height * FINE, width * FINE)
    owner = np.zeros(canvas.shape[:2], np.uint8)
    for k, shape in enumerate(shapes):
        paint(canvas, owner, shape.scaled(FINE), k + 1, rng)
    picture = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    picture = picture + rng.normal(0, GRAIN, picture.shape)
    objects = _reduced(owner, len(shapes), height, width)
    label_of = np.array([0] + [shape.label for shape in shapes], np.uint8)
    return Scene(
        image=(picture.clip(0, 1) * 255).round().astype(np.uint8),
        semantic=label_of[objects],
        objects=objects,
    )


def _reduced(owner: Labels, count: int, height: int, width: int) -> Labels:
    """Downsamples object indices: each pixel becomes the most frequent one of its samples."""
    shares = [
        cv2.resize((owner == k).astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        for k in range(count + 1)
    ]
    objects: Labels = np.stack(shares).argmax(0).astype(np.uint8)
    return objects


def _arrange(rng: np.random.Generator, height: int, width: int, scale: float) -> list[Shape]:
    """Places heaps of one class each; later objects cover earlier ones."""
    while True:
        count = int(rng.integers(3, 9))
        shapes: list[Shape] = []
        while len(shapes) < count:
            members = min(int(rng.integers(1, 5)), count - len(shapes))
            label = int(rng.integers(1, len(CLASSES) + 1))
            heap = _heap(rng, shapes, label, members, (height, width), scale)
            if not heap:
                break
            shapes += heap
        if len(shapes) >= 3:
            return shapes


def _heap(
    rng: np.random.Generator,
    below: list[Shape],
    label: int,
    members: int,
    frame: tuple[int, int],
    scale: float,
) -> list[Shape]:
    """Up to `members` objects of a class; each one overlaps an earlier one, except the first."""
    heap: list[Shape] = []
    for _ in range(40 * members):
        if len(heap) == members:
            break
        shape = new_shape(rng, label, scale)
        if heap:
            anchor = heap[int(rng.integers(len(heap)))]
            candidate = _against(rng, shape, anchor, frame)
        else:
            y, x = rng.uniform(0.12, 0.88, 2) * frame
            candidate = replace(shape, y=float(y), x=float(x))
        if candidate is not None and _are_visible([*below, *heap, candidate], frame):
            heap.append(candidate)
    return heap


def _against(
    rng: np.random.Generator, shape: Shape, anchor: Shape, frame: tuple[int, int]
) -> Shape | None:
    """Moves `shape` toward `anchor` until they overlap a little; None if they never do."""
    direction = rng.uniform(0, 2 * np.pi)
    if shape.is_long:  # side by side, where Eq. 1 fails most
        side = rng.choice([-1, 1]) * np.pi / 2
        direction = anchor.angle + side + rng.normal(0, 0.5)
        shape = replace(shape, angle=anchor.angle + rng.normal(0, 0.25))
    target = anchor.mask(*frame)
    overlap = rng.uniform(0.02, 0.12)
    for distance in np.arange(anchor.reach + shape.reach, 0, -1.0):
        candidate = replace(
            shape,
            y=float(anchor.y + distance * np.sin(direction)),
            x=float(anchor.x + distance * np.cos(direction)),
        )
        mask = candidate.mask(*frame)
        if (mask & target).sum() > overlap * min(mask.sum(), target.sum()):
            return candidate
    return None


def _are_visible(shapes: list[Shape], frame: tuple[int, int]) -> bool:
    """Whether a sufficient part of each object is visible."""
    covered = np.zeros(frame, bool)
    for shape in reversed(shapes):
        mask = shape.mask(*frame)
        visible = (mask & ~covered).sum()
        if visible < max(MIN_PIXELS, MIN_VISIBLE * shape.area):
            return False
        covered |= mask
    return True
