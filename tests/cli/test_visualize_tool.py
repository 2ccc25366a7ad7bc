"""p2seg visualize: every figure of a small training, and mistakes told in a sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tool_sets import NETWORK
from training_sets import training_set

from p2seg.cli.main import main

CELL = 64


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A training set, and the folder of a training on it that kept three snapshots."""
    root = tmp_path_factory.mktemp("trained")
    made = training_set(root / "set")
    words = [*made.words, *NETWORK, "mdm=paper"]
    assert main(["train", *words, "trainer.snapshots=[0,1,3]", f"out={root}/run"]) == 0
    other = {"id": 10, "file_name": "part/0.png", "height": 9, "width": 9}
    content = {"images": [other], "annotations": [], "categories": [{"id": 7, "name": "red"}]}
    (root / "other.json").write_text(json.dumps(content))
    return [*words, f"cell={CELL}"], root


def draw(run_tool, words, out, *more):
    code, _, error = run_tool("visualize", *words, f"out={out}", *more)
    assert (code, error) == (0, ""), error
    picture = np.asarray(Image.open(out))
    assert picture.std() > 10
    return picture


def test_every_figure_of_a_network(trained, tmp_path, run_tool):
    words, root = trained
    ckpt = f"ckpt={root}/run/last.pt"
    width = 8 + 5 * (CELL + 8)
    rounds = draw(run_tool, words, tmp_path / "rounds.png", "figure=rounds", ckpt)
    assert rounds.shape[1] == width
    offset = draw(run_tool, words, tmp_path / "o.png", "figure=offset", ckpt, "count=2")
    assert offset.shape[1] == width
    high = draw(run_tool, words, tmp_path / "a.png", "figure=affinity", ckpt, "clicks=3", "count=1")
    low = draw(run_tool, words, tmp_path / "a.png", "figure=affinity", ckpt, "clicks=1", "count=1")
    assert high.shape[0] > 2 * low.shape[0] > CELL


def test_masks_side_by_side(trained, tmp_path, run_tool):
    words, root = trained
    files = [str(tmp_path / f"{name}.json") for name in ("one", "two")]
    for file, minimum in zip(files, (4, 4000), strict=True):  # so many that all are boxes
        more = (f"export.min_pixels={minimum}", f"out={file}")
        assert run_tool("gen_pseudo", *words[:-1], *more)[0] == 0
    masks = "masks=[" + ",".join(files) + "]"
    name = "names=[part/2.png]"
    sheet = draw(run_tool, words, tmp_path / "m.png", masks, name, f"data.gt={files[0]}")
    height = round(CELL * 40 / 48)
    assert sheet.shape[:2] == (8 + CELL // 10 + height + 8, 8 + 5 * (CELL + 8))
    one, two, truth = (sheet[16:, 8 + k * (CELL + 8) :][:height, :CELL] for k in (2, 3, 4))
    assert (one == truth).all()
    assert (one != two).any()
    alone = draw(run_tool, words, tmp_path / "m.png", f"masks={files[1]}", name)
    assert alone.shape[1] == 8 + 3 * (CELL + 8)
    assert root.is_dir()


def test_progress_of_two_trainings(trained, tmp_path, run_tool):
    words, root = trained
    runs = f"runs=[{root}/run,{root}/run]"
    more = "figure=progress", runs, "titles=[without,with]", "count=1"
    sheet = draw(run_tool, words, tmp_path / "p.png", *more)
    assert sheet.shape[1] == 8 + CELL // 10 + 4 * (CELL + 8)
    rows = sheet[8 + CELL // 10 :, 8 + CELL // 10 :]
    half = len(rows) // 2
    assert (rows[:half] == rows[half : 2 * half]).all(), "the same training twice"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["figure=heads"], "figure=heads is unknown; choose masks, progress"),
        (["figure=masks"], "set masks=[FILE.json"),
        (["figure=rounds"], "add ckpt=FILE.pt"),
        (["figure=progress"], "set runs=[DIR"),
        (["figure=progress", "runs=[{root}/set]"], "has no snapshots; train with trainer.snap"),
        (["figure=progress", "runs=[{root}/run,{root}/run]"], "set titles=[NAME,NAME]"),
        (["figure=rounds", "ckpt={root}/run/last.pt", "names=[x.png]"], "has no image x.png"),
        (["figure=rounds", "ckpt={root}/no.pt"], "no checkpoint at"),
        (["masks=[{root}/no.json]"], "no.json"),
        (["figure=masks", "out=x.jpg"], "give out=FILE.png"),
        (["masks=[x.json]", "truth=true"], "instances_train.json"),
        (["masks=null"], "masks=None: must be a list of strings"),
        (["masks=[x.json]", "titles=[initial semantic map]"], "another column has this title"),
        (["figure=rounds", "ckpt={root}/run/last.pt", "export.scales=2"], "export.scales=2"),
        (["figure=rounds", "ckpt={root}/run/last.pt", "names=[0.png]"], "has no image 0.png"),
        (["figure=rounds", "ckpt={root}/run/last.pt", "names=0.png"], "has no image 0.png"),
        (["figure=offset", "ckpt={root}/run/last.pt", "data.gt={root}/other.json"], "48x40"),
        (["masks={root}/other.json"], "other has no masks of image 10, part/0.png"),
        pytest.param(
            ["figure=rounds", "ckpt={root}/run/last.pt", "trainer.accelerator=mps"],
            "trainer.accelerator=mps is not available",
            marks=pytest.mark.skipif(torch.backends.mps.is_available(), reason="it is"),
        ),
        (["truth=1"], "truth=1 is unknown"),
        (["cell=3"], "cell=3: must be"),
    ],
)
def test_mistakes_are_told(trained, run_tool, tmp_path, monkeypatch, more, told):
    words, root = trained
    monkeypatch.chdir(tmp_path)
    own = [word for word in words if not word.startswith("cell=")]
    code, _, error = run_tool("visualize", *own, *(word.format(root=root) for word in more))
    assert code == 2
    assert told in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
