"""Reads the inputs of most commands: points, images, initial semantic maps, and the review."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from p2seg.cli.paths import path_of
from p2seg.data.coco import Category
from p2seg.data.dataset import Reader
from p2seg.data.image_notes import notes_on
from p2seg.data.points import PointSet, points_fingerprint, read_points
from p2seg.data.records import ImageRecord
from p2seg.errors import UserError
from p2seg.pseudo.review import Review, moved, read_review
from p2seg.runtime.content_fingerprint import stamp_of
from p2seg.runtime.files import read_json
from p2seg.runtime.progress import console
from p2seg.runtime.rank_env import is_first


def reader_of(cfg: DictConfig, points: PointSet) -> Reader:
    """The reader of images and initial semantic maps; checks that their folders exist."""
    images, semantic = path_of(cfg, "data.images"), path_of(cfg, "data.semantic")
    if not images.is_dir():
        raise UserError(f"no image folder at {images}; set data.images=DIR")
    if not semantic.is_dir():
        raise UserError(
            f"no folder of initial semantic maps at {semantic}; generate them with p2seg "
            "gen_semantic, or set data.semantic=DIR"
        )
    names, theirs = [c.name for c in points.categories], _manifest(semantic).get("classes")
    if isinstance(theirs, list) and theirs != names:
        raise UserError(
            f"the maps in {semantic} have the classes {', '.join(map(str, theirs))}, but "
            f"{cfg.data.points} has {', '.join(names)}; generate maps of these points"
        )
    return Reader(images, semantic, len(points.categories))


def semantic_source(folder: Path) -> str:
    """The source of a folder of maps, from its manifest; "unknown" without a manifest."""
    return str(_manifest(folder).get("source", "unknown"))


def _manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder of maps; empty if there is none."""
    path = folder / "manifest.json"
    manifest = read_json(path, "manifest of semantic maps") if path.is_file() else {}
    return manifest if isinstance(manifest, dict) else {}


def points_of(cfg: DictConfig) -> PointSet:
    """The points of `data.points`; checks the number of classes."""
    points = clicks_of(cfg)
    set_classes(cfg, points.categories, cfg.data.points)
    return points


def clicks_of(cfg: DictConfig) -> PointSet:
    """The points of `data.points`, with the positions that the review has changed."""
    path, review = path_of(cfg, "data.points"), review_of(cfg)
    points = _points_at(path, stamp_of(path))
    if cfg.data.name == "custom":  # for other sets the number affects only their networks
        set_classes(cfg, points.categories, path)
    return points if review is None else moved(points, review)


@lru_cache(maxsize=1)
def _points_at(path: Path, _stamp: str) -> PointSet:
    """The points of a file, which is read again only if it has changed."""
    return read_points(path)


def clicks_sha256(cfg: DictConfig) -> str:
    """The fingerprint of the points returned by `clicks_of`."""
    return points_fingerprint(clicks_of(cfg))


def review_of(cfg: DictConfig) -> Review | None:
    """The review of earlier masks at the path `review`."""
    return None if cfg.review is None else read_review(path_of(cfg, "review"))


def set_classes(cfg: DictConfig, categories: Sequence[Category], source: object) -> None:
    """Sets the number of classes to that of a file; a number that the user set must be equal.

    Raises:
        UserError: the numbers differ.
    """
    count, setting = len(categories), cfg.data.num_classes
    if setting is None:
        cfg.data.num_classes = count
    elif setting != count:
        raise UserError(
            f"{source} has {count} categories but data.num_classes is {setting}; add "
            f"data.num_classes={count}, or remove it with data=custom, which reads it from the file"
        )


def tell_skipped(sentences: Iterable[str]) -> None:
    """Prints the skipped images and their number."""
    skipped = list(sentences)
    for sentence in skipped:
        console.print(f"skipped: {sentence}", markup=False)
    if skipped:
        plural = "s" * (len(skipped) > 1)
        console.print(f"skipped {len(skipped)} image{plural} in all", markup=False)


def report_inputs(
    skipped: Iterable[str], folder: Path | None = None, images: Iterable[ImageRecord] = ()
) -> None:
    """Prints the skipped images, their number, and the images that are converted when read.

    Args:
        skipped: one message per skipped image.
        folder: folder of the images.
        images: images that are read.
    """
    tell_skipped(skipped)
    if folder is not None and is_first():
        for sentence in notes_on([folder / each.file_name for each in images], folder):
            console.print(sentence, markup=False)
