"""Memory over time: samples of processes, and when memory counts as flat."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from devtools import bench
from devtools.benchmarks import index, memory, tools_memory
from devtools.benchmarks.memory import (
    Sample,
    Stage,
    check_flat,
    gained,
    plain,
    plot,
    rows_of,
    sampled,
)
from p2seg.data.coco import read_instances
from p2seg.data.images import read_image
from p2seg.data.points import read_points
from p2seg.errors import UserError

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
GROWING = """
import os, time
kept = []
if os.fork() == 0:
    time.sleep({seconds})
    os._exit(0)
for _ in range(20):
    kept.append(bytearray(b"x") * {bytes})
    time.sleep({seconds} / 20)
os.wait()
"""


def series(megabytes, process="main"):
    each = enumerate(megabytes)
    return [Sample("work", process, float(k), uss, uss + 5, uss + 9) for k, uss in each]


def test_the_gain_ignores_the_warm_up():
    assert gained(series([*range(0, 200, 10), *[200] * 30])) == pytest.approx(0)
    assert gained(series(range(50))) == pytest.approx(29, abs=1.5)
    saw = [100 + 5 * (k % 5) for k in range(100)]
    assert abs(gained(series(saw))) < 3
    assert gained(series(range(6))) is None
    assert gained([]) is None
    ending = [replace(each, family=3) for each in series([100] * 40)]
    alone = [replace(each, seconds=40 + each.seconds) for each in series([500] * 5)]
    assert gained(ending + alone) == pytest.approx(0), "what was shared is no gain"


def test_a_process_that_grows_is_named():
    flat, growing = series([100] * 60), series(range(100, 160), "worker 2")
    rows = rows_of(flat + growing, 1000)
    assert [row.name for row in rows] == ["work: main", "work: worker 2"]
    assert [row.peak_mb for row in rows] == [100, 159]
    check_flat(rows[:1])
    with pytest.raises(UserError, match=r"work: worker 2 gained 3\d MiB over 1000 images"):
        check_flat(rows)


@linux
def test_every_process_of_a_command_is_sampled(tmp_path):
    code = GROWING.format(bytes=4 << 20, seconds=2.5)
    seen = sampled(Stage("grow", [sys.executable, "-c", code]), pause=0.05)
    rows = {row.name: row for row in rows_of(seen, 20)}
    assert rows["grow: main"].gained_mb > 25
    assert rows["grow: main"].peak_mb > 70
    assert abs(rows["grow: worker 1"].gained_mb) < 3
    assert json.loads(json.dumps(plain(seen)))[0]["process"] == "main"
    plot(seen, tmp_path / "plot.png")
    assert len(np.unique(read_image(tmp_path / "plot.png").reshape(-1, 3), axis=0)) > 10


@linux
def test_a_failed_command_is_reported_with_its_output():
    code = "print('first'); raise SystemExit('no such thing')"
    with pytest.raises(UserError, match="fail ended with code 1: first no such thing"):
        sampled(Stage("fail", [sys.executable, "-c", code]), pause=0.05)


def test_other_systems_are_rejected(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UserError, match="run it on Linux"):
        tools_memory.suite(8, 8, 1.0, None)


@pytest.mark.parametrize("kind", index.KINDS)
def test_an_index_is_a_set(tmp_path, kind):
    path = tmp_path / "index.json"
    index.write_index(path, kind, 30, 200)
    read = read_points(path) if kind == "points" else read_instances(path)
    groups = read.points if kind == "points" else read.instances
    assert (len(read.images), sum(map(len, groups)), len(read.categories)) == (30, 200, 80)
    if kind != "points":
        masks = [each.rle for group in groups for each in group]
        assert len({each["counts"] for each in masks}) > 150
        assert [each.point is None for each in groups[0]] == [kind == "polygons"] * len(groups[0])


@linux
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_workers_that_share_an_index_are_measured(tmp_path):
    path = tmp_path / "index.json"
    index.write_index(path, "codes", 60, 400)
    read, uss, pss = index.measured(path, "codes", "fork", workers=2)
    assert read.seconds > 0
    assert 0 < uss.peak_mb < pss.peak_mb < 2000
    assert (uss.name, pss.name) == (
        "codes: 2 workers by fork, USS",
        "codes: 2 workers by fork, PSS",
    )


def test_the_set_of_many_images_is_read(tmp_path):
    memory.write_many(tmp_path, 70)
    points = read_points(tmp_path / "points.json")
    assert len(points.images) == len(list((tmp_path / "images").iterdir())) == 70
    assert [len(own) for own in points.points] == [2] * 70


@linux
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tools_stay_flat(tmp_path, capsys):
    """Runs the check on few images; libraries still warm up, so the gain is not tested."""
    out = tmp_path / "memory.json"
    words = ("--images", "800", "--index-images", "300", "--pause", "0.2", "--out", str(out))
    code = bench.main(["memory", *words])
    shown, said = capsys.readouterr()
    assert code in (0, 2), said
    names = [row["name"] for row in json.loads(out.read_text())]
    for process in ("train: main", "train: worker 1", "gen_pseudo: main", "train_segmentor: main"):
        assert process in names
    assert {each["process"] for each in json.loads((tmp_path / "memory.seen.json").read_text())}
    assert (tmp_path / "memory.png").stat().st_size > 2000
    assert "polygons: 8 workers by fork, USS" in shown
