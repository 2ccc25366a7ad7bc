"""What a trained segmentor finds in images, as COCO's results list and as pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from p2seg.data.coco import Category, ImageRecord
from p2seg.data.images import SUFFIXES, read_image
from p2seg.data.rle import decode
from p2seg.errors import UserError
from p2seg.files import atomic_path, write_json
from p2seg.segmentors.detection import Detection
from p2seg.visualize import draw_instances, fit

OVERLAY_SIDES = (512, 1600)
"""Least and most pixels of the long side of a picture."""


@dataclass(frozen=True)
class Prediction:
    """An image and what was found in it.

    Attributes:
        record: the image, with the size it was read in.
        image: `[H, W, 3]` uint8 RGB.
        detections: best first.
    """

    record: ImageRecord
    image: NDArray[np.uint8]
    detections: list[Detection]


Source = tuple[int, str, tuple[int, int] | None]
"""Image id, path below the image folder, and (height, width) where an annotation says it."""


def images_in(folder: Path) -> list[Source]:
    """The images below a folder, sorted by path, with ids from 1.

    Raises:
        UserError: there is no such folder, no image in it, or a name that no JSON can hold.
    """
    if not folder.is_dir():
        raise UserError(f"no image folder at {folder}; give an existing folder with images=DIR")
    names = sorted(
        Path(parent, name).relative_to(folder).as_posix()
        for parent, _, files in os.walk(folder)
        for name in files
        if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")
    )
    if not names:
        raise UserError(f"no image in {folder}; files end in {', '.join(sorted(SUFFIXES))}")
    for name in names:
        if not name.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in name):
            raise UserError(f"the file name {name!r} in {folder} is no UTF-8; rename the file")
    return [(number, name, None) for number, name in enumerate(names, start=1)]


def predict(
    detect: Callable[[list[Tensor]], list[list[Detection]]],
    sources: Iterable[Source],
    folder: Path,
    on_error: str,
) -> Iterator[Prediction | str]:
    """Finds the instances of images, one after the other.

    Args:
        detect: B of `[3, H, W]` uint8 RGB -> B lists of detections, best first.
        sources: the images.
        folder: they lie below.
        on_error: `raise` at the first image that cannot be read, or `skip` it.

    Yields:
        A prediction for each image, or the sentence that says why there is none.

    Raises:
        UserError: an image cannot be read and `on_error` is `raise`.
    """
    for id, name, size in sources:
        try:
            image = read_image(folder / name, size)
        except UserError as error:
            if on_error != "skip":
                raise
            yield str(error)
            continue
        [found] = detect([torch.from_numpy(image).permute(2, 0, 1)])
        yield Prediction(ImageRecord(id, name, *image.shape[:2]), image, found)


def write_predictions(
    predictions: Iterable[Prediction | str],
    out: Path,
    categories: list[Category],
    *,
    overlays: int | None,
    overlay_score: float,
    info: dict[str, Any],
) -> tuple[Path, list[str]]:
    """Writes `predictions.json`, `images.json` and the pictures in `overlays/`.

    Args:
        predictions: of `predict`.
        out: folder to write to.
        categories: class k is `categories[k - 1]`.
        overlays: how many of the first images are drawn; None for all.
        overlay_score: detections below it are not drawn.
        info: provenance, kept in `images.json` since COCO's results are a bare list.

    Returns:
        The results file, and a sentence for each image that was skipped.

    Raises:
        UserError: every image was skipped.
    """
    records: list[ImageRecord] = []
    results: list[dict[str, Any]] = []
    skipped: list[str] = []
    for each in predictions:
        if isinstance(each, str):
            skipped.append(each)
            continue
        if overlays is None or len(records) < overlays:
            _write_overlay(out / "overlays", each, categories, overlay_score)
        records.append(each.record)
        results += [_result(each.record.id, found, categories) for found in each.detections]
    if not records:
        raise UserError(f"all {len(skipped)} images were skipped; the first: {skipped[0]}")
    listed = {
        "info": {**info, "skipped": skipped},
        "images": [vars(record) for record in records],
        "annotations": [],
        "categories": [vars(category) for category in categories],
    }
    write_json(out / "images.json", listed)
    path = out / "predictions.json"
    write_json(path, results)
    return path, skipped


def _result(image_id: int, found: Detection, categories: list[Category]) -> dict[str, Any]:
    """One entry of COCO's results list."""
    x0, y0, x1, y1 = (round(value, 3) for value in found.box)
    return {
        "image_id": image_id,
        "category_id": categories[found.label - 1].id,
        "segmentation": {"size": found.rle["size"], "counts": found.rle["counts"].decode("ascii")},
        "bbox": [x0, y0, round(x1 - x0, 3), round(y1 - y0, 3)],
        "score": round(found.score, 6),
    }


def _write_overlay(
    folder: Path, prediction: Prediction, categories: list[Category], score: float
) -> None:
    shown = [found for found in prediction.detections if found.score >= score]
    smallest, largest = OVERLAY_SIDES
    side = max(prediction.image.shape)
    coarse = max(1, side // largest)  # a hundred whole masks of a large photograph would be GBs
    picture = draw_instances(
        fit(prediction.image, min(largest, max(smallest, side))),
        [decode(found.rle)[::coarse, ::coarse] for found in shown],
        [found.label for found in shown],
        [f"{categories[found.label - 1].name} {found.score:.2f}" for found in shown],
    )
    # the whole name stays: a.jpg and a.png may lie side by side
    with atomic_path(folder / f"{prediction.record.file_name}.png") as temporary:
        Image.fromarray(picture).save(temporary)
