"""p2seg import_points and p2seg export_points as they are called."""

from __future__ import annotations

import json

import pytest
from click_sets import dumped, labelme, pictures, shape, turned_picture
from tool_sets import refused, works

from p2seg.data.points import read_points
from p2seg.runtime.files import sha256


@pytest.fixture
def marks(tmp_path):
    pictures(tmp_path / "photos", "a.jpg", "sub/b ä.jpg", "c.jpg")
    shapes = shape("[dog]", "point", [3.5, 4.5]), shape("cat", "rectangle", [10, 10], [20, 20])
    dumped(tmp_path / "marks/a.json", labelme("../photos/a.jpg", *shapes))
    return dumped(tmp_path / "marks/b.json", labelme("../photos/sub/b ä.jpg", shapes[0])).parent


def pixels(points):
    return [(p.pixels.tolist(), p.labels.tolist(), p.ids.tolist()) for p in points.points]


def test_in_and_out_and_in_again(tmp_path, marks, run_tool):
    photos, first = tmp_path / "photos", tmp_path / "points.json"
    told = works(run_tool("import_points", f"in={marks}", f"images={photos}", f"out={first}"))
    for part in ("labelme (recognized)", "[dog]", "cat", "1 rectangle", "no file names: c.jpg"):
        assert part in told
    points = read_points(first)
    assert points.info["format"] == "labelme"
    assert (points.info["points"], points.info["derived"]) == (3, {"rectangle": 1})
    assert json.loads(first.with_suffix(".run.json").read_text())["starts"][0]["data"]["in"]
    words = (f"data.points={first}", f"images={photos}", "format=cvat")
    told = works(run_tool("export_points", *words, f"out={tmp_path / 'c.xml'}"))
    assert "3 points on 2 images" in told
    back = tmp_path / "back.json"
    works(run_tool("import_points", f"in={tmp_path / 'c.xml'}", f"images={photos}", f"out={back}"))
    again = read_points(back)
    assert pixels(again) == pixels(points)
    assert again.info["source_sha256"] == sha256(tmp_path / "c.xml")


def test_what_the_tool_refuses(tmp_path, marks, run_tool):
    photos, out = tmp_path / "photos", tmp_path / "points.json"
    good = [f"in={marks}", f"images={photos}", f"out={out}"]
    for words, parts in (
        (good[:2], ["out is not set"]),
        ([*good, "format=yolo"], ["format=yolo is unknown"]),
        ([*good, "classes=dog"], ["classes=[dog]"]),
        ([*good, "classes=[dgo]"], ["names 'dgo'", "'[dog]'"]),
        ([*good, "first_class=2"], ["first_class=2"]),
        ([good[0], f"images={marks}", good[2]], ["no image in"]),
    ):
        refused(run_tool("import_points", *words), *parts)
    assert not out.exists()


def test_what_cannot_be_used_is_left_out_and_listed(tmp_path, marks, run_tool):
    dumped(marks / "gone.json", labelme("gone.jpg", shape("cat", "point", [1, 1])))
    (marks / "cut.json").write_text('{"shapes": [')
    good = [f"in={marks}", f"images={tmp_path / 'photos'}", f"out={tmp_path / 'points.json'}"]
    refused(run_tool("import_points", *good, "format=labelme"), "cut.json is not a readable")
    assert not (tmp_path / "points.json").exists()
    told = works(run_tool("import_points", *good, "format=labelme", "data.on_error=skip"))
    assert "cut.json" in told
    assert "gone.json" in told
    assert read_points(tmp_path / "points.json").info["problems"] == 2


def test_what_the_export_refuses(tmp_path, marks, run_tool):
    photos, points = tmp_path / "photos", tmp_path / "points.json"
    works(run_tool("import_points", f"in={marks}", f"images={photos}", f"out={points}"))
    good = [f"data.points={points}", f"images={photos}"]
    for words, parts in (
        ([*good, "format=via", f"out={tmp_path}/x"], ["format=via is unknown", "labelme"]),
        ([*good, "format=cvat", f"out={tmp_path}/x.json"], ["out=FILE.xml"]),
        (
            [*good, "format=labelme", f"out={marks}"],
            ["a.json exists and was not written by p2seg export_points;"],
        ),
        ([good[0], f"images={marks}", "format=csv", f"out={tmp_path}/t.csv"], ["no image at"]),
    ):
        refused(run_tool("export_points", *words), *parts)
    (photos / "a.jpg").unlink()
    words = (*good, "format=csv", f"out={tmp_path}/t.csv")
    refused(run_tool("export_points", *words), "a.jpg")
    assert "1 points on 1 images" in works(run_tool("export_points", *words, "data.on_error=skip"))


def test_a_picture_that_tools_would_turn_is_not_exported_on_its_side(tmp_path, run_tool):
    turned_picture(tmp_path / "photos/a.jpg")
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 60, "height": 40}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "point": [50, 3]}],
    }
    points = dumped(tmp_path / "points.json", document)
    words = [f"data.points={points}", f"images={tmp_path}/photos", "format=csv"]
    refused(run_tool("export_points", *words, f"out={tmp_path}/t.csv"), "rotated by its EXIF")


def test_a_format_without_a_list_of_classes_says_how_to_keep_their_order(tmp_path, run_tool):
    pictures(tmp_path / "photos", "a.jpg")
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 60, "height": 40}],
        "categories": [{"id": k, "name": name} for k, name in enumerate(("wolf", "big cat"))],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 0, "point": [5, 3]}],
    }
    points = dumped(tmp_path / "points.json", document)
    words = [f"data.points={points}", f"images={tmp_path}/photos"]
    told = works(run_tool("export_points", *words, "format=csv", f"out={tmp_path}/t.csv"))
    assert "classes=[wolf,'big cat']" in told
    told = works(run_tool("export_points", *words, "format=cvat", f"out={tmp_path}/t.xml"))
    assert "classes=" not in told
    works(run_tool("export_points", *words, "format=labelstudio", f"out={tmp_path}/t.json"))
    [task] = json.loads((tmp_path / "t.json").read_text())
    assert task["data"]["image"] == "/data/local-files/?d=photos/a.jpg"


def test_what_is_there_already_is_not_lost(tmp_path, marks, run_tool):
    points, table = tmp_path / "points.json", tmp_path / "t.csv"
    photos = f"images={tmp_path / 'photos'}"
    into = ("import_points", f"in={marks}", photos, f"out={points}")
    words = ("export_points", f"data.points={points}", photos, "format=csv", f"out={table}")
    for command, out in ((into, points), (words, table)):
        works(run_tool(*command))
        made = out.read_bytes()
        out.write_text("clicked by hand")
        refused(run_tool(*command), f"{out} exists and ", "overwrite=true")
        assert out.read_text() == "clicked by hand"
        works(run_tool(*command, "overwrite=true"))
        assert out.read_bytes() == made


def test_what_is_left_out_is_counted_by_reason(tmp_path, run_tool):
    photos = pictures(tmp_path / "photos", "a.jpg", "b.jpg", "c.jpg")
    shapes = [shape("dog", "point", [x + 0.5, 4.5]) for x in (1, 9, 99)]
    shapes += [shape("", "point", [3.5, 3.5]), shape("dog", "line", [1, 1], [2, 2])]
    dumped(tmp_path / "marks/a.json", labelme("a.jpg", *shapes))
    dumped(tmp_path / "marks/b.json", labelme("b.jpg"))
    for k in range(20):
        dumped(tmp_path / f"marks/gone{k}.json", labelme(f"gone{k}.jpg", shapes[0]))
    points = tmp_path / "points.json"
    words = [f"in={tmp_path}/marks", f"images={photos}", f"out={points}", "empty=drop"]
    told = works(run_tool("import_points", *words, "data.on_error=skip"))
    assert told.count("skipped: ") < 12
    counts = {line.partition("left out")[2].strip(" \u2502") for line in told.splitlines()}
    counts = {(each.split()[0], each.split(maxsplit=2)[2]) for each in counts if each}
    for count, word in (
        ("20", "image in the folder"),
        ("1", "outside their image"),
        ("1", "without a class"),
        ("1", "'line'"),
        ("1", "empty=drop"),
        ("1", "c.jpg"),
    ):
        assert any(number == count and word in reason for number, reason in counts), (word, told)


def test_the_export_counts_what_it_leaves_out(tmp_path, run_tool):
    photos = pictures(tmp_path / "photos", "a.jpg", "b.jpg", "c.jpg")
    shapes = [shape("dog", "point", [x + 0.5, 4.5]) for x in (1, 9)]
    for name in ("a", "b", "c"):
        dumped(tmp_path / f"marks/{name}.json", labelme(f"{name}.jpg", *shapes))
    points = tmp_path / "points.json"
    works(run_tool("import_points", f"in={tmp_path}/marks", f"images={photos}", f"out={points}"))
    (photos / "a.jpg").unlink()
    turned_picture(photos / "b.jpg")
    words = [f"data.points={points}", f"images={photos}", "format=csv", f"out={tmp_path}/t.csv"]
    told = works(run_tool("export_points", *words, "data.on_error=skip"))
    [line] = [each for each in told.splitlines() if each.startswith("left out")]
    assert "1 images that are not in the folder" in line
    assert "1 images that are not as annotated" in line
    assert "4 points" in line
