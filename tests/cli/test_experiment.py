"""What makes a stage of an experiment run again, and what does not."""

from __future__ import annotations

import importlib
import shutil

import numpy as np
import pytest
from PIL import Image
from tool_sets import NETWORK, SEGMENTOR, works

from p2seg.data.labels import write_labels
from p2seg.data.points import read_points
from p2seg.engine.checkpoint import CheckpointFolder
from p2seg.pseudo.resume_log import Shards

DONE = "already done"


@pytest.fixture
def stage(made, tmp_path, run_tool, capsys):
    """Runs one stage: `stage("train", "more=words")` -> (exit code, what it printed)."""
    from p2seg.cli.entry import entry
    from p2seg.cli.experiment import Experiment

    words = [*made.words, *NETWORK, *SEGMENTOR, f"data.val_images={made.images}"]
    words += ["semantic=grabcut", "semantic.workers=0", f"out={tmp_path / 'exp'}"]

    def run(name, *more, **arguments):
        capsys.readouterr()
        function = getattr(Experiment, name)
        main = entry("pipeline")(lambda cfg: function(Experiment(cfg), **arguments))
        code = main([*words, *more])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


@pytest.fixture
def stop_after(monkeypatch):
    """Makes a method raise as Ctrl-C does, after some calls."""

    def stop(kind, method, calls):
        function, seen = getattr(kind, method), []

        def stopping(self, *arguments, **named):
            result = function(self, *arguments, **named)
            seen.append(1)
            if len(seen) == calls:
                raise KeyboardInterrupt
            return result

        monkeypatch.setattr(kind, method, stopping)
        return lambda: monkeypatch.setattr(kind, method, function)

    return stop


def recolor(path):
    """Other pixels in a file of the same name."""
    array = np.asarray(Image.open(path)).copy()
    array[:4, :4] = 255 - array[:4, :4]
    Image.fromarray(array).save(path)


def test_an_interrupted_training_keeps_its_newest_checkpoint(stage, stop_after):
    each = ("trainer.checkpoint_every=1",)
    go_on = stop_after(CheckpointFolder, "write", 2)
    assert stage("train", *each, "trainer.accelerator=auto")[0] == 130
    go_on()
    code, said = stage("train", *each, "trainer.accelerator=cpu", "trainer.snapshots=[3]")
    assert code == 0, said
    assert "at step 2 of 3" in said
    assert DONE in stage("train", *each)[1], "nothing that decides has changed"


def test_an_interrupted_training_with_other_settings_is_told_apart(stage, stop_after):
    go_on = stop_after(CheckpointFolder, "write", 2)
    assert stage("train", "trainer.checkpoint_every=1")[0] == 130
    go_on()
    code, said = stage("train", "optim.lr=0.5")
    assert code == 2
    assert "optim.lr was 0.001 and is 0.5" in said
    code, said = stage("train")
    assert code == 0, said
    assert "at step 2 of 3" in said, "the first command goes on"


def test_photographs_replaced_in_place_are_seen(stage, made):
    shutil.rmtree(made.semantic)
    for name, arguments in (("semantic", {}), ("pseudo", {"stage": "control"}), ("train", {})):
        assert stage(name, **arguments)[0] == 0
        assert DONE in stage(name, **arguments)[1]
    recolor(made.images / "part/0.png")
    for name, arguments in (("semantic", {}), ("pseudo", {"stage": "control"}), ("train", {})):
        code, said = stage(name, **arguments)
        assert code == 0, said
        assert DONE not in said, name


def test_images_of_another_place_with_the_same_content_change_nothing(stage, made, tmp_path):
    assert stage("pseudo", stage="seed")[0] == 0
    shutil.copytree(made.images, tmp_path / "copied")
    assert DONE in stage("pseudo", f"data.images={tmp_path / 'copied'}", stage="seed")[1]
    recolor(tmp_path / "copied/part/1.png")
    assert DONE not in stage("pseudo", f"data.images={tmp_path / 'copied'}", stage="seed")[1]


def test_the_precision_of_a_segmentor_and_its_images_are_seen(stage, made, tmp_path):
    assert stage("pseudo", stage="control")[0] == 0
    gt = f"data.val_gt={tmp_path / 'exp/control.json'}"
    assert stage("segmentor", gt, masks="control")[0] == 0
    assert stage("segmentor", gt, masks="control")[1].count(DONE) == 2
    shutil.copytree(made.images, tmp_path / "val")
    recolor(tmp_path / "val/part/2.png")
    other = f"data.val_images={tmp_path / 'val'}"
    assert stage("segmentor", gt, other, masks="control")[1].count(DONE) == 1, "predicts again"
    code, said = stage("segmentor", gt, "trainer.precision=bf16-mixed", masks="control")
    assert code == 0, said
    assert DONE not in said


def test_an_interrupted_export_makes_masks_of_replaced_maps_again(
    made, tmp_path, run_tool, stop_after
):
    words = [*made.words, *NETWORK, "ckpt=none"]
    go_on = stop_after(Shards, "add", 3)
    assert run_tool("gen_pseudo", *words, f"out={tmp_path}/masks.json")[0] == 130
    go_on()
    semantic = np.zeros((40, 48), np.uint8)
    semantic[5:15, 5:15] = 1
    write_labels(made.semantic / "part/0.png", semantic)
    recolor(made.images / "part/1.png")
    made_again = []
    gen_pseudo = importlib.import_module("p2seg.cli.gen_pseudo")
    add = gen_pseudo.Shards.add
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Shards, "add", lambda self, id, *rest: (made_again.append(id), add(self, id, *rest))
        )
        works(run_tool("gen_pseudo", *words, f"out={tmp_path}/masks.json"))
    ids = [image.id for image in read_points(made.file).images]
    assert made_again == ids[:2], "the others were finished, and have not changed"
    works(run_tool("gen_pseudo", *words, f"out={tmp_path}/fresh.json"))
    first, second = (tmp_path / f"{name}.json" for name in ("masks", "fresh"))
    assert first.read_bytes() == second.read_bytes()


def test_edited_points_are_used_as_they_are_by_every_run(stage, made, tmp_path, run_tool):
    works(run_tool("gen_pseudo", *made.words, *NETWORK, "ckpt=none", f"out={tmp_path}/gt.json"))
    words = (f"data.gt={tmp_path}/gt.json", f"data.points={tmp_path}/clicks.json")
    assert stage("points", *words)[0] == 0
    assert DONE in stage("points", *words)[1]
    edited = (tmp_path / "clicks.json").read_text() + "\n"
    (tmp_path / "clicks.json").write_text(edited)
    for more in ((), (), ("seed=1",)):
        code, said = stage("points", *words, *more)
        assert code == 0, said
        assert "as it is" in said
        assert (tmp_path / "clicks.json").read_text() == edited
