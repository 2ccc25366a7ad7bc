"""Pseudo masks: exactly one instance a point, written as a COCO ground-truth file."""

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
"""That read images and encode masks while the network works."""

AHEAD = 4
"""Images that are read before the network asks for them, or wait to be encoded after it."""

_Read: TypeAlias = "tuple[ImageRecord, Points, Future[tuple[Tensor | None, Tensor]]]"


@dataclass(frozen=True)
class MaskRules:
    """How masks are made of an instance map.

    Attributes:
        min_pixels: a smaller mask counts as unclaimed.
        default_box: side in pixels of the box that an unclaimed point gets. Paper: Sec. 3.1, 16.
    """

    min_pixels: int = 4
    default_box: int = 16

    def __post_init__(self) -> None:
        if self.default_box < 1:
            raise UserError(f"export.default_box={self.default_box}; it must be at least 1 pixel")


def masks_of(labeled: Labeled, points: Points, rules: MaskRules) -> list[Instance]:
    """One instance a point.

    Args:
        labeled: whose every pixel is.
        points: of the image.
        rules: for small masks.

    Returns:
        K instances, in the order of the points, with the points' ids.
    """
    owner = labeled.instances.numpy()
    area = np.bincount(owner.reshape(-1), minlength=len(points) + 1)
    made = []
    from_seed = np.zeros(len(points)) if labeled.from_seed is None else labeled.from_seed
    for k, (y, x) in enumerate(points.yx.tolist()):
        claimed = int(area[k + 1]) >= rules.min_pixels
        mask = owner == k + 1 if claimed else box_mask(owner.shape, y, x, rules.default_box)
        made.append(
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
    return made


def box_mask(shape: tuple[int, ...], y: float, x: float, side: int) -> npt.NDArray[np.bool_]:
    """A square around a point, shifted to lie inside an image of `shape` (cut if too large)."""
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
    """Labels this rank's share of the images that are not finished yet.

    While a GPU works, threads read images ahead and encode masks behind it. Where there is none
    they would only take the labeler's cores: measured, a third slower.

    Args:
        points: all images.
        reader: of images and maps.
        labeler: gives pixels their owners.
        rules: for small masks.
        shards: where finished images are kept.
        on_error: `raise`, or `skip` images that cannot be used.
        rank: of this process.
        world: processes.
        review: of earlier masks of these points, which has met them (`moved`).

    Yields:
        After every image None, or the sentence that says why it was skipped.

    Raises:
        UserError: an image cannot be used and `on_error` is `raise`; or `on_error` is neither.
    """
    check_choice("data.on_error", on_error, ("raise", "skip"))
    done = shards.finished()
    ids = PackedImages.of(points.images).ids.tolist()
    share = range(rank, len(ids), world)
    todo = deque(index for index in share if ids[index] not in done)
    yield from (None for _ in range(len(share) - len(todo)))
    ahead = AHEAD if labeler.on_gpu else 1
    with ThreadPoolExecutor(THREADS) if labeler.on_gpu else _AtOnce() as pool:
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
                        labeled = labeler(image, own, first) if len(own) else _nothing(first)
                except UserError as error:
                    if on_error != "skip":
                        raise
                    shards.skip(record.id, str(error))
                    yield str(error)
                    continue
                made = pool.submit(_masks, labeled, own, rules, record, review)
                masks.append((record.id, made))
                _keep(masks, shards, ahead)
                yield None
        finally:  # what is done is kept, also when something went wrong
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
    """`masks_of` an image, as they were judged before."""
    if review is None:
        return masks_of(labeled, points, rules)
    made = masks_of(settled(labeled, points, record, review), points, rules)
    return judged(made, record, review)


class _AtOnce(Executor):
    """Does what it is given before it says so."""

    def submit(self, function: Callable[..., T], /, *arguments: Any, **named: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(function(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future


def _keep(masks: deque[tuple[int, Future[list[Instance]]]], shards: Shards, at_most: int) -> None:
    """Writes finished images in their order until so many are waiting."""
    while len(masks) > at_most:
        image_id, instances = masks.popleft()
        shards.add(image_id, instances.result())


def _inputs(
    record: ImageRecord, points: Points, reader: Reader, needs_image: bool
) -> tuple[Tensor | None, Tensor]:
    """The image, where it is needed, and the map; those of an image without points are not read."""
    if not len(points):
        return None, torch.zeros(record.height, record.width, dtype=torch.long)
    return reader.image(record) if needs_image else None, reader.map(record, points)


def _nothing(first: Tensor) -> Labeled:
    return Labeled(first, first, torch.zeros(0))


def write_pseudo(out: Path, points: PointSet, shards: Shards, info: dict[str, Any]) -> InstanceSet:
    """Puts the finished images of all ranks together and writes the file.

    Masks are in memory as compressed codes in one array, never as objects all at once.

    Args:
        out: the COCO-style json.
        points: all images; those skipped are left out of the file.
        shards: finished images, and those skipped.
        info: provenance; a sentence for each image left out is added as `skipped`.

    Returns:
        What was written.

    Raises:
        UserError: there is no image, all were skipped, or one is neither finished nor skipped.
    """
    done, reasons = shards.finished(), shards.skipped()
    ids = PackedImages.of(points.images).ids.tolist()
    left_out = [index for index, id in enumerate(ids) if id not in done]
    lost = [points.images[index].file_name for index in left_out if ids[index] not in reasons]
    if lost:
        raise UserError(
            f"{len(lost)} images have no masks and were not skipped, {lost[0]} among them: their "
            f"results in {shards.folder} are missing or were changed; run the same command again"
        )
    skipped = [reasons[ids[index]] for index in left_out]
    images = subset_of(points.images, [index for index, id in enumerate(ids) if id in done])
    if not images and skipped:
        raise UserError(f"all {len(skipped)} images were skipped; the first: {skipped[0]}")
    if not images:
        raise UserError("the points file has no image; there is nothing to make masks of")
    instances = PackedInstances.packed(
        (done[record.id] for record in images), PackedImages.of(images).sides
    )
    info = {**info, "skipped": skipped}
    pseudo = InstanceSet(images, points.categories, instances, info)
    write_instances(out, pseudo)
    shards.remove()
    return pseudo


def export_key(*parts: Any) -> str:
    """Fingerprint of everything that decides an export."""
    return fingerprint([str(part) if isinstance(part, os.PathLike) else part for part in parts])
