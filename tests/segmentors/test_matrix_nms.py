"""Matrix NMS against its definition."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from p2seg.segmentors.solov2.matrix_nms import matrix_nms


def slow_nms(masks, labels, scores, sigma):
    def iou(i, j):
        union = (masks[i] | masks[j]).sum()
        return (masks[i] & masks[j]).sum() / union if union else 0.0

    def better(j):
        return [i for i in range(j) if labels[i] == labels[j]]

    made = []
    for j, score in enumerate(scores):
        decay = 1.0
        for i in range(j):
            own = iou(i, j) if labels[i] == labels[j] else 0.0
            covered = max((iou(k, i) for k in better(i)), default=0.0)
            decay = min(decay, math.exp(-sigma * own**2) / math.exp(-sigma * covered**2))
        made.append(score * decay)
    return made


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 9), st.sampled_from([0.5, 2.0]))
def test_is_its_definition(seed, count, sigma):
    random = np.random.default_rng(seed)
    masks = random.random((count, 30)) < random.random((count, 1))
    labels = random.integers(1, 3, count)
    scores = -np.sort(-random.random(count))
    made = matrix_nms(
        torch.from_numpy(masks),
        torch.from_numpy(labels),
        torch.from_numpy(scores).float(),
        sigma,
    )
    np.testing.assert_allclose(made, slow_nms(masks, labels, scores, sigma), rtol=1e-4, atol=1e-7)


def test_a_twin_falls_and_what_lies_apart_stays():
    masks = torch.zeros(3, 10, dtype=torch.bool)
    masks[:2, :5], masks[2, 5:] = True, True
    made = matrix_nms(masks, torch.tensor([1, 1, 1]), torch.tensor([0.9, 0.8, 0.7]))
    torch.testing.assert_close(made, torch.tensor([0.9, 0.8 * math.exp(-2), 0.7]))
    other = matrix_nms(masks, torch.tensor([1, 2, 1]), torch.tensor([0.9, 0.8, 0.7]))
    torch.testing.assert_close(other, torch.tensor([0.9, 0.8, 0.7]))
