"""From clicks over a SAM's candidates to maps, pseudo masks and a report, by the command line."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sam_sets import write_sam, write_sam2
from semantic_sets import Drawn, contents, draw
from tool_sets import NETWORK, QUICK, SEGMENTOR, refused, works

from p2seg.data.coco import decode, read_instances
from p2seg.data.maps import read_map
from p2seg.data.points import read_points
from p2seg.semantic.manifest import read_manifest

Run = Callable[..., tuple[int, str, str]]
SIZE = (60, 80)


@dataclass(frozen=True)
class Files:
    """A drawn set and small segmenters in the official formats."""

    drawn: Drawn
    sam: Path
    sam2: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    root = tmp_path_factory.mktemp("sam")
    return Files(draw(root), write_sam(root / "it's ${small}.pth"), write_sam2(root / "sam2"))


def words(files: Files, home: Path, *more: object) -> list[object]:
    drawn = files.drawn
    return [
        "data=custom",
        "data.num_classes=2",
        f"data.images={drawn.images}",
        f"data.points={drawn.points}",
        f"data.semantic={home}/maps",
        f"data.candidates={home}/candidates",
        "trainer.accelerator=cpu",
        *more,
    ]


def sam(files: Files, home: Path, *more: object) -> list[object]:
    checkpoint = f"semantic.sam.checkpoint={files.sam}"
    return words(files, home, "semantic=sam", checkpoint, *more)


def simulated(files: Files, home: Path, *more: object) -> list[object]:
    gt = f"semantic.gt={files.drawn.gt}"
    return words(files, home, "semantic=simulated", gt, "semantic.workers=0", *more)


def test_sam_makes_maps_of_clicks_and_choosing_again_asks_nobody(
    files: Files, tmp_path: Path, run_tool: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = works(run_tool("gen_semantic", *sam(files, tmp_path)))
    assert "candidates of 4 images by sam made" in out
    assert "4 maps by sam made" in out
    manifest = read_manifest(tmp_path / "maps")
    assert manifest.source == "sam"
    assert manifest.parameters["select"] == "consistent"
    assert manifest.parameters["candidates"]["negatives"] == "other_class"
    assert manifest.parameters["candidates"]["official"] is False
    points = read_points(files.drawn.points)
    for record, own in zip(points.images, points.points, strict=True):
        path = (tmp_path / "maps" / record.file_name).with_suffix(".png")
        semantic = read_map(path, SIZE, 2)
        for (y, x), label in zip(own.pixels.tolist(), own.labels.tolist(), strict=True):
            assert semantic[y, x] == label
    before = contents(tmp_path / "candidates")
    monkeypatch.setattr("p2seg.sam.official.OfficialSam.__call__", None)  # nobody is asked
    maps = set()
    for select in ("score", "largest", "smallest", "consistent"):
        again = works(run_tool("gen_semantic", *sam(files, tmp_path, f"semantic.select={select}")))
        assert "candidates of 0 images by sam made, 4 were there already" in again
        maps.add(str(contents(tmp_path / "maps")))
    assert contents(tmp_path / "candidates") == before
    assert len(maps) >= 3
    again = works(run_tool("gen_semantic", *words(files, tmp_path, "semantic=sam")))
    assert "candidates as they are, no checkpoint given" in again


def test_other_negatives_and_other_checkpoints_are_asked_again(
    files: Files, tmp_path: Path, run_tool: Run
) -> None:
    works(run_tool("gen_semantic", *sam(files, tmp_path)))
    out = works(run_tool("gen_semantic", *sam(files, tmp_path, "semantic.negatives=all")))
    assert "candidates of 4 images by sam made" in out
    other = write_sam(tmp_path / "other.pth", seed=1)
    words = sam(files, tmp_path, "semantic.negatives=all", f"semantic.sam.checkpoint={other}")
    assert "candidates of 4 images by sam made" in works(run_tool("gen_semantic", *words))


def test_sam2_through_transformers(files: Files, tmp_path: Path, run_tool: Run) -> None:
    checkpoint = f"semantic.sam.checkpoint={files.sam2}"
    own = words(files, tmp_path, "semantic=sam2", checkpoint)
    assert "4 maps by sam2 made" in works(run_tool("gen_semantic", *own))
    masks = tmp_path / "sam.json"
    works(run_tool("gen_pseudo", *own, "export.masks=sam", f"out={masks}"))
    info = read_instances(masks).info
    assert info["candidates"]["source"] == "sam2"
    assert info["candidates"]["parameters"]["model"] == "sam2"


def test_simulated_masks_by_choice_network_and_snap(
    files: Files, tmp_path: Path, run_tool: Run
) -> None:
    def masks(name: str, *more: object) -> Any:
        out = tmp_path / f"{name}.json"
        works(run_tool("gen_pseudo", *simulated(files, tmp_path, *more), f"out={out}"))
        return read_instances(out)

    works(run_tool("gen_semantic", *simulated(files, tmp_path)))
    straight = masks("straight", "export.masks=sam", "semantic.select=largest")
    assert straight.info["candidates"]["source"] == "simulated"
    assert straight.info["choice"] == {"select": "largest", "overlap": "smaller"}
    assert straight.info["inputs"]["semantic"]["source"] == "simulated"

    clean = [f"semantic.faults.{fault}=0" for fault in ("noise", "missing", "lost", "doubt")]
    works(run_tool("gen_semantic", *simulated(files, tmp_path, *clean)))
    truth = read_instances(files.drawn.gt)
    consistent = masks("consistent", "export.masks=sam", *clean)
    for own, real in zip(consistent.instances, truth.instances, strict=True):
        for a, b in zip(own, real, strict=True):
            iou = (decode(a) & decode(b)).sum() / (decode(a) | decode(b)).sum()
            assert iou > 0.6, (a.id, iou)
    table = works(
        run_tool(
            *("eval", f"gt={files.drawn.gt}", f"pred={tmp_path}/consistent.json", "kind=pseudo"),
            f"out={tmp_path}/scores",
        )
    )
    assert "mean IoU" in table

    snapped = masks("snapped", "export.snap=sam", "export.snap_iou=0.3")
    assert snapped.info["snap"]["iou"] == 0.3
    assert snapped.info["snap"]["candidates"]["source"] == "simulated"

    network = works(run_tool("train", *simulated(files, tmp_path), *QUICK, f"out={tmp_path}/net"))
    assert "step 1/1" in network
    ckpt = f"ckpt={tmp_path}/net/last.pt"
    ask = simulated(files, tmp_path, *QUICK, "semantic.select=network", ckpt)
    out = works(run_tool("gen_semantic", *ask, f"out={tmp_path}/maps_network"))
    assert "4 maps by simulated made" in out
    parameters = read_manifest(tmp_path / "maps_network").parameters
    assert parameters["select"] == "network"
    assert len(parameters["network"]["checkpoint"]) == 64
    again = works(run_tool("gen_semantic", *ask, f"out={tmp_path}/maps_network"))
    assert "0 maps by simulated made, 4 were there already" in again
    chosen = masks(
        "network", *QUICK, "semantic.select=network", ckpt, "export.masks=sam", "export.snap=none"
    )
    assert chosen.info["choice"]["network"] == parameters["network"]


def test_a_killed_run_goes_on_where_it_stopped(
    files: Files, tmp_path: Path, run_tool: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from p2seg.sam.official import OfficialSam

    real, asked = OfficialSam.__call__, []

    def watched(self: Any, image: Any, prompts: Any, task: Any) -> Any:
        asked.append(task.record.file_name)
        if len(asked) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/disk/2.json")
        return real(self, image, prompts, task)

    monkeypatch.setattr(OfficialSam, "__call__", watched)
    refused(run_tool("gen_semantic", *sam(files, tmp_path)), "/disk/2.json: No space left")
    assert len(list((tmp_path / "candidates").rglob("*.json"))) == 2
    works(run_tool("gen_semantic", *sam(files, tmp_path)))
    assert asked == ["part/0.png", "part/1.png", "part/2.png", "part/2.png", "part/3.png"]
    works(run_tool("gen_semantic", *sam(files, tmp_path / "whole")))
    for folder in ("candidates", "maps"):
        assert contents(tmp_path / folder) == contents(tmp_path / "whole" / folder)


def test_candidates_do_not_replace_what_another_has_written(
    files: Files, tmp_path: Path, run_tool: Run
) -> None:
    own = sam(files, tmp_path)
    works(run_tool("gen_semantic", *own))
    before = contents(tmp_path / "maps")
    answer = run_tool(
        *("gen_semantic", *own, f"data.candidates={tmp_path}/maps", f"out={tmp_path}/more")
    )
    refused(
        answer,
        f"{tmp_path}/maps/manifest.json exists and was not written by p2seg gen_semantic",
        "set another data.candidates=DIR, or overwrite=true",
    )
    assert contents(tmp_path / "maps") == before
    manifest = tmp_path / "candidates/manifest.json"
    manifest.write_text(edited := manifest.read_text() + "\n")
    refused(run_tool("gen_semantic", *own), str(manifest), "was changed after")
    assert manifest.read_text() == edited
    works(run_tool("gen_semantic", *own, "overwrite=true"))
    works(run_tool("gen_semantic", *own))


def test_an_unreadable_image_is_one_sentence_or_skipped(
    files: Files, tmp_path: Path, run_tool: Run
) -> None:
    spoilt = Files(draw(tmp_path / "set"), files.sam, files.sam2)
    (spoilt.drawn.images / "part/2.png").write_bytes(b"no image")
    answer = run_tool("gen_semantic", *sam(spoilt, tmp_path))
    refused(answer, "part/2.png is not an image", "data.on_error=skip")
    assert (tmp_path / "candidates/part/1.json").is_file()
    out = works(run_tool("gen_semantic", *sam(spoilt, tmp_path, "data.on_error=skip")))
    assert "no candidates of part/2.png: " in out
    assert "part/2.png is not an image" in out
    assert "skipped: part/2.png: no candidates" in out
    assert sorted(read_manifest(tmp_path / "maps").files) == [f"part/{n}.png" for n in (0, 1, 3)]


def test_mistakes_are_one_sentence(files: Files, tmp_path: Path, run_tool: Run) -> None:
    def told(tool: str, own: list[object], *parts: str) -> None:
        refused(run_tool(tool, *own), *parts)

    none = words(files, tmp_path, "semantic=sam", "semantic.sam.checkpoint=none.pth")
    told("gen_semantic", none, "none.pth", "sam_vit_b_01ec64.pth", "sha256")
    wrong = sam(files, tmp_path, "semantic.sam.model=vit_x")
    told("gen_semantic", wrong, "semantic.sam.model=vit_x is unknown; choose vit_b, vit_l or vit_h")
    told("gen_semantic", sam(files, tmp_path, "semantic.select=best"), "semantic.select=best")
    told("gen_semantic", sam(files, tmp_path, "semantic.negatives=some"), "semantic.negatives=some")
    told("gen_semantic", sam(files, tmp_path, "semantic.costs.part=-1"), "all costs must be >= 0")
    told("gen_semantic", sam(files, tmp_path, "semantic.costs.part=x"), "semantic.costs.part=x")
    told(
        "gen_semantic", sam(files, tmp_path, "semantic.costs=null"), "semantic.costs=None: must be"
    )
    network = ("semantic.select=network", f"ckpt={files.sam}")
    told("gen_semantic", sam(files, tmp_path, *network), "checkpoint")
    assert not (tmp_path / "candidates").exists()  # all of this is seen before the work
    ask = sam(files, tmp_path, "semantic.select=network")
    told("gen_semantic", ask, "semantic.select=network needs a trained network; add ckpt=FILE.pt")
    precision = sam(files, tmp_path, "semantic.sam.precision=half")
    told("gen_semantic", precision, "semantic.sam.precision=half")

    works(run_tool("gen_semantic", *simulated(files, tmp_path / "made")))
    own = words(files, tmp_path / "made", f"out={tmp_path}/p.json")
    told("gen_pseudo", [*own, "export.masks=sam"], "set semantic=sam")
    told("gen_pseudo", [*own, "export.masks=all"], "export.masks=all is unknown")
    told("gen_pseudo", [*own, "export.snap=on"], "export.snap=on is unknown")
    told(
        "gen_pseudo", [*own, "export.snap=sam"], "export.snap=sam needs candidates", "semantic=sam"
    )
    told(
        "gen_pseudo",
        [*own, "semantic=sam", "export.masks=sam"],
        "are of simulated, but semantic=sam",
    )
    told("gen_semantic", sam(files, tmp_path / "made"), "are of simulated, but semantic=sam")
    own.append("semantic=simulated")
    told("gen_pseudo", [*own, "export.snap=sam", "export.snap_iou=2"], "export.snap_iou=2")
    told("gen_pseudo", [*own, "export.snap=sam", "export.snap_iou=x"], "export.snap_iou=x")
    told("gen_pseudo", [*own, "export.masks=sam", "semantic.overlap=x"], "semantic.overlap=x")
    nowhere = [*own, "export.snap=sam", f"data.candidates={tmp_path}/nowhere"]
    told("gen_pseudo", nowhere, "no candidates at", "p2seg gen_semantic semantic=sam")
    (tmp_path / "made/candidates/part/0.json").write_text("{")
    told(
        "gen_pseudo", [*own, "export.snap=sam"], "part/0.json is not a readable file of candidates"
    )
    home = (f"out={tmp_path}/x", f"data.gt={files.drawn.gt}", f"data.val_gt={files.drawn.gt}")
    reselect = [*words(files, tmp_path, *home), "pipeline.reselect=true"]
    told("pipeline", reselect, "pipeline.reselect=true needs candidates and a network")
    rows = [*words(files, tmp_path, *home), "pipeline.segmentors=[sam]"]
    told("pipeline", rows, "pipeline.segmentors=[sam] needs candidates")


@pytest.mark.slow
def test_the_pipeline_runs_sam_alone_and_the_whole_method(
    files: Files, tmp_path: Path, run_tool: Run
) -> None:
    gt = (f"data.gt={files.drawn.gt}", f"data.val_gt={files.drawn.gt}")
    more = (*gt, f"data.val_images={files.drawn.images}", *NETWORK, *SEGMENTOR, "pipeline.rows=2")
    alone = ("pipeline.network=false", "pipeline.segmentors=[sam]", f"out={tmp_path}/alone")
    own = simulated(files, tmp_path, *more)
    works(run_tool("pipeline", *own, *alone, "semantic.select=score", "export.masks=sam"))
    report = json.loads((tmp_path / "alone/report.json").read_text())
    assert {"seed", "control", "sam", "segmentor_sam"} <= report.keys()
    assert "mdm" not in report
    assert report["sam"]["quality"]["mean_iou"] > 0.2

    whole = ("pipeline.reselect=true", "export.snap=sam", "pipeline.segmentors=[]")
    own = simulated(files, tmp_path / "second", *more, *whole, f"out={tmp_path}/whole")
    works(run_tool("pipeline", *own))
    report = json.loads((tmp_path / "whole/report.json").read_text())
    assert {"seed", "control", "sam", "sam_network", "mdm"} <= report.keys()
    masks = read_instances(tmp_path / "whole/mdm.json")
    assert masks.info["snap"]["candidates"]["source"] == "simulated"
    straight = read_instances(tmp_path / "whole/sam_network.json")
    assert straight.info["choice"]["select"] == "network"
    assert np.all([each.score <= 1 for own in straight.instances for each in own])
    again = works(run_tool("pipeline", *own))
    assert again.count(": skipped, already done") == len(report["seconds"])


def test_the_plain_command_keeps_sams_masks_in_the_folder_of_the_set(
    files: Files, tmp_path: Path, run_tool: Run
) -> None:
    out = tmp_path / "masks"
    more = ("--method", "sam", "--checkpoint", files.sam, "--network", "no", "--out", out)
    code, text, error = run_tool("masks", files.drawn.images, files.drawn.points, *more)
    assert code == 0, text + error
    assert read_manifest(out / "candidates").source == "sam"
    assert (out / "masks.json").is_file()
