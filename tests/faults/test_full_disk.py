"""A disk that is full, at once or in the middle: a sentence, and what was there before is whole."""

from __future__ import annotations

import shutil
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from tool_sets import QUICK, SEGMENTOR, works
from training_sets import training_set

from p2seg.data.video import VideoWriter
from p2seg.engine.log import TrainingLog
from p2seg.runtime.files import append_line, atomic_path, write_bytes
from p2seg.runtime.progress import TrainingBar
from p2seg.runtime.resume_log import Parts

LITTLE = (0, 1, 2, 4)
"""Free pages: nothing can be begun; or the lock, or a small file, and not the next one."""


def files(folder):
    """The bytes of the results below a folder, by their names.

    Without the filler, and the record of runs: each run adds itself to it.
    """
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "filler" and not path.name.endswith("run.json")
    }


def told(answer, *parts):
    """One sentence of the full disk, and exit code 2."""
    code, _, error = answer
    assert code == 2, error
    assert error.count("\n") == 1, error
    for part in ("No space left on device: the disk is full; make room", *parts):
        assert part in error, error


def no_debris(folder):
    hidden = [path.name for path in folder.rglob(".*")]
    assert hidden == []


def with_less(disk, run, *, pages=LITTLE, allowed=()):
    """Runs a tool on a full disk, and gives how often it was refused.

    What was there is there, but for names that end in one of `allowed`.
    """
    before = files(disk.path)
    refused = 0
    for free in pages:
        disk.fill(free)
        answer = run()
        disk.empty()
        refused += answer[0] != 0
        if answer[0] == 0:
            continue
        told(answer, str(disk.path))
        after = files(disk.path)
        kept = {name for name in before if not name.endswith(allowed or ("\0",))}
        assert {name: after.get(name) for name in kept} == {name: before[name] for name in kept}
        no_debris(disk.path)
    return refused


@pytest.fixture
def made(tmp_path):
    return training_set(tmp_path / "set")


def test_pseudo_masks(disk, made, run_tool):
    def run(*more):
        words = (*made.words, "trainer.accelerator=cpu", f"out={disk.path}/deep/a.json")
        return run_tool("gen_pseudo", *words, *more)

    works(run())
    assert with_less(disk, lambda: run("mdm.snap_radius=0", "export.min_pixels=1")) == 4
    works(run("mdm.snap_radius=0"))  # what the full disk has left is no hindrance
    assert sorted(files(disk.path)) == ["deep/a.json"]


def test_first_maps(disk, made, run_tool):
    def run(*more):
        words = (*made.words, "data.workers=0", f"out={disk.path}/maps")
        return run_tool("gen_semantic", *words, "semantic=png", f"semantic.maps={maps}", *more)

    maps = made.semantic
    works(run())
    before = files(disk.path)
    for name in ("part/0.png", "part/3.png"):
        (disk.path / "maps" / name).unlink()
    assert with_less(disk, run, pages=(0, 1), allowed=("manifest.json",)) == 2
    works(run())
    assert files(disk.path) == before


@pytest.mark.slow
def test_clicks_scores_and_pictures(disk, made, tmp_path, run_tool):
    words = (*made.words, "trainer.accelerator=cpu", f"out={tmp_path}/seeds.json")
    works(run_tool("gen_pseudo", *words))
    gt = f"gt={tmp_path}/seeds.json"
    tools = {
        "make_points": (gt, f"out={disk.path}/a/points.json"),
        "eval": (gt, f"pred={tmp_path}/seeds.json", "kind=pseudo", f"out={disk.path}/b"),
        "visualize": (
            *(*made.words, "figure=masks", f"masks=[{tmp_path}/seeds.json]", "names=[part/0.png]"),
            f"out={disk.path}/c/picture.png",
        ),
    }
    for name, given in tools.items():
        code, _, error = run_tool(name, *given)
        assert code == 0, error
        assert with_less(disk, lambda n=name, g=given: run_tool(n, *g), pages=(0, 1)) == 2
    assert sorted(files(disk.path)) == ["a/points.json", "b/metrics.json", "c/picture.png"]


def test_a_training(disk, made, run_tool):
    """Also TensorBoard's thread meets the full disk; the checkpoint before is whole."""

    def run(*more):
        return run_tool("train", *made.words, *QUICK, f"out={disk.path}/net", *more)

    disk.remount("size=16m")
    works(run())
    last = disk.path / "net" / "last.pt"
    before, alive = last.read_bytes(), threading.active_count()
    more = ("trainer.max_steps=2", "trainer.log_every=1", "resume=changed")
    for free in (0, 2, 20):
        disk.fill(free)
        told(run(*more), str(disk.path))
        disk.empty()
        assert last.read_bytes() == before
        assert [path.name for path in disk.path.rglob("*") if "~" in path.name] == []
    assert threading.active_count() <= alive
    assert "step 2/2" in run(*more)[1]
    assert torch.load(last, weights_only=True)["step"] == 2


@pytest.fixture(scope="module")
def segmentor(tmp_path_factory):
    """A trained segmentor on tiny images, and the words of its data."""
    home = tmp_path_factory.mktemp("segmentor")
    return home, training_set(home / "set")


@pytest.mark.slow
def test_a_segmentor_its_predictions_and_its_export(disk, segmentor, run_tool):
    home, own = segmentor
    words = (*own.words, *QUICK, *SEGMENTOR)
    works(run_tool("gen_pseudo", *own.words, "trainer.accelerator=cpu", f"out={home}/m.json"))

    def train(*more):
        out = f"out={disk.path}/seg"
        return run_tool("train_segmentor", *words, f"pseudo={home}/m.json", out, *more)

    disk.remount("size=64m")
    works(train())
    before = files(disk.path)["seg/last.pt"]
    disk.fill(3)
    told(train("segmentor.schedule.epochs=2", "resume=changed"), str(disk.path))
    disk.empty()
    assert files(disk.path)["seg/last.pt"] == before
    ckpt = home / "last.pt"
    shutil.copyfile(disk.path / "seg" / "last.pt", ckpt)
    shutil.rmtree(disk.path / "seg")

    def predict(*more):
        given = (f"ckpt={ckpt}", f"images={own.images}", "trainer.accelerator=cpu")
        formats = "predict.formats=[labelme,yolo]"
        return run_tool("predict", *given, f"out={disk.path}/found", formats, *more)

    assert with_less(disk, predict, pages=(0, 1, 2, 6)) == 4
    works(predict())
    pytest.importorskip("onnx")

    def export(suffix):
        return run_tool("export", f"ckpt={ckpt}", f"out={disk.path}/m{suffix}", "compare=1")

    assert with_less(disk, lambda: export(".onnx"), pages=(0, 2, 30)) == 3


@pytest.mark.slow
def test_an_experiment(disk, tmp_path, run_tool):
    """Stage after stage meets the full disk, and the same command goes on from there."""
    words = ("+exp=drawn", f"out={disk.path}/e", f"data.root={tmp_path}/data", *QUICK, *SEGMENTOR)
    script = "data.prepare=[prepare_synthetic,--out," + f"{tmp_path}/data,--train,4,--val,2]"
    short = ("pipeline.rows=1", "trainer.snapshots=[]", "semantic.workers=0", script)
    disk.remount("size=128m")
    refusals = 0
    for free in (0, 4, 40, 400):
        disk.fill(free)
        code, _, error = run_tool("pipeline", *words, *short)
        disk.empty()
        assert code in (0, 2), error
        refusals += code == 2
        if code == 2:
            last = error.splitlines(keepends=True)[-1]  # the clicks tell of themselves before
            told((code, "", last), str(disk.path))
        assert [path.name for path in disk.path.rglob("*") if "~" in path.name] == []
    assert refusals >= 2
    works(run_tool("pipeline", *words, *short))
    assert (disk.path / "e" / "report.html").is_file()


def test_what_says_only_that_it_failed_tells_of_the_disk(disk):
    """C++ code throws, or pretends that nothing was wrong."""
    path = disk.path / "a.bin"
    write_bytes(path, b"old")

    def torch_save(temporary):
        torch.save(torch.zeros(1 << 19), temporary)

    def picture(temporary):
        noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)
        Image.fromarray(noise).save(temporary, "PNG")

    for save in (torch_save, picture):
        disk.fill(8)
        with pytest.raises(OSError, match="No space left") as error, atomic_path(path) as temporary:
            save(temporary)
        disk.empty()
        assert error.value.filename == str(path)
        assert files(disk.path) == {"a.bin": b"old"}


def test_a_video_is_counted(disk):
    """OpenCV reports nothing."""
    frames = np.random.default_rng(0).integers(0, 256, (30, 200, 200, 3), np.uint8)
    path = disk.path / "v.mp4"

    def write(count):
        with VideoWriter(path, 25) as video:
            for frame in frames[:count]:
                video.write(frame)

    disk.fill(10)
    with pytest.raises(OSError, match="No space left"):
        write(30)
    assert list(files(disk.path)) == []
    disk.empty()
    write(4)
    assert list(files(disk.path)) == ["v.mp4"]


def test_a_line_is_added_whole_or_not_at_all(disk):
    path = disk.path / "a" / "0.jsonl"
    append_line(path, b"x" * 5000)
    before = path.read_bytes()
    disk.fill(1)
    with pytest.raises(OSError, match="No space left") as error:
        append_line(path, b"y" * 50_000)
    assert error.value.filename == str(path)
    assert path.read_bytes() == before
    disk.empty()
    append_line(path, b"z")
    assert path.read_bytes() == before + b"\nz"


def test_parts_go_on_after_a_full_disk(disk):
    parts = Parts(disk.path / "out.json", "key")
    parts.add(0, "", {"a": 1})
    disk.fill(0)
    with pytest.raises(OSError, match="No space left"):
        parts.add(1, "", {"long": "x" * 9000})
    disk.empty()
    parts.add(2, "", {"b": 2})
    assert sorted(parts.kept().finished) == [0, 2]


def test_curves_are_no_reason_to_lose_a_training(disk, capsys):
    """TensorBoard's thread has died: no call hangs, nothing is printed by it, one line by us."""
    bar = TrainingBar(0, 50, 1, 1000, False)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    with TrainingLog(disk.path / "t", bar, 0, True) as log:
        disk.fill(1)
        for step in range(50):
            log.losses(step, {"a": 1.0}, optimizer)
            log.pictures(step, {"p": noise})
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.count("TensorBoard logging stopped") == 1
    assert "the disk is full" in captured.out
