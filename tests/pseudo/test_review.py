"""What was decided about masks holds in what is made later: no mask comes back that was refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tool_sets import QUICK, SEGMENTOR, change, refused, works
from training_sets import training_set

from p2seg.data.coco import decode, encode, read_instances, write_instances
from p2seg.data.instances import REJECTED, PackedInstances
from p2seg.data.points import read_points
from p2seg.data.records import PackedImages
from p2seg.errors import UserError
from p2seg.pseudo.review import moved, read_review, reviewed
from p2seg.segmentors.augment import RandomResize
from p2seg.segmentors.data import InstanceDataset
from p2seg.segmentors.weights import InstanceWeights


def saved(path, *decisions, info=None):
    content = {"info": info or {}, "decisions": list(decisions)}
    path.write_text(json.dumps(content))
    return path


def accepted(id, image_id, mask):
    counts = encode(mask)["counts"].decode()
    code = {"size": list(mask.shape), "counts": counts}
    return {"id": id, "image_id": image_id, "decision": "accept", "segmentation": code}


def rejected(id, image_id):
    return {"id": id, "image_id": image_id, "decision": "reject"}


def clicked(id, image_id, x, y):
    return {"id": id, "image_id": image_id, "decision": "reclick", "point": [x, y]}


@pytest.fixture
def drawn(tmp_path):
    return training_set(tmp_path)


@pytest.fixture
def masks(drawn, tmp_path, run_tool):
    """Masks of the seeds."""
    works(run_tool("gen_pseudo", *drawn.words, f"out={tmp_path / 'masks.json'}"))
    return tmp_path / "masks.json"


def by_id(path):
    return {each.id: each for group in read_instances(path).instances for each in group}


def test_what_was_decided_holds_in_the_next_masks(drawn, masks, tmp_path, run_tool):
    before = by_id(masks)
    odd = np.zeros((40, 48), bool)
    odd[2:22, 3:24] = True  # over the neighbor's left edge, as no export would make it
    review = saved(
        tmp_path / "review.json", accepted(1, 10, odd), rejected(5, 11), clicked(9, 12, 14.5, 33.0)
    )
    words = [*drawn.words, f"review={review}", f"out={tmp_path / 'again.json'}"]
    told = works(run_tool("gen_pseudo", *words))
    assert "1 accepted, 1 rejected, 1 moved" in " ".join(told.split())
    again = by_id(tmp_path / "again.json")
    assert again.keys() == before.keys()
    assert np.array_equal(decode(again[1]), odd)
    assert (again[1].score, again[1].review, again[1].crowd) == (1, "accepted", False)
    # the neighbor has lost what was given away, and nothing else
    assert np.array_equal(decode(again[2]), decode(before[2]) & ~odd)
    assert again[5].crowd
    assert again[5].review == "rejected"
    assert np.array_equal(decode(again[5]), decode(before[5]))
    assert again[9].point == (33.0, 14.5)
    others = before.keys() - {1, 2, 5, 9}
    assert all(again[id] == before[id] for id in others)
    info = read_instances(tmp_path / "again.json").info
    assert info["review"]["decisions"] == "1 accepted, 1 rejected, 1 moved"
    assert info["inputs"]["points"] != read_instances(masks).info["inputs"]["points"]


def test_an_accepted_mask_may_leave_a_neighbor_with_nothing(drawn, masks, tmp_path, run_tool):
    whole = np.ones((40, 48), bool)
    review = saved(tmp_path / "review.json", accepted(1, 10, whole))
    works(run_tool("gen_pseudo", *drawn.words, f"review={review}", f"out={tmp_path / 'b.json'}"))
    again = by_id(tmp_path / "b.json")
    assert decode(again[1]).all()
    assert again[2].default_box
    assert again[3].default_box


def test_a_moved_click_makes_another_mask_in_every_tool(drawn, masks, tmp_path, run_tool):
    """Clicks of one object that were clicked on its neighbor."""
    swapped = [clicked(1, 10, 27, 12), clicked(2, 10, 12, 12)]
    review = saved(tmp_path / "review.json", *swapped)
    works(run_tool("gen_pseudo", *drawn.words, f"review={review}", f"out={tmp_path / 'b.json'}"))
    before, again = by_id(masks), by_id(tmp_path / "b.json")
    assert np.array_equal(decode(again[1]), decode(before[2]))
    assert np.array_equal(decode(again[2]), decode(before[1]))
    points = moved(read_points(drawn.file), read_review(review))
    assert points.points[0].yx.tolist() == [[12, 27], [12, 12], [31, 12]]
    assert points.points[1].yx.tolist() == drawn.points.points[1].yx.tolist()
    # maps are made anew where a click was moved, and nowhere else
    grabcut = [*drawn.words, "semantic=grabcut", f"out={tmp_path / 'maps'}"]
    works(run_tool("gen_semantic", *grabcut))
    told = works(run_tool("gen_semantic", *grabcut, f"review={review}"))
    assert "1 maps by grabcut made, 3 were there already" in told
    # and a training that has seen the old clicks is another one
    run = [*drawn.words, *QUICK, f"out={tmp_path / 'run'}"]
    works(run_tool("train", *run, "trainer.max_steps=1"))
    refused(run_tool("train", *run, "trainer.max_steps=2", f"review={review}"), "points")


def test_a_moved_click_stays_whatever_its_new_mask_is_judged(drawn, masks, tmp_path):
    """The page writes the point beside `accept` and `reject`: the next export needs it, too."""
    first = saved(tmp_path / "first.json", clicked(1, 10, 27, 12), clicked(5, 11, 12, 13))
    whole = np.ones((40, 48), bool)
    judged = [accepted(1, 10, whole) | {"point": [27, 12]}, rejected(5, 11) | {"point": [12, 13]}]
    second = saved(tmp_path / "second.json", *judged)
    points = read_points(drawn.file)
    before, after = (moved(points, read_review(path)) for path in (first, second))
    assert after.points[0].yx.tolist() == before.points[0].yx.tolist()
    assert after.points[1].yx.tolist() == before.points[1].yx.tolist()
    assert after.points[0].yx[0].tolist() == [12, 27]
    assert read_review(first).moves == read_review(second).moves != ""
    for each in judged:
        far = read_review(saved(tmp_path / "far.json", each | {"point": [99, 1]}))
        with pytest.raises(UserError, match=r"\(99, 1\)"):
            moved(points, far)
        with pytest.raises(UserError, match=r"\(99, 1\)"):
            reviewed(read_instances(masks), far)


def test_a_moved_click_that_has_its_mask_is_trained_on(masks, tmp_path):
    """The review goes to `gen_pseudo` and then, with the new masks, to `train_segmentor`."""
    review = read_review(saved(tmp_path / "r.json", clicked(1, 10, 27, 12)))
    old = reviewed(read_instances(masks), review).instances[0][0]
    assert (old.review, old.crowd) == ("rejected", True)

    def move(document):
        document["annotations"][0]["point"] = [27, 12]

    change(masks, move)
    new = reviewed(read_instances(masks), review).instances[0][0]
    assert (new.review, new.crowd) == ("", False)


def test_rejected_masks_teach_a_segmentor_nothing(drawn, masks, tmp_path):
    review = saved(tmp_path / "r.json", rejected(1, 10), accepted(2, 10, np.ones((40, 48), bool)))
    instances = reviewed(read_instances(masks), read_review(review))
    augment = RandomResize(40, 48)
    data = InstanceDataset(instances, drawn.images, augment, seed=0, weights=InstanceWeights())
    target = data[0, 0][2]
    assert target.weights.tolist() == [0, 1, 1]
    assert target.mask_weights.tolist() == [0, 1, 1]
    assert data[0, 1][2].weights.tolist() == [1, 1, 1]


def test_scores_of_rejected_masks_weigh_no_other(masks, tmp_path, drawn):
    def lower(document):
        for each in document["annotations"]:
            each["score"] = 0.25 if each["id"] == 1 else 0.5

    change(masks, lower)
    review = read_review(saved(tmp_path / "r.json", rejected(1, 10)))
    instances = reviewed(read_instances(masks), review)
    weights = InstanceWeights(score_power=1)
    augment = RandomResize(40, 48)
    data = InstanceDataset(instances, drawn.images, augment, seed=0, weights=weights)
    assert data[0, 0][2].weights.tolist() == [0, 1, 1]


def test_rejected_masks_are_never_pasted(masks, tmp_path, drawn):
    everything = [rejected(id, 10 + (id - 1) // 3) for id in range(1, 12)]
    review = read_review(saved(tmp_path / "r.json", *everything))
    instances = reviewed(read_instances(masks), review)
    augment = RandomResize(40, 48)
    data = InstanceDataset(instances, drawn.images, augment, seed=0, copy_paste=1.0)
    pasted = {data[epoch, 0][2].weights.tolist().count(1) for epoch in range(40)}
    assert pasted == {0, 1}  # mask 12 alone can come, of one of the four images


def test_a_segmentor_is_trained_on_judged_masks(drawn, masks, tmp_path, run_tool):
    review = saved(tmp_path / "r.json", rejected(1, 10))
    words = [*drawn.words, *SEGMENTOR, *QUICK, f"pseudo={masks}", f"out={tmp_path / 'segmentor'}"]
    told = works(run_tool("train_segmentor", *words, f"review={review}"))
    assert "0 accepted, 1 rejected, 0 moved" in " ".join(told.split())
    refused(run_tool("train_segmentor", *words), "review")  # not the same training
    content = torch.load(tmp_path / "segmentor/last.pt", weights_only=True)
    assert content["inputs"]["review"] is not None
    everything = [rejected(id, 10 + (id - 1) // 3) for id in range(1, 13)]
    saved(review, *everything)
    refused(
        run_tool("train_segmentor", *words, f"review={review}", "resume=never"),
        "all 12 were rejected",
    )


def test_verdicts_come_back_from_a_file(masks, tmp_path):
    """Read many at once, one by one, and as arrays."""
    review = saved(
        tmp_path / "r.json", rejected(1, 10), accepted(2, 10, np.eye(40, 48, dtype=bool))
    )
    judged = reviewed(read_instances(masks), read_review(review))
    write_instances(tmp_path / "judged.json", judged)
    again = read_instances(tmp_path / "judged.json")
    assert [list(group) for group in again.instances] == [list(group) for group in judged.instances]
    assert isinstance(again.instances, PackedInstances)
    assert again.instances.rejected.tolist() == [True] + 11 * [False]
    annotation = json.loads((tmp_path / "judged.json").read_text())["annotations"][0]
    assert (annotation["iscrowd"], annotation["review"]) == (1, "rejected")

    def odd(document):  # a form that is not read by the thousand
        document["annotations"][5]["score"] = 1
        document["annotations"][5]["segmentation"]["counts"] = [40 * 48]
        document["annotations"][0]["iscrowd"] = 0  # rejected says enough

    change(tmp_path / "judged.json", odd)
    first = read_instances(tmp_path / "judged.json").instances[0][0]
    assert (first.crowd, first.review) == (True, "rejected")
    sides = PackedImages.of(again.images).sides
    packed = PackedInstances.packed([[first]], sides[:1])
    assert packed._flags.tolist() == [REJECTED + 1]
    assert packed.without_crowds()[0][0] == first


@pytest.mark.parametrize(
    ("decisions", "parts"),
    [
        ([rejected(99, 10)], ["decision 99", "1 of 1"]),
        ([rejected(1, 11)], ["decision 1 is in image 11", "image 10"]),
        ([rejected(1, 10), rejected(1, 10)], ["two decisions have id 1"]),
        ([clicked(1, 10, 48, 3)], ["(48, 3)", "48x40"]),
        ([clicked(1, 10, None, 3)], ["two numbers"]),
        ([{"id": 1, "image_id": 10, "decision": "accept"}], ["neither polygons nor an RLE"]),
        ([accepted(1, 10, np.ones((4, 4), bool))], ["size [4, 4]", "[40, 48]"]),
        ([{"id": 1, "image_id": 10, "decision": "maybe"}], ["'maybe'", "accept, reject, reclick"]),
        ([{"id": "x", "image_id": 10, "decision": "reject"}], ["decisions[0] has id 'x'"]),
        ([{"id": 1, "decision": "reject"}], ["decisions[0] has no image_id"]),
        ([7], ["decisions[0] is 7"]),
    ],
)
def test_a_review_that_does_not_fit_is_told_in_one_sentence(
    decisions, parts, masks, drawn, tmp_path, run_tool
):
    review = saved(tmp_path / "review.json", *decisions)
    refused(
        run_tool("gen_pseudo", *drawn.words, f"review={review}", f"out={tmp_path / 'b.json'}"),
        str(review),
        *parts,
    )
    assert not (tmp_path / "b.json").exists()
    with pytest.raises(UserError):
        reviewed(read_instances(masks), read_review(review))


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"decisions": 3}', '{"decisions": [], "info": 3}']
)
def test_a_file_that_is_no_review(content, drawn, tmp_path, run_tool):
    (tmp_path / "review.json").write_text(content)
    words = [*drawn.words, f"review={tmp_path / 'review.json'}", f"out={tmp_path / 'b.json'}"]
    refused(run_tool("gen_pseudo", *words), "review.json")


def test_a_pipeline_makes_its_own_masks(tmp_path, run_tool):
    words = ["+exp=drawn", f"review={tmp_path / 'review.json'}", f"out={tmp_path}"]
    refused(run_tool("pipeline", *words), "p2seg gen_pseudo")
