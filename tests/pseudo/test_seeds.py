"""Whose every pixel is by the seeds alone, and what a network leaves to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import points_of, scenes

from p2seg.data.coco import decode
from p2seg.method.rounds import MutualDistillation
from p2seg.method.seed import Seeder
from p2seg.pseudo.export import MaskRules, masks_of
from p2seg.pseudo.labeler import Labeled
from p2seg.pseudo.seeds import SeedFallback, SeedLabeler

MDM = MutualDistillation()


@given(scenes(), st.sampled_from(["points_first", "semantic_first"]), st.sampled_from([0.0, 3.0]))
def test_the_seeds_alone(scene, conflict, snap):
    first, points = scene
    seeder = Seeder(conflict, snap)
    [seed] = seeder(first[None], [points]).instances
    made = SeedLabeler(seeder, "drop")(None, points, first)
    assert torch.equal(made.instances, seed)
    assert torch.equal(made.semantic, first)
    assert made.scores.tolist() == [1.0] * len(points)
    filled = SeedLabeler(seeder, "nearest")(None, points, first).instances
    assert torch.equal(filled[seed > 0], seed[seed > 0])
    if conflict == "semantic_first":  # the rival leaves out what it cannot tell
        assert torch.equal(filled, seed)
        return
    for y, x in (seed == 0).nonzero().tolist():
        if [y, x] in points.pixels.tolist():
            continue  # a click's own pixel is its own, whatever the map says
        label = int(first[y, x])
        own = [k for k in range(len(points)) if int(points.labels[k]) == label]
        if label in (0, 255) or not own:
            assert filled[y, x] == 0
        else:  # the nearest click of the class
            at = torch.tensor([y, x])
            distance = [float((points.yx[k] - at).norm()) for k in own]
            mine = int(filled[y, x]) - 1
            assert mine in own
            assert distance[own.index(mine)] == min(distance)


class Finding:
    """Returns the given instance map."""

    needs_image, on_gpu = True, False

    def __init__(self, instances):
        self.instances = instances

    def __call__(self, _, points, first):
        return Labeled(first, self.instances, torch.full((len(points),), 0.8))


def test_a_point_that_the_network_leaves_unclaimed_gets_the_seeds_mask():
    first = torch.zeros(40, 60, dtype=torch.long)
    first[4:14, 4:14], first[4:14, 30:40], first[25:27, 50:52] = 1, 1, 1
    points = points_of([(8, 8), (8, 35), (26, 51), (35, 5)], [1, 1, 1, 1])
    network = torch.zeros_like(first)
    network[4:14, 4:34] = 1  # it took four columns of the second object, and not the third
    image = torch.zeros(3, 40, 60, dtype=torch.uint8)
    labeler = SeedFallback(Finding(network), Seeder(snap_radius=0), min_pixels=8)
    made = masks_of(labeler(image, points, first), points, MaskRules(8, 16))
    assert [each.from_seed for each in made] == [False, True, False, False]
    assert [each.default_box for each in made] == [False, False, True, True]
    assert [each.score for each in made] == pytest.approx([0.8, 0.5, 0.5, 0.5])
    assert np.array_equal(decode(made[0]), (network == 1).numpy())
    free = torch.zeros_like(first)
    free[4:14, 34:40] = 1  # the seed's, without what another point has
    assert np.array_equal(decode(made[1]), free.numpy())


def test_where_every_point_has_its_pixels_the_seed_is_not_asked():
    first = torch.zeros(8, 8, dtype=torch.long)
    network = torch.ones_like(first)
    labeler = SeedFallback(Finding(network), None, min_pixels=8)
    made = labeler(None, points_of([(4, 4)], [1]), first)
    assert made.instances is network
    assert made.from_seed is None
