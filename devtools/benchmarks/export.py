"""Benchmarks the export of pseudo masks next to a loop that reads, labels and encodes in turn."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from devtools.benchmarks.measure import Row, compared
from devtools.benchmarks.step import network_of
from p2seg.data.dataset import Reader
from p2seg.data.points import PointSet, make_points
from p2seg.data.sets.synthetic import write_synthetic
from p2seg.data.sets.synthetic_shapes import CLASSES
from p2seg.data.sets.voc import read_voc
from p2seg.method.rounds import MutualDistillation
from p2seg.method.seed import Seeder
from p2seg.pseudo.export import MaskRules, label_images, masks_of
from p2seg.pseudo.labeler import Labeler
from p2seg.pseudo.network import NetworkLabeler
from p2seg.pseudo.resume_log import Shards
from p2seg.pseudo.seeds import SeedLabeler

IMAGES, SIZE = 24, 320


def suite(
    device: torch.device, repeats: int, images: int = IMAGES, size: int = SIZE
) -> Iterator[Row]:
    """Yields rows for seeds only and for a network, on drawn images with true maps."""
    network, _, name = network_of(device)
    mdm = MutualDistillation(rounds=1, beta=20.0)
    labelers: dict[str, Labeler] = {
        "seeds": SeedLabeler(Seeder()),
        name: NetworkLabeler(network.eval(), mdm),
    }
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_synthetic(root, 0, images, 1, size)
        points = make_points(read_voc(root, "train", CLASSES), "inner", 0)
        reader = Reader(root / "JPEGImages", root / "SegmentationClass", len(CLASSES))
        for kind, labeler in labelers.items():
            yield _row(kind, labeler, points, reader, root, device, repeats, size)


def _row(
    kind: str,
    labeler: Labeler,
    points: PointSet,
    reader: Reader,
    root: Path,
    device: torch.device,
    repeats: int,
    size: int,
) -> Row:
    return compared(
        _overlapping(labeler, points, reader, root),
        _one_by_one(labeler, points, reader, root),
        device,
        repeats,
        name=f"export of {len(points.images)} images, {kind}",
        dtype="float32",
        h=size,
        d=0,
        batch=len(points.images),
        rival="read, label and encode in turn",
    )


def _overlapping(
    labeler: Labeler, points: PointSet, reader: Reader, root: Path
) -> Callable[[], None]:
    def work() -> None:
        shards = Shards(root / "out.json", "benchmark", 0)
        for _ in label_images(points, reader, labeler, MaskRules(), shards, "raise"):
            pass
        shards.remove()

    return work


def _one_by_one(
    labeler: Labeler, points: PointSet, reader: Reader, root: Path
) -> Callable[[], None]:
    def work() -> None:
        shards = Shards(root / "out.json", "benchmark", 0)
        for record, own in zip(points.images, points.points, strict=True):
            image = reader.image(record) if labeler.needs_image else None
            labeled = labeler(image, own, reader.map(record, own))
            shards.add(record.id, masks_of(labeled, own, MaskRules()))
        shards.remove()

    return work
