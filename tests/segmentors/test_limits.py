"""How many objects an image may have: after training, by the checkpoint, and by a setting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from segmentor_sets import SOLO, TINY, make_set

import p2seg
from p2seg.engine.checkpoint import save_checkpoint
from p2seg.errors import UserError
from p2seg.segmentors.limits import most_objects
from p2seg.segmentors.load import predictor_of
from p2seg.segmentors.mask_rcnn.model import build_mask_rcnn
from p2seg.segmentors.solov2.model import build_solov2
from p2seg.segmentors.views import VIEWS, predict_views

CPU = torch.device("cpu")
BUILDER = "p2seg.segmentors.mask_rcnn.model.build_mask_rcnn"


def untrained(build, most):
    """A segmentor that finds a lot, and a picture."""
    torch.manual_seed(0)
    options = TINY if build is build_mask_rcnn else {**SOLO, "candidate_score": 0.0}
    model = build(2, **{**options, "norm": "frozen", "detections": most}).eval()
    return model, torch.randint(0, 255, (3, 64, 96), dtype=torch.uint8)


@pytest.fixture(scope="module")
def content():
    """A checkpoint as versions before this limit wrote it: five detections, no record."""
    model, _ = untrained(build_mask_rcnn, 5)
    options = {**TINY, "norm": "frozen", "detections": 5}
    return {
        "kind": "segmentor",
        "config": {"segmentor": {"model": {"_target_": BUILDER, **options}}},
        "categories": [{"id": 10, "name": "red"}, {"id": 20, "name": "blue"}],
        "model": model.state_dict(),
        "average": None,
        "step": 0,
    }


@pytest.mark.parametrize("build", [build_mask_rcnn, build_solov2])
@pytest.mark.parametrize("views", list(VIEWS))
def test_the_best_are_kept_and_the_cut_is_known(build, views):
    model, image = untrained(build, 50)
    [every] = predict_views(model, [image], 0.0, views)
    model.limit_objects(4)
    [few] = predict_views(model, [image], 0.0, views)
    assert len(every) > 4 >= len(few)
    assert few.cut
    if views == "one":
        assert [each.score for each in few] == [each.score for each in every][: len(few)]


def test_exactly_the_limit_is_no_cut():
    model, image = untrained(build_mask_rcnn, 50)
    with torch.inference_mode():
        [found] = model.predict_soft([image], 0.0)
    scores = sorted((each.score for each in found), reverse=True)
    model.limit_objects(4)
    for count in (4, 5):
        floor = (scores[count - 1] + scores[count]) / 2
        assert model.predict([image], floor)[0].cut == (count > 4)


@pytest.mark.parametrize("build", [build_mask_rcnn, build_solov2])
def test_a_higher_limit_than_the_model_was_built_with(build):
    model, image = untrained(build, 3)
    [few] = model.predict([image], 0.0)
    model.limit_objects(200)
    [many] = model.predict([image], 0.0)
    assert len(few) <= 3 < len(many)
    assert few.cut


def test_a_checkpoint_without_a_record_keeps_its_limit(content):
    assert predictor_of("old.pt", content, CPU).model.max_objects == 5
    assert predictor_of("old.pt", content, CPU, max_objects=9).model.max_objects == 9


@pytest.mark.parametrize(("objects", "most"), [(3, 100), (80, 100), (81, 102), (500, 625)])
def test_the_limit_follows_the_training_set(content, objects, most):
    recorded = {**content, "objects_per_image": objects}
    assert predictor_of("new.pt", recorded, CPU).model.max_objects == most


def test_a_picture_with_more_is_a_warning(content, tmp_path):
    save_checkpoint(tmp_path / "last.pt", content)
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3)).astype(np.uint8)
    with pytest.warns(UserWarning, match="best 2 .*max_objects"):
        assert len(p2seg.load(tmp_path / "last.pt", "cpu", max_objects=2)(image, score=0.0)) <= 2


@pytest.mark.parametrize("given", [0, -1, 2.5, True, "many"])
def test_a_limit_that_cannot_be(given, tmp_path):
    with pytest.raises(UserError, match=r"max_objects=.*>= 1"):
        p2seg.load(tmp_path / "none.pt", max_objects=given)


def test_the_image_with_the_most_objects_is_named(tmp_path):
    made = make_set(tmp_path, [(1, 2, 2, 9)], [(1, 2, 2, 9), (2, 20, 20, 9)], [])
    assert most_objects(made) == (2, "2.png")


@pytest.mark.parametrize("build", [build_mask_rcnn, build_solov2])
def test_a_set_with_more_objects_than_room_is_told(build):
    model, _ = untrained(build, 5)
    room = model.room()
    told = room.message(5000, "orchard.png")
    assert "orchard.png has 5000 objects" in told
    assert str(room.objects) in told or "cells" in told
    assert "segmentor.model." in told
