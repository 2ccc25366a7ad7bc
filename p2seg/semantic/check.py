"""A look at a folder of first semantic maps: what they cover, and whether points lie on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from p2seg.data.maps import SemanticMap
from p2seg.errors import UserError
from p2seg.semantic.source import MapTask
from p2seg.structures import IGNORED, LABELS


@dataclass(frozen=True)
class ClassCheck:
    """How the maps and the points of one class agree, over all images whose map was read.

    Attributes:
        name: of the class; "all" of the sum.
        pixels: of the maps that are of the class.
        unclicked_images: images whose map has the class, though none of their points is of it.
        unclicked_pixels: the class's pixels in those images.
        points: of the class.
        on_background: points whose pixel is background.
        on_other: points whose pixel is of another class.
        on_ignored: points whose pixel is ignored.
        near: of these three, points that have a pixel of their class within `snap_radius`.
    """

    name: str
    pixels: int = 0
    unclicked_images: int = 0
    unclicked_pixels: int = 0
    points: int = 0
    on_background: int = 0
    on_other: int = 0
    on_ignored: int = 0
    near: int = 0

    @property
    def off(self) -> int:
        """Points whose pixel is not of their class."""
        return self.on_background + self.on_other + self.on_ignored


@dataclass(frozen=True)
class MapCheck:
    """What a check of maps finds.

    Attributes:
        images: of the points file.
        maps: how many of them have a map that can be read.
        pixels: of those maps.
        labeled: share of the pixels that are of a class, 0..1.
        background: share that is background.
        ignored: share that is ignored.
        snap_radius: pixels within which a point off its class is `near`.
        classes: one an entry of the points file's classes, in their order.
        unread: why a map cannot be read, by file name of its image.
    """

    images: int
    maps: int
    pixels: int
    labeled: float
    background: float
    ignored: float
    snap_radius: float
    classes: list[ClassCheck]
    unread: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> ClassCheck:
        """The sum over classes."""
        rows = [list(vars(each).values())[1:] for each in self.classes]
        return ClassCheck("all", *(sum(column) for column in zip(*rows, strict=True)))


def check_maps(
    read: Callable[[MapTask], SemanticMap],
    tasks: Iterable[MapTask],
    classes: tuple[str, ...],
    snap_radius: float,
    seen: Callable[[str, SemanticMap], None] | None = None,
) -> MapCheck:
    """Compares the maps of images with their points; a map that cannot be read is told, not raised.

    Args:
        read: gives an image's map, `[H, W]` uint8, 0 background, 1..C, 255 ignored.
        tasks: the images and their points.
        classes: the C names.
        snap_radius: pixels, from pixel to pixel.
        seen: told every map that was read and its image's file name.

    Returns:
        The result.

    Raises:
        UserError: no map can be read.
    """
    pixels = np.zeros(LABELS, np.int64)
    counts = {name: np.zeros(LABELS, np.int64) for name in _COUNTS}
    unread: dict[str, str] = {}
    images = 0
    for task in tasks:
        images += 1
        try:
            semantic = read(task)
        except UserError as error:
            unread[task.record.file_name] = str(error)
            continue
        own = np.bincount(semantic.reshape(-1), minlength=LABELS)
        pixels += own
        unclicked = (own > 0) & ~np.isin(np.arange(LABELS), task.labels)
        counts["unclicked_images"] += unclicked
        counts["unclicked_pixels"] += np.where(unclicked, own, 0)
        _count_points(counts, semantic, task, snap_radius)
        if seen is not None:
            seen(task.record.file_name, semantic)
    if len(unread) == images:
        first = next(iter(unread.values()), "the points file has no image")
        raise UserError(f"none of {images} maps can be checked: {first}")
    total = int(pixels.sum())
    return MapCheck(
        images=images,
        maps=images - len(unread),
        pixels=total,
        labeled=int(pixels[1:IGNORED].sum()) / total,
        background=int(pixels[0]) / total,
        ignored=int(pixels[IGNORED]) / total,
        snap_radius=snap_radius,
        classes=[
            ClassCheck(
                name,
                pixels=int(pixels[label]),
                **{key: int(each[label]) for key, each in counts.items()},
            )
            for label, name in enumerate(classes, 1)
        ],
        unread=unread,
    )


_COUNTS = (
    *("unclicked_images", "unclicked_pixels"),
    *("points", "on_background", "on_other", "on_ignored", "near"),
)


def _count_points(
    counts: dict[str, np.ndarray[tuple[int], np.dtype[np.int64]]],
    semantic: SemanticMap,
    task: MapTask,
    radius: float,
) -> None:
    """Adds an image's points, by class, to the counts."""
    for (y, x), label in zip(task.yx.tolist(), task.labels.tolist(), strict=True):
        counts["points"][label] += 1
        under = int(semantic[y, x])
        if under == label:
            continue
        where = {0: "on_background", IGNORED: "on_ignored"}.get(under, "on_other")
        counts[where][label] += 1
        counts["near"][label] += _near(semantic, y, x, label, radius)


def _near(semantic: SemanticMap, y: int, x: int, label: int, radius: float) -> bool:
    """Whether a pixel of the class lies within `radius` pixels."""
    reach = int(min(radius, sum(semantic.shape)))
    top, left = max(y - reach, 0), max(x - reach, 0)
    found = np.nonzero(semantic[top : y + reach + 1, left : x + reach + 1] == label)
    return bool((np.hypot(found[0] + top - y, found[1] + left - x) <= radius).any())
