"""Makes the maps of a points file, or the candidates: shared, and only those not made yet."""

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

MAPS_A_WORKER = 8
"""Fewer are not worth the seconds that a process needs to start."""

PATIENCE = 10.0
"""Seconds that a worker may finish its map when the others are stopped."""

T = TypeVar("T")


@dataclass(frozen=True)
class Product(Generic[T]):
    """How what a source makes lies on the disk; its functions travel to worker processes.

    Attributes:
        what: it is, in messages.
        ending: of its files.
        write: writes one, atomically, with the fingerprint of what it was made of.
        read_key: the fingerprint of a file, None if `write` did not write it as it lies there.
        by_id: it is kept by the points' ids, and is another thing with other ids.
    """

    what: str
    ending: str
    write: Callable[[Path, T, str], None]
    read_key: Callable[[Path], str | None]
    by_id: bool = False


MAPS: Product[SemanticMap] = Product("semantic map", ".png", write_map, read_key)


@dataclass(frozen=True)
class Outcome:
    """What became of one image.

    Attributes:
        sha256: of the map's file; "" where there is none.
        made: made now; False where it was there already.
        error: why the image cannot be used, or None.
    """

    sha256: str = ""
    made: bool = False
    error: str | None = None


@dataclass(frozen=True)
class Job(Generic[T]):
    """A file to make, and the folder that holds it."""

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
    """Makes the map of every image, or its candidates, and the manifest beside them.

    A map that is there already and was made of the same source, parameters, points and files is
    kept. The maps depend neither on the number of workers nor on that of ranks. Until all are made
    there is no manifest; the first rank writes it, and all come back after that.

    Args:
        source: of the maps.
        points: the images and their points.
        images: folder of the images.
        out: folder of the maps and of `manifest.json`.
        product: how they lie there.
        points_sha256: of the points file, for the manifest.
        workers: processes of this rank at most; 0 and 1: this one, which also makes small sets.
        on_error: `raise` at the first image that cannot be used, or `skip` it.
        overwrite: whether a file that is not ours is replaced.
        progress: sees the images of this rank go by.
        ranks: that share the images; None: this process alone.

    Returns:
        The manifest, and how many maps were made now, by all ranks.

    Raises:
        UserError: two images would share a map, an image cannot be used and `on_error` is
            `raise`, none can be used, or a file that is not ours lies in a map's place and
            `overwrite` is false.
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
    ranks.wait()  # nobody changes the folder before all have looked at it
    made = ranks.merged(_share(source, ranks.share(jobs), workers, on_error, progress))
    files: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for job, outcome in zip(jobs, made, strict=True):
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
    return manifest, sum(outcome.made for outcome in made)


def _share(
    source: Source[T], jobs: Sequence[Job[T]], workers: int, on_error: str, progress: Progress
) -> list[Outcome]:
    """The outcomes of a rank's jobs."""
    made = []
    outcomes = progress(_outcomes(source, jobs, workers))
    try:
        for outcome in outcomes:
            if outcome.error is not None and on_error == "raise":
                raise UserError(outcome.error)
            made.append(outcome)
    finally:
        if isinstance(outcomes, Generator):
            outcomes.close()  # its bar and its workers end here, not when it is forgotten
    return made


def make_one(source: Source[T], job: Job[T]) -> Outcome:
    """Makes one map, or keeps the one that is there.

    Args:
        source: of it.
        job: what to make and where.

    Returns:
        The outcome; a `UserError` of the source is told in it.
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
                    f"{job.path} is there but was not made by this tool, or was changed since; "
                    "move it away, give another folder, or add overwrite=true to replace it"
                )
            if present == key:
                return Outcome(sha256(job.path))
        with naming([task.record.file_name]):
            made = source(task)
        # a manifest of older files is no longer true
        (job.folder / MANIFEST).unlink(missing_ok=True)
        job.product.write(job.path, made, key)
    except UserError as error:
        return Outcome(error=str(error))
    return Outcome(sha256(job.path), made=True)


def _outcomes(source: Source[T], jobs: Sequence[Job[T]], workers: int) -> Iterator[Outcome]:
    """The outcomes in the order of the jobs, each as soon as it and those before are there."""
    workers = min(workers, os.cpu_count() or 1, len(jobs) // MAPS_A_WORKER)
    if workers <= 1:
        yield from (make_one(source, job) for job in jobs)
        return
    pool = Workers(
        partial(make_one, source),
        iter(jobs),
        workers,
        setting="semantic.workers",
        ahead=MAPS_A_WORKER,
        start="spawn",  # a fork beside threads (torch's) may hang
        begin=partial(_begin_worker, workers),
        patience=PATIENCE,
    )
    with closing(pool):
        yield from pool


def _begin_worker(workers: int, number: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())  # the GPUs share the list
