"""Twelve images with their points: the worst, and such that show the variety."""

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
"""Of them at most, images that something is wrong with."""
SIDE = 480
"""Pixels of a picture's long side."""
NUMBERED = 60
"""Points of an image beyond which they have no numbers."""
WRONG = (220, 38, 38)
"""The cross of a point that lies outside, drawn at the nearest border."""


@dataclass(frozen=True)
class Drawn:
    """An image with its points.

    Attributes:
        name: of the image.
        why: it is shown.
        points: how many it has.
        picture: `[H, W, 3]` uint8 RGB.
    """

    name: str
    why: str
    points: int
    picture: Picture


def drawn_images(made: Inspection) -> list[Drawn]:
    """Twelve images or fewer, the same ones each time; those that cannot be read are left out."""
    found: list[Drawn] = []
    for place, why in _chosen(made):
        record = made.clicks.images[place]
        try:
            image = read_image(made.inputs.images / record.file_name, _size(made, place))
        except UserError:
            continue
        own = made.clicks.of(place)
        found.append(Drawn(record.file_name, why, len(own), _drawn(made, place, image)))
        if len(found) == COUNT:
            break
    return found


def _size(made: Inspection, place: int) -> tuple[int, int] | None:
    """The size that the image is read in: as annotated, or as it is where that is another."""
    record, seen = made.clicks.images[place], made.seen[place]
    size = record.height, record.width
    return size if size in (seen.size, seen.upright) else None


def _chosen(made: Inspection) -> Iterator[tuple[int, str]]:
    """Places of images and why they are shown, each once: the worst, then the most varied."""
    place_of = {each.file_name: place for place, each in enumerate(made.clicks.images)}
    readable = {p for p, seen in enumerate(made.seen) if seen.bytes and seen.error is None}
    taken: set[int] = set()
    for number in range(WORST):  # the first image of every kind of finding, then the second, ...
        for finding in made.findings.worst_first:
            names = [] if finding.severity == NOTE else list(finding.images)
            place = place_of.get(names[number], -1) if number < len(names) else -1
            if place in readable - taken and len(taken) < WORST:
                taken.add(place)
                yield place, finding.seen
    for place, why in _varied(made, readable):
        if place not in taken:
            taken.add(place)
            yield place, why


def _varied(made: Inspection, readable: set[int]) -> Iterator[tuple[int, str]]:
    """Images that differ: the fullest, of every class, the smallest, the largest, and some more."""
    clicks = made.clicks
    counts = np.bincount(clicks.places, minlength=len(clicks.images))
    some = sorted(place for place in readable if counts[place])
    if not some:
        return
    yield max(some, key=lambda place: (counts[place], -place)), "the most points"
    fewest = np.bincount(clicks.labels, minlength=len(clicks.categories) + 1)[1:].argsort()
    for label in (fewest + 1).tolist()[: COUNT // 2]:
        for place in clicks.places[clicks.labels == label].tolist()[:1]:
            if place in readable:
                yield place, f"with {clicks.categories[label - 1].name}"
    area = {place: made.seen[place].size[0] * made.seen[place].size[1] for place in some}
    if len(set(area.values())) > 1:
        yield min(some, key=lambda place: (area[place], place)), "the smallest"
        yield max(some, key=lambda place: (area[place], -place)), "the largest"
    for k in np.linspace(0, len(some) - 1, 2 * COUNT).round().astype(int).tolist():
        yield some[k], ""
    yield from ((place, "") for place in some[: 2 * COUNT])


def _drawn(made: Inspection, place: int, image: NDArray[np.uint8]) -> Picture:
    clicks, record = made.clicks, made.clicks.images[place]
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
    """A small number right of a point, or left of it at the image's edge."""
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.6
    (width, height), _ = cv2.getTextSize(text, font, size, 2)
    left = x if x + width < picture.shape[1] else x - width - 24
    for paint, thickness in ((INK, 5), (PAPER, 2)):
        place = (left, min(max(y + height // 2, height), picture.shape[0] - 2))
        cv2.putText(picture, text, place, font, size, paint, thickness, cv2.LINE_AA)
