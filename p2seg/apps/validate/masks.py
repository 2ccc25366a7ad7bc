"""Checks pseudo masks and ground truth against the points."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from p2seg.apps.validate.annotations import Clicks
from p2seg.apps.validate.findings import Findings
from p2seg.apps.validate.prior import prior_decided
from p2seg.data import rle as codec
from p2seg.data.coco import Instance, InstanceSet, decode, read_instances
from p2seg.errors import UserError

MAX_IMAGES = 5000
"""The masks of at most this many images are decoded; with more images, of every n-th."""


def check_pseudo(path: Path, clicks: Clicks, findings: Findings) -> InstanceSet | None:
    """Checks that every point has one pseudo mask of its class, and lies on it."""
    masks = _read(path, "pseudo", findings)
    if masks is None:
        return None
    names = [category.name for category in masks.categories]
    place_of = {image.file_name: place for place, image in enumerate(masks.images)}
    listed = {image.file_name for image in clicks.images}
    for name in place_of.keys() - listed:
        findings.add("pseudo.images", f"{name} is not in the points file")
    sample = _sample(len(clicks.images))
    for place, record in enumerate(clicks.images):
        name = record.file_name
        own = {int(clicks.ids[k]): int(k) for k in clicks.of(place)}
        group = masks.instances[place_of[name]] if name in place_of else []
        for each in group:
            k = own.pop(each.id, None)
            label = None if k is None else clicks.categories[clicks.labels[k] - 1].name
            if k is None or names[each.label - 1] != label:
                text = f"{name}: mask {each.id} of {names[each.label - 1]}"
                findings.add("pseudo.points", text, name)
            elif place in sample and not codec.area(each.rle):
                findings.add("pseudo.empty", clicks.describe(k), name)
            elif each.default_box:
                findings.add("pseudo.default", clicks.describe(k), name)
            elif place in sample and clicks.inside[k] and not _covers(each, clicks, k):
                findings.add("pseudo.off_point", clicks.describe(k), name)
        for k in own.values():
            findings.add("pseudo.points", f"{clicks.describe(k)} has no mask", name)
    for prior in prior_decided(masks):
        findings.add("pseudo.prior", str(prior))
    return masks


def check_truth(path: Path, clicks: Clicks, findings: Findings) -> InstanceSet | None:
    """Checks that every point lies on a ground-truth object of its class."""
    truth = _read(path, "gt", findings)
    if truth is None:
        return None
    label_of = {category.name: label for label, category in enumerate(clicks.categories, start=1)}
    labels = [label_of.get(category.name) for category in truth.categories]
    place_of = {image.file_name: place for place, image in enumerate(truth.images)}
    inside = clicks.inside
    for place in sorted(_sample(len(clicks.images))):
        record = clicks.images[place]
        if record.file_name not in place_of:
            continue
        group = list(truth.instances[place_of[record.file_name]])
        for each in group:
            if not codec.area(each.rle):
                findings.add("gt.empty", f"{record.file_name}: annotation {each.id}")
        for k in clicks.of(place).tolist():
            own = [each for each in group if labels[each.label - 1] == clicks.labels[k]]
            if inside[k] and not any(_covers(each, clicks, k) for each in own):
                findings.add("gt.off_point", clicks.describe(k), record.file_name)
    return truth


def _read(path: Path, what: str, findings: Findings) -> InstanceSet | None:
    try:
        return read_instances(path, "pseudo masks" if what == "pseudo" else "instances file")
    except UserError as error:
        findings.add(f"{what}.refused", str(error))
        return None


def _sample(count: int) -> set[int]:
    return set(range(0, count, max(1, -(-count // MAX_IMAGES))))


def _covers(each: Instance, clicks: Clicks, k: int) -> bool:
    mask = decode(each)
    x, y = np.floor(clicks.xy[k]).astype(int)
    return bool(mask[y, x]) if y < mask.shape[0] and x < mask.shape[1] else False
