"""Thresholds turned by the clicks: cells on plain ground, whatever their polarity."""

from __future__ import annotations

import numpy as np
import pytest

from p2seg.errors import UserError
from p2seg.semantic.threshold import Threshold

CENTERS = np.array([(20, 20), (20, 60), (60, 20), (60, 60)])
LABELS = np.ones(4, np.int64)


def discs(values: list[float], ground: float, radius: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """A gray image `[80, 80, 3]` with a disc of each value, and the true foreground."""
    y, x = np.mgrid[:80, :80]
    image = np.full((80, 80), ground)
    truth = np.zeros((80, 80), bool)
    for (cy, cx), value in zip(CENTERS, values, strict=True):
        disc = (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
        image[disc], truth = value, truth | disc
    noise = np.random.default_rng(0).normal(0, 2, image.shape)
    gray = np.clip(image + noise, 0, 255).astype(np.uint8)
    return np.repeat(gray[..., None], 3, 2), truth


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize(("value", "ground"), [(200, 40), (60, 220)])
def test_bright_and_dark_objects_are_found(value: float, ground: float) -> None:
    image, truth = discs([value] * 4, ground)
    found = Threshold().segment(image, CENTERS, LABELS)
    assert iou(found > 0, truth) > 0.95


def test_a_faint_object_has_a_threshold_of_its_own() -> None:
    image, truth = discs([230, 230, 230, 70], 30)
    found = Threshold().segment(image, CENTERS, LABELS)
    assert iou((found > 0)[45:, 45:], truth[45:, 45:]) > 0.8
    assert iou(found > 0, truth) > 0.9


def test_an_object_that_differs_in_color_alone_is_found() -> None:
    """Red discs on green ground of the same gray value."""
    _, truth = discs([200] * 4, 0)
    image = np.where(truth[..., None], (200, 58, 60), (40, 140, 60)).astype(np.uint8)
    found = Threshold().segment(image, CENTERS, LABELS)
    assert iou(found > 0, truth) > 0.95


def test_the_foreground_has_the_class_of_the_nearest_click() -> None:
    image, _ = discs([200] * 4, 40)
    found = Threshold().segment(image, CENTERS, np.array([1, 2, 3, 2]))
    assert [set(np.unique(part)) for part in (found[:40, :40], found[:40, 40:])] == [{0, 1}, {0, 2}]
    assert [set(np.unique(part)) for part in (found[40:, :40], found[40:, 40:])] == [{0, 3}, {0, 2}]


def test_plain_images_and_images_without_clicks_are_background() -> None:
    plain = np.full((40, 40, 3), 90, np.uint8)
    none = np.zeros((0, 2), np.int64)
    assert not Threshold().segment(plain, none, np.zeros(0, np.int64)).any()
    only_click = Threshold().segment(plain, np.array([[10, 10]]), np.ones(1, np.int64))
    assert only_click.sum() == 1
    assert only_click[10, 10] == 1


@pytest.mark.parametrize("settings", [{"level": 0.0}, {"level": 1.0}])
def test_a_setting_out_of_range_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(UserError, match="must be between 0 and 1"):
        Threshold(**settings)


def test_of_clicks_on_one_pixel_the_first_counts() -> None:
    image, _ = discs([200] * 4, 40)
    twice = np.array([(20, 20), (20, 20), (60, 60)])
    assert Threshold().segment(image, twice, np.array([2, 1, 1]))[20, 20] == 2
    assert Threshold().segment(image, twice, np.array([1, 2, 1]))[20, 20] == 1


def test_most_clicks_on_faint_objects_do_not_make_the_ground_the_foreground() -> None:
    """Otsu's threshold lies between bright and faint objects, and most clicks are on faint ones."""
    image = np.full((60, 120, 3), 20, np.uint8)
    clicks = np.array([(15 + 30 * (k // 4), 15 + 30 * (k % 4)) for k in range(8)])
    for k, (y, x) in enumerate(clicks):
        image[y - 6 : y + 7, x - 6 : x + 7] = 250 if k < 3 else 40
    found = Threshold().segment(image, clicks, np.ones(8, np.int64))
    assert iou(found > 0, image[..., 0] > 20) > 0.8
