"""`p2seg propose`: proposed clicks on photographs without clicks, from a trained model."""

from __future__ import annotations

import warnings
from argparse import Namespace
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from p2seg.apps.annotate.entries import first_free
from p2seg.apps.annotate.history import STATE_KEY, ids_of
from p2seg.cli.photos.commands import model_at
from p2seg.data.coco import Category, Instance, InstanceSet
from p2seg.data.image_sources import sources_at
from p2seg.data.images import read_image
from p2seg.data.points import PointSet, make_points, read_points, write_points
from p2seg.data.proposals import proposals_path
from p2seg.data.records import ImageRecord
from p2seg.errors import UserError
from p2seg.runtime.progress import console, track
from p2seg.segmentors.load import Instance as Detection
from p2seg.segmentors.load import Predictor, load
from p2seg.structures import Points

LEAST_SCORE = 0.05
"""Of the detections that say how sure the model is of a photograph."""


def propose_(options: Namespace) -> int:
    """Writes the proposals file of a folder; the photographs to check first come first."""
    model, photos = model_at(options.model), options.photos
    if not photos.is_dir():
        raise UserError(f"no folder of photographs at {photos}")
    if not 0 <= options.conf <= 1:
        raise UserError(f"--conf {options.conf}: must be between 0 and 1")
    predictor = load(model)
    file = photos / "points.json"
    is_new = not file.is_file()
    known = PointSet([], predictor.categories, []) if is_new else read_points(file)
    labels = _labels(predictor, known, file)
    page_state = known.info.get(STATE_KEY)
    state = page_state if isinstance(page_state, dict) else {}
    finished = _finished(known, state)
    names = [each.name for each in sources_at(photos) if not each.is_video]
    rest = [name for name in names if name not in finished]
    found: list[tuple[float, ImageRecord, Points]] = []
    next_id = _next_id(file, known, state)
    for number, name in enumerate(track(rest, "proposals", len(rest)), 1):
        image = read_image(photos / name)
        record = ImageRecord(number, name, image.shape[0], image.shape[1])
        with warnings.catch_warnings():  # weak detections above the limit of objects may go
            warnings.simplefilter("ignore", UserWarning)
            own = predictor(image, min(LEAST_SCORE, options.conf))
        kept = [each for each in own if each.score >= options.conf]
        instances = [
            Instance(next_id + k, labels[each.label], each.rle) for k, each in enumerate(kept)
        ]
        next_id += len(kept)
        found.append((_doubt(own), record, _distinct_points(record, known.categories, instances)))
    found.sort(key=lambda each: (-each[0], each[1].file_name))
    images, points = [each[1] for each in found], [each[2] for each in found]
    proposals = PointSet(images, known.categories, points)
    if is_new:
        write_points(file, known)
    write_points(proposals_path(file), proposals)
    count = sum(map(len, proposals.points))
    if not rest:
        console.print(f"no photograph of {photos} is without points", markup=False)
        return 0
    if not count:
        console.print(
            f"no objects with a score of {options.conf} or more in {len(rest):,} photographs "
            "without clicks; a lower --conf proposes more",
            markup=False,
        )
        return 0
    console.print(
        f"{count:,} objects proposed in {len(rest):,} photographs without clicks; accept or "
        f"correct them, the least sure photographs first: p2seg annotate {quote(str(photos))}",
        markup=False,
    )
    return 0


def _distinct_points(
    record: ImageRecord, categories: list[Category], instances: list[Instance]
) -> Points:
    """One point per detected object of an image.

    A point in the mask of a better detection is omitted: most often it is on the same object
    (docs/developers/experiments.md, "The loop of clicks and proposals").

    Args:
        record: the image.
        categories: of the points file.
        instances: detections, the best first.
    """
    points = make_points(InstanceSet([record], categories, [instances]), "inner", 0).points[0]
    masks = {each.id: each.mask for each in instances}
    covered = np.zeros((record.height, record.width), bool)
    distinct = []
    for place, (id, (y, x)) in enumerate(
        zip(points.ids.tolist(), points.pixels.tolist(), strict=True)
    ):
        if not covered[y, x]:
            distinct.append(place)
            covered |= masks[id]
    return Points(points.yx[distinct], points.labels[distinct], points.ids[distinct])


def _finished(known: PointSet, state: dict[str, Any]) -> set[str]:
    """Names of the images that have points or are marked as empty."""
    empty = ids_of(state.get("done"))
    pairs = zip(known.images, known.points, strict=True)
    return {each.file_name for each, own in pairs if len(own) or each.id in empty}


def _next_id(file: Path, known: PointSet, state: dict[str, Any]) -> int:
    """The first id that no point or proposal ever had."""
    sets = [known]
    if proposals_path(file).is_file():
        sets.append(read_points(proposals_path(file)))
    ids = [id for each in sets for own in each.points for id in own.ids.tolist()]
    return first_free(ids, state, "next_id")


def _labels(predictor: Predictor, known: PointSet, file: Path) -> dict[int, int]:
    """The class of the points file of each class of the model."""
    names = {each.name: k + 1 for k, each in enumerate(known.categories)}
    missing = [each.name for each in predictor.categories if each.name not in names]
    if missing:
        raise UserError(f"{file} has no class {missing[0]}, which the model finds")
    return {k + 1: names[each.name] for k, each in enumerate(predictor.categories)}


def _doubt(own: list[Detection]) -> float:
    """How unsure the model is: the share of its detections with a score of 0.2 to 0.8; 1 without
    any detection."""
    scores = np.array([each.score for each in own])
    return float(((scores > 0.2) & (scores < 0.8)).mean()) if len(scores) else 1.0
