"""Builds the rows of a report: one image at every stage, or one image that was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from p2seg.apps.report.page import ReportRow
from p2seg.apps.report.pictures import brighten, draw_instances, draw_points, draw_semantic, fit
from p2seg.data.coco import Instance, InstanceSet, decode
from p2seg.data.dataset import Reader
from p2seg.data.images import read_image
from p2seg.data.points import PointSet
from p2seg.data.records import ImageRecord

SIDE = 480
"""Longest side of a picture in pixels."""

CROWD = 40
"""Most objects per image that remain distinguishable in a small picture."""


@dataclass(frozen=True)
class MaskColumn:
    """A column of pictures: masks of a stage, of a segmentation model, or the ground truth.

    Attributes:
        title: title of the column.
        instances: the masks, by image.
        score: lowest score of masks to draw.
    """

    title: str
    instances: InstanceSet
    score: float = 0.0


def crowded(
    images: Sequence[ImageRecord], labels: Sequence[Sequence[int]], count: int
) -> list[int]:
    """Returns the sorted indices of the images with the most neighbors of one class.

    Images with more than `CROWD` objects are hard to see and are used only if there are no others.

    Args:
        images: the images to select from.
        labels: per image, the class of every object.
        count: number of images to select.
    """
    several = [i for i, own in enumerate(labels) if len(own) >= 2]
    chosen = sorted(
        [i for i in several if len(labels[i]) <= CROWD] or several,
        key=lambda i: (-_neighbors(labels[i]), images[i].id),
    )
    if len(chosen) < 2 * count:
        return sorted(chosen[:count])
    # Every second of the 2 * count hardest images, because the hardest alone are all crowds.
    return sorted(chosen[: 2 * count])[::2]


def report_rows(
    points: PointSet, reader: Reader, columns: Sequence[MaskColumn], indices: Sequence[int]
) -> list[ReportRow]:
    """Builds one row per image with all stages.

    Args:
        points: the images and their points.
        reader: reads images and initial semantic maps.
        columns: the columns after image and map.
        indices: indices of the images.
    """
    return [_row(points, index, reader, columns) for index in indices]


def unseen_rows(
    images: Sequence[ImageRecord],
    folder: Path,
    columns: Sequence[MaskColumn],
    indices: Sequence[int],
) -> list[ReportRow]:
    """Builds rows of images without clicks: predicted masks and true masks.

    Args:
        images: the validation images.
        folder: folder of the images.
        columns: masks to draw next to the image.
        indices: indices of the images.
    """
    rows = []
    for record in (images[index] for index in indices):
        image = read_image(folder / record.file_name, (record.height, record.width))
        large = fit(brighten(image), SIDE)
        pictures = {"image": large, **_columns(large, record, columns, {})}
        rows.append(ReportRow(record.file_name, pictures))
    return rows


def _neighbors(labels: Sequence[int]) -> int:
    counts = np.bincount(labels)
    return int(counts[counts > 1].sum())


def _row(points: PointSet, index: int, reader: Reader, columns: Sequence[MaskColumn]) -> ReportRow:
    record, own = points.images[index], points.points[index]
    image = reader.image(record).permute(1, 2, 0).numpy()
    large = fit(brighten(image), SIDE)
    order = {int(id): k for k, id in enumerate(own.ids.tolist())}
    pictures = {
        "image and clicks": draw_points(large, own, scale=large.shape[1] / image.shape[1]),
        "initial semantic map": draw_semantic(large, reader.map(record, own).numpy()),
        **_columns(large, record, columns, order),
    }
    return ReportRow(record.file_name, pictures)


def _columns(
    large: NDArray[np.uint8],
    record: ImageRecord,
    columns: Sequence[MaskColumn],
    order: dict[int, int],
) -> dict[str, NDArray[np.uint8]]:
    """Draws the columns that contain the image, by title."""
    pictures = {}
    for column in columns:
        place = {each.id: i for i, each in enumerate(column.instances.images)}
        if record.id not in place:
            continue
        masks = [
            each
            for each in column.instances.instances[place[record.id]]
            if each.score >= column.score and not each.crowd
        ]
        pictures[column.title] = _drawn(large, masks, order)
    return pictures


def _drawn(
    image: NDArray[np.uint8], instances: Sequence[Instance], order: dict[int, int]
) -> NDArray[np.uint8]:
    """Draws masks in the colors of their points, if every mask has a point."""
    known = [each for each in instances if each.id in order]
    if len(known) == len(instances) and instances:
        shape = decode(instances[0]).shape
        masks = [np.zeros(shape, dtype=bool) for _ in order]
        for each in instances:
            masks[order[each.id]] = decode(each)
        return draw_instances(image, masks)
    return draw_instances(image, [decode(each) for each in instances])
