"""Every segmentor learns eight images by heart, drawn ones and photographs."""

from __future__ import annotations

from dataclasses import replace

import pytest

import p2seg
from p2seg.data.coco import Instance, InstanceSet, write_instances
from p2seg.data.images import read_image
from p2seg.data.sets.synthetic import CLASSES, write_synthetic
from p2seg.data.sets.voc import read_voc
from p2seg.evaluation import voc

IMAGES = 8
QUIET = (
    "data=custom",
    "data.workers=0",
    "trainer.accelerator=cpu",
    "trainer.log_every=1000",
    "trainer.checkpoint_every=100000",
    "segmentor.validate.every=null",
    "segmentor.batch_size=4",
    "segmentor.resize.scale=[1,1]",
    "segmentor.resize.flip=false",
    "segmentor.ema=false",
)


def first(whole: InstanceSet) -> InstanceSet:
    """The first images with at least two instances that are not tiny."""
    kept = [k for k, own in enumerate(whole.instances) if 2 <= len(own) <= 6][:IMAGES]
    return replace(
        whole,
        images=[whole.images[k] for k in kept],
        instances=[whole.instances[k] for k in kept],
    )


def score(run_tool, gt, images, out, words):
    """mAP50 (`voc_area`) on the images that were trained on."""
    write_instances(out / "gt.json", gt)
    paths = (f"pseudo={out}/gt.json", f"data.images={images}", f"out={out}")
    count = f"data.num_classes={len(gt.categories)}"
    code, _, error = run_tool("train_segmentor", *QUIET, count, *paths, *words)
    assert (code, error) == (0, "")
    model = p2seg.load(out / "last.pt", device="cpu")
    found = []
    for record in gt.images:
        answers = model(read_image(images / record.file_name), score=0.05)
        found.append([Instance(-1, a.label, a.rle, score=a.score) for a in answers])
    overlaps = voc.overlaps(gt, replace(gt, instances=found))
    return voc.voc_scores(overlaps)["voc_area"]["mAP50"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("segmentor", "epochs"),
    [("mask_rcnn_lean", 100), ("solov2_lean", 100), ("mask2former_lean", 200)],
)
def test_drawn_images(run_tool, tmp_path, segmentor, epochs):
    write_synthetic(tmp_path / "set", seed=0, train=12, val=1)
    gt = first(read_voc(tmp_path / "set", "train", CLASSES))
    schedule = f"segmentor.schedule={{epochs: {epochs}, milestones: [{0.7 * epochs}]}}"
    words = (f"segmentor={segmentor}", schedule)
    assert score(run_tool, gt, tmp_path / "set" / "JPEGImages", tmp_path, words) > 0.9


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.realdata
@pytest.mark.parametrize(
    ("segmentor", "epochs"),
    [("mask_rcnn_small", 80), ("solov2_small", 80), ("mask2former_small", 120)],
)
def test_photographs(run_tool, realdata, tmp_path, segmentor, epochs):
    folder = realdata / "VOCdevkit" / "VOC2007"
    gt = first(read_voc(folder, "train"))
    weights = realdata / "weights" / "mobilenetv2_100.imagenet.safetensors"
    words = (
        f"segmentor={segmentor}",
        f"segmentor.weights={weights}",
        "segmentor.pretrained=true",
        "segmentor.optimizer={_target_: p2seg.engine.optim.adamw, weight_decay: 0.01}",
        f"segmentor.schedule={{epochs: {epochs}, milestones: [{0.7 * epochs}]}}",
        "segmentor.schedule.lr=1e-3",
        "segmentor.schedule.lr_batch=4",
    )
    assert score(run_tool, gt, folder / "JPEGImages", tmp_path, words) > 0.9
