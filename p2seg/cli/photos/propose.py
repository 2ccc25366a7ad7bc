"""`p2seg propose`: clicks on photographs that have none, from what a trained model finds there."""

from __future__ import annotations

import csv
import io
import warnings
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch

from p2seg.cli.photos.commands import model_at
from p2seg.data.coco import Category, Instance, InstanceSet
from p2seg.data.image_sources import sources_at
from p2seg.data.images import read_image
from p2seg.data.points import PointSet, make_points, read_points, write_points
from p2seg.data.records import ImageRecord
from p2seg.errors import UserError
from p2seg.runtime.files import write_text
from p2seg.runtime.progress import console, track
from p2seg.segmentors.load import Instance as Detection
from p2seg.segmentors.load import Predictor, load
from p2seg.structures import Points

LEAST_SCORE = 0.05
"""Of the detections that say how sure the model is of a photograph."""


def propose_(options: Namespace) -> int:
    """Adds proposed clicks to the points file of a folder, and lists what to check first."""
    model, photos = model_at(options.model), options.photos
    if not photos.is_dir():
        raise UserError(f"no folder of photographs at {photos}")
    if not 0 <= options.conf <= 1:
        raise UserError(f"--conf {options.conf}: must be between 0 and 1")
    predictor = load(model)
    file = photos / "points.json"
    known = read_points(file) if file.is_file() else PointSet([], predictor.categories, [])
    labels = _labels(predictor, known, file)
    clicked = {
        each.file_name for each, own in zip(known.images, known.points, strict=True) if len(own)
    }
    names = [each.name for each in sources_at(photos) if not each.is_video]
    rest = [name for name in names if name not in clicked]
    found: dict[str, list[Detection]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for name in track(rest, "proposals", len(rest)):
        image = read_image(photos / name)
        sizes[name] = image.shape[0], image.shape[1]
        with warnings.catch_warnings():  # weak detections above the limit of objects may go
            warnings.simplefilter("ignore", UserWarning)
            found[name] = predictor(image, min(LEAST_SCORE, options.conf))
    kept = {
        name: [each for each in own if each.score >= options.conf] for name, own in found.items()
    }
    write_points(file, _joined(known, kept, sizes, labels))
    rows = sorted((_doubt(found[name]), name, len(kept[name])) for name in rest)[::-1]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "proposed objects", "doubt"])
    writer.writerows([name, count, f"{doubt:.3f}"] for doubt, name, count in rows)
    write_text(photos / "proposed.csv", text.getvalue())
    console.print(
        f"{sum(map(len, kept.values()))} objects proposed in {len(rest)} photographs without "
        f"clicks; check them with p2seg annotate {photos}, in the order of {photos}/proposed.csv",
        markup=False,
    )
    return 0


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


def _joined(
    known: PointSet,
    proposed: dict[str, list[Detection]],
    sizes: dict[str, tuple[int, int]],
    labels: dict[int, int],
) -> PointSet:
    """The points with one click in the middle of each proposed object."""
    images, points = [*known.images], [*known.points]
    place = {each.file_name: k for k, each in enumerate(images)}
    next_image = 1 + max((each.id for each in images), default=0)
    next_id = 1 + max((int(own.ids.max()) for own in points if len(own)), default=0)
    categories: list[Category] = list(known.categories)
    for name, own in proposed.items():
        if not own:
            continue
        if name not in place:
            place[name] = len(images)
            images.append(ImageRecord(next_image, name, *sizes[name]))
            points.append(_none())
            next_image += 1
        record = images[place[name]]
        instances = [
            Instance(next_id + k, labels[each.label], each.rle) for k, each in enumerate(own)
        ]
        next_id += len(own)
        clicks = make_points(InstanceSet([record], categories, [instances]), "inner", 0)
        points[place[name]] = clicks.points[0]
    return PointSet(images, categories, points, known.info)


def _none() -> Points:
    empty = torch.zeros(0, dtype=torch.long)
    return Points(torch.zeros(0, 2), empty, empty)
