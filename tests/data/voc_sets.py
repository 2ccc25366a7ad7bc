"""Miniature sets in VOC's and SBD's real layout, with known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from p2seg.data.labels import write_labels


def write_image(root: Path, name: str, objects: np.ndarray, semantic: np.ndarray | None) -> None:
    """An image and, where `semantic` is given, its masks."""
    (root / "JPEGImages").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", objects.shape[::-1], "gray").save(root / "JPEGImages" / f"{name}.jpg")
    if semantic is not None:
        write_labels(root / "SegmentationObject" / f"{name}.png", objects)
        write_labels(root / "SegmentationClass" / f"{name}.png", semantic)


def write_split(root: Path, split: str, names: list[str]) -> None:
    """A list of image ids."""
    folder = root / "ImageSets" / "Segmentation"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))


def two_objects(first: int, second: int) -> tuple[np.ndarray, np.ndarray]:
    """Objects 1 and 3 with void between and around; objects and classes, each 10 x 14."""
    objects, semantic = np.zeros((2, 10, 14), np.uint8)
    objects[2:5, 1:6], semantic[2:5, 1:6] = 1, first
    objects[2:5, 7:12], semantic[2:5, 7:12] = 3, second
    objects[1:6, 6], semantic[1:6, 6] = 255, 255
    return objects, semantic


def write_voc(root: Path) -> None:
    """Two training images and one for validation."""
    write_image(root, "2007_000001", *two_objects(15, 15))
    write_image(root, "2007_000002", *two_objects(20, 1))
    write_image(root, "2007_000003", *two_objects(8, 12))
    write_split(root, "train", ["2007_000001", "2007_000002"])
    write_split(root, "val", ["2007_000003"])


def write_mat(folder: Path, name: str, objects: np.ndarray, classes: list[int]) -> None:
    """Masks as SBD's inst folder has them."""
    (folder / "inst").mkdir(parents=True, exist_ok=True)
    content = {
        "Segmentation": objects.astype(np.uint8),
        "Categories": np.array(classes, np.uint8).reshape(-1, 1),
    }
    savemat(folder / "inst" / f"{name}.mat", {"GTinst": content}, do_compression=True)


def write_sbd(folder: Path, voc: Path) -> None:
    """Four images: one VOC trains on, one of VOC's val, two of its own."""
    objects = np.zeros((10, 14), np.uint8)
    objects[:4], objects[6:] = 1, 2
    for name in ("2007_000001", "2007_000003", "2008_000004", "2008_000005"):
        write_mat(folder, name, objects, [2, 19])
    for name in ("2008_000004", "2008_000005"):
        write_image(voc, name, objects, None)
    (folder / "train.txt").write_text("2008_000005\n2007_000001\n")
    (folder / "val.txt").write_text("2007_000003\n2008_000004\n")
