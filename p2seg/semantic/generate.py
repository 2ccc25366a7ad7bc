"""Generates the semantic maps or mask candidates of a points file, in parallel and resumably."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import cv2
import torch

from p2seg.data.maps import SemanticMap
from p2seg.data.points import PointSet
from p2seg.engine.finite import naming
from p2seg.errors import UserError
from p2seg.runtime.files import fingerprint, sha256
from p2seg.runtime.provenance import versions
from p2seg.runtime.ranks import Ranks
from p2seg.runtime.workers import Workers
from p2seg.semantic.manifest import MANIFEST, Manifest, write_manifest
from p2seg.semantic.maps import paths_of, read_key, write_map
from p2seg.semantic.source import MapTask, Source

MAPS_PER_WORKER = 8
"""Fewer maps do not pay for the start of a worker process."""

PATIENCE = 10.0
"""Seconds for a worker to finish its map when the others are stopped."""

T = TypeVar("T")


@dataclass(frozen=True)
class Product(Generic[T]):
    """File format of a source's results. Its functions are pickled for worker processes.

    Attributes:
        what: noun for messages.
        ending: file suffix.
        write: writes a file atomically, with the fingerprint of its inputs.
        read_key: the fingerprint of a file, or None if `write` did not write this content.
        by_id: the content depends on the point ids.
    """

    what: str
    ending: str
    write: Callable[[Path, T, str], None]
    read_key: Callable[[Path], str | None]
    by_id: bool = False


MAPS: Product[SemanticMap] = Product("semantic map", ".png", write_map, read_key)


@dataclass(frozen=True)
class Outcome:
    """The result of one image.

    Attributes:
        sha256: SHA-256 of the map's file; "" if there is none.
        is_new: the file was written now; False if it existed.
        error: message if the image failed, or None.
    """

    sha256: str = ""
    is_new: bool = False
    error: str | None = None


@dataclass(frozen=True)
class Job(Generic[T]):
    """A file to generate, and the output folder."""

    task: MapTask
    path: Path
    folder: Path
    product: Product[T]
    overwrite: bool = False


Progress = Callable[[Iterable[Outcome]], Iterable[Outcome]]


def generate(
    source: Source[T],
    points: PointSet,
    images: Path,
    out: Path,
    product: Product[T],
    *,
    points_sha256: str,
    workers: int = 0,
    on_error: str = "raise",
    overwrite: bool = False,
    progress: Progress = iter,
    ranks: Ranks | None = None,
) -> tuple[Manifest, int]:
    """Generates the map or the candidates of every image, and their manifest.

    An existing map of the same source, parameters, points and files is kept. The maps do not
    depend on the number of workers or ranks. The first rank writes the manifest after the last
    map, and all ranks return after that.

    Args:
        source: source of the maps.
        points: the images and their points.
        images: folder of the images.
        out: folder for the maps and `manifest.json`.
        product: file format of the maps.
        points_sha256: SHA-256 of the points file, for the manifest.
        workers: maximum number of worker processes of this rank. 0, 1 and small sets: none.
        on_error: `raise` at the first image that fails, or `skip` it.
        overwrite: replace files that p2seg did not write.
        progress: wraps the iteration over the images of this rank.
        ranks: the ranks that share the images; None: this process alone.

    Returns:
        The manifest, and the number of new maps of all ranks.

    Raises:
        UserError: two images would share a map, an image fails and `on_error` is `raise`, all
            images fail, or a file that p2seg did not write exists and `overwrite` is false.
    """
    if on_error not in ("raise", "skip"):
        raise UserError(f"data.on_error={on_error} is unknown; choose raise or skip")
    classes = tuple(category.name for category in points.categories)
    jobs = [
        Job(MapTask.of(record, own, images, classes), path, out, product, overwrite)
        for record, own, path in zip(
            points.images,
            points.points,
            paths_of(out, points.images, product.ending),
            strict=True,
        )
    ]
    ranks = ranks or Ranks()
    ranks.wait()  # no rank may change the folder before all have checked it
    outcomes = ranks.merged(_share(source, ranks.share(jobs), workers, on_error, progress))
    files: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for job, outcome in zip(jobs, outcomes, strict=True):
        if outcome.error is None:
            files[job.path.relative_to(out).as_posix()] = outcome.sha256
        else:
            skipped[job.task.record.file_name] = outcome.error
    if not files:
        first = next(iter(skipped.values()), "the points file has no image")
        raise UserError(f"no {product.what} was made: {first}")
    manifest = Manifest(
        source=source.name,
        parameters=source.parameters,
        classes=list(classes),
        points_sha256=points_sha256,
        files=files,
        skipped=skipped,
        versions=versions(),
    )
    if ranks.first:
        write_manifest(out, manifest)
    ranks.wait()
    return manifest, sum(outcome.is_new for outcome in outcomes)


def _share(
    source: Source[T], jobs: Sequence[Job[T]], workers: int, on_error: str, progress: Progress
) -> list[Outcome]:
    share = []
    outcomes = progress(_outcomes(source, jobs, workers))
    try:
        for outcome in outcomes:
            if outcome.error is not None and on_error == "raise":
                raise UserError(outcome.error)
            share.append(outcome)
    finally:
        if isinstance(outcomes, Generator):
            outcomes.close()  # ends the progress bar and the workers now, not at collection
    return share


def make_one(source: Source[T], job: Job[T]) -> Outcome:
    """Generates one map, or keeps the existing one.

    Returns:
        The outcome, which contains the message of a `UserError` of the source.
    """
    task = job.task
    files = [sha256(path) if path.is_file() else None for path in source.inputs(task)]
    ids = [task.ids.tolist()] if job.product.by_id else []
    clicks = [task.size, task.yx.tolist(), task.labels.tolist(), *ids]
    key = fingerprint([source.name, source.parameters, task.classes, clicks, files])
    try:
        if job.path.exists():
            present = job.product.read_key(job.path)
            if present is None and not job.overwrite:
                raise UserError(
                    f"{job.path} exists but was not written by p2seg, or was changed since; "
                    "move it away, give another folder, or add overwrite=true to replace it"
                )
            if present == key:
                return Outcome(sha256(job.path))
        with naming([task.record.file_name]):
            content = source(task)
        # The manifest of the previous files is outdated.
        (job.folder / MANIFEST).unlink(missing_ok=True)
        job.product.write(job.path, content, key)
    except UserError as error:
        return Outcome(error=str(error))
    return Outcome(sha256(job.path), is_new=True)


def _outcomes(source: Source[T], jobs: Sequence[Job[T]], workers: int) -> Iterator[Outcome]:
    workers = min(workers, os.cpu_count() or 1, len(jobs) // MAPS_PER_WORKER)
    if workers <= 1:
        yield from (make_one(source, job) for job in jobs)
        return
    pool = Workers(
        partial(make_one, source),
        iter(jobs),
        workers,
        setting="semantic.workers",
        ahead=MAPS_PER_WORKER,
        start="spawn",  # a fork next to torch's threads may hang
        begin=partial(_begin_worker, workers),
        patience=PATIENCE,
    )
    with closing(pool):
        yield from pool


def _begin_worker(workers: int, number: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())
