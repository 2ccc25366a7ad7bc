"""Statistics of a folder of initial semantic maps, and their agreement with the points."""

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
    """Agreement of maps and points for one class, over all images with a readable map.

    Attributes:
        name: class name, or "all" for the sum.
        pixels: pixels of the class.
        unclicked_images: images whose map has the class but whose points do not.
        unclicked_pixels: pixels of the class in those images.
        points: points of the class.
        on_background: points on background.
        on_other: points on another class.
        on_ignored: points on ignored pixels.
        near: points of the previous three counts with a pixel of their class within `snap_radius`.
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
        """Points on a pixel of another class, background or ignored."""
        return self.on_background + self.on_other + self.on_ignored


@dataclass(frozen=True)
class MapCheck:
    """The result of a check of maps.

    Attributes:
        images: number of images in the points file.
        maps: number of readable maps.
        pixels: number of pixels in those maps.
        labeled: share of pixels with a class, 0..1.
        background: share of background pixels.
        ignored: share of ignored pixels.
        snap_radius: distance in pixels within which a point off its class is `near`.
        classes: one entry per class of the points file.
        unread: message for each unreadable map, by the image's file name.
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
    """Compares the maps of images with their points. Unreadable maps are listed in the result.

    Args:
        read: reads an image's map, `[H, W]` uint8, 0 background, 1..C, 255 ignored.
        tasks: the images and their points.
        classes: the C names.
        snap_radius: distance between pixel centers, pixels.
        seen: callback with the image's file name and each map that was read.

    Raises:
        UserError: no map is readable.
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
    rows, columns = np.nonzero(semantic[top : y + reach + 1, left : x + reach + 1] == label)
    return bool((np.hypot(rows + top - y, columns + left - x) <= radius).any())
