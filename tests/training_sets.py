"""A small training set on disk for the tests: noise with bright squares, clicks and maps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from p2seg.data.coco import Category, ImageRecord
from p2seg.data.dataset import Reader
from p2seg.data.labels import write_labels
from p2seg.data.points import PointSet, write_points
from p2seg.structures import Points

COLORS = ((250, 60, 60), (60, 60, 250))


@dataclass(frozen=True)
class TrainingSet:
    """The paths and the content of a set."""

    images: Path
    semantic: Path
    file: Path
    points: PointSet

    @property
    def reader(self) -> Reader:
        return Reader(self.images, self.semantic, len(self.points.categories))

    @property
    def words(self) -> list[str]:
        """The settings that name the files."""
        return [
            "data=custom",
            f"data.num_classes={len(self.points.categories)}",
            f"data.images={self.images}",
            f"data.points={self.file}",
            f"data.semantic={self.semantic}",
        ]


def training_set(root: Path, count: int = 4, size: tuple[int, int] = (40, 48)) -> TrainingSet:
    """Writes `count` images below `root`, each with two touching squares and a single one.

    The squares' class alternates with the image: red is class 1, blue is class 2.
    """
    records, groups = [], []
    height, width = size
    for k in range(count):
        rng = np.random.default_rng(k)
        label = k % 2 + 1
        semantic = np.zeros(size, np.uint8)
        semantic[4:20, 4:36] = label  # two objects of 16 x 16, next to each other
        semantic[26:36, 8 + 2 * k : 18 + 2 * k] = label
        pixels = rng.integers(60, 120, (*size, 3))
        pixels[semantic > 0] = COLORS[label - 1]
        name = f"part/{k}.png"
        record = ImageRecord(id=10 + k, file_name=name, height=height, width=width)
        (root / "images/part").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(root / "images" / name)
        write_labels(root / "semantic" / name, semantic)
        yx = [(12.0, 12.0), (12.0, 27.0), (31.0, 12.0 + 2 * k)]
        records.append(record)
        ids = torch.arange(3) + 3 * k + 1
        groups.append(Points(torch.tensor(yx), torch.full((3,), label), ids))
    points = PointSet(records, [Category(7, "red"), Category(9, "blue")], groups)
    write_points(root / "points.json", points)
    return TrainingSet(root / "images", root / "semantic", root / "points.json", points)
