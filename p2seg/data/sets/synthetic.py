"""The drawn set: drawn still lifes in VOC's real layout, to see the whole method work at once.

Four classes of objects lie on textured ground, mostly in heaps of one class whose members touch
and overlap. They differ in size and many are long, so that splitting a heap by the nearest point
(Eq. 1) cuts across objects; but each has its own hue, a shaded rim and a marked middle, so that
where a pixel lies in its object can be read off the picture. Everything follows from the seed.
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
"""Side of a pixel's square of samples: objects are drawn this much larger and averaged."""

MIN_VISIBLE = 0.65
"""The part of an object that must stay in sight, below others and inside the image."""
MIN_PIXELS = 70

GRAIN = 0.012
"""Standard deviation of the camera's noise; the picture is in 0..1."""

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """A picture and its truth.

    Attributes:
        image: `[H, W, 3]` uint8 RGB.
        semantic: `[H, W]` uint8, 0 ground, 1..4 the classes.
        objects: `[H, W]` uint8, 0 ground, k + 1 the k-th object.
    """

    image: NDArray[np.uint8]
    semantic: Labels
    objects: Labels


def write_synthetic(
    root: Path, seed: int, train: int, val: int, size: int = 128, progress: Progress = iter
) -> None:
    """Writes the set as VOC lays it out; `p2seg.data.sets.voc.read_voc` reads it with `CLASSES`.

    Args:
        root: the folder that gets `JPEGImages`, `SegmentationClass`, `SegmentationObject` and
            `ImageSets/Segmentation/{train,val}.txt`.
        seed: from 0 up; the k-th image of a split depends on it, the split, k and `size` alone.
        train: images for training.
        val: images for validation.
        size: sides are within an eighth of it, pixels, from 32 up.
        progress: wraps the list of a split's image names, to show how far it is.
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
    """Draws 3 to 8 objects on their ground.

    Args:
        rng: where the scene comes from.
        size: sides are within an eighth of it, pixels, from 32 up.

    Returns:
        The scene.
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
    """The object that holds most of each pixel's samples."""
    shares = [
        cv2.resize((owner == k).astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        for k in range(count + 1)
    ]
    objects: Labels = np.stack(shares).argmax(0).astype(np.uint8)
    return objects


def _arrange(rng: np.random.Generator, height: int, width: int, scale: float) -> list[Shape]:
    """Heaps of one class each, the lowest object first."""
    while True:
        wanted = int(rng.integers(3, 9))
        shapes: list[Shape] = []
        while len(shapes) < wanted:
            members = min(int(rng.integers(1, 5)), wanted - len(shapes))
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
    """Up to `members` objects of a class, each touching one before it; the first lies free."""
    heap: list[Shape] = []
    for _ in range(40 * members):
        if len(heap) == members:
            break
        shape = new_shape(rng, label, scale)
        if heap:
            anchor = heap[int(rng.integers(len(heap)))]
            placed = _against(rng, shape, anchor, frame)
        else:
            y, x = rng.uniform(0.12, 0.88, 2) * frame
            placed = replace(shape, y=float(y), x=float(x))
        if placed is not None and _in_sight([*below, *heap, placed], frame):
            heap.append(placed)
    return heap


def _against(
    rng: np.random.Generator, shape: Shape, anchor: Shape, frame: tuple[int, int]
) -> Shape | None:
    """`shape` moved towards `anchor` until it overlaps it a little; None if it never does."""
    direction = rng.uniform(0, 2 * np.pi)
    if shape.is_long:  # side by side, where the nearest point misleads most
        side = rng.choice([-1, 1]) * np.pi / 2
        direction = anchor.angle + side + rng.normal(0, 0.5)
        shape = replace(shape, angle=anchor.angle + rng.normal(0, 0.25))
    target = anchor.mask(*frame)
    overlap = rng.uniform(0.02, 0.12)
    for distance in np.arange(anchor.reach + shape.reach, 0, -1.0):
        moved = replace(
            shape,
            y=float(anchor.y + distance * np.sin(direction)),
            x=float(anchor.x + distance * np.cos(direction)),
        )
        mask = moved.mask(*frame)
        if (mask & target).sum() > overlap * min(mask.sum(), target.sum()):
            return moved
    return None


def _in_sight(shapes: list[Shape], frame: tuple[int, int]) -> bool:
    """Whether enough of every object can be seen."""
    covered = np.zeros(frame, bool)
    for shape in reversed(shapes):
        mask = shape.mask(*frame)
        seen = (mask & ~covered).sum()
        if seen < max(MIN_PIXELS, MIN_VISIBLE * shape.area):
            return False
        covered |= mask
    return True
