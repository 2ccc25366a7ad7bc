"""All tools, one after the other and by the pipeline, on drawn images and a network of nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tool_sets import NETWORK, SEGMENTOR, refused
from training_sets import training_set

from p2seg.data.coco import decode, read_instances, write_instances
from p2seg.data.points import read_points
from p2seg.data.sets.synthetic import write_synthetic
from p2seg.data.sets.synthetic_shapes import CLASSES
from p2seg.data.sets.voc import read_voc
from p2seg.engine.checkpoint import load_checkpoint, save_checkpoint
from p2seg.method.losses import P2SegLoss
from p2seg.semantic.manifest import read_manifest

ROOT = Path(__file__).resolve().parent.parent.parent
ODD = "it's a {set}, ${x} ü=1"
"""A folder whose name means something to every parser on the way."""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The drawn set, four images to learn from and two to look at, and instances files."""
    root = tmp_path_factory.mktemp(ODD)
    write_synthetic(root / "voc", seed=0, train=4, val=2, size=64)
    for split in ("train", "val"):
        instances = read_voc(root / "voc", split, CLASSES)
        write_instances(root / f"instances_{split}.json", instances)
    return root


def words(drawn, *more):
    data = (
        "data=drawn",
        f"data.root={drawn}",
        f"data.images={drawn}/voc/JPEGImages",
        f"data.val_images={drawn}/voc/JPEGImages",
        f"data.points={drawn}/points.json",
        f"data.semantic={drawn}/semantic",
        "data.prepare=null",
    )
    return [*data, *more]


@pytest.mark.slow
def test_from_masks_to_clicks_and_back(drawn, tmp_path, run_tool):
    def run(tool, *more):
        code, out, error = run_tool(tool, *words(drawn, *more))
        assert (code, error if tool != "make_points" else "") == (0, ""), error
        return out

    gt = drawn / "instances_train.json"
    run("make_points", f"gt={gt}", "sampler=inner", f"out={drawn}/points.json")
    points = read_points(drawn / "points.json")
    count = sum(map(len, points.points))
    assert count == sum(map(len, read_instances(gt).instances)) > 8

    run("gen_semantic", "semantic=oracle", f"semantic.gt={gt}", f"out={tmp_path}/oracle")
    assert read_manifest(tmp_path / "oracle").source == "oracle"
    run("gen_semantic", "semantic=grabcut", f"out={drawn}/semantic")
    assert len(read_manifest(drawn / "semantic").files) == 4

    # the upper bound of the seeds: whole objects wherever one stands alone
    seeds = tmp_path / "seeds.json"
    run("gen_pseudo", "ckpt=none", f"data.semantic={tmp_path}/oracle", f"out={seeds}")
    table = run("eval", f"gt={gt}", f"pred={seeds}", "kind=pseudo", f"out={tmp_path}/scores")
    assert "mean IoU" in table
    metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert metrics["quality"]["instances"] == count
    assert metrics["quality"]["mean_iou"] > 0.5

    out = run("train", *NETWORK, f"out={tmp_path}/network")
    assert "step 3/3" in out
    saved = load_checkpoint(tmp_path / "network" / "last.pt", "network")
    assert saved["step"] == 3
    assert [each["name"] for each in saved["categories"]] == CLASSES
    assert saved["inputs"]["semantic"]["source"] == "grabcut"
    assert saved["config"]["mdm"]["start_step"] == 1

    pseudo = tmp_path / "pseudo.json"
    ckpt = f"ckpt={tmp_path}/network/last.pt"
    run("gen_pseudo", *NETWORK, ckpt, "export.flip=true", "export.scales=[1,0.5]", f"out={pseudo}")
    masks = read_instances(pseudo)
    assert [[each.id for each in group] for group in masks.instances] == [
        own.ids.tolist() for own in points.points
    ]
    assert all(decode(each).any() for group in masks.instances for each in group)
    assert masks.info["source"] == "network"
    assert masks.info["step"] == 3

    run("train_segmentor", *NETWORK, *SEGMENTOR, f"pseudo={pseudo}", f"out={tmp_path}/segmentor")
    found = tmp_path / "found"
    run(
        "predict",
        f"ckpt={tmp_path}/segmentor/last.pt",
        f"images={drawn}/voc/JPEGImages",
        f"gt={drawn}/instances_val.json",
        "predict.score=0",
        "trainer.accelerator=cpu",
        f"out={found}",
    )
    run(
        "eval",
        f"gt={drawn}/instances_val.json",
        f"pred={found}/predictions.json",
        "kind=model",
        f"out={found}",
    )
    metrics = json.loads((found / "metrics.json").read_text())
    assert set(metrics["voc_area"]) >= {"mAP25", "mAP50", "mAP70", "mAP75"}
    assert "quality" not in metrics


def test_the_baseline_is_trained_and_labels(drawn, tmp_path, run_tool):
    gt = drawn / "instances_train.json"
    own = [*words(drawn), *NETWORK, "mdm=bestie"]
    for tool, more in {
        "make_points": [f"gt={gt}", "sampler=inner", f"out={drawn}/points.json"],
        "gen_semantic": ["semantic=oracle", f"semantic.gt={gt}", f"out={drawn}/semantic"],
        "train": [f"out={tmp_path}/network"],
        "gen_pseudo": [f"ckpt={tmp_path}/network/last.pt", f"out={tmp_path}/pseudo.json"],
    }.items():
        code, out, error = run_tool(tool, *own, *more)
        assert code == 0, error
        if tool == "train":
            assert "center" in out
    masks = read_instances(tmp_path / "pseudo.json")
    assert sum(map(len, masks.instances)) == sum(map(len, read_instances(gt).instances))
    short = [f"ckpt={tmp_path}/network/last.pt", "trainer.accelerator=cpu"]
    code, out, error = run_tool("gen_pseudo", *words(drawn), *short, f"out={tmp_path}/x.json")
    assert code == 0, error
    assert out.startswith("method: BESTIE")
    assert (tmp_path / "x.json").read_bytes() == (tmp_path / "pseudo.json").read_bytes()
    old = tmp_path / "network" / "last.pt"
    content = load_checkpoint(old, "network")
    for weights in (content["model"],):
        for name in [key for key in weights if key.startswith("center_head.")]:
            if weights[name].shape[:1] == (len(CLASSES),):  # one heatmap for all classes
                weights[name] = weights[name][:1].clone()
    save_checkpoint(old, content)
    answer = run_tool("gen_pseudo", *own, f"ckpt={old}", f"out={tmp_path}/y.json")
    refused(answer, str(old), "does not hold the weights of the network", "other names or shapes")
    more = [f"out={old.parent}", "trainer.max_steps=4", "resume=changed"]
    refused(run_tool("train", *own, *more), str(old), "holds another model")


def pipeline_words(root, *more):
    prepare = '[prepare_synthetic,--out,"${data.root}",--train,"3",--val,"2",--size,"64"]'
    return [
        "data=drawn",
        f"data.root={root}/data",
        f"data.prepare={prepare}",
        "semantic=grabcut",
        *NETWORK,
        *SEGMENTOR,
        "pipeline.rows=2",
        f"out={root}/out",
        *more,
    ]


def test_the_pipeline_does_every_stage_once(tmp_path, run_tool):
    root = tmp_path / ODD
    network = ("export.semantic=network", "export.unclaimed=box")
    own = pipeline_words(root, "trainer.snapshots=[0,3]", *network)
    code, out, error = run_tool("pipeline", *own)
    assert code == 0, error
    report = json.loads((root / "out" / "report.json").read_text())
    stages = {"semantic", "seed", "control", "untrained", "mdm", "segmentor"}
    assert set(report) >= stages | {"seconds", "run"}
    assert report["untrained"]["run"]["pred_sha256"] != report["mdm"]["run"]["pred_sha256"]
    assert 0 < report["semantic"]["miou"] <= 1
    for stage in ("seed", "control", "untrained", "mdm"):
        assert 0 < report[stage]["quality"]["mean_iou"] <= 1
        assert report[stage]["quality"]["instances"] > 6
    assert set(report["seconds"]) >= {"prepare", "points", "semantic", "train", "mdm", "segmentor"}
    page = (root / "out" / "report.html").read_text()
    assert "method: P2Seg; departs from mdm=paper in " in page
    assert page.count("<img") >= 2 * 7 + 2 * 3 + 3
    truth = read_instances(root / "data" / "instances_val.json")
    for image in truth.images:  # the segmentor is shown on images it never saw
        assert f'alt="segmentor of {image.file_name}"' in page
    learned = read_instances(root / "data" / "instances_train.json")
    assert all(f'alt="segmentor of {each.file_name}"' not in page for each in learned.images)
    for title in ("one-image-through-the-rounds", "offsets", "instances-step-by-step"):
        assert f"report/figure-{title}.png" in page
        assert (root / "out" / "report" / f"figure-{title}.png").is_file()

    stages = root / "out" / "stages"
    written = {path.name: path.stat().st_mtime_ns for path in stages.iterdir()}
    network = (root / "out" / "network" / "last.pt").read_bytes()
    code, out, _ = run_tool("pipeline", *own)
    assert code == 0
    assert out.count(": skipped, already done") == len(written)
    assert written == {path.name: path.stat().st_mtime_ns for path in stages.iterdir()}

    # a network that is there already: nothing is trained, and other masks are made with it
    ckpt = f"ckpt={root}/out/network/last.pt"
    other = ("export.semantic=S0", "export.rounds=0", "pipeline.segmentors=[]", f"out={root}/again")
    code, out, error = run_tool("pipeline", *pipeline_words(root, ckpt, *other))
    assert code == 0, error
    assert "last.pt as it is" in out
    assert not (root / "again" / "network").exists()
    again = json.loads((root / "again" / "report.json").read_text())
    assert again["control"]["quality"] == report["control"]["quality"]
    assert again["mdm"]["quality"] != report["mdm"]["quality"]

    # other maps: the network is trained anew, not taken for the one that was trained on them
    code, out, error = run_tool("pipeline", *own, "semantic.source.iterations=1")
    assert code == 0, error
    for stage in ("prepare", "points"):
        assert f"{stage}: skipped" in out
    for stage in ("semantic", "train", "mdm", "segmentor"):
        assert f"{stage}: skipped" not in out
    assert (root / "out" / "network" / "last.pt").read_bytes() != network
    manifest = read_manifest(root / "data" / "semantic")
    assert manifest.parameters["iterations"] == 1


def test_training_never_opens_the_ground_truth(drawn, tmp_path, run_tool):
    """The files need not even be there."""
    made = training_set(tmp_path / "set")
    nowhere = [f"data.{key}={tmp_path}/nowhere" for key in ("gt", "val_gt", "val_images")]
    code, _, error = run_tool("train", *made.words, *nowhere, *NETWORK, f"out={tmp_path}/network")
    assert (code, error) == (0, "")


def test_a_run_goes_on_where_it_was_stopped(tmp_path, run_tool, monkeypatch):
    made = training_set(tmp_path / "set")
    common = [*made.words, *NETWORK, "trainer.checkpoint_every=1"]
    assert run_tool("train", *common, f"out={tmp_path}/whole")[0] == 0
    made_loss, calls = P2SegLoss.__call__, iter(range(9))

    def interrupting(*arguments):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return made_loss(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(P2SegLoss, "__call__", interrupting)
        code, _, error = run_tool("train", *common, f"out={tmp_path}/parts")
    assert code == 130
    assert error == "stopped by Ctrl-C; all written files are complete\n"
    assert load_checkpoint(tmp_path / "parts" / "last.pt", "network")["step"] == 2
    assert run_tool("train", *common, f"out={tmp_path}/parts")[0] == 0
    whole, parts = (
        load_checkpoint(tmp_path / name / "last.pt", "network")["model"]
        for name in ("whole", "parts")
    )
    assert all((whole[key] == parts[key]).all() for key in whole)


def test_an_export_with_the_seeds_needs_no_experiment(tmp_path, run_tool):
    made = training_set(tmp_path / "set")
    base = [
        f"data.images={made.images}",
        f"data.points={made.file}",
        f"data.semantic={made.semantic}",
    ]
    for conflict, sure in (("points_first", [256, 256, 100]), ("semantic_first", [256, 256, 100])):
        out = tmp_path / f"{conflict}.json"
        code, _, error = run_tool(
            "gen_pseudo",
            *base,
            f"mdm.conflict={conflict}",
            "mdm.snap_radius=0",
            "export.orphans=drop",
            f"out={out}",
        )
        assert (code, error) == (0, "")
        made_masks = read_instances(out)
        assert made_masks.info["source"] == "seed"
        assert made_masks.info["conflict"] == conflict
        areas = [int(decode(each).sum()) for each in made_masks.instances[0]]
        boxes = [each.default_box for each in made_masks.instances[0]]
        assert areas == sure
        assert boxes == [conflict == "semantic_first"] * 2 + [False]


@pytest.mark.slow
@pytest.mark.parametrize("exp", ["voc_hrnet48", "voc_resnet101"])
def test_the_papers_networks_take_a_step(exp, tmp_path, run_tool):
    """Random weights, tiny data, the paper's own settings but for the precision."""
    made = training_set(tmp_path / "set", 2, (120, 160))
    code, out, error = run_tool(
        "train",
        f"+exp={exp}",
        "trainer.max_steps=1",
        "model.pretrained=false",
        *made.words[1:],
        "trainer.accelerator=cpu",
        "trainer.batch_size=2",
        "data.workers=0",
        "data.augment.crop=128",
        "data.short_side=128",
        f"out={tmp_path}/network",
    )
    assert (code, "step 1/1" in out) == (0, True), error


@pytest.mark.slow
def test_two_processes_train_and_export(tmp_path):
    """Fabric starts the second one with the words of the first; each has half of a batch."""
    made = training_set(tmp_path / ODD)

    def run(tool, *more):
        command = [sys.executable, str(ROOT / "tools" / f"{tool}.py"), *made.words, *NETWORK, *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    norm = "model.norm=group"
    two = ("trainer.devices=2", norm)
    run("train", *two, f"out={tmp_path}/two")
    run("train", norm, f"out={tmp_path}/one")
    ckpt = [tmp_path / name / "last.pt" for name in ("one", "two")]
    one, other = (load_checkpoint(path, "network")["model"] for path in ckpt)
    worst = max(float((one[k].float() - other[k].float()).abs().max()) for k in one)
    assert worst < 2e-3  # of 3 steps of 1e-3; the losses are means over images either way
    for name, devices in (("a", 1), ("b", 2)):
        words = (
            f"ckpt={ckpt[0]}",
            f"trainer.devices={devices}",
            norm,
            f"out={tmp_path}/{name}.json",
        )
        run("gen_pseudo", *words)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_predictions_of_a_folder_need_no_annotations(tmp_path, run_tool):
    made = training_set(tmp_path / "set", 2)
    seeds = tmp_path / "seeds.json"
    assert run_tool("gen_pseudo", *made.words, f"out={seeds}")[0] == 0
    code, _, error = run_tool(
        "train_segmentor",
        *made.words,
        *NETWORK,
        *SEGMENTOR,
        f"pseudo={seeds}",
        f"out={tmp_path}/segmentor",
    )
    assert (code, error) == (0, "")
    Image.fromarray(np.zeros((9, 200, 3), np.uint8)).save(tmp_path / "set/images/wide.jpg")
    code, _, error = run_tool(
        "predict",
        f"ckpt={tmp_path}/segmentor/last.pt",
        f"images={made.images}",
        "trainer.accelerator=cpu",
        f"out={tmp_path}/found",
    )
    assert (code, error) == (0, "")
    listed = json.loads((tmp_path / "found" / "images.json").read_text())["images"]
    assert [each["file_name"] for each in listed] == ["part/0.png", "part/1.png", "wide.jpg"]
