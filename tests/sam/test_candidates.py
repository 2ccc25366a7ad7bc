"""Candidates on disk: the same back, damage noticed, interrupted runs go on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sam_sets import CountingPrompter, block, candidate
from semantic_sets import Drawn, contents, draw

from p2seg.errors import UserError
from p2seg.runtime.files import fingerprint, sha256
from p2seg.sam.candidates import (
    CANDIDATES,
    CandidateFolder,
    read_candidates,
    read_key,
    write_candidates,
)
from p2seg.sam.prompts import Prompting
from p2seg.semantic.generate import generate
from p2seg.semantic.manifest import Manifest, read_manifest

SIZE = (40, 60)
OFFERED = {7: [candidate(block(0, 0, 9, 9), 0.81234), candidate(block(3, 4, 30, 50))], 9: []}


@pytest.fixture
def drawn(tmp_path: Path) -> Drawn:
    return draw(tmp_path)


@pytest.fixture(autouse=True)
def small_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes also for a few images."""
    monkeypatch.setattr("p2seg.semantic.generate.MAPS_PER_WORKER", 1)


def run(prompter: CountingPrompter, drawn: Drawn, out: Path | None = None, **more: Any) -> Manifest:
    points = more.pop("points", drawn.point_set)
    manifest, _ = generate(
        Prompting(prompter, "none"),
        points,
        drawn.images,
        out or drawn.out,
        CANDIDATES,
        points_sha256=sha256(drawn.points),
        **more,
    )
    return manifest


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_candidates_are_the_same_back(tmp_path: Path) -> None:
    write_candidates(tmp_path / "a.json", OFFERED, "key")
    assert read_key(tmp_path / "a.json") == "key"
    again = read_candidates(tmp_path / "a.json", SIZE)
    assert list(again) == [7, 9]
    assert again[9] == []
    assert [each.rle for each in again[7]] == [each.rle for each in OFFERED[7]]
    assert again[7][0].predicted_iou == 0.8123


def test_a_changed_file_has_no_key(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_candidates(path, OFFERED, "key")
    content = json.loads(path.read_text())
    content["points"][0]["candidates"][0]["predicted_iou"] = 0.99
    path.write_text(json.dumps(content))
    assert read_key(path) is None
    with pytest.raises(UserError, match="the content was changed"):
        read_candidates(path, SIZE)
    path.write_text("[1]")
    assert read_key(path) is None
    assert read_key(tmp_path / "none.json") is None


@pytest.mark.parametrize(
    ("points", "told"),
    [
        ("x", "is not a file of candidates"),
        ([{"id": 1}], "is not a file of candidates"),
        ([{"id": 1, "candidates": [{"predicted_iou": 2, "stability": 1}]}], "not in 0..1"),
        (
            [
                {
                    "id": 1,
                    "candidates": [
                        {
                            "predicted_iou": 1,
                            "stability": 1,
                            "segmentation": {"size": [9, 9], "counts": "abc"},
                        }
                    ],
                }
            ],
            "9",
        ),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, points: Any, told: str) -> None:
    path = tmp_path / "a.json"
    content = {"key": "", "digest": fingerprint(points), "points": points}
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=told) as error:
        read_candidates(path, SIZE)
    assert "delete it" in str(error.value)


def test_the_folder_gives_the_candidates_of_points(drawn: Drawn, tmp_path: Path) -> None:
    manifest = run(CountingPrompter(tmp_path / "log"), drawn)
    assert manifest.source == "counting"
    assert manifest.parameters == {"size": 4, "negatives": "none"}
    assert read_manifest(drawn.out) == manifest
    folder = CandidateFolder.of(drawn.out, drawn.point_set, sha256(drawn.points))
    ids = drawn.point_set.points[2].ids.tolist()
    assert [len(each) for each in folder(ids)] == [3, 3]
    assert folder.provenance["source"] == "counting"
    with pytest.raises(UserError, match="of another points file"):
        CandidateFolder.of(drawn.out, drawn.point_set, "other")
    with pytest.raises(UserError, match="no candidates at"):
        CandidateFolder.of(tmp_path / "nowhere", drawn.point_set, "other")
    write_candidates(drawn.out / "part/2.json", {ids[0]: []}, "key")
    with pytest.raises(UserError, match=f"has no candidates of point {ids[1]}"):
        folder(ids)


@pytest.mark.parametrize("change", ["prompter", "negatives", "image", "points", "ids"])
def test_only_what_changed_is_asked_again(drawn: Drawn, tmp_path: Path, change: str) -> None:
    prompter = CountingPrompter(tmp_path / "log")
    run(prompter, drawn)
    before = contents(drawn.out)
    run(prompter, drawn)
    assert len(lines(prompter.log)) == 4
    assert contents(drawn.out) == before
    points, expected = drawn.point_set, 4
    source = Prompting(prompter, "none")
    if change == "prompter":
        source = Prompting(replace(prompter, size=5), "none")
    elif change == "negatives":
        source = Prompting(prompter, "all")
    elif change == "image":
        (drawn.images / "part/1.png").write_bytes((drawn.images / "part/2.png").read_bytes())
        expected = 1
    elif change == "ids":
        swapped = replace(points.points[3], ids=points.points[3].ids.flip(0))
        points, expected = replace(points, points=[*points.points[:3], swapped]), 1
    else:
        moved = replace(points.points[3], yx=points.points[3].yx + 1)
        points, expected = replace(points, points=[*points.points[:3], moved]), 1
    generate(source, points, drawn.images, drawn.out, CANDIDATES, points_sha256="ab")
    assert len(lines(prompter.log)) == 4 + expected


@pytest.mark.slow
def test_workers_share_the_list(drawn: Drawn, tmp_path: Path) -> None:
    prompter = CountingPrompter(tmp_path / "log")
    run(prompter, drawn, tmp_path / "alone")
    run(prompter, drawn, tmp_path / "many", workers=2)
    assert contents(tmp_path / "alone") == contents(tmp_path / "many")
    assert sorted(lines(prompter.log)) == sorted(2 * [f"part/{n}.png" for n in range(4)])


def test_a_bad_image_and_a_full_disk_cost_no_finished_work(drawn: Drawn, tmp_path: Path) -> None:
    prompter = CountingPrompter(tmp_path / "log", bad=("part/2.png",))
    with pytest.raises(UserError, match=r"^image part/2\.png is bad$"):
        run(prompter, drawn)
    full = replace(prompter, bad=(), full="part/3.png")
    with pytest.raises(OSError, match="No space left"):
        run(full, drawn)
    run(replace(full, full=""), drawn)
    assert lines(prompter.log) == [f"part/{n}.png" for n in range(4)]


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_to_the_same_bytes(drawn: Drawn, tmp_path: Path) -> None:
    slow = CountingPrompter(tmp_path / "log", seconds=0.3)
    program = (
        "from pathlib import Path\n"
        "from sam_sets import CountingPrompter\n"
        "from p2seg.data.points import read_points\n"
        "from p2seg.runtime.files import sha256\n"
        "from p2seg.sam.candidates import CANDIDATES\n"
        "from p2seg.sam.prompts import Prompting\n"
        "from p2seg.semantic.generate import generate\n"
        f"points = Path({str(drawn.points)!r})\n"
        f"prompter = CountingPrompter(Path({str(slow.log)!r}), seconds=0.3)\n"
        f"generate(Prompting(prompter, 'none'), read_points(points),\n"
        f"    Path({str(drawn.images)!r}), Path({str(drawn.out)!r}), CANDIDATES,\n"
        f"    points_sha256=sha256(points))\n"
    )
    here = Path(__file__).resolve().parent
    with subprocess.Popen([sys.executable, "-c", program], cwd=here) as process:
        deadline = time.monotonic() + 120
        while not (drawn.out / "part/0.json").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    kept = {name for name in contents(drawn.out) if not Path(name).name.startswith(".")}
    assert 1 <= len(kept) < 4
    made = len(lines(slow.log))
    quick = replace(slow, seconds=0.0)
    run(quick, drawn)
    assert set(lines(slow.log)[made:]) == {f"part/{n}.png" for n in range(4)} - {
        name.replace("json", "png") for name in kept
    }
    run(quick, drawn, tmp_path / "whole")
    ours = {k: v for k, v in contents(drawn.out).items() if not Path(k).name.startswith(".")}
    assert ours == contents(tmp_path / "whole")
