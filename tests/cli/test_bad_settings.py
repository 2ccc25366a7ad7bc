"""Bad checkpoints, outputs and settings: one sentence and exit code 2, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tool_sets import ALL, EACH, EACH_READER, READERS, change, refused, works

from p2seg.data.coco import read_instances
from p2seg.engine.checkpoint import load_checkpoint, save_checkpoint


def test_a_checkpoint_of_another_model(tools):
    refused(tools("gen_pseudo", "model.width=16"), "model.width=16", "last.pt", "model.width=8")
    refused(
        tools("gen_pseudo", "model.backbone=resnet18"),
        "model.backbone=resnet18 contradicts",
        "trained with model.backbone=test_resnet",
    )


def test_a_checkpoint_of_another_class_count(made, tools):
    change(made.file, lambda d: d["categories"].append({"id": 11, "name": "green"}))
    refused(tools("gen_pseudo"), "points.json has 3 categories but data.num_classes is 2")
    refused(tools("seeds"), "points.json has 3 categories but data.num_classes is 2")
    refused(tools("gen_semantic"), "points.json has 3 categories but data.num_classes is 2")
    works(tools("seeds", "data.num_classes=null"))
    refused(
        tools("gen_pseudo", "data.num_classes=null"), "last.pt was trained on 2 classes", "green"
    )


def test_a_checkpoint_of_other_classes(made, tools):
    change(made.file, lambda d: d["categories"][0].update(name="cat"))
    refused(tools("gen_pseudo"), "last.pt was trained on 2 classes (red, blue", "cat")


def test_a_checkpoint_that_is_none(tools, tmp_path, ckpt):
    refused(tools("gen_pseudo", f"ckpt={tmp_path}/none.pt"), "no checkpoint at", "none.pt")
    (tmp_path / "cut.pt").write_bytes(ckpt.read_bytes()[:5000])
    refused(tools("gen_pseudo", f"ckpt={tmp_path}/cut.pt"), "cut.pt is not a checkpoint of p2seg")
    content = load_checkpoint(ckpt, "network")
    save_checkpoint(tmp_path / "other.pt", content | {"kind": "segmentor"})
    refused(tools("gen_pseudo", f"ckpt={tmp_path}/other.pt"), "a segmentor, but a network")
    for missing in ("categories", "model", "step", "config"):
        partial = {key: value for key, value in content.items() if key != missing}
        save_checkpoint(tmp_path / "part.pt", partial)
        refused(tools("gen_pseudo", f"ckpt={tmp_path}/part.pt"), "part.pt", missing)


def test_skip_goes_on_and_lists_what_it_skipped(made, tools, tmp_path):
    (made.images / "part/1.png").unlink()
    (made.images / "part/2.png").write_bytes(b"no image")
    for tool in READERS:
        out = works(tools(tool, "data.on_error=skip"))
        skipped = [line for line in out.splitlines() if line.startswith("skipped")]
        assert len(skipped) == 3
        assert "2 images" in skipped[2]
        assert "part/1.png" in skipped[0]
        assert "part/2.png" in skipped[1]
    saved = load_checkpoint(tmp_path / "network" / "last.pt", "network")
    assert len(saved["skipped"]) == 2
    masks = read_instances(tmp_path / "pseudo.json")
    assert [image.file_name for image in masks.images] == ["part/0.png", "part/3.png"]
    assert len(masks.info["skipped"]) == 2


@pytest.mark.parametrize("tool", EACH_READER)
def test_skipping_everything_is_an_error(made, tools, tool):
    for k in range(4):
        (made.images / f"part/{k}.png").unlink()
    refused(tools(tool, "data.on_error=skip"), "no image at", "part/0.png")


@pytest.mark.parametrize("tool", EACH)
def test_on_error_is_raise_or_skip(tools, tool):
    refused(tools(tool, "data.on_error=ignore"), "data.on_error=ignore is unknown")


@pytest.mark.parametrize(
    ("tool", "key"),
    [
        ("gen_semantic", "data.images"),
        ("train", "data.points"),
        ("gen_pseudo", "data.semantic"),
        ("seeds", "data.images"),
    ],
)
def test_a_folder_or_file_that_is_not_there(tools, tool, key, tmp_path):
    refused(tools(tool, f"{key}={tmp_path}/nowhere"), f"{tmp_path}/nowhere")
    refused(tools(tool, f"{key}="), f"{key} is not set; add {key}=PATH to the command")


@pytest.mark.parametrize(
    ("tool", "word", "sentence"),
    [
        ("train", "mdm.decode=guess", "mdm.decode=guess: must be point or vote"),
        ("train", "mdm.conflict=fight", "mdm.conflict=fight: must be points_first or"),
        ("train", "mdm.rounds=-1", "mdm.rounds=-1"),
        ("train", "mdm.beta=0", "mdm.beta=0"),
        ("gen_semantic", "semantic.maps=x", "is a setting of semantic=png; add semantic=png to"),
        ("train", "mdm.gamma=1", "there is no setting mdm.gamma"),
        ("train", "affinity.bias=true", "there is no setting affinity.bias"),
        ("train", "loss.balance=group", "there is no setting loss.balance"),
        ("train", "+loss.balance=group", "there is no setting loss.balance"),
        ("train", "mdm.rounds=1", "need affinities, which this network does not have; set mdm.r"),
        ("train", "loss.affinity=1", "need affinities, which this network does not have"),
        ("gen_pseudo", "export.rounds=1", "export.rounds=1 needs affinities, which this network"),
        ("gen_pseudo", "export.beta=9", "export.beta=9 needs affinities, which this network"),
        ("train", "mdm.split=straight", "mdm.split=straight: must be euclidean, ge"),
        ("train", "mdm.color_weight=-1", "mdm.color_weight=-1"),
        ("train", "model.norm=layer", "model.norm=layer: must be batch, group or frozen"),
        ("train", "model.width=wide", "model.width=wide: must be an integer"),
        ("train", "model.backbone=no_net", "model.backbone=no_net: Unknown model"),
        ("train", "model.feature_location=''", "model.feature_location is supported by HRNet only"),
        ("train", "model.weights=/no.pth", "no backbone weights at /no.pth"),
        ("train", "loss.background=none", "loss.background=none: must be group, apart"),
        ("train", "loss.hard_pixel_ratio=0", "loss.hard_pixel_ratio=0"),
        ("train", "optim.lr=fast", "optim.lr=fast: must be a number"),
        ("train", "optim.lr=-1", "optim.lr=-1"),
        ("train", "trainer.max_steps=0", "trainer.max_steps=0"),
        ("train", "trainer.max_steps=many", "trainer.max_steps=many: must be"),
        ("train", "trainer.batch_size=0", "trainer.batch_size=0"),
        ("train", "trainer.precision=half", "trainer.precision=half"),
        ("train", "trainer.accelerator=abacus", "trainer.accelerator=abacus"),
        ("train", "+trainer.speed=9", "there is no setting trainer.speed"),
        ("train", "data.augment.crop=50", "data.augment.crop=50"),
        ("train", "data.augment.scale=1", "data.augment.scale=1: must be a list of 2"),
        ("train", "data.workers=-1", "data.workers=-1"),
        ("train", "data.short_side=0", "data.short_side=0: must be an integer >= 1"),
        ("gen_pseudo", "data.long_side=1.5", "data.long_side=1.5: must be an integer"),
        ("train", "data.num_classes=20", "data.num_classes is 20; add data.num_classes=2"),
        ("train", "seed=now", "seed=now: must be"),
        ("gen_pseudo", "export.semantic=S1", "export.semantic=S1: must be S0 or network"),
        ("gen_pseudo", "export.scales=[]", "export.scales=[]"),
        ("gen_pseudo", "export.scales=[0]", "export.scales=[0]"),
        ("gen_pseudo", "export.scales=1", "export.scales=1: must be a list of numbers"),
        ("gen_pseudo", "export.flip=maybe", "export.flip=maybe: must be true or false"),
        ("seeds", "export.orphans=keep", "export.orphans=keep: must be nearest or drop"),
        ("seeds", "export.default_box=0", "export.default_box=0"),
        ("seeds", "export.min_pixels=few", "export.min_pixels=few: must be"),
        ("seeds", "mdm.snap_radius=near", "mdm.snap_radius=near: must be a number"),
    ],
)
def test_a_value_that_cannot_be(tools, tool, word, sentence):
    refused(tools(tool, word), sentence)


def test_an_output_that_is_a_folder_or_below_a_file(tools, tmp_path):
    (tmp_path / "folder.json").mkdir()
    refused(tools("seeds", f"out={tmp_path}/folder.json"), "folder.json")
    (tmp_path / "file").write_text("mine")
    refused(tools("seeds", f"out={tmp_path}/file/pseudo.json"), f"{tmp_path}/file")
    refused(tools("train", f"out={tmp_path}/file"), f"{tmp_path}/file")
    assert (tmp_path / "file").read_text() == "mine"


def test_nothing_is_lost(made, tools, tmp_path):
    """What earlier runs have written is still there, whole, after a mistake."""
    for tool in ALL:
        works(tools(tool))
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    (made.images / "part/2.png").write_bytes(b"no image")
    more = {"gen_pseudo": "export.flip=true", "train": "trainer.max_steps=2"}
    for tool in READERS:
        refused(tools(tool, *([more[tool]] if tool in more else [])), "part/2.png")
    (made.semantic / "part/2.png").unlink()
    refused(tools("seeds", "mdm.snap_radius=3"), "part/2.png")
    refused(tools("train", "mdm.beta=7", "data.on_error=skip"), "trained with other settings")
    for path, content in kept.items():
        added_to = path.name.endswith(("run.json", "readable.json"))
        if path.suffix in (".pt", ".json") and path.name != "manifest.json" and not added_to:
            assert path.read_bytes() == content, path


def test_weights_of_another_network_for_training(tools, tmp_path):
    torch.save({"conv1.weight": torch.zeros(2)}, tmp_path / "a.pth")
    refused(tools("train", f"model.weights={tmp_path}/a.pth"), "a.pth contains another network")


def test_a_name_with_a_newline_stays_on_one_line(tools, tmp_path):
    refused(tools("train", f"data.points={tmp_path}/a\nb.json"), "a b.json")


def test_a_loss_that_is_not_finite(tools, monkeypatch):
    from p2seg.method.losses import P2SegLoss

    call = P2SegLoss.__call__
    monkeypatch.setattr(
        P2SegLoss,
        "__call__",
        lambda *a: {name: loss * float("nan") for name, loss in call(*a).items()},
    )
    refused(tools("train"), "the loss of step 0 is not finite", "part/", "learning rate")


def test_a_training_whose_images_break_on_the_way(made, tools, monkeypatch):
    """After the first look at all of them; here and behind a worker process."""
    from p2seg.cli import train

    path: Path = made.images / "part/0.png"
    look = train.readable_subset

    def look_and_break(*arguments):
        looked = look(*arguments)
        for k in range(4):
            (made.images / f"part/{k}.png").write_bytes(b"no image")
        return looked

    content = path.read_bytes()
    monkeypatch.setattr(train, "readable_subset", look_and_break)
    for workers in (0, 1):
        for k in range(4):
            (made.images / f"part/{k}.png").write_bytes(content)
        refused(tools("train", f"data.workers={workers}"), "is not an image")


@pytest.mark.parametrize(
    ("tool", "word", "sentence"),
    [
        ("train", "mdm.start_step=abc", "mdm.start_step=abc: must be an integer >= 0"),
        ("train", "trainer.clip_norm=-1", "trainer.clip_norm=-1: must be a number > 0, or null"),
        ("train", "model.width=0", "model.width=0: must be an integer >= 1"),
        ("train", "model.embedding=0", "model.embedding=0: must be"),
        ("train", "seed=99999999999999999999999", ": must be an integer from 0 to"),
        ("train", "data.workers=abc", "data.workers=abc: must be"),
        ("gen_pseudo", "trainer.accelerator=tpu", "choose auto, cpu, cuda"),
        ("seeds", "export.min_pixels=0", "export.min_pixels=0: must be an integer >= 1"),
        ("seeds", "export.rounds=-1", "export.rounds=-1: must be"),
        ("seeds", "mdm.snap_radius=-5", "mdm.snap_radius=-5: must be a number >= 0"),
        ("gen_semantic", "semantic.workers=-1", "semantic.workers=-1: must be"),
        ("gen_semantic", "semantic.source.lone=-1", "lone=-1: settings of GrabCut must be"),
        (
            "gen_semantic",
            "semantic.source.iterations=0",
            "iterations=0: settings of GrabCut must be > 0",
        ),
        ("gen_semantic", "semantic.source.max_side=1", "max_side >= 16"),
    ],
)
def test_a_number_out_of_range(tools, tool, word, sentence):
    refused(tools(tool, word), sentence)


def test_a_folder_where_a_file_is_written_is_seen_before_the_work(made, tools, tmp_path):
    refused(tools("seeds", f"out={made.images}"), "is a folder, but a file is needed")
    assert not list(made.images.parent.glob("*.parts"))


def test_a_number_can_be_a_name(tools, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    works(tools("seeds", "name=2024", "out=null"))
    assert (tmp_path / "outputs/2024/pseudo.json").is_file()


def test_a_training_with_the_old_schedule_is_not_resumed_in_silence(tools, tmp_path):
    works(tools("train"))
    last = tmp_path / "network" / "last.pt"
    content = load_checkpoint(last, "network")
    del content["config"]["schedule"]  # as it was written before the decay began at the warm-up
    save_checkpoint(last, content)
    refused(tools("train"), "other settings", "schedule.decay", "resume=changed")


def test_a_training_says_what_it_goes_on_from_and_that_no_round_takes_part(tools):
    words = ("mdm=paper", "mdm.start_step=5", "optim.warmup_steps=0")
    said = works(tools("train", *words))
    assert "no round of MDM takes part: mdm.start_step=5 is not reached" in said
    said = works(tools("train", *words))
    assert "is at step 1 of 1: nothing left to do" in said
