"""Checks of imported marks against the images, and their conversion to a `PointSet`."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import floor

import numpy as np
import torch

from p2seg.data.compact_lists import PackedPoints
from p2seg.data.points import PointSet
from p2seg.data.records import Category, ImageRecord
from p2seg.errors import UserError, shown
from p2seg.formats.points.base import Found, Mark, Picture
from p2seg.formats.points.match_images import Images, size_of
from p2seg.formats.points.regions import Region
from p2seg.formats.points.rules import Report, Rules
from p2seg.structures import IGNORED, Points

TOLERANCE = 1e-3
"""A click this many pixels outside the image counts as on its edge."""
NO_CLASS = "has no class; give it the name of a class, or all such objects one: classes=[NAME]"


Placed = tuple[float, float, Mark]
"""A point's (y, x), with the center of the first pixel at (0, 0), and its mark."""


def gather(found: Found, images: Images, rules: Rules) -> tuple[PointSet, Report]:
    """Converts the content of a tool's file to a point set.

    Args:
        found: result of a reader.
        images: the image folder.
        rules: rules of the conversion.

    Returns:
        The set in the order of the file, and the counts for the report. Ids in the file are
        preserved. New ids follow the largest one.

    Raises:
        UserError: an entry is invalid and `rules.skip` is False, a class is not in the file, or no
            point is left.
    """
    report = Report(left_out=found.left_out.copy())
    for message in found.problems:
        report.problem("entries that are broken", UserError(message), rules)
    names = _classes(found, rules, report)
    label_of = {name: label for label, name in enumerate(names, start=1)}
    records: list[ImageRecord] = []
    placed: list[list[Placed]] = []
    pictures = _matched(found, images, rules, report)
    report.unnamed = [name for name in images.names if name not in pictures]
    image_ids = _unique([picture.id for picture in pictures.values()])
    for (name, picture), id in zip(pictures.items(), image_ids, strict=True):
        try:
            size = size_of(images.folder / name, picture.size)
        except UserError as error:
            message = f"{picture.where}{picture.size_by}: {error}"
            report.problem("images of another size or unreadable", UserError(message), rules)
            continue
        record = ImageRecord(id, name, *size)
        points = _points(picture, record, label_of, rules, report)
        if not points:
            report.empty.append(name)
            if not rules.keep_empty:
                report.dropped += 1
                continue
        records.append(record)
        placed.append(points)
    report.images = len(records)
    report.counts = dict.fromkeys(names, 0)
    for group in placed:
        for _, _, mark in group:
            report.counts[mark.label] += 1
    if not any(placed):
        raise UserError(
            f"no point is left of {sum(len(p.marks) for p in found.pictures)} entries on "
            f"{len(found.pictures)} images{_reasons(report)}: check in=, images= and classes="
        )
    return PointSet(records, _categories(found, names), _packed(placed, label_of)), report


def _reasons(report: Report) -> str:
    reasons = [f"{n} {kind}" for kind, n in report.left_out.most_common()] + report.problems
    return f" (skipped: {'; '.join(reasons[:3])})" if reasons else ""


def _classes(found: Found, rules: Rules, report: Report) -> list[str]:
    used = {mark.label for picture in found.pictures for mark in picture.marks}
    if "" in used:
        used.remove("")
        if rules.classes is not None and len(rules.classes) == 1:
            used.update(rules.classes)
    known = list(dict.fromkeys(found.classes or ())) + sorted(used - set(found.classes or ()))
    names = known if rules.classes is None else list(rules.classes)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"classes= names {shown(twice[0])} twice; name each class once")
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = (
                f"did you mean {shown(near[0])}?"
                if near
                else f"it has {_listed(known) or 'no classes'}"
            )
            raise UserError(f"classes= names {shown(name)}, which the file does not have; {hint}")
    if not names and not any(picture.marks for picture in found.pictures):
        raise UserError(f"the file has no class and no point{_reasons(report)}: check in=PATH")
    if len(names) >= IGNORED:
        raise UserError(
            f"there are {len(names)} classes, more than the {IGNORED - 1} that a semantic map "
            "holds; choose some with classes=[..]"
        )
    return names


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(shown, names[:8])) + (f" and {len(names) - 8} more" * (len(names) > 8))


def _categories(found: Found, names: list[str]) -> list[Category]:
    """The classes with ids: those of the file if they are in order, else 1, 2, ..."""
    if found.class_ids is not None and found.classes is not None:
        known = dict(zip(found.classes, found.class_ids, strict=True))
        ids = [known.get(name, -1) for name in names]
        if -1 not in ids and ids == sorted(set(ids)):
            return [Category(id, name) for id, name in zip(ids, names, strict=True)]
    return [Category(id, name) for id, name in enumerate(names, start=1)]


def _matched(found: Found, images: Images, rules: Rules, report: Report) -> dict[str, Picture]:
    """The pictures of the file by image path below the folder, in the file's order."""
    pictures: dict[str, Picture] = {}
    for picture in found.pictures:
        reason = "images of the file without a unique image in the folder"
        try:
            name = images.match(picture.names)
            before = pictures.get(name)
            if before is not None and before.marks and picture.marks:
                reason = "images that are named twice"
                raise UserError(
                    f"image {name} is also annotated in {before.where}; remove one of the two, or "
                    "skip the second with data.on_error=skip"
                )
        except UserError as error:
            report.problem(reason, UserError(f"{picture.where}: {error}"), rules)
            continue
        if before is None or picture.marks:  # an entry with marks replaces an empty one
            pictures[name] = picture
    return pictures


def _points(
    picture: Picture, record: ImageRecord, label_of: dict[str, int], rules: Rules, report: Report
) -> list[Placed]:
    size = record.height, record.width
    marks = [_resolved(mark, size, rules) for mark in picture.marks]
    largest, broken = _largest_parts(marks, size)
    shift = 0.5 if rules.edges else 0.0
    points: list[Placed] = []
    spots = set[tuple[float, float, str]]()
    for number, mark in enumerate(marks):
        if not mark.label:
            message = f"{picture.where}: {mark.where} {NO_CLASS}"
            report.problem("objects without a class", UserError(message), rules)
            continue
        if mark.label not in label_of:
            report.left_out[f"of the class {shown(mark.label)}"] += 1
            continue
        if number not in largest:
            report.left_out[f"{'broken' if number in broken else 'other'} parts of an object"] += 1
            continue
        try:
            if isinstance(mark.at, Region):
                y, x = _derived(mark, mark.at, record, rules, number)
                report.derived[mark.at.kind] += 1
            else:
                assert isinstance(mark.at, tuple)
                y, x = _inside(mark, mark.at, record, shift)
        except UserError as error:
            reason = "objects outside their image, or broken"
            report.problem(reason, UserError(f"{picture.where}: {error}"), rules)
            continue
        if (y, x, mark.label) in spots:
            report.left_out["clicked twice on one spot"] += 1
            continue
        spots.add((y, x, mark.label))
        points.append((y, x, mark))
    return points


def _resolved(mark: Mark, size: tuple[int, int], rules: Rules) -> Mark:
    """The mark in pixels. Without a class it has the only one of `rules.classes`."""
    at = mark.at(size) if callable(mark.at) else mark.at
    default = rules.classes[0] if rules.classes is not None and len(rules.classes) == 1 else ""
    return replace(mark, at=at, label=mark.label or default)


def _largest_parts(marks: list[Mark], size: tuple[int, int]) -> tuple[set[int], set[int]]:
    """Selects one mark per object: the click of a group, else its largest part.

    Returns:
        The numbers of the selected marks, and those of broken parts.
    """
    clicked = {(mark.label, mark.group) for mark in marks if not isinstance(mark.at, Region)}
    best: dict[tuple[str, int], tuple[float, int]] = {}
    alone, broken = set[int](), set[int]()
    for number, mark in enumerate(marks):
        if mark.group is None or not isinstance(mark.at, Region):
            alone.add(number)
            continue
        key = (mark.label, mark.group)
        if key in clicked:
            continue
        try:
            extent = mark.at.extent(size)
        except ValueError:
            extent = -0.5  # selected, and therefore reported, only if there is no other part
            broken.add(number)
        best[key] = max(best.get(key, (-1.0, 0)), (extent, -number))
    return alone | {-number for _, number in best.values()}, broken


def _inside(
    mark: Mark, at: tuple[float, float], record: ImageRecord, shift: float
) -> tuple[float, float]:
    """A click in p2seg coordinates, inside the image and on the pixel that was clicked."""
    height, width = record.height, record.width
    # Percentages and rounding of other tools end slightly behind the edge.
    y, x = (
        min(max(value, 0.0), float(side)) if -TOLERANCE < value < side + TOLERANCE else value
        for value, side in zip(at, (height, width), strict=True)
    )
    fits = 0 <= y <= height and 0 <= x <= width if shift else 0 <= y < height and 0 <= x < width
    if not fits:
        raise UserError(
            f"{mark.where}: point ({x:.10g}, {y:.10g}) lies outside image {record.file_name} of "
            f"{width}x{height}; move it, or skip it with data.on_error=skip"
        )
    if not shift:
        return y, x
    # A point belongs to the pixel of its integer part, so the shift must not cross into another.
    return max(y - shift, min(floor(y), height - 1)), max(x - shift, min(floor(x), width - 1))


def _derived(
    mark: Mark, region: Region, record: ImageRecord, rules: Rules, number: int
) -> tuple[float, float]:
    size = record.height, record.width
    rng = np.random.default_rng([rules.seed, record.id, number])
    try:
        yx = region.click(size, 0.0 if rules.edges else 0.5, rules.sampler, rng)
    except ValueError as error:
        raise UserError(f"{mark.where} {error}") from error
    if yx is None:
        raise UserError(
            f"{mark.where}: the {region.kind} lies outside image {record.file_name} of "
            f"{record.width}x{record.height}, or is empty; move it, or skip it with "
            "data.on_error=skip"
        )
    y, x = yx  # a center may lie on the image's last edge
    return min(max(y, 0.0), record.height - 1.0), min(max(x, 0.0), record.width - 1.0)


def _packed(placed: list[list[Placed]], label_of: dict[str, int]) -> PackedPoints:
    ids = iter(_unique([mark.id for group in placed for _, _, mark in group]))
    return PackedPoints.packed(
        Points(
            yx=torch.tensor([(y, x) for y, x, _ in group], dtype=torch.float32).reshape(-1, 2),
            labels=torch.tensor([label_of[mark.label] for _, _, mark in group], dtype=torch.int64),
            ids=torch.tensor([next(ids) for _ in group], dtype=torch.int64),
        )
        for group in placed
    )


def _unique(wanted: Sequence[int | None]) -> list[int]:
    """Unique ids: each wanted id where it first occurs, else the next free one."""
    free = max([0, *(id for id in wanted if id is not None)]) + 1
    used = set[int]()
    ids = []
    for id in wanted:
        if id is None or id in used:  # a copied shape has the id of its original
            id, free = free, free + 1
        used.add(id)
        ids.append(id)
    return ids
