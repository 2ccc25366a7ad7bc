"""Readers of clicks, masks and reviews as functions of a path."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from devtools.fuzzing.values import CLASSES, SIZE
from p2seg.data import rle
from p2seg.data.coco import Category, ImageRecord, Instance, InstanceSet, decode, read_instances
from p2seg.data.coco import write_instances as write_set
from p2seg.data.maps import map_path
from p2seg.data.points import read_points, write_points
from p2seg.errors import UserError
from p2seg.evaluation.readers import read_predictions
from p2seg.formats.masks import places
from p2seg.pseudo.review import read_review, reviewed
from p2seg.runtime.files import read_json
from p2seg.semantic.maps import paths_of


def points(path: Path) -> None:
    content = read_points(path)
    _check_names(path.parent, content.images)
    write_points(path.with_name("again.json"), content)
    again = read_points(path.with_name("again.json"))
    assert again.images == content.images, "images came back changed"
    assert again.categories == content.categories, "categories came back changed"
    ids = [each.ids.tolist() for each in content.points]
    assert [each.ids.tolist() for each in again.points] == ids, "ids came back changed"


def instances(path: Path) -> None:
    content = read_instances(path)
    _check_names(path.parent, content.images)
    for record, group in zip(content.images, content.instances, strict=True):
        for each in group[:20]:
            assert rle.area(each.rle) <= record.height * record.width, "an area beyond the image"
            if record.height * record.width < 10**6:
                assert decode(each).shape == (record.height, record.width), "a mask of another size"
    write_set(path.with_name("again.json"), content)
    assert read_instances(path.with_name("again.json")).images == content.images


def _check_names(folder: Path, records: Sequence[ImageRecord]) -> None:
    """Checks that files named after an image stay in the folder."""
    names = [record.file_name for record in records]
    paths = [map_path(folder, name) for name in names]
    paths += [folder / f"{name}.png" for name in names]
    paths += [folder / f"{place}.txt" for place in places(names).values()]
    for path in (*paths, *paths_of(folder, records, ".json")):
        whole = os.path.normpath(path)
        assert whole.startswith(f"{folder}{os.sep}"), f"{path} leaves the folder"


def review(path: Path) -> None:
    """Reads a review and applies it to its masks."""
    review = read_review(path)
    empty = rle.encode(np.zeros(SIZE, bool))
    own = [Instance(id, 1, empty, point=(2.0, 3.0)) for id in (7, 8, 9)]
    masks = replace(_truth(), instances=[own])
    for each in reviewed(masks, review).instances[0]:
        assert decode(each).shape == SIZE
        assert not each.crowd or each.review == "rejected"


def _truth() -> InstanceSet:
    categories = [Category(k, name) for k, name in enumerate(CLASSES, start=1)]
    return InstanceSet([ImageRecord(1, "a.png", *SIZE)], categories, [[]])


def predictions(path: Path) -> None:
    for group in read_predictions(path, _truth()).instances:
        for each in group:
            assert decode(each).shape == SIZE


def segmentation(path: Path) -> None:
    """Reads one JSON segmentation and compares the mask with a literal decoder."""
    content = read_json(path, "segmentation")
    try:
        code = rle.from_segmentation(content, *SIZE)
    except ValueError as error:
        raise UserError(str(error)) from error
    mask = rle.decode(code)
    assert mask.shape == SIZE
    if isinstance(content, dict):
        counts = content["counts"]
        runs = counts if isinstance(counts, list) else literal_runs(counts)
        flat = [k % 2 for k, run in enumerate(runs) for _ in range(run)]
        assert mask.T.reshape(-1).tolist() == [bool(each) for each in flat], "another mask"


def literal_runs(text: str) -> list[int]:
    """Decodes COCO's compressed run lengths character by character, with Python integers."""
    runs: list[int] = []
    place = 0
    while place < len(text):
        value, shift, more = 0, 0, True
        while more:
            unit = ord(text[place]) - 48
            value |= (unit & 31) << shift
            shift += 5
            more = bool(unit & 32)
            place += 1
            if not more and unit & 16:
                value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    return runs
