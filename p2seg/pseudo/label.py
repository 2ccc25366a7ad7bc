"""One mask per click for Python programs and notebooks, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image as Pictures

from p2seg.data.coco import Instance
from p2seg.data.images import read_image
from p2seg.data.points import read_points
from p2seg.data.records import ImageRecord
from p2seg.errors import UserError, check_choice
from p2seg.method.seed import Seeder
from p2seg.method.split import Split
from p2seg.pseudo.export import MaskRules, masks_of
from p2seg.pseudo.seeds import SeedLabeler
from p2seg.semantic.auto import Auto
from p2seg.semantic.clusters import Clusters
from p2seg.semantic.grabcut import GrabCut
from p2seg.semantic.roundness import ROUND, roundness
from p2seg.semantic.source import ImageSource, MapTask
from p2seg.semantic.threshold import Threshold
from p2seg.structures import Points

Picture: TypeAlias = "str | Path | NDArray[np.uint8]"
"""A file, or `[H, W, 3]` uint8 RGB."""
Method = Literal["auto", "threshold", "grabcut", "clusters"]
SOURCES: dict[str, type[ImageSource]] = {
    "threshold": Threshold,
    "grabcut": GrabCut,
    "clusters": Clusters,
}


def label(
    images: str | Path | Sequence[Picture],
    points: str | Path | Sequence[ArrayLike],
    *,
    classes: Sequence[ArrayLike] | None = None,
    method: Method = "auto",
) -> list[list[Instance]]:
    """Makes one mask per click, as `p2seg masks --network no` does.

    Args:
        images: a folder, if `points` is a points file; or a list of files and arrays.
        points: a points file (`p2seg annotate`); or for each image its clicks `[K, 2]`, (x, y) in
            pixels, where (0, 0) is the middle of the first pixel.
        classes: for each image the classes `[K]` of its clicks, 1 and more; None: all are of
            class 1. A points file has its own.
        method: source of the initial semantic maps.

    Returns:
        For each image K instances in the order of its clicks. An instance has `mask` (`[H, W]`
        bool), `label`, `point` (y, x) and `score`.

    Raises:
        UserError: an image cannot be read, or clicks and classes do not fit the images.
    """
    check_choice("method", method, ("auto", *SOURCES))
    if isinstance(images, str | Path):
        if not isinstance(points, str | Path):
            raise UserError("images is a folder, so points must be the path of a points file")
        return _of_file(Path(images), Path(points), method)
    if isinstance(points, str | Path):
        raise UserError("points is a file, so images must be the path of their folder")
    if len(images) != len(points) or (classes is not None and len(classes) != len(points)):
        raise UserError("images, points and classes must have the same length")
    with TemporaryDirectory() as folder:
        files = [_file(image, Path(folder) / f"{k}.png") for k, image in enumerate(images)]
        ones = [np.ones(len(np.asarray(own).reshape(-1, 2)), np.int64) for own in points]
        clicks = [_clicks(*each) for each in zip(points, classes or ones, strict=True)]
        return _labeled(files, clicks, method)


def _of_file(folder: Path, file: Path, method: Method) -> list[list[Instance]]:
    found = read_points(file)
    return _labeled([folder / each.file_name for each in found.images], found.points, method)


def _labeled(
    files: Sequence[Path], points: Sequence[Points], method: Method
) -> list[list[Instance]]:
    images = [read_image(file) for file in files]
    classes = tuple(
        map(str, range(1, 1 + max((int(p.labels.max()) for p in points if len(p)), default=1)))
    )
    tasks = [
        MapTask.of(ImageRecord(k, file.name, *image.shape[:2]), own, file.parent, classes)
        for k, (file, image, own) in enumerate(zip(files, images, points, strict=True))
    ]
    source = Auto().choose(tasks).source if method == "auto" else SOURCES[method]()
    maps = [source(task) for task in tasks]
    measure = roundness(pair for pair in zip(maps, points, strict=True) if len(pair[1]))
    rule: Literal["mixture", "geodesic"] = (
        "mixture" if measure is not None and measure >= ROUND else "geodesic"
    )
    labeler = SeedLabeler(Seeder(split=Split(rule)))
    found = []
    for image, own, semantic in zip(images, points, maps, strict=True):
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        first = torch.from_numpy(semantic.astype(np.int64))
        found.append(masks_of(labeler(pixels, own, first), own, MaskRules()) if len(own) else [])
    return found


def _file(image: Picture, place: Path) -> Path:
    """The file of an image; an array is written first."""
    if isinstance(image, str | Path):
        return Path(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise UserError(
            f"an image is {image.dtype} {list(image.shape)}: must be uint8 [height, width, 3]"
        )
    Pictures.fromarray(image).save(place)
    return place


def _clicks(xy: ArrayLike, classes: ArrayLike) -> Points:
    x, y = np.asarray(xy, np.float32).reshape(-1, 2).T
    labels = np.asarray(classes, np.int64).reshape(-1)
    if len(labels) != len(x) or (len(labels) and labels.min() < 1):
        raise UserError("classes must be one integer >= 1 per click")
    return Points(
        torch.from_numpy(np.stack([y, x], 1)), torch.from_numpy(labels), torch.arange(1, len(x) + 1)
    )
