"""Checks the initial semantic maps: complete, same classes and points, right class at clicks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

from p2seg.apps.validate.annotations import Clicks
from p2seg.apps.validate.findings import Findings
from p2seg.data.maps import SemanticMap, map_path, read_map
from p2seg.data.points import points_fingerprint, read_points
from p2seg.errors import UserError
from p2seg.semantic.check import MapCheck, check_maps
from p2seg.semantic.manifest import MANIFEST, read_manifest
from p2seg.semantic.source import MapTask

SNAP = 8.0
"""Distance in pixels up to which a pixel of the point's class counts as near."""

Progress = Callable[[Iterable[MapTask]], Iterable[MapTask]]


def check_semantic(
    folder: Path,
    images: Path,
    points: Path,
    clicks: Clicks,
    findings: Findings,
    progress: Progress = iter,
) -> MapCheck | None:
    """Checks the maps of all images that have points.

    Args:
        folder: folder of the maps.
        images: folder of the images.
        points: the points file.
        clicks: the content of the points file.
        findings: receives the problems.
        progress: wraps the iteration over the images.

    Returns:
        The agreement of maps and points; None if there is no readable map.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        findings.add("map.none", str(folder))
        return None
    _check_manifest(folder, points, clicks, findings)
    tasks = list(_tasks(clicks, images))
    by_name = {clicks.images[place].file_name: place for place in set(clicks.places.tolist())}
    read = partial(_read, folder, findings)
    seen = partial(_check_one, clicks, by_name, findings)
    names = tuple(category.name for category in clicks.categories)
    try:
        return check_maps(read, progress(tasks), names, SNAP, seen)
    except UserError:  # no map is readable, which `_read` has recorded
        return None


def _check_manifest(folder: Path, points: Path, clicks: Clicks, findings: Findings) -> None:
    if not (folder / MANIFEST).is_file():
        return
    try:
        manifest = read_manifest(folder)
    except UserError as error:
        findings.add("map.other_points", str(error))
        return
    names = [category.name for category in clicks.categories]
    if manifest.classes != names:
        in_maps, in_points = (", ".join(each[:5]) for each in (manifest.classes, names))
        findings.add("map.classes", f"the maps have {in_maps}; the points file has {in_points}")
    elif _fingerprint(points) not in (manifest.points_sha256, None):
        findings.add("map.other_points", f"{folder / MANIFEST} names another file")


def _fingerprint(points: Path) -> str | None:
    """Returns the fingerprint of a points file, or None if the file has faults."""
    try:
        return points_fingerprint(read_points(points))
    except UserError:
        return None


def _tasks(clicks: Clicks, images: Path) -> Iterable[MapTask]:
    names, inside = tuple(category.name for category in clicks.categories), clicks.inside
    for place, record in enumerate(clicks.images):
        own = clicks.of(place)
        own = own[inside[own]]
        if len(own):
            yx = np.floor(clicks.xy[own, ::-1]).astype(np.int64)
            file = images / record.file_name
            yield MapTask(record, file, yx, clicks.labels[own], clicks.ids[own], names)


def _read(folder: Path, findings: Findings, task: MapTask) -> SemanticMap:
    name = task.record.file_name
    try:
        return read_map(map_path(folder, name), task.size, len(task.classes))
    except UserError as error:
        findings.add("map.unread", f"{name}: {error}", name)
        raise


def _check_one(
    clicks: Clicks, by_name: dict[str, int], findings: Findings, name: str, semantic: SemanticMap
) -> None:
    own = clicks.of(by_name[name])
    own = own[clicks.inside[own]]
    x, y = np.floor(clicks.xy[own]).astype(np.int64).T
    for k in own[semantic[y, x] != clicks.labels[own]].tolist():
        findings.add("map.off_class", clicks.describe(k), name)
