"""GrabCut on drawn images whose classes are known, and on images that are hardly any."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from semantic_sets import draw, task

from p2seg.errors import UserError
from p2seg.semantic.grabcut import GrabCut


def clicks(*points: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and labels of (y, x, class)."""
    array = np.array(points, np.int64).reshape(-1, 3)
    return array[:, :2], array[:, 2]


def test_finds_drawn_objects(tmp_path: Path) -> None:
    drawn = draw(tmp_path)
    for record, points, truth in zip(
        drawn.point_set.images, drawn.point_set.points, drawn.truth, strict=True
    ):
        path = drawn.images / record.file_name
        size = record.height, record.width
        made = GrabCut()(task(path, size, points.pixels.numpy(), points.labels.numpy()))
        for label in (0, 1, 2):
            iou = ((made == label) & (truth == label)).sum() / (
                (made == label) | (truth == label)
            ).sum()
            assert iou > 0.95, label


def test_a_large_image_is_worked_on_small() -> None:
    image = np.full((600, 800, 3), 90, np.uint8)
    image[150:450, 250:550] = (220, 30, 30)
    made = GrabCut(max_side=60).segment(image, *clicks((300, 400, 3)))
    truth = image[..., 0] == 220
    assert ((made == 3) & truth).sum() / ((made == 3) | truth).sum() > 0.9
    assert made.shape == (600, 800)


def test_touching_objects_of_two_classes_part_between_their_points() -> None:
    image = np.full((60, 100, 3), 90, np.uint8)
    image[20:40, 10:90] = (220, 30, 30)  # one color: only the points tell the two apart
    made = GrabCut().segment(image, *clicks((30, 30, 1), (30, 70, 2)))
    assert set(np.unique(made[:, :49])) <= {0, 1}
    assert set(np.unique(made[:, 51:])) <= {0, 2}
    assert (made[20:40, 20:40] == 1).mean() > 0.95
    assert (made[20:40, 60:80] == 2).mean() > 0.95


def test_a_patch_of_the_same_color_apart_from_the_point_is_not_the_object() -> None:
    image = np.full((100, 200, 3), 90, np.uint8)
    image[40:60, 30:60] = image[40:60, 75:90] = (220, 30, 30)
    made = GrabCut().segment(image, *clicks((50, 45, 1)))
    assert (made[40:60, 30:60] == 1).all()
    assert (made[:, 70:] == 0).all()


def test_colors_at_points_of_other_classes_are_background() -> None:
    image = np.full((100, 200, 3), 90, np.uint8)
    image[40:60, 60:80] = (220, 30, 30)
    image[40:60, 45:60] = image[40:60, 85:110] = (30, 30, 220)  # touching; and apart, clicked
    other = GrabCut().segment(image, *clicks((50, 70, 1), (50, 92, 2)))
    same = GrabCut().segment(image, *clicks((50, 70, 1), (50, 92, 1)))
    assert (other[40:60, 45:60] == 0).all()
    assert (same[40:60, 45:60] == 1).all()


def test_without_points_all_is_background() -> None:
    made = GrabCut().segment(np.zeros((5, 7, 3), np.uint8), *clicks())
    assert made.shape == (5, 7)
    assert made.dtype == np.uint8
    assert not made.any()


def test_one_pixel_and_a_line() -> None:
    one = GrabCut().segment(np.zeros((1, 1, 3), np.uint8), *clicks((0, 0, 2)))
    assert one.tolist() == [[2]]
    for side in (2, 3):  # nothing is surely or probably background
        tiny = GrabCut().segment(np.zeros((side, side, 3), np.uint8), *clicks((1, 1, 2)))
        assert tiny[1, 1] == 2
    line = np.zeros((1, 6000, 3), np.uint8)
    line[0, 1000:1006] = 255
    made = GrabCut().segment(line, *clicks((0, 1003, 1), (0, 5999, 2)))
    assert made.shape == (1, 6000)
    assert (made[0, 1002:1005] == 1).all()
    assert made[0, 5999] == 2


def test_of_points_on_one_pixel_the_first_wins() -> None:
    image = np.zeros((30, 30, 3), np.uint8)
    points = clicks((9, 9, 2), (9, 9, 1), (20, 20, 1), (20, 20, 3), (20, 20, 2))
    made = GrabCut().segment(image, *points)
    assert made[9, 9] == 2
    assert made[20, 20] == 1


def iou(made: np.ndarray, truth: np.ndarray) -> float:
    return float((made & truth).sum() / (made | truth).sum())


def discs(size: tuple[int, int], centers: list[tuple[int, int]], radius: float) -> np.ndarray:
    """Where discs lie in an image of `size`, `[H, W]` bool."""
    y, x = np.mgrid[: size[0], : size[1]]
    return np.logical_or.reduce([(y - a) ** 2 + (x - b) ** 2 <= radius**2 for a, b in centers])


def grainy(truth: np.ndarray) -> np.ndarray:
    """A red picture of `truth` on gray ground."""
    image = np.where(truth[..., None], (190, 40, 40), (200, 195, 180))
    noise = np.random.default_rng(0).normal(0, 6, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("radius", [4, 12, 60])
@pytest.mark.parametrize("count", [1, 3])
def test_the_image_decides_the_size_of_an_object(radius: int, count: int) -> None:
    centers = [(200, 150), (420, 640), (110, 500)][:count]
    truth = discs((540, 800), centers, radius)
    made = GrabCut().segment(grainy(truth), *clicks(*((y, x, 1) for y, x in centers)))
    assert iou(made == 1, truth) > 0.95


def test_small_objects_on_a_grid_do_not_fill_it() -> None:
    centers = [(y, x) for y in range(45, 270, 90) for x in range(45, 360, 90)]
    truth = discs((270, 360), centers, 8)
    made = GrabCut().segment(grainy(truth), *clicks(*((y, x, 1) for y, x in centers)))
    assert iou(made == 1, truth) > 0.95


@pytest.mark.parametrize("second", [(20, 24), (20, 25), (24, 27)])
@pytest.mark.parametrize("label", [1, 2])
def test_an_object_that_was_clicked_twice_keeps_its_mask(
    second: tuple[int, int], label: int
) -> None:
    truth = discs((72, 96), [(20, 24)], 10)
    made = GrabCut().segment(grainy(truth), *clicks((20, 24, 1), (*second, label)))
    assert iou(made == 1, truth) > 0.95


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_image_gives_a_map_that_keeps_its_points(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    levels = data.draw(st.sampled_from([1, 2, 256]))  # flat, two colors, noise
    image = (rng.integers(0, levels, (height, width, 3)) * (255 // levels)).astype(np.uint8)
    count = data.draw(st.integers(1, 8))
    yx = rng.integers(0, (height, width), (count, 2))
    labels = rng.integers(1, 4, count)
    made = GrabCut().segment(image, yx, labels)
    assert set(np.unique(made)) <= {0, *labels.tolist()}
    first: dict[tuple[int, ...], int] = {}
    for pixel, label in zip(yx.tolist(), labels.tolist(), strict=True):
        assert made[tuple(pixel)] == first.setdefault(tuple(pixel), label)
    assert (made == GrabCut().segment(image, yx, labels)).all()


def test_three_hundred_points_take_seconds() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (240, 320, 3)).astype(np.uint8)
    yx = rng.integers(0, (240, 320), (300, 2))
    start = time.process_time()
    made = GrabCut().segment(image, yx, rng.integers(1, 5, 300))
    assert time.process_time() - start < 20
    assert made.any()


def crowd(count: int, side: int = 640) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grainy picture of discs of many sizes, their pixels, and the clicks on them."""
    rng, rows = np.random.default_rng(0), int(np.ceil(count**0.5))
    step = side / rows
    places = (np.stack(np.divmod(np.arange(count), rows), 1) + 0.5) * step
    yx = (places + rng.uniform(-0.1, 0.1, places.shape) * step).astype(int)
    y, x = np.mgrid[:side, :side]
    truth = np.zeros((side, side), bool)
    for (a, b), radius in zip(yx, rng.uniform(0.2, 0.35, count) * step, strict=True):
        truth |= (y - a) ** 2 + (x - b) ** 2 <= radius**2
    return grainy(truth), truth, yx


@pytest.mark.parametrize(("count", "least"), [(41, 0.93), (150, 0.93), (400, 0.88)])
def test_a_crowd_is_cut_at_once(count: int, least: float) -> None:
    image, truth, yx = crowd(count)
    labels = np.arange(count) % 2 + 1
    start = time.process_time()
    made = GrabCut().segment(image, yx, labels)
    taken = time.process_time() - start
    assert iou(made > 0, truth) > least
    right = sum(
        (made[a - 2 : a + 3, b - 2 : b + 3] == label).all()
        for (a, b), label in zip(yx, labels, strict=True)
    )
    assert right > 0.98 * count
    assert taken < 3  # 0.4 s on one core; a cut for each of 150 points takes 7


def test_the_image_must_have_the_annotated_size(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(path)
    with pytest.raises(UserError, match="is 5x4 but its annotation says 6x4"):
        GrabCut()(task(path, (4, 6)))
