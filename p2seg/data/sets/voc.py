"""Reads PASCAL VOC, and the masks of SBD for images of VOC, as instance sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2seg.data.coco import Category, ImageRecord, Instance, InstanceSet, encode
from p2seg.data.labels import read_labels
from p2seg.errors import UserError
from p2seg.runtime.files import read_text, sha256
from p2seg.structures import IGNORED

# fmt: off
CLASSES = [
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
]
# fmt: on
"""VOC's class names; the k-th is class k (1..20)."""

SUFFIXES = (".jpg", ".jpeg", ".png")
"""File name endings of images; the first existing file is used."""

Masks = tuple[NDArray[np.uint8], dict[int, int]]
"""`[H, W]` object indices, and the class of each object."""
Progress = Callable[[list[str]], Iterable[str]]


def find_voc(folder: Path, year: int | None = None) -> Path:
    """Finds the folder that contains `ImageSets/Segmentation`.

    Args:
        folder: this folder, or one that contains `VOCdevkit/VOC20xx` or `VOC20xx`.
        year: the year 20xx, if the folder contains several.

    Raises:
        UserError: there is no such folder, or there are several.
    """
    if (folder / "ImageSets" / "Segmentation").is_dir():
        return folder
    name = "VOC20[0-9][0-9]" if year is None else f"VOC{year}"
    roots = sorted(
        path
        for pattern in (name, f"VOCdevkit/{name}")
        for path in folder.glob(pattern)
        if (path / "ImageSets" / "Segmentation").is_dir()
    )
    if not roots:
        raise UserError(
            f"no {name.replace('[0-9]', 'x')}/ImageSets/Segmentation in {folder}; "
            "give the folder that contains VOCdevkit, or add --download"
        )
    if len(roots) > 1:
        years = ", ".join(path.name for path in roots)
        raise UserError(f"{folder} contains {years}; choose one with --year")
    return roots[0]


def read_voc(
    root: Path, split: str, classes: list[str] = CLASSES, progress: Progress = iter
) -> InstanceSet:
    """Reads a split of VOC, or of another data set in VOC's layout.

    Masks come from `SegmentationObject`, where 0 and 255 belong to no instance. The class of an
    instance is the smallest class index in `SegmentationClass` inside its mask, without 255. VOC
    has no crowds, and objects that it marks as difficult are instances like all others.

    Args:
        root: the folder with `ImageSets`, `JPEGImages`, `SegmentationClass`, `SegmentationObject`.
        split: name of a list in `ImageSets/Segmentation`.
        classes: class names; the k-th has palette index k.
        progress: wraps the list of image ids, to show progress.

    Returns:
        The set; images and instances are numbered from 1 in the order of the list, and file names
        are relative to `JPEGImages`.

    Raises:
        UserError: a list, image or mask is missing or invalid.
    """
    path = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    if not path.is_file():
        raise UserError(f"no list of images at {path}; choose from {_splits(root)}")
    return _collect(
        root,
        read_list(path),
        classes,
        lambda name: _voc_masks(root, name, len(classes)),
        progress,
        {"split": split, "list_sha256": sha256(path)},
    )


def read_trainaug(root: Path, sbd: Path, progress: Progress = iter) -> InstanceSet:
    """Reads VOC 2012's usual training set: images of VOC and SBD without VOC's val split.

    Images with masks in VOC have these masks; all others have SBD's.

    Args:
        root: folder of VOC 2012.
        sbd: folder of SBD that contains `inst` or `benchmark_RELEASE/dataset`.
        progress: wraps the list of image ids, to show progress.

    Returns:
        The set (10,582 images of the official archives), sorted by image id.

    Raises:
        UserError: a list, image or mask is missing or invalid.
    """
    sbd = find_sbd(sbd)
    lists = root / "ImageSets" / "Segmentation"
    own, val = read_list(lists / "train.txt"), read_list(lists / "val.txt")
    others = read_list(sbd / "train.txt") + read_list(sbd / "val.txt")
    names = sorted({*own, *others} - set(val))

    def masks(name: str) -> Masks:
        if (root / "SegmentationObject" / f"{name}.png").is_file():
            return _voc_masks(root, name, len(CLASSES))
        return _sbd_masks(sbd / "inst" / f"{name}.mat")

    info = {"split": "trainaug", "masks": "VOC's where it has them, SBD's elsewhere"}
    return _collect(root, names, CLASSES, masks, progress, info)


def find_sbd(folder: Path) -> Path:
    """Finds SBD's folder that contains `inst` and the lists, at or below `folder`.

    Raises:
        UserError: there is no such folder.
    """
    for below in (".", "dataset", "benchmark_RELEASE/dataset"):
        if (folder / below / "inst").is_dir():
            return folder / below
    raise UserError(
        f"no folder inst in {folder}, {folder}/dataset or {folder}/benchmark_RELEASE/dataset; "
        "give the folder into which SBD's benchmark.tgz was unpacked"
    )


def read_list(path: Path) -> list[str]:
    """Reads a list of image ids of VOC or SBD, one id per line.

    Raises:
        UserError: the file is missing, empty, or has a repeated or invalid id.
    """
    if not path.is_file():
        raise UserError(f"no list of images at {path}; check the folder")
    text = read_text(path, "list of image ids, one per line")
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise UserError(f"{path} lists no images; write one id per line")
    earlier: set[str] = set()
    for name in names:
        if name in earlier:
            raise UserError(f"{path} lists {name} twice; remove one")
        if name.startswith("/") or ".." in name.split("/"):
            raise UserError(f"{path} lists {name}, which leaves the image folder; remove it")
        earlier.add(name)
    return names


def _splits(root: Path) -> str:
    names = sorted(path.stem for path in (root / "ImageSets" / "Segmentation").glob("*.txt"))
    return ", ".join(names) or "nothing, because the folder contains no list"


def _collect(
    root: Path,
    names: list[str],
    classes: list[str],
    masks_of: Callable[[str], Masks],
    progress: Progress,
    info: dict[str, Any],
) -> InstanceSet:
    """The set of the named images."""
    images: list[ImageRecord] = []
    instances: list[list[Instance]] = []
    first = 1
    for id, name in enumerate(progress(names), start=1):
        objects, labels = masks_of(name)
        height, width = objects.shape
        images.append(ImageRecord(id, _image_file(root, name), height, width))
        group = [
            Instance(id=first + place, label=label, rle=encode(objects == index))
            for place, (index, label) in enumerate(sorted(labels.items()))
        ]
        instances.append(group)
        first += len(group)
    categories = [Category(k, name) for k, name in enumerate(classes, start=1)]
    return InstanceSet(images, categories, instances, {"dataset": root.name, **info})


def _image_file(root: Path, name: str) -> str:
    for suffix in SUFFIXES:
        if (root / "JPEGImages" / (name + suffix)).is_file():
            return name + suffix
    raise UserError(f"no image {name}.jpg in {root / 'JPEGImages'}; add it or shorten the list")


def _voc_masks(root: Path, name: str, num_classes: int) -> Masks:
    path = root / "SegmentationObject" / f"{name}.png"
    objects = read_labels(path, "mask of objects")
    semantic = read_labels(root / "SegmentationClass" / f"{name}.png", "mask of classes")
    if objects.shape != semantic.shape:
        raise UserError(
            f"the masks of {name} differ in size: SegmentationObject {_size(objects)}, "
            f"SegmentationClass {_size(semantic)}; write them again"
        )
    labels: dict[int, int] = {}
    for index in np.unique(objects):
        if index in (0, IGNORED):
            continue
        inside = semantic[objects == index]
        inside = inside[(inside != 0) & (inside != IGNORED)]
        label = int(inside.min()) if len(inside) else 0
        if not 1 <= label <= num_classes:
            raise UserError(
                f"object {index} of {path} has class {label or 'none'} in SegmentationClass; "
                f"classes are 1..{num_classes}"
            )
        labels[int(index)] = label
    return objects, labels


def _sbd_masks(path: Path) -> Masks:
    if not path.is_file():
        raise UserError(f"no masks at {path}; check the folder of SBD")
    from scipy.io import loadmat  # its import takes 0.3 s, and only SBD needs it

    stream: Any = BytesIO(path.read_bytes())
    try:
        struct = loadmat(stream, variable_names=["GTinst"])["GTinst"][0, 0]
        fields = struct["Segmentation"], struct["Categories"]
    except Exception as error:  # SciPy raises errors of many types for a damaged file
        raise UserError(
            f"{path} is not a readable .mat file of SBD's inst folder; download SBD again"
        ) from error
    objects, classes = (_uint8(each, path) for each in fields)
    classes = classes.reshape(-1)
    present = [int(index) for index in np.unique(objects) if index not in (0, IGNORED)]
    labels = {k: int(classes[k - 1]) for k in present if k <= len(classes)}
    if (
        objects.ndim != 2
        or len(labels) != len(present)
        or not set(labels.values()) <= set(range(1, len(CLASSES) + 1))
    ):
        raise UserError(
            f"{path} has objects without a class of 1..{len(CLASSES)}; download SBD again"
        )
    return objects, labels


def _uint8(values: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    """Converts numbers of a .mat file, which can be of any type, to uint8."""
    if not np.isin(values, range(256)).all():
        raise UserError(f"{path} has numbers outside 0..255; download SBD again")
    return values.astype(np.uint8)


def _size(labels: NDArray[np.uint8]) -> str:
    height, width = labels.shape
    return f"{width}x{height}"
