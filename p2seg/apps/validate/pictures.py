"""Draws example images with their points: the worst ones, then a varied selection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from p2seg.apps.report.pictures import INK, PAPER, Picture, fit, palette
from p2seg.apps.validate.inspect import Inspection
from p2seg.apps.validate.kinds import NOTE
from p2seg.data.images import read_image
from p2seg.errors import UserError

COUNT = 12
WORST = 6
"""Most examples that have a problem."""
SIDE = 480
"""Longest side of a picture in pixels."""
NUMBERED = 60
"""Most points of an image that are numbered."""
WRONG = (220, 38, 38)
"""Color of the cross that marks a point outside the image, drawn at the nearest border."""


@dataclass(frozen=True)
class Example:
    """An image with its points.

    Attributes:
        name: name of the image.
        why: reason for the selection.
        points: the number of its points.
        picture: `[H, W, 3]` uint8 RGB.
    """

    name: str
    why: str
    points: int
    picture: Picture


def example_images(inspection: Inspection) -> list[Example]:
    """Returns at most `COUNT` images, always the same ones; unreadable images are skipped."""
    examples: list[Example] = []
    for place, why in _selection(inspection):
        record = inspection.clicks.images[place]
        try:
            image = read_image(
                inspection.inputs.images / record.file_name, _size(inspection, place)
            )
        except UserError:
            continue
        own = inspection.clicks.of(place)
        examples.append(
            Example(record.file_name, why, len(own), _draw_points(inspection, place, image))
        )
        if len(examples) == COUNT:
            break
    return examples


def _size(inspection: Inspection, place: int) -> tuple[int, int] | None:
    """Returns the size to check when reading: the annotated size, or None if the file differs."""
    record, file = inspection.clicks.images[place], inspection.files[place]
    size = record.height, record.width
    return size if size in (file.size, file.upright) else None


def _selection(inspection: Inspection) -> Iterator[tuple[int, str]]:
    """Yields the indices of images and the reasons, each image once: the worst ones first."""
    place_of = {each.file_name: place for place, each in enumerate(inspection.clicks.images)}
    readable = {p for p, file in enumerate(inspection.files) if file.bytes and file.error is None}
    selected: set[int] = set()
    for number in range(WORST):  # the first image of every finding, then the second, ...
        for finding in inspection.findings.worst_first:
            names = [] if finding.severity == NOTE else list(finding.images)
            place = place_of.get(names[number], -1) if number < len(names) else -1
            if place in readable - selected and len(selected) < WORST:
                selected.add(place)
                yield place, finding.problem
    for place, why in _varied(inspection, readable):
        if place not in selected:
            selected.add(place)
            yield place, why


def _varied(inspection: Inspection, readable: set[int]) -> Iterator[tuple[int, str]]:
    """Yields images that differ: most points, one per class, smallest, largest, and others."""
    clicks = inspection.clicks
    counts = np.bincount(clicks.places, minlength=len(clicks.images))
    clicked = sorted(place for place in readable if counts[place])
    if not clicked:
        return
    yield max(clicked, key=lambda place: (counts[place], -place)), "the most points"
    fewest = np.bincount(clicks.labels, minlength=len(clicks.categories) + 1)[1:].argsort()
    for label in (fewest + 1).tolist()[: COUNT // 2]:
        for place in clicks.places[clicks.labels == label].tolist()[:1]:
            if place in readable:
                yield place, f"with {clicks.categories[label - 1].name}"
    area = {
        place: inspection.files[place].size[0] * inspection.files[place].size[1]
        for place in clicked
    }
    if len(set(area.values())) > 1:
        yield min(clicked, key=lambda place: (area[place], place)), "the smallest"
        yield max(clicked, key=lambda place: (area[place], -place)), "the largest"
    for k in np.linspace(0, len(clicked) - 1, 2 * COUNT).round().astype(int).tolist():
        yield clicked[k], ""
    yield from ((place, "") for place in clicked[: 2 * COUNT])


def _draw_points(inspection: Inspection, place: int, image: NDArray[np.uint8]) -> Picture:
    clicks, record = inspection.clicks, inspection.clicks.images[place]
    picture = np.ascontiguousarray(fit(image, SIDE))
    height, width = picture.shape[:2]
    scale = np.array([width / record.width, height / record.height])
    colors = palette(len(clicks.categories))
    inside = clicks.inside
    own = clicks.of(place)
    radius = 10 if len(own) <= NUMBERED else 5
    for number, k in enumerate(own.tolist(), start=1):
        at = (clicks.xy[k] + 0.5) * scale - 0.5
        x, y = (int(v) for v in at.clip(radius, (width - 1 - radius, height - 1 - radius)).round())
        color = [int(value) for value in colors[clicks.labels[k] - 1]]
        if not inside[k]:
            cv2.drawMarker(picture, (x, y), PAPER, cv2.MARKER_TILTED_CROSS, 26, 9, cv2.LINE_AA)
            cv2.drawMarker(picture, (x, y), WRONG, cv2.MARKER_TILTED_CROSS, 24, 5, cv2.LINE_AA)
            continue
        x, y = (int(value) for value in at.round())
        for size, paint in ((radius, INK), (radius - 1, PAPER), (radius - radius // 3, color)):
            cv2.circle(picture, (x, y), size, paint, -1, cv2.LINE_AA)
        if len(own) <= NUMBERED:
            _number(picture, str(number), x + radius + 1, y)
    return picture


def _number(picture: Picture, text: str, x: int, y: int) -> None:
    """Draws a number to the right of a point, or to the left at the image's edge."""
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.6
    (width, height), _ = cv2.getTextSize(text, font, size, 2)
    left = x if x + width < picture.shape[1] else x - width - 24
    for paint, thickness in ((INK, 5), (PAPER, 2)):
        place = (left, min(max(y + height // 2, height), picture.shape[0] - 2))
        cv2.putText(picture, text, place, font, size, paint, thickness, cv2.LINE_AA)
