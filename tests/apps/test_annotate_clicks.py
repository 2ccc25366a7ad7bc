"""Clicked points: ids, undo, marks of empty images, and the file between two sessions."""

from __future__ import annotations

import asyncio
import json

import pytest

from p2seg.apps.annotate.album import Album
from p2seg.apps.annotate.classes import RESERVED, key_of
from p2seg.apps.annotate.clicks import Clicks
from p2seg.apps.annotate.history import KEPT
from p2seg.apps.annotate.session import Session
from p2seg.data.points import points_fingerprint, read_points
from p2seg.errors import UserError

OTHERS = {
    "images": [
        {"id": 9, "file_name": "c.png", "width": 30, "height": 20},
        {"id": 7, "file_name": "a.png", "width": 30, "height": 20},
        {"id": 8, "file_name": "elsewhere/b.png", "width": 30, "height": 20},
        {"id": 3, "file_name": "bare.png", "width": 30, "height": 20},
    ],
    "categories": [{"id": 1, "name": "coin"}],
    "annotations": [
        {"id": 6, "image_id": 9, "category_id": 1, "point": [1, 1]},
        {"id": 4, "image_id": 9, "category_id": 1, "point": [3, 3]},
        {"id": 5, "image_id": 9, "category_id": 1, "point": [2.5, 2]},
        {"id": 1, "image_id": 7, "category_id": 1, "point": [4, 4]},
        {"id": 2, "image_id": 8, "category_id": 1, "point": [5, 5]},
    ],
}
"""A file of another program; its images and points are not sorted by id."""

SIZE = 20, 30
"""Height and width."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "clicks.json"


def save(clicks):
    clicks.write(clicks.snapshot())
    clicks.note_written(clicks.version)


def places(clicks, name="a.png"):
    return [(each.id, each.label, each.x, each.y) for each in clicks.clicks(name)]


def test_clicked_points_are_read_back(path):
    clicks = Clicks(path, ["coin", "button"])
    clicks.add("a.png", SIZE, 1, 29, 19)
    clicks.add("below/b.png", SIZE, 2, 0, 0)
    assert clicks.unsaved == {1: 1, 2: 2}
    save(clicks)
    assert clicks.unsaved == {}
    again = read_points(path)
    assert [each.file_name for each in again.images] == ["a.png", "below/b.png"]
    assert again.points[0].yx.tolist() == [[19, 29]]
    assert again.points[1].labels.tolist() == [2]
    assert places(Clicks(path)) == [(1, 1, 29, 19)]


def test_a_change_while_the_file_is_written_stays_unsaved(path):
    clicks = Clicks(path, ["coin"])
    clicks.add("a.png", SIZE, 1, 1, 1)
    version, snapshot = clicks.version, clicks.snapshot()
    clicks.move("a.png", 1, 5, 5)
    clicks.write(snapshot)
    clicks.note_written(version)
    assert clicks.unsaved == {1: 2}
    assert places(Clicks(path)) == [(1, 1, 1, 1)]


def test_ids_are_not_reused(path):
    clicks = Clicks(path, ["coin"])
    for x in range(3):
        clicks.add("a.png", SIZE, 1, x, 0)
    clicks.remove("a.png", 3)
    clicks.undo("a.png")
    assert [each[0] for each in places(clicks)] == [1, 2, 3]
    clicks.undo("a.png")
    save(clicks)
    again = Clicks(path)
    assert again.add("a.png", SIZE, 1, 9, 9).id == 4
    assert again.add("b.png", SIZE, 1, 9, 9).id == 5


def test_undo_goes_back_step_by_step_also_after_a_restart(path):
    clicks = Clicks(path, ["coin", "button"])
    states = [[]]

    def done(act, *arguments):
        act("a.png", *arguments)
        states.append(sorted(places(clicks)))

    done(clicks.add, SIZE, 1, 3, 4)
    done(clicks.add, SIZE, 2, 5, 6)
    done(clicks.move, 1, 7, 8)
    clicks.add("b.png", SIZE, 1, 0, 0)  # another image's
    done(clicks.remove, 2)
    save(clicks)
    clicks = Clicks(path)
    for state in reversed(states[:-1]):
        assert clicks.undo("a.png")
        assert sorted(places(clicks)) == state
    assert clicks.undo("a.png") is None
    assert len(places(clicks, "b.png")) == 1


def test_an_image_is_marked_as_empty(path):
    clicks = Clicks(path, ["coin"])
    clicks.mark_done("a.png", SIZE)
    clicks.add("b.png", SIZE, 1, 0, 0)
    clicks.remove("b.png", 1)
    save(clicks)
    assert [each.file_name for each in read_points(path).images] == ["a.png"]
    again = Clicks(path)
    assert again.is_done("a.png")
    assert again.is_empty("a.png")
    assert not again.is_done("b.png")
    again.add("a.png", SIZE, 1, 0, 0)
    assert not again.is_empty("a.png")
    save(again)
    again = Clicks(path)
    again.undo("a.png")
    assert again.is_empty("a.png")  # the mark is back with the click gone
    again.undo("a.png")
    assert not again.is_done("a.png")


def test_a_file_of_another_program_is_continued(path):
    content = {
        "info": {"sampler": "inner", "note": "kept"},
        "images": [
            {"id": 4, "file_name": "./a.png", "width": 30, "height": 20},
            {"id": 9, "file_name": "gone.png", "width": 30, "height": 20},
        ],
        "categories": [{"id": 8, "name": "dog"}, {"id": 3, "name": "cat"}],
        "annotations": [{"id": 7, "image_id": 4, "category_id": 8, "point": [3.25, 4.5]}],
    }
    path.write_text(json.dumps(content))
    clicks = Clicks(path, ["dog", "bird"])
    assert [each.name for each in clicks.categories] == ["cat", "dog", "bird"]
    assert places(clicks) == [(7, 2, 3.25, 4.5)]
    assert not clicks.is_done("gone.png")
    assert clicks.strangers(["a.png"]) == ["gone.png"]
    with pytest.raises(UserError, match="already has a point"):
        clicks.add("a.png", SIZE, 1, 3, 4)
    assert clicks.add("a.png", SIZE, 3, 3, 5).id == 8
    save(clicks)
    again = json.loads(path.read_text())
    assert again["info"]["note"] == "kept"
    assert [each["id"] for each in again["images"]] == [4, 9]
    assert again["annotations"][0] == content["annotations"][0]
    assert again["annotations"][1]["category_id"] == 9


def meaning(path):
    return points_fingerprint(read_points(path))


def ids(path):
    return {each.file_name: each.id for each in read_points(path).images}


def restarted(clicks):
    """Reads the same file again, as after a restart."""
    save(clicks)
    return Clicks(clicks.path)


@pytest.mark.parametrize("again", [lambda clicks: clicks, restarted])
@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("new.png", lambda clicks: clicks.add("new.png", SIZE, 1, 9, 9)),
        ("new.png", lambda clicks: clicks.mark_done("new.png", SIZE)),
        ("bare.png", lambda clicks: clicks.add("bare.png", SIZE, 1, 9, 9)),
        ("bare.png", lambda clicks: clicks.mark_done("bare.png", SIZE)),
        ("c.png", lambda clicks: clicks.add("c.png", SIZE, 1, 9, 9)),
        ("c.png", lambda clicks: clicks.remove("c.png", 6)),
        ("c.png", lambda clicks: clicks.remove("c.png", 4)),
        ("c.png", lambda clicks: clicks.move("c.png", 5, 9, 9)),
        ("a.png", lambda clicks: clicks.remove("a.png", 1)),
    ],
)
def test_undo_restores_the_data_set(path, again, name, act):
    path.write_text(json.dumps(OTHERS))
    first, clicks = meaning(path), Clicks(path)
    act(clicks)
    save(clicks)
    assert meaning(path) != first or clicks.is_empty("bare.png")
    clicks = again(clicks)
    assert clicks.undo(name)
    save(clicks)
    assert meaning(path) == first


@pytest.mark.parametrize("again", [lambda clicks: clicks, restarted])
def test_an_image_keeps_its_id_without_points(path, again):
    path.write_text(json.dumps(OTHERS))
    clicks = Clicks(path)
    clicks.remove("a.png", 1)
    clicks = again(clicks)
    clicks.add("new.png", SIZE, 1, 2, 2)
    clicks = again(clicks)
    clicks.undo("new.png")
    clicks = again(clicks)
    clicks.add("other.png", SIZE, 1, 2, 2)
    clicks.add("a.png", SIZE, 1, 2, 2)
    clicks.mark_done("new.png", SIZE)
    save(clicks)
    assert ids(path) == {
        "c.png": 9, "a.png": 7, "elsewhere/b.png": 8, "bare.png": 3, "new.png": 10, "other.png": 11,
    }  # fmt: skip


def test_an_image_without_points_is_not_listed_but_remembered(path):
    """Other tools treat a listed image without points as empty."""
    path.write_text(json.dumps(OTHERS))
    clicks = Clicks(path)
    clicks.remove("a.png", 1)
    for _ in range(3):
        clicks = restarted(clicks)
        assert "a.png" not in ids(path)
        assert not clicks.is_done("a.png")
        assert clicks.strangers(["c.png", "bare.png"]) == ["elsewhere/b.png"]
    assert clicks.size("a.png") is None
    clicks.add("a.png", (50, 60), 1, 55, 45)  # the photograph is another one now
    clicks = restarted(clicks)
    assert ids(path)["a.png"] == 7
    assert clicks.size("a.png") == (50, 60)


def test_points_of_an_image_of_another_size_are_not_undone(path):
    clicks = Clicks(path, ["coin"])
    clicks.add("a.png", SIZE, 1, 29, 2)
    clicks.remove("a.png", 1)
    clicks = restarted(clicks)
    assert clicks.undo("a.png", (30, 20)) is None
    assert clicks.undo("a.png", SIZE)
    assert places(clicks) == [(1, 1, 29, 2)]


def test_ids_outlive_a_class_that_was_deleted(path):
    path.write_text(json.dumps(OTHERS))
    clicks = Clicks(path, ["button"])
    clicks.remove("a.png", 1)
    save(clicks)
    content = json.loads(path.read_text())
    content["categories"] = content["categories"][1:]
    content["annotations"] = []
    path.write_text(json.dumps(content))
    clicks = Clicks(path)
    assert clicks.undo("a.png") is None
    assert clicks.add("a.png", SIZE, 1, 2, 2).id == 7
    save(clicks)
    assert ids(path)["a.png"] == 7


def history(path):
    return path.with_name("clicks.history.json")


def test_the_history_of_an_older_version_moves_out_of_the_points_file(path):
    undo = [{"do": "add", "image_id": 7, "id": 1}]
    path.write_text(json.dumps({**OTHERS, "info": {"annotate": {"undo": undo}}}))
    clicks = Clicks(path)
    clicks.add("a.png", SIZE, 1, 9, 9)
    clicks = restarted(clicks)
    assert "undo" not in path.read_text()
    assert clicks.history_fits
    assert clicks.undo("a.png")
    assert clicks.undo("a.png")
    assert places(clicks) == []


@pytest.mark.parametrize("older", [True, False])
def test_a_kill_between_the_two_files_loses_nothing(path, older):
    clicks = Clicks(path, ["coin"])
    if older:  # the history is in the points file yet
        undo = [{"do": "add", "image_id": 7, "id": 1}]
        path.write_text(json.dumps({**OTHERS, "info": {"annotate": {"undo": undo}}}))
        clicks = Clicks(path)
    else:
        clicks.add("a.png", SIZE, 1, 4, 4)
        save(clicks)
    before = path.read_bytes()
    clicks.move("a.png", 1, 5, 5)
    clicks.add("a.png", SIZE, 1, 1, 1)
    save(clicks)
    path.write_bytes(before)  # the history is new, the points are not
    again = Clicks(path)
    assert again.history_fits
    assert places(again) == [(1, 1, 4, 4)]
    again.add("a.png", SIZE, 1, 3, 3)
    again = restarted(again)
    assert again.undo("a.png")
    assert again.undo("a.png")
    assert places(again) == []


def test_a_history_of_other_points_is_ignored(path):
    clicks = Clicks(path, ["coin"])
    clicks.add("a.png", SIZE, 1, 1, 1)
    save(clicks)
    other = history(path).read_bytes()
    for place in (3, 5):
        clicks.move("a.png", 1, place, place)
        save(clicks)
    history(path).write_bytes(other)
    again = Clicks(path)
    assert not again.history_fits
    assert again.undo("a.png") is None
    assert places(again) == [(1, 1, 5, 5)]
    again.add("a.png", SIZE, 1, 3, 3)
    again = restarted(again)
    assert again.history_fits
    assert again.undo("a.png")
    assert again.undo("a.png") is None


def test_points_of_another_program_leave_the_history_of_others(path):
    clicks = Clicks(path, ["coin"])
    for place in (1, 5):
        clicks.add("a.png", SIZE, 1, place, place)
    save(clicks)
    document = json.loads(path.read_text())
    first, second = document["annotations"]
    second["point"] = [8, 8]
    document["annotations"].append({**first, "id": 99, "point": [20, 3]})
    path.write_text(json.dumps(document))
    again = Clicks(path)
    assert not again.history_fits, "the second point is not where the page left it"
    assert again.undo("a.png")
    assert [each[0] for each in places(again)] == [second["id"], 99]
    assert again.undo("a.png") is None


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"undo": []}', "gone", "folder"])
def test_no_point_depends_on_the_history(path, content):
    clicks = Clicks(path, ["coin"])
    clicks.add("a.png", SIZE, 1, 1, 1)
    save(clicks)
    history(path).unlink()
    if content == "folder":
        history(path).mkdir()
    elif content != "gone":
        history(path).write_text(content)
    again = Clicks(path)
    assert again.history_fits == (content == "gone")
    assert again.undo("a.png") is None
    again.add("a.png", SIZE, 1, 3, 3)
    save(again)  # also where the history cannot be written
    assert len(read_points(path).points[0]) == 2


@pytest.mark.parametrize(
    ("x", "y", "label", "told"),
    [(30, 0, 1, "outside"), (0, -1, 1, "outside"), (2, 2, 1, "already"), (0, 0, 2, "class 2")],
)
def test_invalid_clicks_are_rejected(path, x, y, label, told):
    clicks = Clicks(path, ["coin"])
    clicks.add("a.png", SIZE, 1, 2, 2)
    with pytest.raises(UserError, match=told):
        clicks.add("a.png", SIZE, label, x, y)
    assert clicks.version == 1
    if label == 1:
        other = clicks.add("a.png", SIZE, 1, 9, 9)
        with pytest.raises(UserError, match=told):
            clicks.move("a.png", other.id, x, y)
    with pytest.raises(UserError, match="no longer exists"):
        clicks.remove("a.png", 77)


def test_another_programs_change_is_not_overwritten(path):
    clicks = Clicks(path, ["coin"])
    clicks.add("a.png", SIZE, 1, 2, 2)
    save(clicks)
    path.write_text(path.read_text() + "\n")
    clicks.add("a.png", SIZE, 1, 3, 3)
    with pytest.raises(UserError, match="changed by another program"):
        save(clicks)
    assert clicks.unsaved == {2: 2}


def test_unsaved_points_are_written_to_a_second_file(path, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes(b"\x89PNG")
    clicks = Clicks(path, ["coin"])
    clicks.add("a.png", SIZE, 1, 2, 2)
    save(clicks)
    path.write_text(path.read_text() + "\n")
    clicks.add("a.png", SIZE, 1, 3, 3)
    session = Session(Album(tmp_path / "photos"), clicks, None)
    with pytest.raises(UserError, match=r"another program.*are in .*unsaved\.json"):
        asyncio.run(session.close())
    assert len(read_points(path).points[0]) == 1
    assert len(read_points(path.with_suffix(".unsaved.json")).points[0]) == 2


LOST = {"id": 9, "file_name": "lost.png", "height": 20, "width": 30, "place": 0}


@pytest.mark.parametrize(
    "ours",
    [
        None,
        7,
        {"next_id": "x", "done": {}, "undo": {}},
        {"next_id": -4, "done": ["a", 1.5, -1, True], "undo": [[], 3, None, {"do": "fly"}]},
        {"undo": [{"do": "add", "image_id": 1}, {"do": "remove", "image_id": 1, "id": 1}]},
        {"undo": [{"do": "move", "image_id": 1, "id": 1, "point": [1, "a"]}]},
        {"undo": [{"do": "move", "image_id": 1, "id": 1, "point": [1e9, 0]}]},
        {"undo": [{"do": "add", "image_id": [1], "id": {}}]},
        {"undo": [{"do": ["add"], "image_id": 1, "id": 1}]},
        {"undo": [{"do": "remove", "image_id": 1, "id": 5, "category_id": 9, "point": [1, 1]}]},
        {"emptied": 7, "given": "x"},
        {"emptied": [7, None, {}, {"id": 1}], "given": [1.5, "a"]},
        {"emptied": [LOST | {"id": 1}, LOST | {"file_name": "./a.png"}, LOST | {"place": -1}]},
        {"emptied": [LOST | {"text": "{}"}]},
        {"emptied": [LOST | {"text": 7}]},
        {"emptied": [LOST | {"text": json.dumps(LOST | {"id": 10})}]},
        {"emptied": [LOST | {"height": 10**6, "width": 10**6}, LOST | {"file_name": "../x"}]},
    ],
)
def test_edited_page_state_is_ignored(path, ours):
    clicks = Clicks(path, ["coin"])
    clicks.add("a.png", SIZE, 1, 2, 2)
    save(clicks)
    content = json.loads(path.read_text())
    content["info"]["annotate"] = ours
    path.write_text(json.dumps(content))
    again = Clicks(path)
    assert again.undo("a.png") is None
    assert places(again) == [(1, 1, 2, 2)]
    assert again.add("a.png", SIZE, 1, 3, 3).id == 2
    again.add("lost.png", SIZE, 1, 3, 3)
    save(again)
    found = read_points(path)
    points = dict(zip([each.file_name for each in found.images], found.points, strict=True))
    assert {name: len(each) for name, each in points.items()} == {"a.png": 2, "lost.png": 1}


def test_only_the_last_actions_are_kept(path):
    clicks = Clicks(path, ["coin"])
    for k in range(KEPT + 50):
        clicks.add("a.png", (100, 100), 1, k % 100, k // 100)
    save(clicks)
    again = Clicks(path)
    undone = [again.undo("a.png") for _ in range(KEPT + 1)]
    assert all(undone[:KEPT])
    assert undone[KEPT] is None
    assert len(places(again)) == 50


def test_too_few_free_ids_are_rejected(path):
    clicks = Clicks(path, ["coin"])
    clicks.add("a.png", SIZE, 1, 2, 2)
    save(clicks)
    path.write_text(
        path.read_text().replace('"id": 1, "image_id"', f'"id": {2**63 - 1}, "image_id"')
    )
    with pytest.raises(UserError, match="renumber"):
        Clicks(path)


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        ([], "name the classes"),
        (["a", "b", "a"], "lists a twice"),
        ([f"c{k}" for k in range(255)], "255"),
    ],
)
def test_invalid_classes_are_rejected(path, classes, told):
    with pytest.raises(UserError, match=told):
        Clicks(path, classes)


def test_every_class_with_a_key_has_its_own():
    keys = [key_of(label) for label in range(1, 255)]
    some = [key for key in keys if key]
    assert keys[:10] == [*"123456789", "b"]
    assert len(set(some)) == len(some) == 29
    assert not set(some) & set(RESERVED)
