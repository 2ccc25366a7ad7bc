"""S2I against a slow loop over pixels, and what decode=vote is for."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from strategies import points_of, scenes

from p2seg.method.s2i import semantic_to_instances as instances_of_batch
from p2seg.method.split import Split
from p2seg.structures import Points


def semantic_to_instances(semantic, offset, points, **options):
    """S2I of one image."""
    return instances_of_batch(semantic[None], offset[None], [points], **options)[0]


def slow_s2i(semantic, offset, points, decode, orphans):
    """The rules of S2I pixel by pixel, no snapping, all points inside, split `euclidean`."""
    instances = torch.zeros_like(semantic)
    height, width = semantic.shape
    pixel = [(int(y), int(x)) for y, x in points.yx.tolist()]
    goal = []
    for k, (y, x) in enumerate(pixel):
        dy, dx = offset[:, y, x].tolist() if decode == "vote" else (0.0, 0.0)
        goal.append((float(points.yx[k, 0]) + dy, float(points.yx[k, 1]) + dx))
    parts = {
        label: ndimage.label((semantic == label).numpy(), structure=[[1] * 3] * 3)[0]
        for label in set(points.labels.tolist())
    }
    for y in range(height):
        for x in range(width):
            label = int(semantic[y, x])
            own = [k for k in range(len(points)) if int(points.labels[k]) == label]
            if not own:
                continue
            regions = parts[label]
            seen: list[tuple[int, int]] = []
            within = []
            for k in own:
                v, u = pixel[k]
                if regions[v, u] == regions[y, x]:
                    if not any(abs(v - b) <= 1 and abs(u - a) <= 1 for b, a in seen):
                        within.append(k)
                    seen.append(pixel[k])
            if len(within) == 1 and decode == "vote":
                instances[y, x] = within[0] + 1
                continue
            if not within and orphans == "drop":
                continue
            at = (y + float(offset[0, y, x]), x + float(offset[1, y, x]))
            distance = [math.dist(at, goal[k]) for k in own]
            instances[y, x] = own[distance.index(min(distance))] + 1
    for k in reversed(range(len(points))):
        instances[pixel[k]] = k + 1
    return instances


@settings(max_examples=100, deadline=None)
@given(
    scenes(),
    st.integers(0, 999),
    st.sampled_from(["vote", "point"]),
    st.sampled_from(["nearest", "drop"]),
)
def test_s2i_equals_the_slow_loop(scene, seed, decode, orphans):
    semantic, points = scene
    random = torch.Generator().manual_seed(seed)
    # halves: distances tie exactly or differ clearly, in float32 as in the loop's float64
    offset = torch.randint(-6, 7, (2, *semantic.shape), generator=random) / 2
    made = semantic_to_instances(semantic, offset, points, decode=decode, orphans=orphans)
    assert torch.equal(made, slow_s2i(semantic, offset, points, decode, orphans))


def test_votes_cancel_where_on_the_object_the_click_was():
    # two objects of 5 columns, clicked at their left ends; the network knows their centers
    semantic = torch.ones(1, 10, dtype=torch.long)
    points = points_of([(0, 0), (0, 5)], [1, 1])
    x = torch.arange(10)
    center = torch.where(x < 5, 2, 7)
    offset = torch.stack([torch.zeros(1, 10), (center - x)[None].float()])
    truth = [[1] * 5 + [2] * 5]
    assert semantic_to_instances(semantic, offset, points, decode="vote").tolist() == truth
    still = torch.zeros_like(offset)
    assert semantic_to_instances(semantic, still, points, decode="point").tolist() != truth


def test_part_of_an_object_whose_click_was_cut_off_is_not_its_neighbors():
    semantic = torch.ones(1, 8, dtype=torch.long)
    points = points_of([(0, -2), (0, 6)], [1, 1])  # the first click lies left of the crop
    offset = torch.zeros(2, 1, 8)
    made = semantic_to_instances(semantic, offset, points, decode="point")
    assert made.tolist() == [[1, 1, 1, 2, 2, 2, 2, 2]]  # x = 2 is as near to both: the first


@pytest.mark.parametrize(
    ("options", "owners"),
    [
        ({"decode": "point"}, [[1, 1, 2, 0, 2, 2]]),  # the paper: offsets decide every pixel
        ({"decode": "vote"}, [[1, 1, 1, 0, 2, 2]]),
        ({"decode": "point", "split": Split("mixture")}, [[1, 1, 1, 0, 2, 2]]),
    ],
)
def test_offsets_in_a_region_with_one_click_matter_to_the_letter_alone(options, owners):
    semantic = torch.tensor([[1, 1, 1, 0, 1, 1]])
    points = points_of([(0, 0), (0, 5)], [1, 1])
    offset = torch.zeros(2, 1, 6)
    offset[1, 0, 2] = 3  # this pixel points to the other click
    assert semantic_to_instances(semantic, offset, points, **options).tolist() == owners


def test_classes_without_points_and_background_have_none():
    semantic = torch.tensor([[0, 1, 2, 255]])
    made = semantic_to_instances(semantic, torch.zeros(2, 1, 4), points_of([(0, 1)], [1]))
    assert made.tolist() == [[0, 1, 0, 0]]


def test_no_points_at_all():
    empty = Points(
        torch.zeros(0, 2), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long)
    )
    made = semantic_to_instances(torch.ones(2, 2, dtype=torch.long), torch.zeros(2, 2, 2), empty)
    assert made.sum() == 0


def test_snapped_point_owns_the_region_it_took():
    semantic = torch.tensor([[0, 1, 1, 1, 0, 0, 0, 1]])
    points = points_of([(0, 0), (0, 7)], [1, 1])
    made = semantic_to_instances(semantic, torch.zeros(2, 1, 8), points, snap_radius=2)
    assert made.tolist() == [[1, 1, 1, 1, 0, 0, 0, 2]]


@pytest.mark.parametrize("decode", ["vote", "point"])
def test_zero_offsets_are_the_nearest_point(decode):
    semantic = torch.ones(4, 6, dtype=torch.long)
    points = points_of([(1, 1), (2, 5)], [1, 1])
    made = semantic_to_instances(semantic, torch.zeros(2, 4, 6), points, decode=decode)
    grid = torch.stack(torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij"), -1)
    nearest = torch.cdist(grid.reshape(-1, 2), points.yx).argmin(1).reshape(4, 6) + 1
    assert torch.equal(made, nearest)
