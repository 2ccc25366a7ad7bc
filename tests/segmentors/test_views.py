"""Averaging over views."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from segmentor_sets import SOLO, TINY

from p2seg.data.rle import decode
from p2seg.errors import UserError
from p2seg.segmentors.detection import SoftDetection, SoftMask
from p2seg.segmentors.lazy_masks import CellMask, cell_mask
from p2seg.segmentors.mask_rcnn.model import build_mask_rcnn
from p2seg.segmentors.segmentor import Segmentor
from p2seg.segmentors.solov2.model import build_solov2
from p2seg.segmentors.views import VIEWS, merged, predict_views


def found(label, score, top, left, side, value=1.0, box=True):
    edges = (float(left), float(top), float(left + side), float(top + side)) if box else None
    return SoftDetection(label, score, edges, SoftMask(top, left, torch.full((side, side), value)))


def test_the_same_instance_of_two_views_is_one():
    [one] = merged([[found(1, 0.9, 4, 4, 10)], [found(1, 0.3, 4, 6, 10)]], 30, 30)
    assert one.score == pytest.approx(0.6)
    assert one.box == pytest.approx((4.5, 4, 14.5, 14))  # a quarter of the way to the other
    # the soft mask is the weighted mean where they overlap and beside it
    assert one.mask.top == 4
    assert one.mask.left == 4
    row = one.mask.values[0].tolist()
    assert row == pytest.approx([0.75] * 2 + [1.0] * 8 + [0.25] * 2)


@pytest.mark.parametrize(
    "other", [found(2, 0.8, 4, 4, 10), found(1, 0.8, 18, 18, 10)], ids=["class", "place"]
)
def test_others_stay_apart_and_are_halved(other):
    made = merged([[found(1, 0.9, 4, 4, 10)], [other]], 30, 30)
    assert sorted((each.score for each in made), reverse=True) == pytest.approx([0.45, 0.4])


def test_twins_of_one_view_are_not_matched_to_each_other():
    twins = [found(1, 0.9, 4, 4, 10), found(1, 0.5, 4, 5, 10)]
    made = merged([twins, [found(1, 0.7, 4, 5, 10)]], 30, 30)
    assert sorted((each.score for each in made), reverse=True) == pytest.approx([0.8, 0.25])


def test_of_several_the_most_alike_is_taken():
    made = merged(
        [[found(1, 0.9, 4, 4, 10)], [found(1, 0.2, 4, 4, 10), found(1, 0.8, 4, 7, 10)]], 30, 30
    )
    assert sorted(each.score for each in made) == pytest.approx([0.4, 0.55])


def test_nothing_found_is_nothing():
    assert list(merged([[], []], 8, 8)) == []


@pytest.mark.parametrize("width", [41, 60])
def test_cells_are_mirrored_as_pixels_are(width):
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    mask = cell_mask(logits, (30 / 5, width / 7), (30, width))
    mirrored = mask.mirrored(width)
    np.testing.assert_array_equal(mirrored.whole(30, width), mask.whole(30, width)[:, ::-1])
    assert isinstance(mirrored, CellMask)  # not made pixels of


class Painter(Segmentor):
    """Finds what is bright, as one instance."""

    short_side = long_side = 40

    def losses(self, batch):  # noqa: ARG002
        raise AssertionError

    def find(self, images, sizes, score):  # noqa: ARG002
        made = []
        for image, (height, width) in zip(images, sizes, strict=True):
            values = torch.nn.functional.interpolate(image[None, :1], (height, width))[0, 0]
            made.append([SoftDetection(1, 0.8, None, SoftMask(0, 0, values))])
        return made


@pytest.mark.parametrize("views", list(VIEWS))
def test_every_view_comes_back_to_its_place(views):
    image = torch.zeros(3, 40, 60, dtype=torch.uint8)
    image[:, 8:24, 4:20] = 255
    [[one]] = predict_views(Painter().eval(), [image], 0.1, views)
    assert one.score == pytest.approx(0.8)
    assert one.box == pytest.approx((4, 8, 20, 24), abs=1.01)
    mask = decode(one.rle)
    truth = image[0].bool().numpy()
    assert (mask & truth).sum() / (mask | truth).sum() > 0.9


@pytest.mark.parametrize(("build", "options"), [(build_mask_rcnn, TINY), (build_solov2, SOLO)])
def test_every_segmentor_has_views(build, options):
    torch.manual_seed(0)
    extra = {"candidate_score": 0.0} if build is build_solov2 else {}
    model = build(2, **{**options, "norm": "frozen"}, **extra).eval()
    image = torch.randint(0, 255, (3, 50, 70), dtype=torch.uint8)
    one, flipped = (predict_views(model, [image], 0.0, name)[0] for name in ("one", "flip"))
    assert one
    assert flipped
    mirrored = predict_views(model, [image.flip(-1)], 0.0, "flip")[0]
    scores = [sorted(each.score for each in found)[-3:] for found in (flipped, mirrored)]
    np.testing.assert_allclose(*scores, atol=1e-4)  # a flipped image has the same views


def test_an_unknown_name_is_one_sentence():
    with pytest.raises(UserError, match=r"predict\.views=all.*one, flip"):
        predict_views(Painter().eval(), [], 0.1, "all")
