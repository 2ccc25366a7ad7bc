"""Benchmarks reading and sharing an index as large as COCO train2017, with random content."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from devtools.benchmarks.measure import Row, status
from p2seg.data.coco import read_instances
from p2seg.data.points import read_points
from p2seg.data.records import ImageRecord
from p2seg.data.rle import area, box, from_segmentation
from p2seg.runtime.files import atomic_path
from p2seg.runtime.lifetime import end_with
from p2seg.structures import Points

IMAGES, INSTANCES = 118_287, 860_001
"""Size of COCO train2017."""
SIZES = ((480, 640), (640, 480), (426, 640), (500, 375))
SHAPES = 500
"""Different objects per image size."""
CLASSES = 80
KINDS = ("polygons", "codes", "points")
"""COCO polygons, pseudo masks in the format of `p2seg gen_pseudo`, and clicks."""


WORKERS = 8
TOUCHED = 20_000
"""Images that the workers read, in random order."""
STARTS = ("fork", "spawn")


def suite(images: int = IMAGES, instances: int = INSTANCES) -> list[Row]:
    """Measures time and memory of reading an index and of the workers that share it.

    Each file is read in a separate process. `MiB` of reading is the peak above the process before.
    `MiB` of workers is the memory of all workers after they read many images.

    Args:
        images: number of images.
        instances: number of instances.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            path = Path(folder) / f"{kind}.json"
            write_index(path, kind, images, instances)
            for start in STARTS:
                context = multiprocessing.get_context("spawn")
                own = (os.getpid(),)
                with ProcessPoolExecutor(1, context, end_with, own) as fresh:
                    rows += fresh.submit(measured, path, kind, start).result()
            path.unlink()
    return rows


def measured(path: Path, kind: str, start: str, workers: int = WORKERS) -> list[Row]:
    """Reads an index in this process and shares it with workers.

    Args:
        path: the JSON file.
        kind: one of `KINDS`.
        start: start method of the workers, `fork` or `spawn`.
        workers: number of workers.

    Returns:
        Three rows: reading; the private memory of the workers; and their private memory plus their
        share of shared memory.
    """
    before, began = status("VmHWM"), time.perf_counter()
    if kind == "points":
        points = read_points(path)
        dataset = _Touching(points.points, points.images)
    else:
        whole = read_instances(path)
        dataset = _Touching(whole.instances, whole.images)
    seconds, peak = time.perf_counter() - began, (status("VmHWM") - before) / 2**20
    began = time.perf_counter()
    uss, pss = _of_workers(dataset, start, workers)
    took = time.perf_counter() - began
    return [
        _row(f"{kind}: read", len(dataset), seconds, peak),
        _row(f"{kind}: {workers} workers by {start}, USS", len(dataset), took, uss),
        _row(f"{kind}: {workers} workers by {start}, PSS", len(dataset), took, pss),
    ]


def _of_workers(dataset: Dataset[int], start: str, workers: int) -> tuple[float, float]:
    """Returns MiB of all workers: private, and private plus their share of shared memory."""
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    loader = DataLoader(
        dataset,
        batch_size=50,
        sampler=order[:TOUCHED].tolist(),
        num_workers=workers,
        persistent_workers=True,
        multiprocessing_context=start,
    )
    others = multiprocessing.active_children()
    for _ in loader:
        pass
    own = [each for each in multiprocessing.active_children() if each not in others]
    assert len(own) == workers, f"{len(own)} of {workers} workers are alive"
    memories = [psutil.Process(each.pid).memory_full_info() for each in own]
    return sum(each.uss for each in memories) / 2**20, sum(each.pss for each in memories) / 2**20


def _row(name: str, images: int, seconds: float, megabytes: float) -> Row:
    return Row(name, "cpu", "index", 0, 0, images, seconds, megabytes)


def write_index(path: Path, kind: str, images: int = IMAGES, instances: int = INSTANCES) -> None:
    """Writes a file with objects of all sizes, as many as COCO has, in random order.

    Args:
        path: the JSON file.
        kind: one of `KINDS`.
        images: number of images.
        instances: number of instances.
    """
    random = np.random.default_rng(0)
    fields = [[_fields(each, kind) for each in _shapes(random, size)] for size in SIZES]
    owners = random.integers(0, images, instances)
    chosen = random.integers(0, SHAPES, instances)
    labels = random.integers(1, CLASSES + 1, instances)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write('{"info": {"source": "noise"}, "images": [')
        for k in range(images):
            stream.write(", " * (k > 0) + _image(k))
        stream.write('], "annotations": [')
        for k, (owner, shape, label) in enumerate(
            zip(owners.tolist(), chosen.tolist(), labels.tolist(), strict=True)
        ):
            head = f'"id": {1000 + k}, "image_id": {owner + 1}, "category_id": {label}, '
            stream.write(", " * (k > 0) + "{" + head + fields[owner % len(SIZES)][shape] + "}")
        classes = [{"id": k, "name": f"class {k}"} for k in range(1, CLASSES + 1)]
        stream.write(f'], "categories": {json.dumps(classes)}}}\n')


@dataclass(frozen=True)
class _Shape:
    polygons: list[list[float]]
    rle: dict[str, Any]
    point: list[float]


def _shapes(random: np.random.Generator, size: tuple[int, int]) -> Iterator[_Shape]:
    """Yields star-shaped outlines of 4 to 60 corners; 20 % have two parts."""
    height, width = size
    for _ in range(SHAPES):
        polygons = []
        reach = float(np.exp(random.uniform(np.log(6), np.log(200))))
        x, y = random.uniform(0, width), random.uniform(0, height)
        for _ in range(1 + (random.random() < 0.2)):
            corners = int(min(60, 4 + random.exponential(14)))
            angles = np.sort(random.uniform(0, 2 * np.pi, corners))
            radius = reach * random.uniform(0.5, 1, corners)
            outline: NDArray[np.float64] = np.stack(
                [x + radius * np.cos(angles), y + radius * np.sin(angles)], 1
            )
            inside = outline.clip(0, (width - 1, height - 1)).round(2)
            polygons.append([float(value) for value in inside.reshape(-1)])
            x, y = x + reach / 2, y
        rle = from_segmentation(polygons, height, width)
        yield _Shape(polygons, rle, [min(x, width - 1), min(y, height - 1)])


def _fields(shape: _Shape, kind: str) -> str:
    """Returns the fields of an annotation that describe its object."""
    if kind == "points":
        return f'"point": {json.dumps(shape.point)}'
    segmentation: Any = shape.polygons
    if kind == "codes":
        counts = shape.rle["counts"].decode("ascii")
        segmentation = {"size": shape.rle["size"], "counts": counts}
    fields = {
        "segmentation": segmentation,
        "area": area(shape.rle),
        "bbox": box(shape.rle),
        "iscrowd": 0,
    }
    if kind == "codes":
        fields |= {"score": 0.871234, "point": shape.point}
    return json.dumps(fields)[1:-1]


def _image(k: int) -> str:
    """Returns an image entry with the keys that COCO has and p2seg ignores."""
    height, width = SIZES[k % len(SIZES)]
    name = f"{k + 1:012d}.jpg"
    urls = f'"coco_url": "http://images.example/train2017/{name}", "license": 3'
    return (
        f'{{{urls}, "file_name": "{name}", "height": {height}, "width": {width}, '
        f'"date_captured": "2013-11-14 17:02:52", "id": {k + 1}}}'
    )


class _Touching(Dataset[int]):
    """Reads everything that an index has about an image, as training does."""

    def __init__(self, kept: Sequence[Any], images: Sequence[ImageRecord]) -> None:
        self.kept = kept
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> int:
        record, own = self.images[index], self.kept[index]
        values = own.ids.tolist() if isinstance(own, Points) else [each.rle for each in own]
        return record.height + len(values)
