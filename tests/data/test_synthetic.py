"""The drawn set: VOC's layout, deterministic, and as hard as it should be."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from p2seg.data.sets.synthetic import Scene, draw_scene, write_synthetic
from p2seg.data.sets.synthetic_shapes import CLASSES
from p2seg.data.sets.voc import read_voc


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(np.random.default_rng([5, k])) for k in range(40)]


def test_scenes_are_whole(scenes: list[Scene]) -> None:
    for scene in scenes:
        height, width = scene.objects.shape
        assert 112 <= height <= 144
        assert 112 <= width <= 144
        assert scene.image.shape == (height, width, 3)
        assert scene.image.dtype == scene.objects.dtype == scene.semantic.dtype == np.uint8
        count = int(scene.objects.max())
        assert 3 <= count <= 8
        for k in range(1, count + 1):
            mask = scene.objects == k
            assert mask.sum() >= 50
            assert len(np.unique(scene.semantic[mask])) == 1
        np.testing.assert_array_equal(scene.semantic == 0, scene.objects == 0)
    labels = np.unique(np.concatenate([scene.semantic.reshape(-1) for scene in scenes]))
    assert labels.tolist() == [0, 1, 2, 3, 4]
    assert len({scene.objects.shape for scene in scenes}) > 10


def neighbors(scene: Scene, index: int) -> set[int]:
    """Objects of the same class that touch object `index`."""
    mask = scene.objects == index
    around = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & ~mask
    label = scene.semantic[mask][0]
    return set(scene.objects[around & (scene.semantic == label)].tolist()) - {0}


def test_most_objects_touch_one_of_their_class(scenes: list[Scene]) -> None:
    touching = [
        bool(neighbors(scene, k)) for scene in scenes for k in range(1, scene.objects.max() + 1)
    ]
    assert np.mean(touching) > 0.6


def test_rings_have_holes(scenes: list[Scene]) -> None:
    holes = 0
    for scene in scenes:
        ring = (scene.semantic == 1 + CLASSES.index("ring")).astype(np.uint8)
        _, hierarchy = cv2.findContours(ring, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        holes += 0 if hierarchy is None else int((hierarchy[0, :, 3] >= 0).sum())
    assert holes > 20


def test_the_nearest_point_cuts_wrongly(scenes: list[Scene]) -> None:
    ious = []
    for scene in scenes:
        count = int(scene.objects.max())
        padded = [np.pad(scene.objects == k, 1).astype(np.uint8) for k in range(1, count + 1)]
        distances = [cv2.distanceTransform(mask, cv2.DIST_L2, 3)[1:-1, 1:-1] for mask in padded]
        points = [np.unravel_index(d.argmax(), d.shape) for d in distances]
        rows, columns = np.indices(scene.objects.shape)
        away = np.stack([np.hypot(rows - y, columns - x) for y, x in points])
        for k in range(1, count + 1):
            mask = scene.objects == k
            label = scene.semantic[mask][0]
            rivals = [scene.semantic[y, x] == label for y, x in points]
            nearest = np.where(np.array(rivals)[:, None, None], away, np.inf).argmin(0) + 1
            found = (nearest == k) & (scene.semantic == label)
            if neighbors(scene, k):
                ious.append((mask & found).sum() / (mask | found).sum())
    assert 0.5 < np.mean(ious) < 0.85


def test_neighbors_show_a_seam(scenes: list[Scene]) -> None:
    """Along the border of two objects of a class it is darker than inside them."""
    inside, seam = [], []
    for scene in scenes:
        gray = scene.image.mean(2)
        for k in range(1, scene.objects.max() + 1):
            mask = (scene.objects == k).astype(np.uint8)
            if not neighbors(scene, k):
                continue
            others = np.isin(scene.objects, list(neighbors(scene, k))).astype(np.uint8)
            border = mask & cv2.dilate(others, np.ones((3, 3), np.uint8))
            inside.extend(gray[cv2.erode(mask, np.ones((7, 7), np.uint8)) > 0])
            seam.extend(gray[border > 0])
    assert np.mean(seam) < 0.75 * np.mean(inside)


def test_a_set_is_vocs_layout_and_its_seed(tmp_path: Path) -> None:
    write_synthetic(tmp_path / "a", seed=3, train=3, val=2, size=64)
    write_synthetic(tmp_path / "b", seed=3, train=2, val=2, size=64)
    write_synthetic(tmp_path / "c", seed=4, train=2, val=2, size=64)
    train, val = (read_voc(tmp_path / "a", split, CLASSES) for split in ("train", "val"))
    assert [image.file_name for image in train.images] == [
        "train_00000.jpg", "train_00001.jpg", "train_00002.jpg",
    ]  # fmt: skip
    assert len(val.images) == 2
    for image, group in zip(train.images, train.instances, strict=True):
        assert 3 <= len(group) <= 8
        with Image.open(tmp_path / "a" / "JPEGImages" / image.file_name) as picture:
            assert picture.size == (image.width, image.height)
    shorter = read_voc(tmp_path / "b", "train", CLASSES)
    assert shorter.instances == train.instances[:2]
    assert read_voc(tmp_path / "b", "val", CLASSES).instances == val.instances
    assert read_voc(tmp_path / "c", "train", CLASSES).instances != shorter.instances
    assert val.instances[0] != train.instances[0]
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationObject"):
        for path in sorted((tmp_path / "b" / folder).iterdir()):
            assert path.read_bytes() == (tmp_path / "a" / folder / path.name).read_bytes()
