"""The annotation page with many points, with a network, and with a full disk."""

from __future__ import annotations

import json
import time

import cv2
import pytest
from annotate_sets import Stage, Tool, discs, saved, scene, settled
from tool_sets import NETWORK, QUICK
from training_sets import training_set

from p2seg.apps.annotate.clicks import Clicks
from p2seg.data.points import read_points

pytestmark = pytest.mark.slow


@pytest.fixture
def tool():
    started = []

    def start(*words):
        started.append(Tool(*words))
        return started[-1]

    yield start
    for each in started:
        each.close()


def test_a_thousand_large_images(tool, page, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    coded = cv2.imencode(".jpg", scene(4000, 3000)[:, :, ::-1])[1].tobytes()
    (tmp_path / "one.jpg").write_bytes(coded)
    for number in range(1000):
        (folder / f"{number:04d}.jpg").hardlink_to(tmp_path / "one.jpg")
    started = tool(folder, "classes=[disc]", "port=0")
    assert started.seconds < 30
    stage = Stage(page, started.url)
    stage.says("1,000 images left")
    for number in range(4):
        x, y = discs(4000, 3000)[number]
        stage.click(x, y)
        stage.wait(points=1, masks=1, unsaved=0, pending=0)
        stage.press("n")
        stage.wait(number=number + 1, ready=True)
    stage.says("996 images left")
    start = time.monotonic()
    for _ in range(50):  # a held key
        stage.press("ArrowRight")
    stage.wait(number=54, ready=True)
    assert time.monotonic() - start < 10
    places = [place for [[_, *place]] in saved(tmp_path / "photos_clicks.json").values()]
    wanted = discs(4000, 3000)
    near = [
        abs(a - b) <= 2
        for p, q in zip(places, wanted, strict=True)
        for a, b in zip(p, q, strict=True)
    ]
    assert all(near)


def test_masks_of_a_network_and_classes_of_the_file(tool, page, tmp_path, run_tool):
    own = training_set(tmp_path / "set")
    code, _, error = run_tool("train", *own.words, *QUICK, f"out={tmp_path}/network")
    assert (code, error) == (0, "")
    points = next(word.partition("=")[2] for word in own.words if word.startswith("data.points="))
    images = next(word.partition("=")[2] for word in own.words if word.startswith("data.images="))
    before = read_points(tmp_path / points)
    words = (f"out={points}", f"ckpt={tmp_path}/network/last.pt", "preview=network", "port=0")
    started = tool(tmp_path / images, *words, *NETWORK)
    stage = Stage(page, started.url)
    for category in before.categories:
        stage.says(category.name)
    stage.press("ArrowRight")
    stage.wait(number=1, ready=True)
    stage.press("ArrowLeft")
    stage.says("the network")
    stage.wait(number=0, ready=True)
    count = int(stage.told()["points"])
    height, width = before.images[0].height, before.images[0].width
    stage.click(width - 1, height - 1)
    stage.wait(points=count + 1, unsaved=0, pending=0)
    page.wait_for_function("document.querySelector('.stage').dataset.masks > 0")
    assert (
        sum(map(len, read_points(settled(tmp_path / points)).points))
        == sum(map(len, before.points)) + 1
    )


def test_a_hundred_thousand_points_are_saved_in_a_moment(tmp_path):
    path, count = tmp_path / "clicks.json", 100_000
    images = [
        {"id": k, "file_name": f"{k}.png", "width": 4000, "height": 3000} for k in range(1000)
    ]
    points = [
        {"id": k, "image_id": k % 1000, "category_id": 1, "point": [k // 1000, 12.25], "mine": k}
        for k in range(count)
    ]
    categories = [{"id": 1, "name": "coin"}]
    content = {"images": images, "annotations": points, "categories": categories}
    path.write_text(json.dumps(content))
    clicks = Clicks(path)
    taken = []
    for k in range(5):
        clicks.add("0.png", (3000, 4000), 1, 3000 + k, 9)
        clicks.move("1.png", 1 + 1000 * k, 3000 + k, 9)
        start = time.perf_counter()
        clicks.write(clicks.snapshot())
        taken.append(time.perf_counter() - start)
    assert min(taken) < 1
    assert sum(map(len, read_points(path).points)) == count + 5


def test_a_failed_save_is_reported_and_repeated(tool, page, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), scene(320, 240))
    out = tmp_path / "there" / "clicks.json"
    started = tool(folder, "classes=[disc]", "port=0", f"out={out}", "preview=none")
    stage = Stage(page, started.url)
    stage.click(20, 30)
    stage.wait(points=1, unsaved=0, pending=0)
    content = out.read_text()
    out.write_text(content + " ")  # another program
    stage.click(120, 30)
    stage.says("Not saved:")
    stage.says("was changed by another program")
    stage.wait(points=2, unsaved=1, pending=0)
    assert out.read_text() == content + " "
    out.unlink()  # someone gives way
    stage.says("Saved in clicks.json")
    stage.wait(points=2, unsaved=0)
    assert len(saved(out)["a.png"]) == 2


def test_the_largest_number_of_classes(tool, page, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), scene(320, 240))
    names = ",".join(
        f"class {k} of a long name that no panel is wide enough for" for k in range(254)
    )
    started = tool(folder, f"classes=[{names}]", "port=0", "preview=none")
    stage = Stage(page, started.url)
    stage.press("w")  # the last letter that is no command
    stage.click(20, 30)
    stage.wait(points=1, unsaved=0, pending=0)
    page.locator(".class").nth(253).click()
    stage.click(120, 30)
    stage.wait(points=2, unsaved=0, pending=0)
    content = json.loads(settled(tmp_path / "photos_clicks.json").read_text())
    assert [each["category_id"] for each in content["annotations"]] == [29, 254]
    code, said = started.end()
    assert code == 75, said
