"""What a check of maps finds, by hand, and `p2seg gen_semantic --check`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from semantic_sets import CLASSES, Drawn, contents, draw, task

from p2seg.data.coco import InstanceSet, read_instances, write_instances
from p2seg.data.labels import write_labels
from p2seg.errors import UserError
from p2seg.evaluation.tables import check_tables
from p2seg.semantic.check import ClassCheck, MapCheck, check_maps
from p2seg.semantic.source import MapTask

Run = Callable[..., tuple[int, str, str]]

FIRST = np.array([[1, 1, 0, 0], [0, 0, 0, 2], [0, 255, 0, 2]], np.uint8)
SECOND = np.array([[2, 0], [1, 255]], np.uint8)
MAPS = {"first.jpg": FIRST, "second.jpg": SECOND}
TASKS = [
    # on it, background, ignored, on the other class
    task(Path("first.jpg"), (3, 4), [(0, 0), (0, 3), (2, 1), (1, 3)], [1, 1, 1, 1]),
    task(Path("second.jpg"), (2, 2), [(1, 0), (0, 0)], [2, 2]),
    task(Path("third.jpg"), (2, 2), [(0, 0)], [1]),
]


def read(given: MapTask) -> Any:
    name = given.record.file_name
    if name not in MAPS:
        raise UserError(f"no map of {name}")
    return MAPS[name]


def check(radius: float = 0.0, tasks: list[MapTask] = TASKS) -> MapCheck:
    return check_maps(read, tasks, CLASSES, radius)


def test_by_hand() -> None:
    found = check(1.5)
    assert (found.images, found.maps, found.pixels) == (3, 2, 16)
    assert (found.labeled, found.background, found.ignored) == (6 / 16, 8 / 16, 2 / 16)
    assert found.unread == {"third.jpg": "no map of third.jpg"}
    ball, box = found.classes
    assert ball == ClassCheck(
        "ball",
        pixels=3,
        unclicked_images=1,
        unclicked_pixels=1,
        points=4,
        on_background=1,
        on_other=1,
        on_ignored=1,
        near=0,
    )
    assert box == ClassCheck(
        "box", 3, unclicked_images=1, unclicked_pixels=2, points=2, on_other=1, near=1
    )
    assert (ball.off, box.off) == (3, 1)
    assert found.total == ClassCheck("all", 6, 2, 3, 6, 1, 2, 1, 1)


@pytest.mark.parametrize(
    ("radius", "near"),
    # the three points of `ball` off it in the first map are 2, 2 and sqrt(1 + 4) pixels away
    [(0, 0), (1.99, 0), (2, 2), (2.23, 2), (2.24, 3), (1e9, 3), (float("inf"), 3)],
)
def test_near_is_a_distance_from_pixel_to_pixel(radius: float, near: int) -> None:
    assert check(radius, TASKS[:1]).classes[0].near == near


@given(st.integers(0, 2**32 - 1))
def test_equals_its_slow_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    radius = float(rng.uniform(0, 5))
    semantic = rng.choice([0, 0, 0, 1, 2, 255], (6, 7)).astype(np.uint8)
    yx = [(int(rng.integers(6)), int(rng.integers(7))) for _ in range(4)]
    given = task(Path("a.jpg"), (6, 7), yx, rng.integers(1, 3, 4))
    found = check_maps(lambda _: semantic, [given], CLASSES, radius)
    expected = {label: [0, 0, 0, 0] for label in (1, 2)}
    for (y, x), label in zip(yx, given.labels.tolist(), strict=True):
        under = semantic[y, x]
        if under != label:
            expected[label][{0: 0, 255: 2}.get(int(under), 1)] += 1
            expected[label][3] += any(
                semantic[i, j] == label and (i - y) ** 2 + (j - x) ** 2 <= radius**2
                for i, j in np.ndindex(6, 7)
            )
    for label, each in enumerate(found.classes, 1):
        counts = [each.on_background, each.on_other, each.on_ignored, each.near]
        assert counts == expected[label]
        unclicked = label in semantic and label not in given.labels
        assert each.unclicked_images == unclicked
        assert each.unclicked_pixels == (semantic == label).sum() * unclicked


def test_maps_that_were_read_are_shown() -> None:
    seen: list[tuple[str, Any]] = []
    check_maps(read, TASKS, CLASSES, 1.0, seen=lambda *each: seen.append(each))
    assert [name for name, _ in seen] == ["first.jpg", "second.jpg"]
    assert seen[0][1] is FIRST


def test_nothing_to_check_is_a_mistake() -> None:
    with pytest.raises(UserError, match=r"^none of 1 maps can be checked: no map of third\.jpg$"):
        check(0, TASKS[2:])
    with pytest.raises(UserError, match="the points file has no image"):
        check(0, [])


def test_the_tables_leave_out_what_there_is_nothing_of() -> None:
    clean = replace(check(), classes=[ClassCheck("ball", 5, points=2), ClassCheck("box", 0)])
    assert len(check_tables(clean)) == 2
    assert [table.row_count for table in check_tables(clean)] == [4, 2]
    scored = check_tables(check(), {"miou": 0.5, "images": 1})
    assert [table.row_count for table in scored] == [5, 3, 2]


@pytest.fixture
def drawn(tmp_path: Path) -> Drawn:
    """Maps in `out`: the truth, but for a box that is missing, a lost map and a broken one."""
    made = draw(tmp_path / "a [set], ünïque=1", 8)
    for n, truth in enumerate(made.truth):
        write_labels(made.out / f"part/{n}.png", np.where((n == 0) & (truth == 2), 0, truth))
    (made.out / "part/6.png").unlink()
    (made.out / "part/7.png").write_bytes(b"no image")
    return made


def words(drawn: Drawn, *more: object) -> list[object]:
    return [f"data.images={drawn.images}", f"data.points={drawn.points}", *more]


def test_the_tool_checks_maps_and_writes_nothing_else(
    run_tool: Run, drawn: Drawn, tmp_path: Path
) -> None:
    before = contents(tmp_path)
    given = words(drawn, "semantic=png", f"semantic.maps={drawn.out}", f"semantic.gt={drawn.gt}")
    code, out, err = run_tool("gen_semantic", *given, "--check")
    assert (code, err) == (0, "")
    assert contents(tmp_path) == before
    assert "6 of 8" in out
    assert "part/6.png: no semantic map at" in out
    assert "7.png is not a readable PNG" in out
    report = tmp_path / "found.json"
    code, _, err = run_tool("gen_semantic", *given, "check=true", f"out={report}")
    assert (code, err) == (0, "")
    assert contents(tmp_path).keys() == before.keys() | {"found.json"}
    found = json.loads(report.read_text())
    assert (found["images"], found["maps"]) == (8, 6)
    assert list(found["unread"]) == ["part/6.png", "part/7.png"]
    ball, box = found["classes"]
    assert (ball["points"], ball["on_background"]) == (6, 0)
    assert (box["points"], box["on_background"], box["near"]) == (6, 1, 0)
    lost = (drawn.truth[0] == 2).sum() / sum((truth == 2).sum() for truth in drawn.truth[:6])
    assert found["scores"]["images"] == 6
    assert found["scores"]["per_class"]["box"] == pytest.approx(1 - lost)
    assert found["scores"]["per_class"]["ball"] == 1


def test_the_tool_checks_probabilities_through_a_class_map(
    run_tool: Run, drawn: Drawn, tmp_path: Path
) -> None:
    for n, truth in enumerate(drawn.truth):
        path = tmp_path / f"cams/part/{n}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, prob=np.stack([truth == 2, truth == 1]).astype(np.float16), keys=[15, 3])
    names = tmp_path / "a {class} map.json"
    names.write_text('{"3": "ball", "15": "box"}')
    given = words(
        drawn, "semantic=png", f"semantic.maps={tmp_path / 'cams'}", f"semantic.class_map={names}"
    )
    given += [f"data.gt={drawn.gt}", "semantic.background=0.3"]
    code, out, _ = run_tool("gen_semantic", *given, "--check")
    assert code == 0
    assert "100.0 % on 8 images" in out
    code, _, _ = run_tool("gen_semantic", *given, f"out={tmp_path / 'made'}", "semantic.workers=0")
    assert code == 0
    manifest = json.loads((tmp_path / "made/manifest.json").read_text())
    assert manifest["parameters"]["class_map"] == {"3": "ball", "15": "box"}
    assert manifest["parameters"]["background"] == 0.3
    # and its own maps are checked where they lie
    for place in (f"data.semantic={tmp_path / 'made'}", f"out={tmp_path / 'made'}"):
        own = words(drawn, "semantic=grabcut", place, f"data.gt={drawn.gt}", "--check")
        code, out, _ = run_tool("gen_semantic", *own)
        assert code == 0
        assert "100.0 % on 8 images" in out


def test_without_ground_truth_there_is_no_score(run_tool: Run, drawn: Drawn) -> None:
    given = words(drawn, "semantic=png", f"semantic.maps={drawn.out}", "--check")
    for gt in ("data.gt=nowhere.json", "data.gt=null"):
        code, out, _ = run_tool("gen_semantic", *given, gt)
        assert code == 0
        assert "no ground truth at" in out
        assert "% on" not in out


def test_only_the_first_unread_maps_are_named(run_tool: Run, drawn: Drawn) -> None:
    for n in range(1, 6):
        (drawn.out / f"part/{n}.png").unlink()
    code, out, _ = run_tool(
        "gen_semantic",
        *words(drawn, "semantic=png", f"semantic.maps={drawn.out}", "--check", "data.gt=null"),
    )
    assert code == 0
    assert "part/5.png: no semantic map" in out
    assert "part/6.png: no semantic map" not in out
    assert "and 2 more" in out


def other(drawn: Drawn, name: str, **change: Any) -> Path:
    """The ground truth with a change."""
    path = drawn.gt.with_name(name)
    write_instances(path, InstanceSet(**(vars(read_instances(drawn.gt)) | change)))
    return path


def test_mistakes_are_one_sentence(run_tool: Run, drawn: Drawn, tmp_path: Path) -> None:
    whole = read_instances(drawn.gt)
    low = [replace(image, height=61) for image in whole.images]
    sizes = other(drawn, "sizes.json", images=low, instances=[[] for _ in low])
    names = other(
        drawn, "names.json", categories=[replace(each, name="cat") for each in whole.categories]
    )
    empty, maps = tmp_path / "empty", f"semantic.maps={drawn.out}"
    empty.mkdir()
    (tmp_path / "classes.json").write_text('{"1": "person"}')
    for more, sentence in (
        ([f"semantic.maps={empty}"], "none of 8 maps can be checked: no semantic map at"),
        (["semantic.maps=nowhere"], "no folder of maps at nowhere"),
        (["data.semantic=nowhere"], "no folder of maps at nowhere"),
        ([maps, f"out={empty}"], "is not a .json file, and a check writes no maps"),
        ([maps, "semantic.gt=nowhere.json"], "no instances file at nowhere.json"),
        ([maps, f"semantic.gt={sizes}"], "is 80x60 in the points file but 80x61"),
        ([maps, f"semantic.gt={names}"], "two categories have the same name 'cat'"),
        ([maps, "semantic.class_map=none.json"], "no class map at none.json"),
        ([maps, f"semantic.class_map={tmp_path / 'classes.json'}"], "label 1 to 'person'"),
        ([maps, "semantic.background=2"], "semantic.background=2: must be a number from 0"),
        ([maps, "check=3"], "check=3 is unknown; choose true or false"),
    ):
        code, _, err = run_tool("gen_semantic", *words(drawn, "semantic=png", "check=true"), *more)
        assert code == 2, more
        assert sentence in err
        assert err.count("\n") == 1


def test_other_tools_have_no_check(run_tool: Run) -> None:
    code, _, err = run_tool("gen_pseudo", "--check")
    assert code == 2
    assert "unrecognized arguments: --check" in err
