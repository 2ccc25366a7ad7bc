"""Maps of a whole set: the number of workers, going on after an interruption, bad images."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from semantic_sets import Counting, Drawn, contents, draw

from p2seg.data.points import PointSet
from p2seg.engine.finite import NotFinite
from p2seg.errors import UserError
from p2seg.runtime.files import sha256
from p2seg.semantic.generate import MAPS, Outcome, Progress, generate
from p2seg.semantic.grabcut import GrabCut
from p2seg.semantic.manifest import Manifest, read_manifest
from p2seg.semantic.oracle import Oracle
from p2seg.semantic.png import PngMaps
from p2seg.semantic.source import MapTask, Source


@pytest.fixture
def drawn(tmp_path: Path) -> Drawn:
    return draw(tmp_path)


def run(source: Source, drawn: Drawn, out: Path | None = None, **options: Any) -> Manifest:
    points: PointSet = options.pop("points", drawn.point_set)
    manifest, _ = generate(
        source, points, drawn.images, out or drawn.out, MAPS, points_sha256="ab", **options
    )
    return manifest


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture(autouse=True)
def small_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes also for a few images."""
    monkeypatch.setattr("p2seg.semantic.generate.MAPS_PER_WORKER", 1)


def test_maps_do_not_depend_on_the_number_of_workers(drawn: Drawn) -> None:
    alone, many = drawn.out.parent / "alone", drawn.out.parent / "many"
    run(GrabCut(), drawn, alone, workers=0)
    run(GrabCut(), drawn, many, workers=2)
    assert contents(alone) == contents(many)
    assert len(contents(alone)) == 5


def test_every_source_travels_to_a_worker(drawn: Drawn) -> None:
    for source in (GrabCut(), Oracle.read(str(drawn.gt)), PngMaps(str(drawn.images))):
        assert pickle.loads(pickle.dumps(source)) == source


def test_manifest_names_source_and_hashes(drawn: Drawn) -> None:
    manifest = run(GrabCut(), drawn)
    assert read_manifest(drawn.out) == manifest
    assert manifest.source == "grabcut"
    assert manifest.parameters["max_side"] == 160
    assert manifest.classes == ["ball", "box"]
    assert manifest.points_sha256 == "ab"
    assert manifest.files == {
        f"part/{n}.png": sha256(drawn.out / f"part/{n}.png") for n in range(4)
    }


def test_finished_maps_are_kept(drawn: Drawn, tmp_path: Path) -> None:
    source = Counting(tmp_path / "log")
    run(source, drawn)
    before = contents(drawn.out)
    _, made = generate(source, drawn.point_set, drawn.images, drawn.out, MAPS, points_sha256="ab")
    assert made == 0
    assert len(lines(source.log)) == 4
    assert contents(drawn.out) == before
    (drawn.out / "part/2.png").unlink()
    run(source, drawn)
    assert lines(source.log)[4:] == ["part/2.png"]
    assert contents(drawn.out) == before


@pytest.mark.parametrize("change", ["parameters", "image", "points", "classes"])
def test_maps_of_other_inputs_are_made_again(drawn: Drawn, tmp_path: Path, change: str) -> None:
    source = Counting(tmp_path / "log")
    run(source, drawn)
    points, expected = drawn.point_set, 4
    if change == "parameters":
        source = replace(source, value=2)
    elif change == "image":
        Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(drawn.images / "part/1.png")
        expected = 1
    elif change == "points":
        moved = replace(points.points[3], yx=points.points[3].yx + 1)
        points = replace(points, points=[*points.points[:3], moved])
        expected = 1
    else:
        names = [replace(each, name=f"new {each.name}") for each in points.categories]
        points = replace(points, categories=names)
    run(source, drawn, points=points)
    assert len(lines(source.log)) == 4 + expected


def test_a_foreign_png_is_not_overwritten(drawn: Drawn, tmp_path: Path) -> None:
    before = contents(drawn.images)
    with pytest.raises(UserError, match=r"part/0\.png exists but was not written by p2seg"):
        run(Counting(tmp_path / "log"), drawn, drawn.images)  # out=DIR of the images
    assert contents(drawn.images) == before


def test_a_bad_image_stops_and_finished_maps_stay(drawn: Drawn, tmp_path: Path) -> None:
    bad = Counting(tmp_path / "log", bad=("part/2.png",))
    with pytest.raises(UserError, match=r"^image part/2\.png is bad$"):
        run(bad, drawn, workers=2)
    assert {"part/0.png", "part/1.png"} <= contents(drawn.out).keys()
    assert "manifest.json" not in contents(drawn.out)
    run(replace(bad, bad=()), drawn)
    assert sorted(lines(bad.log)) == [f"part/{n}.png" for n in range(4)]


def test_skipping_goes_on_and_lists(drawn: Drawn, tmp_path: Path) -> None:
    bad = Counting(tmp_path / "log", bad=("part/0.png", "part/2.png"))
    manifest = run(bad, drawn, on_error="skip")
    assert sorted(manifest.files) == ["part/1.png", "part/3.png"]
    assert manifest.skipped == {
        "part/0.png": "image part/0.png is bad",
        "part/2.png": "image part/2.png is bad",
    }
    (drawn.images / "part/1.png").unlink()
    assert (
        "no image at"
        in run(GrabCut(), drawn, tmp_path / "g", on_error="skip").skipped["part/1.png"]
    )


def test_when_all_are_skipped_it_is_an_error(drawn: Drawn, tmp_path: Path) -> None:
    bad = Counting(tmp_path / "log", bad=tuple(f"part/{n}.png" for n in range(4)))
    with pytest.raises(UserError, match=r"no semantic map was made: image part/0\.png is bad"):
        run(bad, drawn, on_error="skip")
    with pytest.raises(UserError, match=r"data\.on_error=stop is unknown"):
        run(bad, drawn, on_error="stop")


def test_the_manifest_of_older_maps_goes_with_the_first_new_map(
    drawn: Drawn, tmp_path: Path
) -> None:
    run(Counting(tmp_path / "log"), drawn)
    with pytest.raises(UserError, match="bad"):
        run(Counting(tmp_path / "log", bad=("part/0.png",), value=2), drawn)
    assert (drawn.out / "manifest.json").exists()  # no map was touched
    with pytest.raises(UserError, match="bad"):
        run(Counting(tmp_path / "log", bad=("part/1.png",), value=2), drawn)
    assert not (drawn.out / "manifest.json").exists()


def test_a_worker_that_dies_is_one_sentence(drawn: Drawn, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a worker process has ended.*semantic\.workers"):
        run(Counting(tmp_path / "log", deadly=True), drawn, workers=2)


@pytest.mark.parametrize("which", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_killed_worker_hangs_nothing(drawn: Drawn, tmp_path: Path, which: int) -> None:
    """Also an idle one: it may hold the lock of what it shares with the others."""

    def killing_after(count: int) -> Progress:
        def progress(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
            for number, outcome in enumerate(outcomes, 1):
                if number == count:
                    time.sleep(0.5)
                    workers = sorted(each.pid or 0 for each in multiprocessing.active_children())
                    os.kill(workers[which], signal.SIGKILL)
                yield outcome

        return progress

    source = Counting(tmp_path / "log", seconds=0.7)
    with pytest.raises(UserError, match=r"killed by SIGKILL.*semantic\.workers"):
        run(source, drawn, workers=2, progress=killing_after(1))
    source = Counting(tmp_path / "log", value=2)
    made = run(source, drawn, workers=2, progress=killing_after(4))
    assert len(made.files) == 4
    assert not multiprocessing.active_children()


def test_killed_in_the_middle_it_goes_on(drawn: Drawn, tmp_path: Path) -> None:
    slow = Counting(tmp_path / "log", seconds=0.3)
    program = (
        "from pathlib import Path\n"
        "from semantic_sets import Counting\n"
        "from p2seg.data.points import read_points\n"
        "from p2seg.semantic.generate import MAPS, generate\n"
        f"generate(Counting(Path({str(slow.log)!r}), seconds=0.3),\n"
        f"    read_points(Path({str(drawn.points)!r})), Path({str(drawn.images)!r}),\n"
        f"    Path({str(drawn.out)!r}), MAPS, points_sha256='ab')\n"
    )
    here = Path(__file__).resolve().parent.parent
    with subprocess.Popen([sys.executable, "-c", program], cwd=here) as process:
        deadline = time.monotonic() + 120
        while not (drawn.out / "part/0.png").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    assert not (drawn.out / "manifest.json").exists()
    made = lines(slow.log)
    kept = {name for name in contents(drawn.out) if not Path(name).name.startswith(".")}
    assert 1 <= len(kept) < 4
    run(replace(slow, seconds=0.0), drawn)
    again = lines(slow.log)[len(made) :]
    assert set(again) == {f"part/{n}.png" for n in range(4)} - kept
    run(replace(slow, seconds=0.0), drawn, tmp_path / "whole")
    assert {k: v for k, v in contents(drawn.out).items() if not Path(k).name.startswith(".")} == (
        contents(tmp_path / "whole")
    )


class Overflowing(Counting):
    """A source whose model gives NaN on an image."""

    def __call__(self, task: MapTask) -> np.ndarray:
        if task.record.file_name in self.bad:
            raise NotFinite
        return super().__call__(task)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_outputs_that_are_not_finite_name_their_image(drawn: Drawn, workers: int) -> None:
    name = drawn.point_set.images[1].file_name
    source = Overflowing(drawn.out.parent / "log", bad=(name,))
    sentence = f"the model's outputs on {re.escape(name)} are not finite"
    with pytest.raises(UserError, match=sentence):
        run(source, drawn, workers=workers)
    manifest = run(source, drawn, workers=workers, on_error="skip")
    assert [*manifest.skipped] == [name]
    assert "are not finite" in manifest.skipped[name]
