"""Proposed points: accepted, moved, removed, undone; kept over restarts and kills."""

from __future__ import annotations

import json

import pytest
import torch
from annotate_sets import Stage, Tool, discs, folder_of_images, saved, settled

from p2seg.apps.annotate.clicks import Clicks
from p2seg.data.points import PointSet, read_points, write_points
from p2seg.data.proposals import count_sources, proposals_path
from p2seg.data.records import Category, ImageRecord
from p2seg.errors import UserError
from p2seg.structures import Points

SIZE = 20, 30


def proposals(path, *images, category="coin"):
    """Writes a proposals file: of each image its name, size, first id, and places (x, y)."""
    records, points = [], []
    for number, (name, size, first, places) in enumerate(images, 1):
        records.append(ImageRecord(number, name, *size))
        yx = torch.tensor([(y, x) for x, y in places], dtype=torch.float32).reshape(-1, 2)
        ids = torch.arange(first, first + len(places))
        points.append(Points(yx, torch.ones(len(places), dtype=torch.int64), ids))
    write_points(proposals_path(path), PointSet(records, [Category(1, category)], points))


@pytest.fixture
def path(tmp_path):
    """A points file whose images b and a have proposals 10, 11, 12 and 20."""
    path = tmp_path / "points.json"
    proposals(path, ("b", SIZE, 10, [(1, 2), (3, 4), (5, 6)]), ("a", SIZE, 20, [(7, 8)]))
    return path


def start(path):
    return Clicks(path, ["coin", "button"])


def write(clicks):
    clicks.write(clicks.snapshot())
    clicks.note_written(clicks.version)


def ids(clicks, name="b"):
    """Returns the ids of the pending proposals and of the points of an image."""
    return [each.id for each in clicks.pending(name)], [each.id for each in clicks.clicks(name)]


def test_accepted_proposals_are_points_with_their_ids_and_source(path):
    clicks = start(path)
    clicks.add("b", SIZE, 2, 9, 9)
    first, second, third = clicks.pending("b")
    clicks.accept("b", SIZE, [first])
    clicks.accept("b", SIZE, [second._replace(x=4)])
    write(clicks)
    again = start(path)
    assert ids(again) == ([third.id], [21, 10, 11])
    assert count_sources(path) == {"clicked": 1, "proposed": 1, "corrected": 1}
    assert again.points("b").yx.tolist() == [[9, 9], [2, 1], [4, 4]]
    again.move("b", 10, 2, 2)
    write(again)
    assert count_sources(path) == {"clicked": 1, "corrected": 2}
    again.undo("b")
    write(again)
    assert count_sources(path) == {"clicked": 1, "proposed": 1, "corrected": 1}


def test_removed_proposals_stay_away(path):
    clicks = start(path)
    clicks.reject("b", SIZE, [10])
    clicks.accept("b", SIZE, clicks.pending("b")[:1])
    clicks.remove("b", 11)
    assert ids(clicks) == ([12], [])
    write(clicks)
    again = start(path)
    assert ids(again) == ([12], [])
    for told, left in (("a removed point", [12]), ("accepting", [11, 12]), ("rejecting", [10])):
        assert told in again.undo("b", SIZE)
        assert set(left) <= set(ids(again)[0])
    assert ids(again) == ([10, 11, 12], [])


def test_a_proposal_on_the_pixel_of_a_point_is_removed(path):
    clicks = start(path)
    clicks.add("b", SIZE, 1, 3, 4)
    clicks.accept("b", SIZE, clicks.pending("b"))
    assert ids(clicks) == ([], [21, 10, 12])
    clicks.undo("b")
    assert ids(clicks) == ([10, 11, 12], [21])


def test_the_journal_has_accepted_and_removed_proposals(path):
    clicks = start(path)
    clicks.mark_done("c", SIZE)
    write(clicks)
    clicks.accept("b", SIZE, clicks.pending("b")[:2])
    clicks.reject("b", SIZE, [12])
    clicks.accept("a", SIZE, [clicks.pending("a")[0]._replace(x=1)])
    clicks.undo("a")
    clicks.store.append(clicks.unwritten())  # and a kill
    again = start(path)
    assert ids(again) == ([], [10, 11])
    assert ids(again, "a") == ([20], [])


def test_an_answered_or_strange_proposal_is_refused(path):
    clicks = start(path)
    [own] = clicks.pending("a")
    with pytest.raises(UserError, match="outside"):
        clicks.accept("a", SIZE, [own._replace(x=30)])
    clicks.reject("a", SIZE, [own.id])
    for act in (lambda: clicks.accept("a", SIZE, [own]), lambda: clicks.reject("a", SIZE, [99])):
        with pytest.raises(UserError, match="no longer exists"):
            act()


def test_proposals_of_an_unknown_class_are_refused(path):
    proposals(path, ("a", SIZE, 1, [(1, 1)]), category="leaf")
    with pytest.raises(UserError, match="leaf"):
        start(path)


def test_the_page_shows_proposals_and_keeps_the_answers(page, tmp_path):
    folder_of_images(tmp_path)
    path = tmp_path / "points.json"
    (x, y), (u, v), *others = discs(320, 240)
    proposals(
        path,
        ("c_turned.jpg", (300, 200), 1, discs(200, 300)),
        ("a plain.png", (240, 320), 11, [(x, y), (u, v), *others]),
        category="disc",
    )
    words = ("classes=[disc,button]", "port=0", f"out={path}", "preview_side=160")
    tool = Tool(tmp_path / "photos", *words)
    try:
        stage = Stage(page, tool.url)
        stage.wait(number=2, proposed=4, points=0)  # the first one of the proposals file
        stage.says("4 proposed objects")
        stage.wait(masks=4)
        stage.press("Enter")
        stage.wait(number=0, proposed=4, points=0)
        assert len(saved(path)["c_turned.jpg"]) == 4
        stage.click(x, y)
        stage.wait(proposed=3, points=1, unsaved=0)
        stage.click(u, v, button="right")
        stage.wait(proposed=2, points=1)
        stage.page.mouse.move(*stage.at(*others[0]))
        stage.page.mouse.down()
        stage.move(others[0][0] + 20, others[0][1])
        stage.page.mouse.up()
        stage.wait(proposed=1, points=2, unsaved=0)
        stage.press("x")
        stage.wait(proposed=0, points=2)
        stage.press("z")
        stage.wait(proposed=1, points=2)
        tool.close()  # a kill
        tool = Tool(tmp_path / "photos", *words)
        stage = Stage(page, tool.url)
        stage.wait(number=0, proposed=1, points=2)
        stage.press("y")
        stage.wait(proposed=0, points=3, unsaved=0)
        assert len(saved(path)["a plain.png"]) == 3
        content = json.loads(settled(path).read_text())
        sources = [each.get("source") for each in content["annotations"]]
        assert sorted(sources) == ["corrected", *6 * ["proposed"]]
        assert read_points(path).points[1].ids.tolist() == [11, 13, 14]
    finally:
        tool.close()
