"""Pseudo masks, one instance per point, written as a COCO annotation file."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from p2seg.data.coco import ImageRecord, Instance, InstanceSet, encode, write_instances
from p2seg.data.compact_lists import subset_of
from p2seg.data.dataset import Reader
from p2seg.data.instances import PackedInstances
from p2seg.data.points import PointSet
from p2seg.data.records import PackedImages
from p2seg.engine.finite import naming
from p2seg.errors import UserError, check_choice
from p2seg.pseudo.labeler import DEFAULT_SCORE, Labeled, Labeler
from p2seg.pseudo.resume_log import Shards
from p2seg.pseudo.review import Review, judged, settled
from p2seg.runtime.files import fingerprint
from p2seg.structures import Points

T = TypeVar("T")

THREADS = 2
"""Threads that read images and encode masks while the network runs."""

AHEAD = 4
"""Maximum number of images that are read in advance, and of images that wait to be encoded."""

_Read: TypeAlias = "tuple[ImageRecord, Points, Future[tuple[Tensor | None, Tensor]]]"


@dataclass(frozen=True)
class MaskRules:
    """Rules for points with a small mask.

    Attributes:
        min_pixels: a point with a smaller mask gets a default box.
        default_box: side of the default box in pixels. Paper: Sec. 3.1, 16.
    """

    min_pixels: int = 4
    default_box: int = 16

    def __post_init__(self) -> None:
        if self.default_box < 1:
            raise UserError(f"export.default_box={self.default_box}: must be >= 1 (pixels)")


def masks_of(labeled: Labeled, points: Points, rules: MaskRules) -> list[Instance]:
    """One instance per point.

    Args:
        labeled: the instance map of the image.
        points: points of the image.
        rules: rules for small masks.

    Returns:
        K instances with the IDs of the points, in their order.
    """
    owner = labeled.instances.numpy()
    area = np.bincount(owner.reshape(-1), minlength=len(points) + 1)
    instances = []
    from_seed = np.zeros(len(points)) if labeled.from_seed is None else labeled.from_seed
    for k, (y, x) in enumerate(points.yx.tolist()):
        claimed = int(area[k + 1]) >= rules.min_pixels
        mask = owner == k + 1 if claimed else box_mask(owner.shape, y, x, rules.default_box)
        instances.append(
            Instance(
                id=int(points.ids[k]),
                label=int(points.labels[k]),
                rle=encode(mask),
                score=round(float(labeled.scores[k]), 6) if claimed else DEFAULT_SCORE,
                point=(y, x),
                default_box=not claimed,
                from_seed=claimed and bool(from_seed[k]),
            )
        )
    return instances


def box_mask(shape: tuple[int, ...], y: float, x: float, side: int) -> npt.NDArray[np.bool_]:
    """A square around a point, shifted into the image, and cropped if larger than the image."""
    mask = np.zeros(shape, dtype=bool)
    top = max(0, min(int(y) - side // 2, shape[0] - side))
    left = max(0, min(int(x) - side // 2, shape[1] - side))
    mask[top : top + side, left : left + side] = True
    return mask


def label_images(
    points: PointSet,
    reader: Reader,
    labeler: Labeler,
    rules: MaskRules,
    shards: Shards,
    on_error: str,
    rank: int = 0,
    world: int = 1,
    review: Review | None = None,
) -> Iterable[str | None]:
    """Labels this rank's share of the unfinished images.

    With a GPU, threads read images in advance and encode masks in the background. Without a GPU
    these threads would compete with the labeler (measured: a third slower).

    Args:
        points: points of all images.
        reader: reads images and initial semantic maps.
        labeler: computes the instance map of an image.
        rules: rules for small masks.
        shards: log of finished images.
        on_error: `raise`, or `skip` unusable images.
        rank: rank of this process.
        world: number of processes.
        review: decisions on earlier masks of these points, already applied by `moved`.

    Yields:
        For each image None, or the reason why it was skipped.

    Raises:
        UserError: an image is unusable and `on_error` is `raise`, or `on_error` is invalid.
    """
    check_choice("data.on_error", on_error, ("raise", "skip"))
    done = shards.finished()
    ids = PackedImages.of(points.images).ids.tolist()
    share = range(rank, len(ids), world)
    todo = deque(index for index in share if ids[index] not in done)
    yield from (None for _ in range(len(share) - len(todo)))
    ahead = AHEAD if labeler.on_gpu else 1
    with ThreadPoolExecutor(THREADS) if labeler.on_gpu else _Synchronous() as pool:
        reads: deque[_Read] = deque()
        masks: deque[tuple[int, Future[list[Instance]]]] = deque()
        try:
            while todo or reads:
                while todo and len(reads) < ahead:
                    index = todo.popleft()
                    record, own = points.images[index], points.points[index]
                    inputs = pool.submit(_inputs, record, own, reader, labeler.needs_image)
                    reads.append((record, own, inputs))
                record, own, inputs = reads.popleft()
                try:
                    image, first = inputs.result()
                    with naming([record.file_name]):
                        labeled = (
                            labeler(image, own, first)
                            if len(own)
                            else Labeled(first, first, torch.zeros(0))
                        )
                except UserError as error:
                    if on_error != "skip":
                        raise
                    shards.skip(record.id, str(error))
                    yield str(error)
                    continue
                masks.append((record.id, pool.submit(_masks, labeled, own, rules, record, review)))
                _keep(masks, shards, ahead)
                yield None
        finally:  # finished images are kept even after an error
            for *_, inputs in reads:
                inputs.cancel()
            _keep(masks, shards, 0)


def _masks(
    labeled: Labeled,
    points: Points,
    rules: MaskRules,
    record: ImageRecord,
    review: Review | None,
) -> list[Instance]:
    """The masks of an image with the decisions of a review applied."""
    if review is None:
        return masks_of(labeled, points, rules)
    instances = masks_of(settled(labeled, points, record, review), points, rules)
    return judged(instances, record, review)


class _Synchronous(Executor):
    """Runs submitted tasks synchronously."""

    def submit(self, function: Callable[..., T], /, *arguments: Any, **named: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(function(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future


def _keep(masks: deque[tuple[int, Future[list[Instance]]]], shards: Shards, at_most: int) -> None:
    """Logs finished images in order until at most `at_most` are waiting."""
    while len(masks) > at_most:
        image_id, instances = masks.popleft()
        shards.add(image_id, instances.result())


def _inputs(
    record: ImageRecord, points: Points, reader: Reader, needs_image: bool
) -> tuple[Tensor | None, Tensor]:
    """The image, if needed, and the map; neither is read for an image without points."""
    if not len(points):
        return None, torch.zeros(record.height, record.width, dtype=torch.long)
    return reader.image(record) if needs_image else None, reader.map(record, points)


def write_pseudo(out: Path, points: PointSet, shards: Shards, info: dict[str, Any]) -> InstanceSet:
    """Merges the finished images of all ranks and writes the file.

    Masks stay run-length encoded in one array, so the memory does not grow with their pixels.

    Args:
        out: path of the COCO annotation file.
        points: points of all images; skipped images are not written.
        shards: log of finished and skipped images.
        info: provenance for the file; the reasons for skipped images are added as `skipped`.

    Returns:
        The written instances.

    Raises:
        UserError: there is no image, all were skipped, or one is neither finished nor skipped.
    """
    done, reasons = shards.finished(), shards.skipped()
    ids = PackedImages.of(points.images).ids.tolist()
    left_out = [index for index, id in enumerate(ids) if id not in done]
    lost = [points.images[index].file_name for index in left_out if ids[index] not in reasons]
    if lost:
        raise UserError(
            f"{len(lost)} images, such as {lost[0]}, have no masks and were not skipped: their "
            f"results in {shards.folder} are missing or were changed; run the same command again"
        )
    skipped = [reasons[ids[index]] for index in left_out]
    images = subset_of(points.images, [index for index, id in enumerate(ids) if id in done])
    if not images and skipped:
        raise UserError(f"all {len(skipped)} images were skipped; the first: {skipped[0]}")
    if not images:
        raise UserError("the points file has no image; add images and points to it")
    instances = PackedInstances.packed(
        (done[record.id] for record in images), PackedImages.of(images).sides
    )
    info = {**info, "skipped": skipped}
    pseudo = InstanceSet(images, points.categories, instances, info)
    write_instances(out, pseudo)
    shards.remove()
    return pseudo


def export_key(*parts: Any) -> str:
    """Fingerprint of everything that affects the result of an export."""
    return fingerprint([str(part) if isinstance(part, os.PathLike) else part for part in parts])
