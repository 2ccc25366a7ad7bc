"""p2seg gen_semantic, in process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from semantic_sets import Drawn, contents, draw

from p2seg.data.coco import read_instances
from p2seg.data.maps import read_map
from p2seg.data.points import make_points, write_points
from p2seg.semantic.manifest import read_manifest

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def drawn(tmp_path: Path) -> Drawn:
    return draw(tmp_path / "it's a {folder}, ünïque=1")


def words(drawn: Drawn, *more: object) -> list[object]:
    return [
        f"data.images={drawn.images}",
        f"data.points={drawn.points}",
        f"out={drawn.out}",
        "semantic.workers=0",
        *more,
    ]


def test_grabcut(run_tool: Run, drawn: Drawn) -> None:
    code, out, _ = run_tool("gen_semantic", *words(drawn, "semantic=grabcut"))
    assert code == 0
    assert "4 maps by grabcut made" in out
    made = read_map(drawn.out / "part/0.png", (60, 80), 2)
    assert (made == drawn.truth[0]).mean() > 0.98
    before = contents(drawn.out)
    code, out, _ = run_tool("gen_semantic", *words(drawn, "semantic=grabcut"))
    assert code == 0
    assert "0 maps by grabcut made, 4 were there already" in out
    assert contents(drawn.out) == before


def test_oracle_then_png(run_tool: Run, drawn: Drawn) -> None:
    oracle = words(drawn, "semantic=oracle", f"semantic.gt={drawn.gt}")
    assert run_tool("gen_semantic", *oracle)[0] == 0
    assert (read_map(drawn.out / "part/1.png", (60, 80), 2) == drawn.truth[1]).all()
    assert read_manifest(drawn.out).source == "oracle"
    taken = replace(drawn, out=drawn.out.parent / "taken")
    png = words(taken, "semantic=png", f"semantic.maps={drawn.out}")
    assert run_tool("gen_semantic", *png)[0] == 0
    assert (read_map(taken.out / "part/1.png", (60, 80), 2) == drawn.truth[1]).all()


def test_a_missing_image_stops_or_is_skipped_and_listed(run_tool: Run, drawn: Drawn) -> None:
    (drawn.images / "part/1.png").unlink()
    code, _, err = run_tool("gen_semantic", *words(drawn, "semantic=grabcut"))
    assert code == 2
    assert "no image at" in err
    assert (drawn.out / "part/0.png").exists()
    skipping = words(drawn, "semantic=grabcut", "data.on_error=skip")
    code, out, _ = run_tool("gen_semantic", *skipping)
    assert code == 0
    assert "skipped: part/1.png: no image at" in out


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["semantic=png"], "semantic.maps is not set"),
        (["semantic=oracle", "semantic.gt=none.json"], "no instances file at none.json"),
        (["semantic=grabcut", "data.images=nowhere"], "no image folder at nowhere"),
        (["semantic=grabcut", "data.points=nowhere.json"], "no points file at nowhere.json"),
        (["semantic=magic"], "there is no semantic=magic; choose from auto, clusters"),
    ],
)
def test_mistakes_are_one_sentence(
    run_tool: Run, drawn: Drawn, more: list[str], sentence: str
) -> None:
    code, _, err = run_tool("gen_semantic", *words(drawn), *more)
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err
    assert not drawn.out.exists()


def test_a_map_of_another_size_is_one_sentence(run_tool: Run, drawn: Drawn) -> None:
    maps = drawn.out.parent / "maps"
    (maps / "part").mkdir(parents=True)
    for n in range(4):
        Image.fromarray(np.zeros((60 + n // 2, 80), np.uint8)).save(maps / f"part/{n}.png")
    png = words(drawn, "semantic=png", f"semantic.maps={maps}")
    code, _, err = run_tool("gen_semantic", *png)
    assert code == 2
    assert "2.png is 80x61, but its image is 80x60" in err
    assert (drawn.out / "part/1.png").exists()


def test_images_without_points_and_of_odd_sizes(run_tool: Run, tmp_path: Path) -> None:
    sizes = {"none.png": (9, 7), "dot.png": (1, 1), "line.png": (1, 6000), "one.png": (30, 40)}
    clicks = {"dot.png": [0, 0], "line.png": [5999, 0], "one.png": [3.5, 29.9]}
    (tmp_path / "images").mkdir()
    images, annotations = [], []
    for k, (name, (height, width)) in enumerate(sizes.items(), 1):
        Image.fromarray(np.full((height, width, 3), 99, np.uint8)).save(tmp_path / "images" / name)
        images.append({"id": k, "file_name": name, "height": height, "width": width})
        if name in clicks:
            annotations.append({"id": k, "image_id": k, "category_id": k, "point": clicks[name]})
    categories = [{"id": k, "name": f"class {k}"} for k in range(1, 5)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    points = tmp_path / "points.json"
    points.write_text(json.dumps(document))
    code, _, err = run_tool(
        "gen_semantic",
        "semantic=grabcut",
        f"data.images={tmp_path / 'images'}",
        f"data.points={points}",
        f"out={tmp_path / 'out'}",
        "semantic.workers=0",
    )
    assert code == 0, err
    maps = {name: read_map(tmp_path / "out" / name, size, 4) for name, size in sizes.items()}
    assert not maps["none.png"].any()
    assert maps["dot.png"].tolist() == [[2]]
    assert maps["line.png"][0, 5999] == 3
    assert maps["one.png"][29, 3] == 4


def test_an_experiment_makes_maps_again_when_its_class_map_changes(
    run_tool: Run, drawn: Drawn, tmp_path: Path
) -> None:
    from p2seg.cli.entry import entry
    from p2seg.cli.experiment import Experiment

    oracle = words(drawn, "semantic=oracle", f"semantic.gt={drawn.gt}")
    assert run_tool("gen_semantic", *oracle)[0] == 0
    names, made = tmp_path / "classes.json", tmp_path / "made"
    given = [f"data.semantic={made}", f"data.points={drawn.points}", f"data.images={drawn.images}"]
    given += [
        "semantic=png",
        f"semantic.maps={drawn.out}",
        f"semantic.class_map={names}",
        f"out={tmp_path / 'exp'}",
    ]
    semantic = entry("pipeline")(lambda cfg: Experiment(cfg).semantic())
    for content in (["ball", "box"], ["box", "ball"]):
        names.write_text(json.dumps(content))
        assert semantic(given) == 0
        swapped = content[0] == "box"
        answer = np.array([0, 2, 1] if swapped else [0, 1, 2])[drawn.truth[0]]
        assert (read_map(made / "part/0.png", (60, 80), 2) == answer).all()


@pytest.mark.realdata
def test_real_images_beat_discs_and_background(
    run_tool: Run, realdata: Path, tmp_path: Path
) -> None:
    """Three photographs: foreground IoU of GrabCut's maps, far above what a blunder would give."""
    whole = read_instances(realdata / "coco/annotations/instances_val2017.json")
    few = replace(whole, images=whole.images[:6:2], instances=whole.instances[:6:2])
    write_points(tmp_path / "points.json", make_points(few, "inner", 0))
    common = [
        f"data.images={realdata / 'coco/val2017'}",
        f"data.points={tmp_path / 'points.json'}",
        "semantic.workers=0",
    ]
    gt = f"semantic.gt={realdata / 'coco/annotations/instances_val2017.json'}"
    assert run_tool("gen_semantic", "semantic=grabcut", f"out={tmp_path / 'g'}", *common)[0] == 0
    assert run_tool("gen_semantic", "semantic=oracle", gt, f"out={tmp_path / 'o'}", *common)[0] == 0
    hits = total = 0
    for record in few.images:
        name, size = Path(record.file_name).with_suffix(".png"), (record.height, record.width)
        made, truth = (read_map(tmp_path / folder / name, size, 80) for folder in "go")
        hits += int(((made == truth) & (truth > 0)).sum())
        total += int(((made > 0) | (truth > 0)).sum())
    assert hits / total > 0.3
