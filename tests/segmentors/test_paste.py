"""Soft masks back on their image."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import roi_align

from p2seg.segmentors.paste import paste


def slow_paste(mask, box, frame, height, width):
    cells = len(mask)
    whole = np.zeros((height, width), dtype=bool)
    for y in range(height):
        for x in range(width):
            if not (box[0] <= x + 0.5 <= box[2] and box[1] <= y + 0.5 <= box[3]):
                continue
            v = (y + 0.5 - frame[1]) / (frame[3] - frame[1]) * cells - 0.5
            u = (x + 0.5 - frame[0]) / (frame[2] - frame[0]) * cells - 0.5
            v, u = (min(max(each, 0.0), cells - 1.0) for each in (v, u))
            i, j = (min(math.floor(each), cells - 2) for each in (v, u))
            a, b = v - i, u - j
            value = (1 - a) * ((1 - b) * mask[i][j] + b * mask[i][j + 1])
            value += a * ((1 - b) * mask[i + 1][j] + b * mask[i + 1][j + 1])
            whole[y, x] = value >= 0.5
    return whole


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 10**6),
    st.integers(1, 12),
    st.integers(1, 12),
    st.floats(-6, 10),
    st.floats(-6, 10),
    st.floats(0.3, 12),
    st.floats(0.3, 12),
)
def test_is_the_slow_loop(seed, height, width, x, y, w, h):
    random = torch.Generator().manual_seed(seed)
    mask = torch.rand((5, 5), generator=random)
    box = torch.tensor([x, y, x + w, y + h])
    frame = box + 0.25
    made = paste(mask, box, frame, height, width).whole(height, width)
    expected = slow_paste(mask.double().tolist(), box.tolist(), frame.tolist(), height, width)
    # float32 against float64: a value may fall on the other side of a half
    assert (made != expected).sum() <= 1
    assert made.shape == (height, width)


@pytest.mark.parametrize("side", [9, 14, 30, 61])
def test_undoes_how_torchvision_crops_training_masks(side):
    random = np.random.default_rng(side)
    ours, theirs = [], []
    for _ in range(10):
        y, x = random.integers(2, 12, 2)
        drawn = np.zeros((80, 80), np.uint8)
        half = side // 2
        cv2.ellipse(
            drawn, (int(x) + half, int(y) + half), (half, max(2, half // 2)), 30, 0, 360, 1, -1
        )
        rows, columns = np.nonzero(drawn)
        box = torch.tensor(
            [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], dtype=torch.float32
        )
        target = roi_align(torch.from_numpy(drawn)[None, None].float(), [box], (28, 28))
        made = paste(target[0, 0], box[0], box[0] + 0.5, 80, 80).whole(80, 80)
        other = paste_masks_in_image(target, box, (80, 80))[0, 0].numpy() >= 0.5
        for kind, mask in ((ours, made), (theirs, other)):
            kind.append((mask & (drawn > 0)).sum() / (mask | (drawn > 0)).sum())
    assert np.mean(ours) > 0.96
    assert np.mean(ours) > np.mean(theirs)


def test_outside_the_image_there_is_nothing():
    box = torch.tensor([-30.0, -30.0, -10.0, -10.0])
    assert not paste(torch.ones(4, 4), box, box, 20, 20).whole(20, 20).any()
