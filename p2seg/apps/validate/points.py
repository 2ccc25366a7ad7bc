"""Checks the points: position, distance to each other, and class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from p2seg.apps.validate.annotations import Clicks
from p2seg.apps.validate.findings import Findings
from p2seg.structures import STRIDE

RARE = 10
"""A class with fewer points is rare."""
SPOT = 1.5
"""Points of different classes within this distance in pixels lie on one spot."""
UNLIKELY = -6.0
"""Base-10 logarithm of a probability that is considered impossible."""
SWAPPED = 0.9
"""Share of the outside points that must lie inside after swapping x and y."""


def check_points(clicks: Clicks, findings: Findings) -> None:
    """Checks all points; raises nothing."""
    _check_classes(clicks, findings)
    if not len(clicks.ids):
        findings.add("points.none", f"{len(clicks.images)} images without points")
        return
    _check_units(clicks, findings)
    _check_places(clicks, findings)
    _check_neighbors(clicks, findings)


def _check_classes(clicks: Clicks, findings: Findings) -> None:
    counts = np.bincount(clicks.labels, minlength=len(clicks.categories) + 1)[1:]
    names: dict[str, str] = {}
    for category, count in zip(clicks.categories, counts.tolist(), strict=True):
        same = names.setdefault("".join(category.name.split()).casefold(), category.name)
        if same is not category.name:
            findings.add("class.names", f"{same!r} and {category.name!r}")
        if not count:
            findings.add("class.empty", category.name)
        elif count < RARE:
            findings.add("class.rare", f"{category.name}: {count}")
    with_points = np.bincount(clicks.places, minlength=len(clicks.images)) > 0
    for place in np.flatnonzero(~with_points).tolist():
        name = clicks.images[place].file_name
        findings.add("image.no_points", name, name)


def _check_units(clicks: Clicks, findings: Findings) -> None:
    """Detects coordinates that are not pixels, by how improbable they would be as pixels."""
    for kind, most in (("points.fraction", 1.0), ("points.percent", 100.0)):
        if (clicks.xy < 0).any() or (clicks.xy > most).any():
            continue
        chance = np.log10(np.minimum(1, most / clicks.sides)).sum()
        if chance < UNLIKELY:
            first = int(clicks.xy.max(1).argmax())
            findings.add(kind, clicks.describe(first), clicks.name(first), count=len(clicks.ids))
            return


def _check_places(clicks: Clicks, findings: Findings) -> None:
    outside = np.flatnonzero(~clicks.inside)
    kind = _kind_of(clicks, outside)
    for k in outside.tolist():
        findings.add(kind, clicks.describe(k), clicks.name(k))
    edge = (clicks.xy < 1) | (clicks.xy >= clicks.sides - 1)
    if not any(kind in findings for kind in ("points.fraction", "points.percent")):
        for k in np.flatnonzero(edge.any(1) & clicks.inside).tolist():
            findings.add("points.border", clicks.describe(k), clicks.name(k))


def _kind_of(clicks: Clicks, outside: NDArray[np.int64]) -> str:
    """Returns the probable reason why points lie outside."""
    if not len(outside):
        return "points.outside"
    valid = (clicks.xy[:, ::-1] >= 0) & (clicks.xy[:, ::-1] < clicks.sides)
    inside_swapped = np.asarray(valid.all(1))
    enough = len(outside) >= 3 and inside_swapped[outside].mean() >= SWAPPED
    if enough and inside_swapped.mean() > clicks.inside.mean():
        return "points.swapped"
    beyond = clicks.xy[outside] - clicks.sides[outside]
    if (beyond <= 0).all() and clicks.xy.min() >= 1:  # exactly on the width or height
        return "points.from_one"
    return "points.outside"


def _check_neighbors(clicks: Clicks, findings: Findings) -> None:
    """Finds pairs of points of an image that are too close."""
    if any(kind in findings for kind in ("points.fraction", "points.percent")):
        return  # with wrong units, all points are close to each other
    for group in map(clicks.of, range(len(clicks.images))):
        if len(group) < 2:
            continue
        pairs = cKDTree(clicks.xy[group]).query_pairs(STRIDE, output_type="ndarray")
        for first, second in np.sort(group[pairs], axis=1).tolist():
            kind = _relation(clicks, first, second)
            if kind is not None:
                example = f"{clicks.describe(first)} and annotation {clicks.ids[second]}"
                findings.add(kind, example, clicks.name(first))


def _relation(clicks: Clicks, first: int, second: int) -> str | None:
    """Returns the kind of problem of two points that are close to each other, or None."""
    distance = float(np.linalg.norm(clicks.xy[first] - clicks.xy[second]))
    if clicks.labels[first] != clicks.labels[second]:
        return "points.two_classes" if distance < SPOT else None
    if (abs(np.floor(clicks.xy[first]) - np.floor(clicks.xy[second])) <= 1).all():
        return "points.double"
    return "points.near" if distance < STRIDE else None
