"""p2seg validate and its page: exit codes, messages, pictures, and hostile names."""

from __future__ import annotations

import base64
import json
import re

import cv2
import numpy as np
import pytest
from clean_sets import WIDTH, clean_set, picture
from PIL import Image
from tool_sets import refused, works

from p2seg.apps.report.pictures import palette
from p2seg.apps.validate.inspect import inspect
from p2seg.apps.validate.page import write_page
from p2seg.apps.validate.pictures import COUNT, WRONG, example_images


@pytest.fixture
def made(tmp_path):
    return clean_set(tmp_path)


def look(made):
    return inspect(made.inputs, made.root / "out", lambda items, *_: items)


def shown(page):
    """Returns the pictures of a page, `[H, W, 3]` RGB, and its text."""
    text = page.read_text(encoding="utf-8")
    codes = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    arrays = [np.frombuffer(base64.b64decode(code), np.uint8) for code in codes]
    pictures = [cv2.imdecode(each, cv2.IMREAD_COLOR)[:, :, ::-1] for each in arrays]
    return pictures, re.sub(r'src="data:[^"]+"', "", text)


def test_a_clean_set_exits_with_0(made, run_tool):
    out = works(run_tool("validate", *made.words, f"out={made.root / 'out'}"))
    assert "5 images, 30 points, 2 classes" in out
    assert "Usable; no problem found" in out
    found = json.loads((made.root / "out/validate.json").read_text())
    assert (found["usable"], found["findings"]) == (True, [])
    assert found["classes"] == [{"name": "red", "points": 15}, {"name": "blue", "points": 15}]
    pictures, text = shown(made.root / "out/validate.html")
    assert len(pictures) == 5
    assert "<script" not in text
    assert "http:" not in text.replace("http-equiv", "")
    start = json.loads((made.root / "out/run.json").read_text())["starts"][0]
    assert start["settings"]["data"]["num_classes"] == 2


def test_faults_that_stop_training_exit_with_2_and_are_all_reported(made, run_tool):
    made.image(1).unlink()
    made.edit(lambda document: document["annotations"][0].update(point=[-1, 5]))
    answer = run_tool("validate", *made.words, f"out={made.root / 'out'}")
    refused(answer, "is not usable yet", "points lie outside their image (1)", "images are not in")
    assert (
        "stops: points lie outside their image (1), such as part/0.png: (-1, 5) of red" in answer[1]
    )
    found = json.loads((made.root / "out/validate.json").read_text())
    assert not found["usable"]
    kinds = [(each["kind"], each["severity"]) for each in found["findings"]]
    assert kinds == [("points.outside", "stops"), ("image.missing", "stops")]
    _, text = shown(made.root / "out/validate.html")
    assert "Not usable yet: 2 kinds of problems" in text


def test_warnings_exit_with_0(made, run_tool):
    made.edit(lambda document: document["categories"].append({"id": 90, "name": "wax"}))
    out = works(run_tool("validate", *made.words[:-1], f"out={made.root / 'out'}"))
    assert "warning: classes have no point (1), such as wax" in out
    assert "Usable, with 1 warning to check before training" in out


def test_only_images_and_points_are_needed(made, run_tool):
    words = ["data=custom", f"data.images={made.images}", f"data.points={made.points}"]
    words.append(f"data.root={made.root / 'nothing'}")
    out = works(run_tool("validate", *words, f"out={made.root / 'out'}"))
    assert "1 note:" in out


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("data.images=nowhere", "no image folder at nowhere"),
        ("data.points=nowhere.json", "no points file at nowhere.json"),
        ("pseudo=nowhere.json", "no pseudo masks at nowhere.json"),
    ],
)
def test_missing_files_are_named(made, run_tool, word, part):
    refused(run_tool("validate", *made.words, word, f"out={made.root / 'out'}"), part)


def test_names_on_the_page_are_escaped(made, run_tool):
    name = '<img src=x onerror="alert(1)">.png'

    def rename(document):
        document["images"][0]["file_name"] = name
        document["categories"][0]["name"] = "<script>alert(2)</script>"
        document["annotations"][0]["point"] = [999, 3]

    picture(0).save(made.images / name)
    made.edit(rename)
    run_tool("validate", *made.words, f"out={made.root / 'out'}")
    _, text = shown(made.root / "out/validate.html")
    assert "<script" not in text
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;.png" in text
    assert "default-src 'none'" in text


def test_points_are_drawn_at_their_position_in_the_color_of_their_class(made):
    [first, *_] = [each for each in example_images(look(made)) if each.name == "part/0.png"]
    height, width = first.picture.shape[:2]
    scale = width / WIDTH
    for x, y, label in ((60, 40, 1), (120, 40, 2), (180, 120, 2)):
        at = round((y + 0.5) * scale - 0.5), round((x + 0.5) * scale - 0.5)
        np.testing.assert_array_equal(first.picture[at], palette(2)[label - 1])
    assert (first.points, width, height) == (6, 480, 320)


def test_a_point_outside_is_a_cross_at_the_border(made):
    made.edit(lambda document: document["annotations"][0].update(point=[-50, 40]))
    [first, *_] = example_images(look(made))
    assert (first.name, first.why) == ("part/0.png", "points lie outside their image")
    assert (first.picture[60:100, :40] == WRONG).all(-1).sum() > 20


def test_twelve_examples_are_the_same_each_time_and_the_worst_come_first(tmp_path):
    made = clean_set(tmp_path, 16)

    def spoil(document):
        document["annotations"][6 * 9]["point"] = [500, 20]
        document["annotations"][6 * 4 + 2]["point"] = [63, 40]

    made.edit(spoil)
    made.image(2).write_bytes(b"broken")
    first, second = ([each.name for each in example_images(look(made))] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first) == COUNT
    assert first[:2] == ["part/9.png", "part/4.png"]
    assert "part/2.png" not in first


def test_an_image_of_another_size_is_drawn(made):
    Image.new("RGB", (70, 90)).save(made.image(1))
    assert "part/1.png" in [each.name for each in example_images(look(made))]


def test_a_page_of_a_set_without_pictures(made, tmp_path):
    for k in range(5):
        made.image(k).unlink()
    made.edit(lambda document: document.update(annotations=[], categories=[]))
    page = write_page(tmp_path / "out", look(made), [])
    assert "Points" in shown(page)[1]
