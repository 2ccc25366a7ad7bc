"""Labels of a training from masks of its points."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from strategies import points_of

from p2seg.data import rle
from p2seg.data.coco import Category, InstanceSet
from p2seg.data.instances import Instance
from p2seg.data.mask_labels import MaskLabels
from p2seg.data.points import PointSet
from p2seg.data.records import ImageRecord
from p2seg.errors import UserError

RECORD = ImageRecord(1, "a.png", 6, 4)
POINTS = points_of([(1, 1), (2, 3)], [1, 2])
CLICKS = PointSet([RECORD], [Category(1, "one"), Category(2, "two")], [POINTS])


def masks_of(*instances):
    """A set with the (id, label, rows, columns) of rectangles in the image."""
    masks = []
    for id, label, rows, columns in instances:
        mask = np.zeros((4, 6), bool)
        mask[rows, columns] = True
        masks.append(Instance(id, label, rle.encode(mask)))
    return InstanceSet([RECORD], CLICKS.categories, [masks])


def test_the_smaller_of_two_masks_is_on_top_and_255_stays_where_no_mask_is():
    masks = masks_of((2, 2, slice(2, 4), slice(2, 6)), (1, 1, slice(0, 3), slice(0, 4)))
    initial = torch.zeros(4, 6, dtype=torch.long)
    initial[:, 5] = 255
    labels = MaskLabels(masks, CLICKS)(RECORD, POINTS, initial)
    assert labels.instances.tolist() == [
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 2, 2, 2, 2],
        [0, 0, 2, 2, 2, 2],
    ]
    assert labels.semantic.tolist() == [
        [1, 1, 1, 1, 0, 255],
        [1, 1, 1, 1, 0, 255],
        [1, 1, 2, 2, 2, 2],
        [0, 0, 2, 2, 2, 2],
    ]


@pytest.mark.parametrize(
    "masks",
    [
        masks_of((1, 1, 0, 0)),  # none of point 2
        masks_of((1, 1, 0, 0), (2, 1, 1, 1)),  # of another class
        InstanceSet([ImageRecord(1, "b.png", 6, 4)], CLICKS.categories, [[]]),
    ],
)
def test_a_point_without_a_mask_of_its_class_is_named(masks):
    with pytest.raises(UserError, match=r"data\.masks has no mask .* of a\.png"):
        MaskLabels(masks, CLICKS)
