"""Voronoi cells and k-means: discs on ground that differs, in a ring of pixels left open."""

from __future__ import annotations

import numpy as np
import pytest

from p2seg.errors import UserError
from p2seg.semantic.clusters import Clusters

CENTERS = np.array([(20, 20), (20, 60), (60, 20), (60, 60)])
LABELS = np.ones(4, np.int64)


def discs(value: float, ground: float, radius: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """An image `[80, 80, 3]` with four gray discs, and the true foreground."""
    y, x = np.mgrid[:80, :80]
    truth = np.zeros((80, 80), bool)
    for cy, cx in CENTERS:
        truth |= (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
    noise = np.random.default_rng(0).normal(0, 4, truth.shape)
    gray = np.clip(np.where(truth, value, ground) + noise, 0, 255).astype(np.uint8)
    return np.repeat(gray[..., None], 3, 2), truth


@pytest.mark.parametrize(("value", "ground"), [(200, 40), (60, 220)])
def test_bright_and_dark_objects_are_found(value: float, ground: float) -> None:
    image, truth = discs(value, ground)
    found = Clusters().segment(image, CENTERS, LABELS)
    assert set(np.unique(found)) == {0, 1, 255}
    assert truth[found == 1].mean() > 0.95
    assert (found == 1)[truth].mean() > 0.85
    assert not truth[found == 0].any()


def test_the_foreground_has_the_class_of_the_nearest_click() -> None:
    image, _ = discs(200, 40)
    found = Clusters().segment(image, CENTERS, np.array([1, 2, 3, 2]))
    parts = {(0, 0): 1, (0, 40): 2, (40, 0): 3, (40, 40): 2}
    for (y, x), label in parts.items():
        assert set(np.unique(found[y : y + 40, x : x + 40])) <= {0, label, 255}
        assert (found[y : y + 40, x : x + 40] == label).sum() > 200


def test_the_edges_of_voronoi_cells_are_background() -> None:
    """Two discs that touch stay two regions: no pixel of one has a neighbor of the other."""
    y, x = np.mgrid[:60, :80]
    truth = ((y - 30) ** 2 + (x - 28) ** 2 <= 144) | ((y - 33) ** 2 + (x - 52) ** 2 <= 144)
    image = np.repeat(np.where(truth, 200, 40).astype(np.uint8)[..., None], 3, 2)
    found = Clusters().segment(image, np.array([[30, 28], [33, 52]]), np.array([1, 2]))
    assert (found == 1).sum() > 300
    assert (found == 2).sum() > 300
    near = np.pad(found == 1, 1)
    grown = np.any([near[i : i + 60, j : j + 80] for i in range(3) for j in range(3)], axis=0)
    assert not (grown & (found == 2)).any()


def test_the_same_image_gives_the_same_map() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (50, 60, 3)).astype(np.uint8)
    first, second = (Clusters().segment(noise, CENTERS % 50, LABELS) for _ in range(2))
    assert (first == second).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (40, 30)])
def test_plain_and_tiny_images_keep_their_clicks(size: tuple[int, int]) -> None:
    plain = np.full((*size, 3), 90, np.uint8)
    none = np.zeros((0, 2), np.int64)
    assert not Clusters().segment(plain, none, np.zeros(0, np.int64)).any()
    found = Clusters().segment(plain, np.array([[0, 0], [0, 0]]), np.array([2, 2]))
    assert found.shape == size
    assert found[0, 0] == 2


@pytest.mark.parametrize("settings", [{"reach": 0.0}, {"distance": -1.0}, {"disc": np.nan}])
def test_a_setting_out_of_range_is_refused(settings: dict[str, float]) -> None:
    [key] = settings
    with pytest.raises(UserError, match=rf"semantic\.source\.{key}=.*: must be above 0"):
        Clusters(**settings)
