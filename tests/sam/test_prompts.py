"""What a segmenter is asked: the click, and the other clicks as what is not meant."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from p2seg.data.rle import decode
from p2seg.errors import UserError
from p2seg.sam.prompts import (
    MAX_POINTS,
    NOT_A_POINT,
    Prompts,
    candidates_of,
    half_precision,
    prompts_at_once,
)

YX = np.array([[5, 5], [8, 5], [30, 40], [31, 40]])
LABELS = np.array([1, 2, 1, 1])


def told(prompts: Prompts, k: int) -> dict[tuple[float, float], int]:
    """Of prompt k: every point that is one, and its label."""
    return {
        (float(y), float(x)): int(label)
        for (y, x), label in zip(prompts.yx[k], prompts.labels[k], strict=True)
        if label != NOT_A_POINT
    }


def test_without_negatives_each_prompt_is_its_click() -> None:
    prompts = Prompts.of(YX, LABELS, "none")
    assert prompts.yx.shape == (4, 1, 2)
    assert prompts.yx.dtype == np.float32
    assert [told(prompts, k) for k in range(4)] == [{tuple(map(float, yx)): 1} for yx in YX]


def test_negatives_of_other_classes() -> None:
    prompts = Prompts.of(YX, LABELS, "other_class")
    assert told(prompts, 0) == {(5, 5): 1, (8, 5): 0}
    assert told(prompts, 1) == {(8, 5): 1, (5, 5): 0, (30, 40): 0, (31, 40): 0}
    assert told(prompts, 2) == {(30, 40): 1, (8, 5): 0}


def test_all_other_clicks_as_negatives() -> None:
    prompts = Prompts.of(YX, LABELS, "all")
    for k in range(4):
        other = {tuple(map(float, yx)): 0 for yx in np.delete(YX, k, 0)}
        assert told(prompts, k) == {tuple(map(float, YX[k])): 1, **other}


def test_the_nearest_negatives_are_told_and_no_more_than_sam_has_seen() -> None:
    yx = np.stack([np.arange(40), np.zeros(40, int)], 1)
    prompts = Prompts.of(yx, np.ones(40, int), "all")
    assert prompts.yx.shape == (40, MAX_POINTS, 2)
    assert sorted(y for y, _ in told(prompts, 0)) == list(range(MAX_POINTS))
    assert sorted(y for y, _ in told(prompts, 39)) == list(range(40 - MAX_POINTS, 40))


def test_a_click_on_the_same_pixel_is_not_said_to_be_something_else() -> None:
    prompts = Prompts.of(np.array([[3, 4], [3, 4], [9, 9]]), np.array([1, 2, 2]), "all")
    assert told(prompts, 0) == {(3, 4): 1, (9, 9): 0}


def test_logits_become_masks_with_stability() -> None:
    logits = torch.full((1, 2, 4, 5), -3.0)
    logits[0, 0, :2] = 3.0  # steep: stable
    logits[0, 1, :2] = 3.0
    logits[0, 1, 2] = 0.5  # half of its pixels are near the threshold
    logits[0, 1, 3] = -0.5
    [[steep, flat]] = candidates_of(logits, torch.tensor([[0.9, 1.2]]), 0.0)
    assert decode(steep.rle).sum() == 10
    assert steep.stability == 1
    assert decode(flat.rle).sum() == 15
    assert flat.stability == pytest.approx(10 / 20)
    assert steep.predicted_iou == pytest.approx(0.9)
    assert flat.predicted_iou == 1  # regressed, and may exceed 1


def test_an_empty_mask_has_no_stability() -> None:
    [[empty]] = candidates_of(torch.full((1, 1, 3, 3), -9.0), torch.tensor([[0.5]]), 0.0)
    assert decode(empty.rle).sum() == 0
    assert empty.stability == 0


def test_half_precision_only_where_asked_or_on_cuda() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert half_precision("auto", cpu) is None
    assert half_precision("auto", cuda) is torch.float16
    assert half_precision("bfloat16", cpu) is torch.bfloat16
    assert half_precision("float32", cuda) is None
    with pytest.raises(UserError, match=r"semantic\.sam\.precision=int8 is unknown"):
        half_precision("int8", cpu)


def test_large_images_are_asked_about_in_parts() -> None:
    assert prompts_at_once((480, 640)) == 64
    assert 1 <= prompts_at_once((6000, 8000)) < 5
    assert prompts_at_once((30000, 30000)) == 1
