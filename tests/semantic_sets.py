"""A small drawn set with known classes, and faulty sources of maps."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from p2seg.data.coco import Category, ImageRecord, Instance, InstanceSet, encode, write_instances
from p2seg.data.points import PointSet, make_points, write_points
from p2seg.errors import UserError
from p2seg.semantic.source import MapTask

HEIGHT, WIDTH = 60, 80
CLASSES = ("ball", "box")
COLORS = {1: (200, 40, 40), 2: (40, 60, 210)}


@dataclass(frozen=True)
class Drawn:
    """Files of a drawn set."""

    images: Path
    points: Path
    gt: Path
    out: Path
    point_set: PointSet
    truth: list[np.ndarray]


def draw(folder: Path, count: int = 4) -> Drawn:
    """Draws `count` images, each with a red disc and a blue box that do not touch."""
    rng = np.random.default_rng(7)
    records, instances, truth = [], [], []
    for n in range(count):
        yy, xx = np.mgrid[:HEIGHT, :WIDTH]
        disc = np.hypot(yy - 25 - n, xx - 20) < 13
        box = (abs(yy - 32) < 12 + n) & (abs(xx - 60) < 9)
        semantic = np.where(box, 2, np.where(disc, 1, 0)).astype(np.uint8)
        image = np.full((HEIGHT, WIDTH, 3), (90, 160, 80))
        for label, color in COLORS.items():
            image[semantic == label] = color
        noisy = np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
        record = ImageRecord(id=n + 1, file_name=f"part/{n}.png", height=HEIGHT, width=WIDTH)
        (folder / "images/part").mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy).save(folder / "images" / record.file_name)
        records.append(record)
        masks = [semantic == 1, semantic == 2]
        instances.append(
            [Instance(10 * n + k + 1, k + 1, encode(mask)) for k, mask in enumerate(masks)]
        )
        truth.append(semantic)
    categories = [Category(id=3 * k + 5, name=name) for k, name in enumerate(CLASSES)]
    whole = InstanceSet(records, categories, instances)
    write_instances(folder / "gt.json", whole)
    points = make_points(whole, "inner", 0)
    write_points(folder / "points.json", points)
    return Drawn(
        images=folder / "images",
        points=folder / "points.json",
        gt=folder / "gt.json",
        out=folder / "out",
        point_set=points,
        truth=truth,
    )


def task(image: Path, size: tuple[int, int], yx: Any = (), labels: Any = ()) -> MapTask:
    """Returns a task of one image with clicks."""
    return MapTask(
        record=ImageRecord(1, image.name, *size),
        image=image,
        yx=np.array(yx, np.int64).reshape(-1, 2),
        labels=np.array(labels, np.int64),
        ids=np.arange(1, len(labels) + 1),
        classes=CLASSES,
    )


@dataclass(frozen=True)
class Counting:
    """Fills a map with the class of its first point, and writes one line per map to a log."""

    log: Path
    value: int = 1
    seconds: float = 0.0
    bad: tuple[str, ...] = ()
    deadly: bool = False
    name = "counting"

    @property
    def parameters(self) -> dict[str, Any]:
        return {"value": self.value}

    def inputs(self, task: MapTask) -> list[Path]:
        return [task.image]

    def __call__(self, task: MapTask) -> np.ndarray:
        if task.record.file_name in self.bad:
            raise UserError(f"image {task.record.file_name} is bad")
        if self.deadly:
            os._exit(9)
        time.sleep(self.seconds)
        with self.log.open("a") as stream:
            stream.write(f"{task.record.file_name}\n")
        return np.full(task.size, self.value, np.uint8)


def contents(folder: Path) -> dict[str, bytes]:
    """Returns the bytes of every file below a folder, except for the run record."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith("run.json")
    }
