"""Prediction with a segmentation model: COCO results, pictures, and files for other tools."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import torch
from torch import Tensor

from p2seg.data import rle as codec
from p2seg.data.coco import Category, ImageRecord, Instance
from p2seg.data.image_sources import Frame
from p2seg.engine.finite import naming
from p2seg.errors import UserError
from p2seg.formats.masks import FORMATS, PLAIN, Entry, Format, Options, places
from p2seg.runtime.files import write_json
from p2seg.runtime.json_streams import write_json_list
from p2seg.runtime.resume_log import Kept, Parts
from p2seg.segmentors.detection import Detection, Detections
from p2seg.segmentors.overlays import Overlays
from p2seg.segmentors.prefetch import prefetched


@dataclass(frozen=True)
class Prediction:
    """An image and its detections.

    Attributes:
        frame: the image.
        detections: the detections, best first.
        cut: whether the limit of objects per image has dropped further detections.
    """

    frame: Frame
    detections: list[Detection]
    cut: bool = False


def predict(
    detect: Callable[[list[Tensor]], list[Detections]],
    frames: Iterator[Frame | str],
    batch_size: int,
) -> Generator[Prediction | str, None, None]:
    """Detects instances in images, in their order.

    The next batch is read while the model processes the current one.

    Args:
        detect: B images `[3, H, W]` uint8 RGB -> B lists of detections, best first.
        frames: returned by `read_frames`; an error message in place of an image is passed on.
        batch_size: images per batch.

    Yields:
        A prediction for each image, or the message why there is none.

    Raises:
        UserError: `frames` has raised it (raised after the predictions before it), or the outputs
            of the model contain NaN or infinity.
    """
    waiting: list[Frame | str] = []
    with closing(prefetched(frames, batch_size)) as read:
        while True:
            failure = None
            try:
                for frame in read:
                    waiting.append(frame)
                    if len(waiting) == batch_size:
                        break
            except UserError as error:
                failure = error
            yield from _predictions(detect, waiting)
            if failure is not None:
                raise failure
            if len(waiting) < batch_size:
                return
            waiting.clear()


def _predictions(
    detect: Callable[[list[Tensor]], list[Detections]], batch: Sequence[Frame | str]
) -> Iterator[Prediction | str]:
    """The predictions of a batch, which may contain error messages in place of images."""
    frames = [frame for frame in batch if isinstance(frame, Frame)]
    images = [torch.from_numpy(frame.image).permute(2, 0, 1) for frame in frames]
    with naming([frame.record.file_name for frame in frames]):
        detections = iter(detect(images) if images else [])
    for frame in batch:
        if isinstance(frame, str):
            yield frame
        else:
            own = next(detections)
            yield Prediction(frame, own, own.cut)


@dataclass(frozen=True)
class Outputs:
    """The files that are written for each image besides its COCO results.

    Attributes:
        folder: output folder.
        formats: names in `p2seg.formats.masks.FORMATS`.
        overlays: number of images that are drawn; None: all.
        overlay_score: minimum score of detections in these files.
        categories: class k is `categories[k - 1]`.
        names: file names of all images without video frames, to avoid files with equal names.
        options: options of the formats.
    """

    folder: Path
    formats: Sequence[str]
    overlays: int | None
    overlay_score: float
    categories: list[Category]
    names: Sequence[str]
    options: Options = PLAIN

    def writers(self) -> list[Format]:
        """New writers of the formats."""
        return [
            FORMATS[name](self.folder / name, self.categories, self.options)
            for name in self.formats
        ]


def keep_predictions(
    predictions: Iterable[Prediction | str],
    items: Iterable[tuple[int, str]],
    outputs: Outputs,
    parts: Parts,
) -> None:
    """Writes the files of each image as soon as it is predicted, and logs its results.

    The files of an image are written before its results are logged.

    Args:
        predictions: returned by `predict`.
        items: index of each image from 0, and the stamp of its file.
        outputs: the files to write.
        parts: the log of results.
    """
    categories, place_of = outputs.categories, places(outputs.names)
    writers = outputs.writers()
    with Overlays(outputs.folder / "overlays", categories) as overlays:
        for each, (number, stamp) in zip(predictions, items, strict=False):  # items may be endless
            if isinstance(each, str):
                parts.skip(number, stamp, each)
                continue
            record = each.frame.record
            shown = [one for one in each.detections if one.score >= outputs.overlay_score]
            if outputs.overlays is None or number < outputs.overlays:
                overlays.draw(each.frame, shown)
            stem = str(PurePosixPath(record.file_name).with_suffix(""))
            for writer in writers:
                _write(writer, place_of.get(record.file_name, stem), each.frame, shown)
            results = [_result(record.id, one, categories) for one in each.detections]
            parts.add(number, stamp, {"image": vars(record), "results": results, "cut": each.cut})


class Written(NamedTuple):
    """A summary of `write_predictions`.

    Attributes:
        skipped: the reason for each skipped image.
        images: number of images with results.
        cut: number of images whose detections exceeded the limit.
    """

    skipped: list[str]
    images: int
    cut: int


def write_predictions(
    out: Path,
    parts: Parts,
    stamps: Mapping[int, str] | None,
    categories: list[Category],
    info: dict[str, Any],
    outputs: Outputs | None = None,
) -> Written:
    """Merges the results of all images into `predictions.json` and `images.json`.

    It also writes the files of formats with one file per data set.

    Args:
        out: output folder.
        parts: the log with the results of all images, which is removed.
        stamps: stamps of all image files by index; None: all logged results are used.
        categories: class k is `categories[k - 1]`.
        info: provenance for `images.json`; COCO's results format has no place for it.
        outputs: further files to write.

    Raises:
        UserError: every image was skipped, or one is neither finished nor skipped.
    """
    kept = parts.kept(stamps)
    lost = sorted((stamps or {}).keys() - kept.finished.keys() - kept.skipped.keys())
    if lost:
        name = f"number {lost[0] + 1}" if outputs is None else outputs.names[lost[0]]
        raise UserError(
            f"{len(lost)} images, such as {name}, have no results and were not skipped: their "
            f"results in {parts.folder} are missing or were changed; run the same command again"
        )
    skipped = [kept.skipped[k] for k in sorted(kept.skipped.keys() - kept.finished.keys())]
    if not kept.finished:
        parts.remove()
        raise UserError(f"all {len(skipped)} images were skipped; the first: {skipped[0]}")

    if outputs is not None:
        for each in outputs.writers():
            each.finish(partial(_entries, kept, outputs))

    records = []
    cut = 0

    def results() -> Iterator[dict[str, Any]]:
        nonlocal cut
        for number in sorted(kept.finished):
            content = kept.content(number)
            records.append(content["image"])
            cut += content.get("cut", False)
            yield from content["results"]
        listed = {
            "info": {**info, "skipped": skipped, "images_cut": cut},
            "images": records,
            "annotations": [],
            "categories": [vars(category) for category in categories],
        }
        write_json(out / "images.json", listed)  # before the results that it explains

    write_json_list(out / "predictions.json", results())
    parts.remove()
    return Written(skipped, len(records), cut)


def _entries(kept: Kept, outputs: Outputs) -> Iterator[Entry]:
    """Each finished image with its detections of at least `overlay_score`."""
    label_of = {category.id: label for label, category in enumerate(outputs.categories, start=1)}
    for number in sorted(kept.finished):
        content = kept.content(number)
        instances = []
        for each in content["results"]:
            code = each["segmentation"]
            rle = {"size": code["size"], "counts": code["counts"].encode()}
            if each["score"] >= outputs.overlay_score and codec.area(rle):
                label = label_of[each["category_id"]]
                instances.append(Instance(-1, label, rle, score=each["score"]))
        yield Entry(ImageRecord(**content["image"]), instances)


def _write(format: Format, place: str, frame: Frame, detections: list[Detection]) -> None:
    """Writes the files of an image, from its path or, for a video frame, from its pixels."""
    format.write(
        place, frame.record, frame.source.path if frame.rate is None else frame.image, detections
    )


def _result(image_id: int, detection: Detection, categories: list[Category]) -> dict[str, Any]:
    x0, y0, x1, y1 = (round(value, 3) for value in detection.box)
    rle = detection.rle
    return {
        "image_id": image_id,
        "category_id": categories[detection.label - 1].id,
        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")},
        "bbox": [x0, y0, round(x1 - x0, 3), round(y1 - y0, 3)],
        "score": round(detection.score, 6),
    }
