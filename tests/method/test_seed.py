"""The seeds against a slow loop over pixels, and the cases that the method names."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from scipy import ndimage
from strategies import points_of, scenes

from p2seg.method.seed import Seeder
from p2seg.structures import Labels, Points


def seed_of(semantic: torch.Tensor, points: Points, *settings, **named) -> Labels:
    """The seed of one image."""
    return Seeder(*settings, **named)(semantic[None], [points]).of_image(0)


def slow_seed(semantic: torch.Tensor, points: Points, conflict: str, snap: float) -> torch.Tensor:
    """Eq. 1 pixel by pixel."""
    instances = torch.zeros_like(semantic)
    for label in sorted(set(points.labels.tolist())):
        regions, n = ndimage.label((semantic == label).numpy(), structure=[[1] * 3] * 3)
        own: dict[int, list[int]] = {r: [] for r in range(1, n + 1)}
        taken: list[tuple[int, int, int]] = []
        off: list[int] = []
        for k in range(len(points)):
            if points.labels[k] != label:
                continue
            y, x = (int(v) for v in points.yx[k])
            if regions[y, x] == 0:
                off.append(k)
                continue
            near = [r for v, u, r in taken if abs(y - v) <= 1 and abs(x - u) <= 1]
            taken.append((y, x, regions[y, x]))
            if regions[y, x] not in near:
                own[regions[y, x]].append(k)
        pairs = []
        for k in off:
            for r in [r for r, ks in own.items() if not ks]:
                pixels = zip(*(regions == r).nonzero(), strict=True)
                d, y, x = min((math.dist((y, x), points.yx[k].tolist()), y, x) for y, x in pixels)
                if d <= snap:
                    pairs.append((d, k, y, x, r))
        snapped: set[int] = set()
        for _, k, _, _, r in sorted(pairs) if snap > 0 else []:
            if k not in snapped and not own[r]:
                own[r].append(k)
                snapped.add(k)
        for r, ks in own.items():
            if not ks or (len(ks) > 1 and conflict == "semantic_first"):
                continue
            for y, x in zip(*(regions == r).nonzero(), strict=True):
                distance = [math.dist((y, x), points.yx[k].tolist()) for k in ks]
                instances[y, x] = ks[distance.index(min(distance))] + 1
    return instances


@settings(max_examples=60, deadline=None)
@given(scenes())
@pytest.mark.parametrize("conflict", ["points_first", "semantic_first"])
@pytest.mark.parametrize("snap", [0.0, 3.0])
def test_seed_equals_the_slow_loop(conflict, snap, scene):
    semantic, points = scene
    made = seed_of(semantic, points, conflict, snap)
    assert torch.equal(made.instances, slow_seed(semantic, points, conflict, snap))


def test_a_region_with_two_points_is_split_half_way():
    semantic = torch.ones(1, 9, dtype=torch.long)
    semantic[0, 8] = 2
    made = seed_of(semantic, points_of([(0, 1), (0, 5), (0, 8)], [1, 1, 2]))
    assert made.instances.tolist() == [[1, 1, 1, 1, 2, 2, 2, 2, 3]]


def test_regions_without_a_point_have_no_instance():
    semantic = torch.tensor([[1, 0, 1]])
    made = seed_of(semantic, points_of([(0, 0)], [1]))
    assert made.instances.tolist() == [[1, 0, 0]]


@pytest.mark.parametrize("second", [(0, 0), (0, 1), (1, 1)])
def test_first_of_two_points_on_a_pixel_or_on_touching_pixels_wins(second):
    made = seed_of(torch.ones(9, 9, dtype=torch.long), points_of([(0, 0), second], [1, 1]))
    assert made.instances.unique().tolist() == [1]


def test_touching_points_in_two_regions_keep_both():
    semantic = torch.tensor([[1, 2, 2]])
    made = seed_of(semantic, points_of([(0, 0), (0, 1)], [1, 2]))
    assert made.instances.tolist() == [[1, 2, 2]]


def test_snapping_takes_the_nearest_pair_first():
    semantic = torch.tensor([[0, 0, 0, 1, 0, 0, 0]])
    points = points_of([(0, 0), (0, 5)], [1, 1])
    assert seed_of(semantic, points, snap_radius=16).instances[0, 3] == 2
    assert seed_of(semantic, points, snap_radius=1).instances[0, 3] == 0


def test_a_batch_equals_its_images_one_by_one():
    random = torch.Generator().manual_seed(0)
    semantic = torch.randint(0, 4, (3, 20, 30), generator=random)
    points = [
        points_of([(3, 4), (18, 20), (9, 13), (1, 1)], [1, 1, 3, 2]),
        points_of([], []),
        points_of([(19, 29)], [2]),
    ]
    made = Seeder(snap_radius=3)(semantic, points)
    for b, own in enumerate(points):
        alone = seed_of(semantic[b], own, snap_radius=3)
        assert torch.equal(made.instances[b], alone.instances)
