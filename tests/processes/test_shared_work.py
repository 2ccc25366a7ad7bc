"""Work that is shared over ranks leaves the bytes of one process."""

from __future__ import annotations

import pytest
from process_sets import files_below, nodes, succeed, torchrun, work


def everything(made, home):
    """Every tool that shares work, each on what those before have made."""
    chosen = ("semantic.select=network", f"ckpt={made.network}", *QUICK_NETWORK)
    pred = home / "found/predictions.json"
    return [
        made.maps(home),
        made.export(home, f"out={home}/masks.json"),
        made.score(home / "pseudo", home / "masks.json", "pseudo"),
        made.candidates(home, f"out={home}/simple"),
        made.candidates(home, *chosen, f"out={home}/chosen"),
        made.predict(home, "predict.formats=[labelme,yolo,png]", "predict.overlays=3"),
        made.score(home / "model", pred, "model"),
    ]


QUICK_NETWORK = ("model=tiny", "model.backbone=test_resnet", "model.width=8", "model.embedding=4")
QUICK_NETWORK = (*QUICK_NETWORK, "model.dilations=[1,2]")


@pytest.fixture
def made(tmp_path, run_tool):
    """Five images, so that shares differ; and a network trained for a step."""
    made = work(tmp_path / "set", 5)
    for stage in (made.maps(tmp_path / "first"), made.train(tmp_path / "first")):
        code, _, error = run_tool(*stage)
        assert (code, error) == (0, "")
    return made


def by_one(made, home, run_tool):
    """What one process makes, `home` being where all tools wrote."""
    for stage in everything(made, home):
        code, _, error = run_tool(*stage)
        assert (code, error) == (0, "")
    return files_below(home)


@pytest.mark.slow
def test_two_processes_leave_the_bytes_of_one(made, tmp_path, run_tool, one_thread):
    home = tmp_path / "home"
    alone = by_one(made, home, run_tool)
    home.rename(tmp_path / "alone")
    said = succeed(tmp_path, torchrun(2, *everything(made, home)))
    assert files_below(home) == alone
    assert len(alone) > 50
    assert not [name for name in alone if ".parts" in name]
    for sentence in ("5 maps by grabcut made", "candidates of 5 images", "wrote", "written"):
        assert said.count(sentence) == {"wrote": 2, "written": 2}.get(sentence, 1), said


@pytest.mark.slow
@pytest.mark.parametrize("processes", [3, 8])
def test_and_so_do_others_also_more_than_images(made, tmp_path, run_tool, one_thread, processes):
    home = tmp_path / "home"
    alone = by_one(made, home, run_tool)
    home.rename(tmp_path / "alone")
    succeed(tmp_path, torchrun(processes, *everything(made, home)))
    assert files_below(home) == alone


@pytest.mark.slow
def test_and_two_hosts(made, tmp_path, run_tool, one_thread):
    home = tmp_path / "home"
    alone = by_one(made, home, run_tool)
    home.rename(tmp_path / "alone")
    succeed(tmp_path, *nodes(2, 1, *everything(made, home)))
    assert files_below(home) == alone
