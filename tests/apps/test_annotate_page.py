"""The annotation page in a real browser: clicks are in the file at their pixel."""

from __future__ import annotations

import json
import signal

import pytest
from annotate_sets import Stage, Tool, discs, folder_of_images, saved, settled

from p2seg.apps.annotate.clicks import Clicks
from p2seg.data.points import read_points

PLAIN, LARGE, TURNED, BROKEN, ODD, DEEP, BELOW = range(7)
"""Numbers of the images, in the order of their names."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("clicked")
    folder_of_images(home)
    return home


@pytest.fixture(scope="module")
def tool(home):
    words = ("classes=[disc,button]", "port=0", f"out={home}/clicks.json", "preview_side=160")
    started = Tool(home / "photos", *words)
    yield started
    started.close()


@pytest.fixture
def stage(page, tool):
    """The page, on the first image, without points."""
    opened = Stage(page, tool.url)
    go(opened, PLAIN)
    return opened


def go(stage, number):
    """Shows an image, by the keyboard."""
    while (now := int(stage.told()["number"])) != number:
        step = 1 if now < number else -1
        stage.press("ArrowRight" if step > 0 else "ArrowLeft")
        stage.wait(number=now + step)
    stage.wait(ready=number != BROKEN)


def count(stage, number):
    stage.wait(points=number, pending=0, unsaved=0)


def test_click_choose_undo_remove_and_drag(stage, home):
    path = home / "clicks.json"
    (x, y), (u, v), *_ = discs(320, 240)
    stage.click(x, y)
    count(stage, 1)
    assert saved(path)["a plain.png"] == [["disc", x, y]]
    stage.press("2")
    stage.click(u, v)
    count(stage, 2)
    assert saved(path)["a plain.png"] == [["disc", x, y], ["button", u, v]]
    stage.wait(masks=2)
    stage.says("2 masks")
    stage.click(u + 1, v)  # within reach of the point: no second one on the object
    stage.says("already has a point: button")
    stage.page.mouse.down()
    stage.move(u + 20, v + 5)
    stage.page.mouse.up()
    stage.page.wait_for_timeout(50)
    count(stage, 2)
    assert saved(path)["a plain.png"][1] == ["button", u + 20, v + 5]
    stage.click(x, y, button="right")
    count(stage, 1)
    stage.press("z")
    count(stage, 2)
    ids = {each["id"] for each in json.loads(settled(path).read_text())["annotations"]}
    assert ids == {1, 2}
    stage.press("Control+z")
    stage.says("Undone: a move")
    stage.press("z")
    count(stage, 1)
    stage.move(x, y)
    stage.press("Delete")
    count(stage, 0)
    stage.says("Undone: a click")
    assert saved(path) == {}
    stage.click(x, y)
    count(stage, 1)
    assert read_points(settled(path)).points[0].ids.tolist() == [3]  # 1 and 2 have been others


def test_pixels_of_scaled_turned_and_zoomed_images(stage, home):
    path = home / "clicks.json"
    for number, name, (x, y) in (
        (LARGE, "b_large.jpg", (2399, 1599)),
        (TURNED, "c_turned.jpg", (199, 299)),
        (ODD, "e ünï%2e&#?.png", (0, 0)),
        (BELOW, "g below/z.png", (159, 0)),
    ):
        go(stage, number)
        stage.click(x, y)
        count(stage, 1)
        found, tolerance = saved(path)[name][0], 1 if number == LARGE else 0  # of half its size
        assert found[1:] == pytest.approx([x, y], abs=tolerance)
    sizes = {
        each.file_name: (each.height, each.width) for each in read_points(settled(path)).images
    }
    assert sizes["c_turned.jpg"] == (300, 200)
    assert sizes["b_large.jpg"] == (1600, 2400)
    go(stage, LARGE)
    stage.move(1201, 777)
    for _ in range(4):
        stage.page.mouse.wheel(0, -240)
    stage.page.wait_for_function("document.querySelector('.stage').dataset.sharp === '1'")
    assert float(stage.told()["zoom"]) > 4
    stage.click(1203, 779)
    count(stage, 2)
    assert saved(path)["b_large.jpg"][1][1:] == [1203, 779]
    before = stage.told()["left"]
    stage.move(1180, 760)
    stage.page.mouse.down()
    stage.move(1220, 790)
    stage.page.mouse.up()
    stage.page.wait_for_function(
        "before => document.querySelector('.stage').dataset.left !== before", arg=before
    )
    stage.press("0")
    stage.page.wait_for_function("document.querySelector('.stage').dataset.zoom < 1")
    count(stage, 2)


def test_keyboard_and_images_left(stage, home):
    left = 6 - len(saved(home / "clicks.json"))
    stage.press("n")
    stage.page.wait_for_function("document.querySelector('.stage').dataset.number !== '0'")
    number = int(stage.told()["number"])
    assert number != BROKEN
    stage.says(f"{left} image")
    stage.press("Enter")  # nothing here
    stage.says(f"{left - 1} image")
    go(stage, BROKEN)
    stage.says("This image cannot be shown.")
    stage.says("1 image cannot be shown")
    stage.press("?")
    stage.says("undo the last action on this image")
    stage.press("Escape")
    stage.page.wait_for_selector(".q-dialog", state="detached")
    stage.page.click("text=1 image cannot be shown")
    stage.says("d_broken.png is not an image that Pillow can read")


def test_two_tabs_show_each_others_points(stage, tool):
    before = int(stage.told()["points"])
    other = Stage(stage.page.context.new_page(), tool.url)
    go(other, PLAIN)
    other.click(300, 11)
    count(stage, before + 1)
    stage.press("z")
    count(other, before)


def test_a_second_server_on_the_file_is_rejected(tool, home, run_tool):
    words = (f"images={home}/photos", "classes=[disc]", f"out={home}/clicks.json")
    code, _, error = run_tool("annotate", *words, "port=0", "browser=false")
    assert code == 2
    assert f"is being written by process {tool.process.pid}" in error
    code, _, error = run_tool("annotate", *words[:2], f"out={home}/b.json", f"port={tool.port}")
    assert code == 2
    assert (
        error == f"port={tool.port} is used by another program; give another port, or port=0 "
        "for any free one\n"
    )
    assert not (home / "b.json").exists()


def far_ids(path):
    """Adds two points with ids beyond 2^53 to the first image; returns their positions."""
    content = json.loads(path.read_text())
    [image] = [each["id"] for each in content["images"] if each["file_name"] == "a plain.png"]
    [label] = [each["id"] for each in content["categories"] if each["name"] == "disc"]
    places = [(300, 10), (300, 230)]
    for k, place in enumerate(places):
        own = {"id": 2**53 + k, "image_id": image, "category_id": label, "point": list(place)}
        content["annotations"].append(own)
    path.write_text(json.dumps(content))
    return places


def test_a_killed_server_loses_and_doubles_nothing(stage, tool, home):
    """The last test of this file: it ends the tool."""
    path = home / "clicks.json"
    there = int(stage.told()["points"])
    stage.click(5, 7)
    count(stage, there + 1)
    before = saved(path)
    assert ["disc", 5, 7] in before["a plain.png"]
    tool.kill()
    stage.says("Connection lost")
    stage.click(150, 7)  # is not taken, and not shown
    assert stage.told()["pending"] == "0"
    assert saved(path) == before
    clicks = Clicks(path)  # as the next start
    clicks.write(clicks.snapshot())
    large = far_ids(path)
    again = Tool(home / "photos", f"port={tool.port}", f"out={path}", "preview=none")
    try:
        stage.says("The server was restarted. Open the new address that it printed")
        assert saved(path)["a plain.png"][-2:] == [["disc", *place] for place in large]
        stage = Stage(stage.page, again.url)
        count(stage, there + 3)
        stage.press("z")  # also what was done before
        count(stage, there + 2)
        assert ["disc", 5, 7] not in saved(path).get("a plain.png", [])
        stage.click(*large[1], button="right")  # of two that are one number to JavaScript
        count(stage, there + 1)
        left = saved(path)["a plain.png"]
        assert ["disc", *large[0]] in left
        assert ["disc", *large[1]] not in left
        code, said = again.end(signal.SIGINT)
        assert code == 130
        assert "Traceback" not in said
        assert not list(home.glob(".*"))
    finally:
        again.close()
