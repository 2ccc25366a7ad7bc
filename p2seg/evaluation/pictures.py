"""The rows of a report: one image seen by every stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from p2seg.data.coco import Instance, InstanceSet, decode
from p2seg.data.dataset import Reader
from p2seg.data.points import PointSet
from p2seg.evaluation.report import ReportRow
from p2seg.structures import Points
from p2seg.visualize import draw_instances, draw_points, draw_semantic, fit

SIDE = 480
"""Pixels of a picture's long side."""

SHOWN_SCORE = 0.5
"""Detections of a segmentor that are shown."""


@dataclass(frozen=True)
class Shown:
    """A column of pictures: a stage's masks of the training images.

    Attributes:
        title: of the column.
        instances: by image id.
        score: masks below it are not shown.
    """

    title: str
    instances: InstanceSet
    score: float = 0.0


def crowded(points: PointSet, count: int) -> list[int]:
    """The images with the most neighbours of one class, ascending indices.

    Images of more than 20 points are hard to see and are taken only if there are no others.

    Args:
        points: the images and their points.
        count: images.
    """
    several = [i for i, own in enumerate(points.points) if len(own) >= 2]
    chosen = sorted(
        [i for i in several if len(points.points[i]) <= 20] or several,
        key=lambda i: (-_neighbours(points.points[i]), points.images[i].id),
    )
    if len(chosen) < 2 * count:
        return sorted(chosen[:count])
    # every other one of the twice as many hardest, or all of them would be crowds
    return sorted(chosen[: 2 * count])[::2]


def report_rows(
    points: PointSet, reader: Reader, columns: Sequence[Shown], indices: Sequence[int]
) -> list[ReportRow]:
    """Images seen by every stage.

    Args:
        points: the images and their points.
        reader: of images and first maps.
        columns: what stands beside image and map.
        indices: of the images.
    """
    return [_row(points, index, reader, columns) for index in indices]


def _neighbours(points: Points) -> int:
    counts = np.bincount(points.labels.numpy())
    return int(counts[counts > 1].sum())


def _row(points: PointSet, index: int, reader: Reader, columns: Sequence[Shown]) -> ReportRow:
    record, own = points.images[index], points.points[index]
    image = reader.image(record).permute(1, 2, 0).numpy()
    large = fit(image, SIDE)
    pictures: dict[str, NDArray[np.uint8]] = {
        "image and clicks": draw_points(large, own, scale=large.shape[1] / image.shape[1]),
        "first map": draw_semantic(large, reader.map(record, own).numpy()),
    }
    order = {int(id): k for k, id in enumerate(own.ids.tolist())}
    for column in columns:
        place = {each.id: i for i, each in enumerate(column.instances.images)}
        if record.id not in place:
            continue
        found = [
            each
            for each in column.instances.instances[place[record.id]]
            if each.score >= column.score and not each.crowd
        ]
        pictures[column.title] = _drawn(large, found, order)
    return ReportRow(record.file_name, pictures)


def _drawn(
    image: NDArray[np.uint8], instances: Sequence[Instance], order: dict[int, int]
) -> NDArray[np.uint8]:
    """Masks in the colours of their points; those of no point follow after."""
    known = [each for each in instances if each.id in order]
    if len(known) == len(instances) and instances:
        shape = decode(instances[0]).shape
        masks = [np.zeros(shape, dtype=bool) for _ in order]
        for each in instances:
            masks[order[each.id]] = decode(each)
        return draw_instances(image, masks)
    return draw_instances(image, [decode(each) for each in instances])
