"""How much each pseudo mask counts, and instances pasted from other images."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from segmentor_sets import make_set

from p2seg.segmentors.augment import RandomResize, paste_instances
from p2seg.segmentors.data import InstanceDataset
from p2seg.segmentors.weights import InstanceWeights

AS_IS = RandomResize(short_side=64, long_side=128, flip=False)


def scored(folder):
    """Two images; scores .2 and .8, .5; the second instance is a default box."""
    given = make_set(folder, [(1, 4, 4, 12), (2, 30, 30, 20)], [(1, 8, 8, 20)])
    first, second = given.instances[0]
    own = [replace(first, score=0.2), replace(second, score=0.8, default_box=True)]
    return replace(given, instances=[own, [replace(given.instances[1][0], score=0.5)]])


@pytest.mark.parametrize(
    ("default_boxes", "weights", "masks"),
    [
        ("mask", [0.4, 1.6], [0.4, 1.6]),
        ("box", [0.4, 1.6], [0.4, 0.0]),
        ("ignore", [0.4, 0.0], [0.4, 0.0]),
    ],
)
def test_weights_are_scores_over_their_mean(tmp_path, default_boxes, weights, masks):
    policy = InstanceWeights(score_power=1.0, default_boxes=default_boxes)
    dataset = InstanceDataset(scored(tmp_path), tmp_path, AS_IS, 0, weights=policy)
    _, _, target = dataset[(0, 0)]
    assert target.weights.tolist() == pytest.approx(weights)
    assert target.mask_weights.tolist() == pytest.approx(masks)
    _, _, target = dataset[(0, 1)]
    assert target.weights.tolist() == pytest.approx([1.0])


def test_without_a_power_all_count_alike(tmp_path):
    _, _, target = InstanceDataset(scored(tmp_path), tmp_path, AS_IS, 0)[(0, 0)]
    assert target.weights.tolist() == target.mask_weights.tolist() == [1, 1]


def test_scores_of_nothing_divide_by_nothing(tmp_path):
    given = scored(tmp_path)
    none = [[replace(each, score=0.0) for each in own] for own in given.instances]
    policy = InstanceWeights(score_power=1.0)
    dataset = InstanceDataset(replace(given, instances=none), tmp_path, AS_IS, 0, weights=policy)
    assert dataset[(0, 0)][2].weights.tolist() == [0, 0]


@pytest.mark.parametrize("sizes", [((64, 64), (64, 64)), ((40, 90), (70, 30)), ((1, 1), (9, 9))])
def test_pasted_instances_cover_what_lies_below(sizes):
    (h, w), (h2, w2) = sizes
    for seed in range(8):
        random = torch.Generator().manual_seed(seed)
        under = (torch.full((3, h, w), 10).byte(), torch.ones(1, h, w).byte())
        theirs = (torch.rand(4, h2, w2, generator=random) < 0.3).byte()
        over = (torch.full((3, h2, w2), 200).byte(), theirs)
        (image, masks), taken = paste_instances(under, over, random)
        assert image.shape == (3, h, w)
        assert len(masks) == 1 + len(taken)
        pasted = masks[1:].bool().any(0)
        assert torch.equal(image[0] == 200, pasted)
        assert torch.equal(masks[0].bool(), ~pasted)
        assert set(taken.tolist()) <= set(range(4))
        if sizes[0] == sizes[1]:
            assert torch.equal(masks[1:], theirs[taken])
    assert under[0].unique().tolist() == [10]


def test_a_sample_with_pasted_instances_is_still_of_its_key_alone(tmp_path):
    given = scored(tmp_path)
    made = [InstanceDataset(given, tmp_path, AS_IS, 0, copy_paste=1.0) for _ in range(2)]
    counts = set()
    for epoch in range(12):
        name, image, target = made[0][(epoch, 1)]
        _, again, same = made[1][(epoch, 1)]
        assert name == "2.png"
        assert torch.equal(image, again)
        assert torch.equal(target.masks, same.masks)
        assert not (target.masks.sum(0) > 1).any()
        counts.add(len(target.labels))
        assert 2 not in target.labels  # the only one of class 2 is a default box, and stays home
    assert len(counts) > 1
