"""A click is saved by a line in the journal: nothing is lost by a kill, nothing is made twice."""

from __future__ import annotations

import asyncio
import json
import shutil
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2seg.apps.annotate import session as session_module
from p2seg.apps.annotate.album import Album
from p2seg.apps.annotate.clicks import Clicks
from p2seg.apps.annotate.session import Session
from p2seg.data.points import points_fingerprint, read_points
from p2seg.errors import UserError

SIZE = 20, 30
"""Height and width."""

NAMES = "a.png", "b.png", "c.png"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "clicks.json"


def begun(path, classes=("coin",)):
    """A page whose file exists, so that clicks go into the journal."""
    clicks = Clicks(path, classes)
    fold(clicks)
    return clicks


def fold(clicks):
    clicks.write(clicks.snapshot())
    clicks.note_written(clicks.version)


def append(clicks):
    clicks.store.append(clicks.unwritten())
    clicks.note_saved(clicks.version)


def journal(path):
    return path.with_name("clicks.journal.jsonl")


def killed(path, folder):
    """A new start with the files as they are on the disk now."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    for each in path.parent.glob("clicks.*"):
        shutil.copyfile(each, folder / each.name)
    return Clicks(folder / path.name)


def content(clicks):
    """All that a file says, and what can be undone."""
    snapshot = clicks.snapshot()
    texts = [snapshot.images, snapshot.annotations, snapshot.categories]
    return texts, snapshot.points.info, snapshot.actions


def change(clicks, act, number):
    """A change that a hand makes, if it can be made; whether it was."""
    name, version = NAMES[number % 3], clicks.version
    own = clicks.clicks(name)
    try:
        if act == "add":
            clicks.add(name, SIZE, 1, number % 30, number // 50)
        elif act == "done":
            clicks.mark_done(name, SIZE)
        elif act == "undo":
            clicks.undo(name)
        elif own and act == "move":
            clicks.move(name, own[number % len(own)].id, number % 30, number // 50)
        elif own:
            clicks.remove(name, own[number % len(own)].id)
    except UserError:
        return False  # a pixel that has a point
    return clicks.version > version


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "move", "remove", "done", "undo", "undo", "fold", "cut"]),
        st.integers(0, 999),
    ),
    max_size=20,
)


@settings(max_examples=50, deadline=None)
@given(steps=STEPS)
def test_a_kill_after_any_change_loses_and_doubles_nothing(tmp_path_factory, steps):
    home = tmp_path_factory.mktemp("walk")
    (home / "set").mkdir()
    path, copy = home / "set/clicks.json", home / "copy"
    clicks = begun(path)
    for act, number in steps:
        if act == "fold":
            fold(clicks)
            assert not journal(path).exists()
        elif act == "cut":  # killed before the file is in its place
            clicks.store.begin(clicks.snapshot())
            assert content(killed(path, copy)) == content(clicks)
            change(clicks, "add", number)
            append(clicks)
            assert content(killed(path, copy)) == content(clicks)
            fold(clicks)
        elif change(clicks, act, number):
            append(clicks)
        assert content(killed(path, copy)) == content(clicks)
    again = killed(path, copy)
    fold(again)
    fold(clicks)
    assert again.path.read_bytes() == path.read_bytes()


def test_a_kill_between_the_file_and_the_journal(path, tmp_path):
    clicks = begun(path)
    clicks.add("a.png", SIZE, 1, 1, 1)
    append(clicks)
    clicks.store.begin(clicks.snapshot())
    snapshot = clicks.snapshot()
    clicks.add("a.png", SIZE, 1, 2, 2)  # while the file is written
    append(clicks)
    clicks.store.finish(snapshot)
    assert len(json.loads(path.read_text())["annotations"]) == 1
    again = killed(path, tmp_path / "copy")
    assert content(again) == content(clicks)
    assert [(each.x, each.y) for each in again.clicks("a.png")] == [(1, 1), (2, 2)]
    again.add("a.png", SIZE, 1, 3, 3)
    append(again)
    assert len(killed(again.path, tmp_path / "more").clicks("a.png")) == 3


def test_a_torn_line_is_dropped_at_every_byte(path, tmp_path):
    clicks = begun(path)
    clicks.add("ü.png", SIZE, 1, 1, 1)
    append(clicks)
    whole = journal(path).read_bytes()
    clicks.move("ü.png", 1, 5, 5)
    append(clicks)
    after = journal(path).read_bytes()
    for end in range(len(whole), len(after)):
        journal(path).write_bytes(after[:end])
        again = killed(path, tmp_path / "copy")
        assert [each.x for each in again.clicks("ü.png")] == [1]
        again.add("ü.png", SIZE, 1, 9, 9)
        append(again)  # behind the torn line
        again = killed(again.path, tmp_path / "more")
        assert [each.x for each in again.clicks("ü.png")] == [1, 9]


def test_undo_needs_no_history_file(path):
    clicks = begun(path)
    for x in (1, 2):
        clicks.add("a.png", SIZE, 1, x, 1)
    fold(clicks)
    clicks.undo("a.png")
    append(clicks)
    path.with_name("clicks.history.json").unlink()
    assert [each.x for each in Clicks(path).clicks("a.png")] == [1]


def test_nobody_reads_a_file_that_lacks_clicks(path):
    clicks = begun(path)
    clicks.add("a.png", SIZE, 1, 1, 1)
    append(clicks)
    told = r"clicks\.json lacks the latest changes \(1\), .*clicks\.journal\.jsonl"
    with pytest.raises(UserError, match=told):
        read_points(path)
    fold(clicks)
    assert len(read_points(path).points[0]) == 1


def test_a_journal_of_another_file_is_refused(path):
    clicks = begun(path)
    clicks.add("a.png", SIZE, 1, 1, 1)
    append(clicks)
    text = path.read_text()
    path.write_text(text.replace('"coin"', '"money"'))
    with pytest.raises(UserError, match=r"changed by another program.*move clicks\.journal"):
        Clicks(path)
    path.write_text(text.replace(": ", " : "))  # means the same
    assert len(Clicks(path).clicks("a.png")) == 1


def test_a_line_that_says_nothing_is_refused(path):
    clicks = begun(path)
    clicks.add("a.png", SIZE, 1, 1, 1)
    append(clicks)
    good = journal(path).read_text()
    for line in ('{"do": "fly", "name": "a.png"}', "{}", '{"do": "add", "name": "a.png"}'):
        journal(path).write_text(f"{good}\n{line}\n")
        with pytest.raises(UserError, match="of its journal does not match the points"):
            Clicks(path)


@pytest.mark.parametrize("why", ["new", "class", "gone", "changed"])
def test_when_the_whole_file_must_be_written(path, why):
    if why == "new":
        clicks = Clicks(path, ["coin"])
    else:
        clicks = begun(path)
        clicks.add("a.png", SIZE, 1, 9, 9)
        append(clicks)
        if why == "class":
            clicks = Clicks(path, ["coin", "button"])
        elif why == "gone":
            path.unlink()
        else:
            journal(path).write_text("")
    clicks.add("a.png", SIZE, 1, 1, 1)
    assert clicks.unwritten() is None
    fold(clicks)
    assert not journal(path).exists()
    clicks.add("a.png", SIZE, 1, 2, 2)
    append(clicks)
    assert len(Clicks(path).clicks("a.png")) == len(clicks.clicks("a.png"))


def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes(b"\x89PNG")
    return Album(tmp_path / "photos")


def test_the_file_gets_the_journal_in_a_pause_and_at_the_end(path, tmp_path, monkeypatch):
    monkeypatch.setattr(session_module, "INTERVAL", 0.05)

    async def work():
        session = Session(photos(tmp_path), begun(path), None)
        running = asyncio.create_task(session.run())
        session.clicks.add("a.png", SIZE, 1, 1, 1)
        await session.save()
        assert journal(path).exists()
        assert session.clicks.unsaved == {}
        until = time.monotonic() + 10
        while journal(path).exists():
            assert time.monotonic() < until
            await asyncio.sleep(0.01)
        assert len(read_points(path).points[0]) == 1
        running.cancel()
        session.clicks.add("a.png", SIZE, 1, 2, 2)
        await session.save()
        assert journal(path).exists()
        await session.close()

    asyncio.run(work())
    assert not journal(path).exists()
    assert len(read_points(path).points[0]) == 2


def test_clicks_are_saved_while_the_file_is_written(path, tmp_path, monkeypatch):
    """The journal holds what the file does not, at every moment."""

    async def work():
        session = Session(photos(tmp_path), begun(path), None)
        clicks, store = session.clicks, session.clicks.store
        finish = store.finish

        def slow(snapshot):
            time.sleep(0.2)
            finish(snapshot)

        monkeypatch.setattr(store, "finish", slow)
        clicks.add("a.png", SIZE, 1, 0, 0)
        await session.save()
        writing = asyncio.create_task(session.write())
        await asyncio.sleep(0.05)
        for x in range(1, 4):
            clicks.add("a.png", SIZE, 1, x, 0)
            await session.save()
            assert clicks.unsaved == {}
            assert len(killed(path, tmp_path / "copy").clicks("a.png")) == x + 1
        assert not writing.done()
        await writing
        assert session.fault is None
        assert len(json.loads(path.read_text())["annotations"]) == 1
        assert len(killed(path, tmp_path / "copy").clicks("a.png")) == 4
        await session.close()

    asyncio.run(work())
    assert len(read_points(path).points[0]) == 4


def test_what_the_journal_cannot_take_is_tried_again(path, tmp_path, monkeypatch):
    async def work():
        session = Session(photos(tmp_path), begun(path), None)
        store = session.clicks.store
        append = store.append

        def full(_):
            raise OSError(28, "No space left on device", str(path))

        monkeypatch.setattr(store, "append", full)
        session.clicks.add("a.png", SIZE, 1, 1, 1)
        await session.save()
        assert "No space" in session.fault
        assert session.clicks.unsaved
        monkeypatch.setattr(store, "append", append)
        await session.save()
        assert session.fault is None
        assert not session.clicks.unsaved
        await session.close()

    asyncio.run(work())
    assert len(read_points(path).points[0]) == 1


def test_a_rescue_file_holds_the_journal_too(path, tmp_path):
    clicks = begun(path)
    clicks.add("a.png", SIZE, 1, 1, 1)
    append(clicks)
    clicks.add("a.png", SIZE, 1, 2, 2)
    path.write_text(path.read_text() + "\n")
    session = Session(photos(tmp_path), clicks, None)
    with pytest.raises(UserError, match=r"are in .*clicks\.unsaved\.json"):
        asyncio.run(session.close())
    assert len(read_points(path.with_suffix(".unsaved.json")).points[0]) == 2
    assert not journal(path).exists()
    assert Clicks(path).history_fits


def test_saving_a_click_takes_the_same_time_in_a_large_set(path):
    count = 20_000
    images = [{"id": k, "file_name": f"{k}.png", "width": 640, "height": 640} for k in range(200)]
    points = [
        {"id": k, "image_id": k % 200, "category_id": 1, "point": [k // 200, 9.5]}
        for k in range(count)
    ]
    categories = [{"id": 1, "name": "coin"}]
    path.write_text(json.dumps({"images": images, "annotations": points, "categories": categories}))
    clicks = begun(path)
    first, taken = points_fingerprint(read_points(path)), []
    for k in range(9):
        start = time.perf_counter()
        clicks.add("0.png", (640, 640), 1, 300 + k, 9)
        append(clicks)
        taken.append(time.perf_counter() - start)
    assert min(taken) < 0.02
    assert len(path.read_bytes()) > 100 * len(journal(path).read_bytes())
    again = Clicks(path)
    for _ in range(9):
        again.undo("0.png")
    fold(again)
    assert points_fingerprint(read_points(path)) == first
