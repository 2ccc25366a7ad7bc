"""All scores together: what `metrics.json` holds, its tables, and the tool."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from evaluation_sets import instance, instance_set, random_pair, write_voc
from rich.console import Console

from p2seg.data.coco import Instance, encode, write_instances
from p2seg.errors import UserError
from p2seg.evaluation.metrics import evaluate, evaluate_files, from_oracle
from p2seg.evaluation.readers import read_ground_truth
from p2seg.evaluation.tables import score_tables, title
from p2seg.evaluation.void import without_void
from p2seg.runtime.files import sha256

VOC = {"mAP25", "mAP50", "mAP70", "mAP75"}
COCO = {"AP", "AP25", "AP50", "AP70", "AP75"}


def pseudo(gt, **info):
    """The ground truth again, as perfect pseudo masks with scores and provenance."""
    instances = [
        [replace(each, score=0.5) for each in group if not each.crowd] for group in gt.instances
    ]
    return replace(gt, instances=instances, info=info)


GT = instance_set(
    [instance(1, "1100", 1), instance(2, "0011", 1)],
    [instance(3, "1111", 2), instance(4, "0001", 2, crowd=True)],
    info={"split": "tiny"},
)


def test_a_perfect_answer():
    metrics = evaluate(GT, pseudo(GT), "pseudo")
    for part in (metrics, metrics["scores_one"]):
        assert part["voc_area"] == dict.fromkeys(VOC, 1.0)
        assert part["voc_11pt"] == pytest.approx(dict.fromkeys(VOC, 1.0))
        assert part["coco"] == pytest.approx(dict.fromkeys(COCO, 1.0))
    assert metrics["quality"]["mean_iou"] == 1
    assert metrics["per_class"]["cat"] == pytest.approx(
        {"voc_area": 1.0, "voc_11pt": 1.0, "coco": 1.0}
    )
    assert metrics["per_class"]["dog"] == {"voc_area": None, "voc_11pt": None, "coco": None}


def test_scores_of_one_rank_by_place():
    gt = instance_set([instance(1, "1100")], [])
    pred = instance_set([instance(1, "1100", score=0.1)], [instance(2, "1100", score=0.9)])
    metrics = evaluate(gt, pred, "model")
    assert metrics["voc_area"]["mAP50"] == 0.5
    assert metrics["scores_one"]["voc_area"]["mAP50"] == 1
    assert metrics["coco"]["AP50"] == pytest.approx(0.5)
    assert metrics["scores_one"]["coco"]["AP50"] == pytest.approx(1)


def test_a_model_has_no_quality_and_needs_no_ids():
    pred = replace(pseudo(GT), instances=[[instance(9, "1100", 1)], []])
    metrics = evaluate(GT, pred, "model")
    assert "quality" not in metrics
    assert metrics["run"]["points_given"] is False
    with pytest.raises(UserError, match="annotation id 9"):
        evaluate(GT, pred, "pseudo")


def test_run_says_what_was_scored():
    run = evaluate(GT, pseudo(GT, seed=3), "pseudo")["run"]
    assert run == {
        "kind": "pseudo",
        "points_given": True,
        "oracle": False,
        "mask_pretraining": False,
        "images": 2,
        "instances": 3,
        "predictions": 3,
        "gt_info": {"split": "tiny"},
        "pred_info": {"seed": 3},
    }


def test_an_unknown_kind():
    with pytest.raises(UserError, match=r"kind=seed is unknown; choose pseudo .* or model"):
        evaluate(GT, pseudo(GT), "seed")


@pytest.mark.parametrize("seed", range(5))
def test_json_can_hold_it(seed):
    gt, pred = random_pair(seed, crowds=True)
    json.dumps(evaluate(gt, pred, "model"), allow_nan=False)
    empty = instance_set()
    json.dumps(evaluate(empty, empty, "pseudo"), allow_nan=False)


@pytest.mark.parametrize(
    ("info", "seen"),
    [
        ({}, False),
        ({"mask_pretraining": False, "segmentor": {"allow_mask_pretraining": False}}, False),
        ({"mask_pretraining": True}, True),
        ({"parents": [{"segmentor": {"allow_mask_pretraining": True}}]}, True),
    ],
)
def test_weights_that_saw_masks_are_found_in_any_provenance(info, seen):
    metrics = evaluate(GT, pseudo(GT, **info), "pseudo")
    assert metrics["run"]["mask_pretraining"] is seen
    assert ("MASK PRETRAINING" in title(metrics)) is seen


@pytest.mark.parametrize(
    ("info", "oracle"),
    [
        ({}, False),
        ({"semantic": "grabcut", "note": "not oracle"}, False),
        ({"semantic": {"source": "oracle"}}, True),
        ({"parents": [{"semantic_source": "oracle"}]}, True),
    ],
)
def test_oracle_maps_are_found_in_any_provenance(info, oracle):
    assert from_oracle(info) is oracle
    metrics = evaluate(GT, pseudo(GT, **info), "pseudo")
    assert metrics["run"]["oracle"] is oracle
    assert ("ORACLE" in shown(metrics)) is oracle


def shown(metrics):
    console = Console(width=100, record=True, file=io.StringIO())
    for table in score_tables(metrics):
        console.print(table)
    return console.export_text()


def test_the_tables_show_percent_and_dashes():
    pred = replace(pseudo(GT, note="[b]x[/b]"), instances=[[replace(GT.instances[0][0])], []])
    text = shown(evaluate(GT, pred, "pseudo"))
    assert "pseudo-label quality, points given" in text
    assert [line.split()[1:-1] for line in text.splitlines() if "voc_area  " in line] == [
        ["voc_area", "│", "-", "│", "25.0", "│", "25.0", "│", "25.0", "│", "25.0"]
    ]
    text = re.sub(" +", " ", text)
    assert "all │ 3 │ 0.333 │ 1 │ 1 │ 1 │ 2 │ 0.500" in text
    assert "touching │ 2 │ 0.500" in text
    assert "│ 2 │ 0.250 │ 0.333 │" in text  # images, AJI, PQ
    assert "[b]x[/b]" in text


def files_of(tmp_path, gt=GT, **info):
    write_instances(tmp_path / "gt.json", gt)
    write_instances(tmp_path / "pred.json", pseudo(gt, **info))
    return tmp_path / "gt.json", tmp_path / "pred.json"


def test_files_are_named_with_their_hashes(tmp_path):
    gt, pred = files_of(tmp_path)
    run = evaluate_files(gt, pred, "pseudo")["run"]
    assert (run["gt"], run["gt_sha256"]) == ("gt.json", sha256(gt))
    assert (run["pred"], run["pred_sha256"]) == ("pred.json", sha256(pred))
    assert run["split"] == "tiny"


def test_void_pixels_may_be_left_out(tmp_path):
    root = write_voc(tmp_path / "VOC2012")  # an object of 4 pixels beside 2 of void, 2 of ground
    masks = [
        np.array([[1, 1, 1, 0], [1, 1, 1, 0]]),  # IoU 4/6, without void 1
        np.array([[0, 0, 1, 0], [0, 0, 1, 0]]),  # void alone: a miss, without void nothing
        np.zeros((2, 4)),  # empty: a miss either way
    ]
    guesses = [instance(k, m, 2, score=1 - k / 10) for k, m in enumerate(masks, 1)]
    gt = read_ground_truth(root, "val")
    pred = replace(gt, instances=[guesses])
    assert [each.id for each in without_void(pred, root).instances[0]] == [1, 3]
    write_instances(tmp_path / "pred.json", pred)
    counted = evaluate_files(root, tmp_path / "pred.json", "model")
    assert "void_ignored" not in counted
    metrics = evaluate_files(root, tmp_path / "pred.json", "model", ignore_void=True)
    assert metrics["voc_area"] == counted["voc_area"]
    assert (metrics["voc_area"]["mAP50"], metrics["voc_area"]["mAP70"]) == (1, 0)
    assert metrics["void_ignored"]["voc_area"]["mAP75"] == 1
    assert "voc_area, void ignored" in shown(metrics)


def test_the_tool(run_tool, tmp_path):
    gt, pred = files_of(tmp_path, seed=3)
    code, out, err = run_tool(
        "eval", f"gt={gt}", f"pred={pred}", "kind=pseudo", f"out={tmp_path}/a, b=c"
    )
    assert (code, err) == (0, "")
    assert "pseudo-label quality" in out
    metrics = json.loads((tmp_path / "a, b=c" / "metrics.json").read_text())
    expected = evaluate_files(gt, pred, "pseudo")
    assert metrics == expected
    assert metrics["quality"]["iou90"] == 3


def test_the_tool_only_prints_without_out(run_tool, tmp_path):
    gt, pred = files_of(tmp_path)
    before = set(tmp_path.rglob("*"))
    code, out, _ = run_tool("eval", f"gt={gt}", f"pred={pred}", "kind=model")
    assert code == 0
    assert "model, no points given" in out
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["kind=seed"], "kind=seed is unknown"),
        (["kind=model", "void=maybe"], "void=maybe is unknown; choose count or ignore"),
        (["kind=model", "void=ignore"], "void=ignore needs the PNGs of a VOC folder"),
        (["kind=model", "pred=nowhere.json"], "no predictions at nowhere.json"),
        (["kind=model", "gt=nowhere.json"], "no ground-truth file at nowhere.json"),
        ([], "kind"),
    ],
)
def test_the_tool_tells_a_mistake_in_one_sentence(run_tool, tmp_path, words, sentence):
    gt, pred = files_of(tmp_path)
    code, out, err = run_tool("eval", f"gt={gt}", f"pred={pred}", *words)
    assert (code, out) == (2, "")
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_the_tool_refuses_an_object_for_results(run_tool, tmp_path):
    gt, _ = files_of(tmp_path)
    (tmp_path / "results.json").write_text('{"image_id": 1}')
    code, _, err = run_tool("eval", f"gt={gt}", f"pred={tmp_path}/results.json", "kind=model")
    assert code == 2
    assert "results.json: it has no 'images'" in err
    assert len(err.splitlines()) == 1


def test_a_crowded_image_is_scored_with_and_without_coco_s_limit():
    gt = instance_set([], [instance(151, "1100")])
    pixels = np.eye(150, dtype=np.uint8).reshape(150, 15, 10)
    truths = [Instance(k, 1, encode(pixel > 0)) for k, pixel in enumerate(pixels, 1)]
    first = replace(gt.images[0], height=15, width=10)
    gt = replace(gt, images=[first, gt.images[1]], instances=[truths, gt.instances[1]])
    metrics = evaluate(gt, pseudo(gt), "pseudo")
    assert metrics["coco"]["AP"] == pytest.approx(67 / 101)  # recalls up to 101 of 151
    assert metrics["coco_all"]["AP"] == metrics["scores_one"]["coco_all"]["AP"] == 1
    assert (metrics["coco_all"]["max_dets"], metrics["coco_all"]["images"]) == (150, 1)
    assert metrics["per_class"]["cat"]["coco_all"] == 1
    # neither VOC's AP nor the quality has a limit
    assert metrics["voc_area"]["mAP75"] == metrics["voc_11pt"]["mAP75"] == 1
    assert metrics["quality"]["iou90"] == metrics["quality"]["instances"] == 151
    console = Console(file=io.StringIO(), width=200)
    for table in score_tables(metrics):
        console.print(table)
    assert "max_dets=150" in console.file.getvalue()


def test_a_hundred_objects_are_no_crowd():
    gt = instance_set([instance(k, "1111") for k in range(1, 101)])
    assert "coco_all" not in evaluate(gt, pseudo(gt), "pseudo")
