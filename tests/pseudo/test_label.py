"""`p2seg.label`: arrays or files in, one mask per click out."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from strategies import points_of

import p2seg
from p2seg.data.coco import Category, decode
from p2seg.data.points import PointSet, write_points
from p2seg.data.records import ImageRecord
from p2seg.errors import UserError


def picture(seed):
    """`[40, 60, 3]` with two bright discs, and their true masks."""
    y, x = np.mgrid[:40, :60]
    truth = [(y - 20) ** 2 + (x - cx) ** 2 <= 64 for cx in (15, 42)]
    image = np.random.default_rng(seed).normal(40, 3, (40, 60)) + 150 * (truth[0] | truth[1])
    return np.repeat(image.astype(np.uint8)[..., None], 3, 2), truth


CLICKS = [(13, 22), (44, 18)]  # (x, y)


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


@pytest.mark.parametrize("method", ["auto", "threshold", "grabcut"])
def test_arrays_have_one_mask_per_click(method):
    image, truth = picture(0)
    found = p2seg.label([image, image], [CLICKS, []], classes=[[2, 1], []], method=method)
    assert [len(own) for own in found] == [2, 0]
    for instance, true, (x, y) in zip(found[0], truth, CLICKS, strict=True):
        assert iou(decode(instance), true) > 0.8
        assert instance.point == (y, x)
    assert [each.label for each in found[0]] == [2, 1]


def test_files_give_what_arrays_give(tmp_path):
    image, _ = picture(1)
    Image.fromarray(image).save(tmp_path / "a.png")
    arrays = p2seg.label([image], [CLICKS])
    assert p2seg.label([tmp_path / "a.png"], [np.array(CLICKS)]) == arrays
    record, categories = ImageRecord(1, "a.png", 40, 60), [Category(1, "disc")]
    points = points_of([(y, x) for x, y in CLICKS], [1, 1])
    write_points(tmp_path / "points.json", PointSet([record], categories, [points]))
    assert p2seg.label(tmp_path, tmp_path / "points.json") == arrays


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (([], [[]]), "length"),
        (("folder", [[]]), "folder"),
        (([picture(0)[0].astype(float)], [CLICKS]), "uint8"),
    ],
)
def test_what_does_not_fit_is_named(arguments, word):
    with pytest.raises(UserError, match=word):
        p2seg.label(*arguments)


def test_classes_must_fit_the_clicks():
    with pytest.raises(UserError, match="classes"):
        p2seg.label([picture(0)[0]], [CLICKS], classes=[[0, 1]])
