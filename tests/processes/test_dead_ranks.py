"""A rank that dies takes its job down within a minute; the same command then does the rest."""

from __future__ import annotations

import random
import re
import sys
import time

import pytest
from process_sets import MINUTE, WORKER, files_below, running, succeed, torchrun, work

IMAGES = 24


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A set, and a network trained on it for a step."""
    root = tmp_path_factory.mktemp("dead")
    made = work(root / "set", IMAGES)
    succeed(root, torchrun(1, made.maps(root / "first"), made.train(root / "first")))
    return made


def job(made, stage, home):
    """The words of a stage, and what counts its finished images."""
    if stage == "maps":
        return made.maps(home), lambda: len(list((home / "maps").rglob("[0-9]*.png")))
    if stage == "candidates":
        done = home / "candidates"
        return made.candidates(home), lambda: len(list(done.rglob("[0-9]*.json*")))
    if stage == "export":
        maps = f"data.semantic={made.network.parents[2]}/first/maps"
        words = made.export(home, maps, f"out={home}/masks.json")
        return words, lambda: lines(home / "masks.json.parts")
    words = made.predict(home, "predict.formats=[labelme]", "predict.overlays=9")
    return words, lambda: lines(home / "found/predictions.json.parts")


def lines(folder):
    return sum(file.read_text().count('{"key') for file in folder.glob("*.jsonl"))


def kept(said, stage):
    """How many images the run found done, where it says so."""
    found = re.search(r"made, (\d+) were there already", said)
    return int(found[1]) if found else 0


def killed(tmp_path, made, stage, home, command, when, rank):
    """Runs until so many images are done, kills the rank, and gives how many seconds it took."""
    _, count = job(made, stage, home)
    with running(tmp_path, *command, pause=0.03) as started:
        assert started.until(lambda: count() >= when), started.said
        started.kill(rank)
        since = time.monotonic()
        assert all(started.ended(MINUTE)), started.said
        took = time.monotonic() - since
    assert count() < IMAGES
    return took


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("stage", ["maps", "candidates", "export", "predict"])
def test_the_share_of_a_dead_rank_is_redone(tmp_path, made, stage, seed, run_tool, one_thread):
    draw = random.Random(f"{stage} {seed}")
    home, sizes = tmp_path / "home", [2, 3, 1]
    words, count = job(made, stage, home)
    assert run_tool(*words)[0] == 0
    alone = files_below(home)
    home.rename(tmp_path / "alone")
    processes, again = draw.choice(sizes[:2]), draw.choice(sizes)
    when, rank = draw.randrange(1, IMAGES // 2), draw.randrange(processes)
    killed(tmp_path, made, stage, home, [torchrun(processes, words)], when, rank)
    before = count()
    said = run_tool(*words)[1] if again == 1 else succeed(tmp_path, torchrun(again, words))
    if stage in ("maps", "candidates"):
        assert kept(said, stage) >= before - processes, said
    assert files_below(home) == alone


def test_a_job_ends_with_its_dead_rank_and_goes_on(tmp_path, run_tool):
    """The quick form of the above."""
    made, home = work(tmp_path / "set", 12), tmp_path / "home"
    words, count = made.maps(home), lambda: len(list((home / "maps").rglob("[0-9]*.png")))
    with running(tmp_path, torchrun(2, words), pause=0.2) as started:
        assert started.until(lambda: count() >= 3), started.said
        started.kill(1)
        assert all(started.ended(MINUTE)), started.said
    before = count()
    code, said, _ = run_tool(*words)
    assert code == 0
    assert int(re.search(r"made, (\d+) were there already", said)[1]) >= before - 1
    assert f"{12 - before} maps" in said


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["devices", "torchrun"])
def test_ranks_end_with_the_killed_process_that_has_started_them(tmp_path, launcher):
    made, home = work(tmp_path / "set", 12), tmp_path / "home"
    words, count = made.maps(home), lambda: len(list((home / "maps").rglob("[0-9]*.png")))
    command, told = torchrun(2, words), {}
    if launcher == "devices":
        command, told = (
            [sys.executable, WORKER, *words[1:], "trainer.devices=2"],
            {"tool": words[0]},
        )
    with running(tmp_path, command, pause=2.0, **told) as started:
        assert started.until(lambda: count() >= 1), started.said
        assert len(started.left()) >= 2
        started.nodes[0].kill()
        started.ended(10)
    assert count() < 12
