"""`p2seg masks`: from photographs and clicks to masks, with the decisions on the way."""

from __future__ import annotations

import os
import shutil
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from p2seg.apps.gallery.lists import write_lists
from p2seg.cli.main import main as p2seg
from p2seg.cli.photos.commands import sam_settings
from p2seg.cli.photos.folder import MasksFolder, beside, hydra_words
from p2seg.data.coco import read_instances
from p2seg.data.maps import map_path, read_map
from p2seg.data.points import PointSet, points_fingerprint, read_points
from p2seg.data.proposals import count_sources
from p2seg.errors import UserError
from p2seg.runtime.files import fingerprint, read_json, sha256, write_json
from p2seg.runtime.progress import console
from p2seg.semantic.roundness import ROUND, roundness

MOST_CLASSES, LEAST_IMAGES, LEAST_CLICKS = 3, 20, 500
"""A network has helped on one class, 40 images and 1,000 clicks (docs/explanation/results.md)."""
MINUTES = 14.0
"""Of a training of 600 steps with one thread."""
SIDE = 512
"""Pixels of the short side of a photograph that a network sees, at most."""


@dataclass(frozen=True)
class Choice:
    """A decision and its reason."""

    value: bool
    reason: str


def masks_(options: Namespace) -> int:
    """Makes masks of a folder's clicks; a second run continues, or applies a review."""
    folder = _folder(options)
    points = read_points(folder.points)
    shared = {"data.images": folder.photos, "data.points": folder.points}
    shared |= {"data.semantic": folder.path / "maps", "overwrite": options.overwrite}
    shared |= {"data.candidates": folder.path / "candidates"}
    sources = count_sources(folder.points)
    console.print(f"{_count(points, sources)} in {folder.points}", markup=False)

    # maps of earlier points are not checked, because the next step updates them
    check = {"data.semantic": "null", "out": folder.path / "check"}
    if code := _step("check", "validate", shared | check, options.settings):
        return code
    settings: dict[str, Any] = {"semantic": options.method, "out": folder.path / "maps"}
    if options.method in ("sam", "sam2"):
        settings |= sam_settings(options.method, options.checkpoint)
    elif options.checkpoint is not None:
        raise UserError(f"--checkpoint has no effect with --method {options.method}; omit it")
    if code := _step("initial semantic maps", "gen_semantic", shared | settings, options.settings):
        return code

    measure = _roundness(points, folder.path / "maps")
    is_round = measure is not None and measure >= ROUND
    split = "ellipses" if is_round else "best"
    told = "not known" if measure is None else f"{measure:.2f}"
    console.print(
        f"objects: {'round' if is_round else 'of any shape'} (roundness {told}), so regions with "
        f"several clicks are split by {'ellipses' if is_round else 'geodesic distance'}",
        markup=False,
    )
    method = {"mdm": split, "data.augment.rotate": is_round, **_size(points)}

    network = _network(points, options.network)
    console.print(f"network: {network.reason}", markup=False)
    checkpoint = folder.path / "network" / "last.pt"
    if network.value:
        _keep_network(folder, points, {**method, "settings": options.settings})
        out = {"out": checkpoint.parent}
        if code := _step("network", "train", shared | method | out, options.settings):
            return code
    own = {"ckpt": checkpoint} if network.value else method
    review = {"review": _review_of(folder, points)}
    settings = {**own, **review, "out": folder.masks}
    if code := _step("masks", "gen_pseudo", shared | settings, options.settings):
        return code
    page = {"pred": folder.masks, "images": folder.photos, "stages": False, "out": folder.page}
    if code := _step("page", "gallery", page | {"overwrite": options.overwrite}, options.settings):
        return code

    pseudo = read_instances(folder.masks)
    unsure = write_lists(pseudo, folder.photos, folder.path)
    count = sum(not each.crowd for own in pseudo.instances for each in own)
    manifest = read_json(folder.path / "maps" / "manifest.json", "manifest of semantic maps")
    folder.write(
        {
            "source": manifest.get("source") if isinstance(manifest, dict) else None,
            "roundness": measure,
            "network": network.value,
            "reason": network.reason,
            "points": sources,
            "masks": count,
            "to_check_first": unsure,
            "review_applied": review["review"] is not None,
        }
    )
    console.print(
        f"{count} masks in {folder.path}, of which {unsure} should be "
        f"checked first (check_first.csv); next: p2seg review {quote(str(folder.path))}",
        markup=False,
    )
    return 0


def _folder(options: Namespace) -> MasksFolder:
    photos = options.photos
    if not photos.is_dir():
        raise UserError(f"no folder of photographs at {photos}")
    points = options.points or photos / "points.json"
    if not points.is_file():
        raise UserError(
            f"no points at {points}; click objects with p2seg annotate {quote(str(photos))}, or "
            f"import clicks with p2seg import FILE --images {quote(str(photos))}"
        )
    folder = MasksFolder(options.out or beside(photos, "_masks"), photos, points)
    folder.write({})
    return folder


def _step(title: str, command: str, settings: dict[str, Any], own: list[str]) -> int:
    """Runs a command of settings, with the user's own settings, and returns its exit code."""
    console.print(f"{title} ...", markup=False)
    return p2seg(hydra_words(command, settings, ["+exp=photos"], own))


def _keep_network(folder: MasksFolder, points: PointSet, settings: dict[str, Any]) -> None:
    """Removes a network of other points, maps or settings, so that a new one is trained."""
    network, record = folder.path / "network", folder.path / "network.json"
    maps = sha256(folder.path / "maps" / "manifest.json")
    inputs = {"inputs": fingerprint([points_fingerprint(points), maps, settings])}
    if network.is_dir() and not (
        record.is_file() and read_json(record, "inputs of a network") == inputs
    ):
        console.print("the points, maps or settings have changed, so a new network is trained")
        shutil.rmtree(network)
    write_json(record, inputs)


def _review_of(folder: MasksFolder, points: PointSet) -> Path | None:
    """The decisions about existing points, or None without a review."""
    if not folder.review.is_file():
        return None
    content = read_json(folder.review, "review")
    decisions = content.get("decisions") if isinstance(content, dict) else None
    if not isinstance(decisions, list):
        return folder.review  # the next step reports what is wrong
    ids = {id for own in points.points for id in own.ids.tolist()}
    kept = [each for each in decisions if not isinstance(each, dict) or each.get("id") in ids]
    if len(kept) == len(decisions):
        return folder.review
    console.print(
        f"decisions of {folder.review} about removed points are ignored "
        f"({len(decisions) - len(kept)})",
        markup=False,
    )
    current = folder.path / "review_current.json"
    write_json(current, {**content, "decisions": kept})
    return current


def _count(points: PointSet, sources: dict[str, int]) -> str:
    names = ", ".join(each.name for each in points.categories)
    count = f"{sum(sources.values()):,} points in {len(points.images):,} photographs ({names})"
    if sources.keys() <= {"clicked"}:
        return count
    return f"{count}; {', '.join(f'{number:,} {key}' for key, number in sources.items())}"


def _roundness(points: PointSet, maps: Path) -> float | None:
    pairs = (
        (
            read_map(
                map_path(maps, each.file_name), (each.height, each.width), len(points.categories)
            ),
            own,
        )
        for each, own in zip(points.images, points.points, strict=True)
        if len(own) and map_path(maps, each.file_name).is_file()  # or it was skipped
    )
    return roundness(pairs)


def _size(points: PointSet) -> dict[str, Any]:
    """The size at which a network sees the photographs."""
    shorts = sorted(min(each.height, each.width) for each in points.images)
    return {"data.short_side": SIDE} if shorts[len(shorts) // 2] > SIDE else {}


def _network(points: PointSet, word: str) -> Choice:
    """Whether a network is worth its training."""
    images = sum(len(own) > 0 for own in points.points)
    clicks, classes = sum(map(len, points.points)), len(points.categories)
    minutes = MINUTES / min(2, os.cpu_count() or 1)
    if word != "auto":
        return Choice(word == "yes", f"{word}, by --network {word}")
    faults = [
        f"{classes} classes (at most {MOST_CLASSES})" * (classes > MOST_CLASSES),
        f"{images} photographs with clicks (at least {LEAST_IMAGES})" * (images < LEAST_IMAGES),
        f"{clicks} clicks (at least {LEAST_CLICKS})" * (clicks < LEAST_CLICKS),
    ]
    if any(faults):
        reason = ", ".join(filter(None, faults))
        return Choice(
            False, f"no, because it is unlikely to help with {reason}; --network yes forces it"
        )
    return Choice(True, f"yes, about {minutes:.0f} minutes without a GPU; --network no skips it")
