"""Unknown keys and untouched entries of a points file are preserved."""

from __future__ import annotations

import asyncio
import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2seg.apps.annotate.album import Album
from p2seg.apps.annotate.clicks import Clicks
from p2seg.apps.annotate.session import Session
from p2seg.data.json_text import replace_values, value_of
from p2seg.data.points import points_fingerprint, read_points
from p2seg.errors import UserError

SIZE = 20, 30
"""Height and width."""

A = r'{"file_name": "a.png", "id": 7, "height": 20, "width": 30, "coco_url": "http://a/\u00e9"}'
B = '{"id":8,"file_name":"b.png","width":3e1,"height":20.0,"license": 4}'
C = '{ "id": 9, "file_name": "c.png", "width": 30, "height": 20, "flickr": {"x": 1.50} }'
FIRST = (
    '{"segmentation": [[1.0, 2.50, 3E0]], "id": 6, "image_id": 9, "category_id": 3,\n'
    '      "point": [12.30, 4.1], "bbox": [1, 2, 3.00, 4], "attributes": {"occluded": false}}'
)
SECOND = '{"id": "4", "image_id": 7, "category_id": 5, "point": [1, 16.777216001], "area": 1e2}'
THIRD = r'{"id": 5, "image_id": 9, "category_id": 3, "point": [3,3], "note": "\ud83d\ude00 \u00fc"}'
CROWD = '{"id": 2, "image_id": 8, "category_id": 3, "iscrowd": 1, "point": [5, 5.0]}'
CAT = '{"supercategory": "animal", "id": 5, "name": "cat", "keypoints": ["nose"]}'
DOG = '{"supercategory": "animal", "id": 3, "name": "d\\u006fg"}'


def document(annotations, images=(C, A, B), categories=(CAT, DOG), info='"year": 2.0e3', end="\n"):
    """Returns an indented points file with unknown keys."""

    def listed(texts):
        return f"[{end}    " + f",{end}    ".join(texts) + f"{end}  ]"

    return end.join(
        [
            "{",
            '  "licenses": [{"id": 4, "url": "u\\u0072l"}],',
            f'  "annotations": {listed(annotations)},',
            f'  "info": {{"note": "kept", {info}}},',
            f'  "images": {listed(images)},',
            '  "mine": {"a": [1.0, 1e-3, null], "a": 2},',
            f'  "categories": {listed(categories)}',
            "}",
            "",
        ]
    )


ALL = (FIRST, SECOND, THIRD, CROWD)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "clicks.json"
    path.write_bytes(document(ALL).encode())
    return path


def saved(clicks):
    """Saves, and returns the text of the file without the page's own state."""
    clicks.write(clicks.snapshot())
    clicks.note_written(clicks.version)
    text = clicks.path.read_bytes().decode()
    ours = value_of(value_of(text, "info"), "annotate")
    return text.replace(f', "annotate": {ours}', "")


def restarted(clicks):
    """Reads the same file again, as after a restart."""
    saved(clicks)
    return Clicks(clicks.path)


def new(id, image_id, x, y, category_id=3):
    ids = f'"id": {id}, "image_id": {image_id}, "category_id": {category_id}'
    return f'{{{ids}, "point": [{x:.1f}, {y:.1f}]}}'


again = pytest.mark.parametrize("again", [lambda clicks: clicks, restarted], ids=["same", "new"])


def test_a_click_adds_its_entry_and_changes_nothing_else(path):
    clicks = Clicks(path)
    clicks.add("a.png", SIZE, 1, 9, 9)
    assert saved(clicks) == document((*ALL, new(7, 7, 9, 9)))
    clicks.add("b.png", SIZE, 1, 1, 1)
    clicks.add("d.png", SIZE, 2, 1, 1)
    record = '{"id": 10, "file_name": "d.png", "height": 20, "width": 30}'
    added = new(7, 7, 9, 9), new(8, 8, 1, 1), new(9, 10, 1, 1, 5)
    assert saved(clicks) == document((*ALL, *added), (C, A, B, record))


def test_a_new_class_is_appended(path):
    clicks = Clicks(path, ["bird"])
    assert [each.name for each in clicks.categories] == ["dog", "cat", "bird"]
    clicks.add("a.png", SIZE, 3, 9, 9)
    bird = '{"id": 6, "name": "bird"}'
    assert saved(clicks) == document((*ALL, new(7, 7, 9, 9, 6)), categories=(CAT, DOG, bird))


@again
def test_a_moved_point_keeps_its_other_values(path, again):
    clicks = Clicks(path)
    clicks.move("c.png", 6, 20, 2)
    moved = FIRST.replace("[12.30, 4.1]", "[20.0, 2.0]")
    assert saved(clicks) == document((moved, *ALL[1:]))
    clicks = again(clicks)
    clicks.undo("c.png")
    assert saved(clicks) == document(ALL)


@again
@pytest.mark.parametrize(
    ("name", "id", "left", "images"),
    [
        ("c.png", 6, ALL[1:], (C, A, B)),
        ("c.png", 5, (FIRST, SECOND, CROWD), (C, A, B)),
        ("a.png", 4, (FIRST, THIRD, CROWD), (C, B)),
        ("b.png", 2, ALL[:3], (C, A)),
    ],
)
def test_undo_restores_a_removed_point_at_its_row(path, again, name, id, left, images):
    clicks = Clicks(path)
    clicks.remove(name, id)
    assert saved(clicks) == document(left, images)
    clicks = again(clicks)
    clicks.undo(name)
    assert saved(clicks) == document(ALL)


def test_undo_restores_an_image_without_points(path):
    clicks = Clicks(path)
    clicks.remove("b.png", 2)
    for _ in range(2):
        clicks = restarted(clicks)
        assert "license" not in saved(clicks).partition('"images"')[2]
    clicks.add("b.png", (40, 50), 1, 45, 35)  # the photograph is another one now
    other = B.replace("3e1", "50").replace("20.0", "40")
    assert saved(clicks) == document((*ALL[:3], new(7, 8, 45, 35)), (C, A, other))


def test_undo_restores_all_points_in_their_layout(path):
    for end in ("\n", "\r\n"):
        path.write_bytes(document(ALL, end=end).encode())
        clicks = Clicks(path)
        done = [("c.png", 6), ("a.png", 4), ("c.png", 5), ("b.png", 2)]
        for name, id in done:
            clicks.remove(name, id)
        clicks = restarted(restarted(clicks))
        assert '"annotations": []' in " ".join(saved(clicks).split()).replace("[ ]", "[]")
        for name, _ in reversed(done):
            clicks.undo(name)
        assert saved(clicks) == document(ALL, end=end)


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "move", "remove", "again"]), st.integers(0, 999)), max_size=12
)


@settings(max_examples=30)
@given(steps=STEPS)
def test_undoing_everything_restores_the_file(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("walk") / "clicks.json"
    path.write_text(document(ALL))
    clicks, first, done = Clicks(path), points_fingerprint(read_points(path)), []
    for act, number in steps:
        name = ("a.png", "b.png", "c.png")[number % 3]
        own = clicks.clicks(name)
        x, y = number % 30, number // 50
        try:
            if act == "again":
                clicks = restarted(clicks)
                continue
            if act == "add":
                clicks.add(name, SIZE, 1, x, y)
            elif not own:
                continue
            elif act == "move":
                clicks.move(name, own[number % len(own)].id, x, y)
            else:
                clicks.remove(name, own[number % len(own)].id)
        except UserError:
            continue  # a pixel that has a point
        done.append(name)
    for name in reversed(done):
        clicks.undo(name)
    assert saved(clicks) == document(ALL)
    assert points_fingerprint(read_points(path)) == first
    assert Clicks(path).history_fits


@pytest.mark.parametrize("big", ["utf-16-be", "utf-32-be"])
def test_a_byte_order_mark_keeps_its_order(path, big):
    path.write_bytes(("\ufeff" + document(ALL)).encode(big))
    clicks = Clicks(path)
    clicks.add("a.png", SIZE, 1, 9, 9)
    clicks.write(clicks.snapshot())
    text = path.read_bytes().decode(big)
    wanted = document((*ALL, new(7, 7, 9, 9)))
    assert text.startswith("\ufeff")
    assert text.partition('"images"')[2] == wanted.partition('"images"')[2]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_encoding_and_line_ends_are_preserved(path, encoding):
    path.write_bytes(document(ALL, end="\r\n").encode(encoding))
    clicks = Clicks(path)
    clicks.add("a.png", SIZE, 1, 9, 9)
    clicks.write(clicks.snapshot())
    text = path.read_bytes().decode(encoding)
    wanted = document((*ALL, new(7, 7, 9, 9)), end="\r\n")
    assert text.partition('"info"')[0] == wanted.partition('"info"')[0]
    assert text.partition('"images"')[2] == wanted.partition('"images"')[2]
    assert len(read_points(path).points[1]) == 2


@pytest.mark.parametrize("info", ["", '"info": null,', '"info": {},', '"info": {"a": 1.0},'])
def test_files_without_layout(path, info):
    images, points = f"[{C},{A},{B}]", f"[{','.join(ALL)}]"
    lists = f'"images":{images},"annotations":{points},"categories":[{CAT},{DOG}]'
    path.write_text(f"{{{info}{lists}}}")
    clicks = Clicks(path)
    clicks.add("a.png", SIZE, 1, 9, 9)
    clicks.write(clicks.snapshot())
    text = path.read_text()
    assert f'"annotations":[{",".join([*ALL, new(7, 7, 9, 9)])}]' in text
    assert f'"images":{images},' in text
    assert read_points(path).info.keys() == {"annotate"} | ({"a"} if "1.0" in info else set())
    assert ('"a": 1.0' in text) == ("1.0" in info)


@pytest.mark.parametrize(
    "was",
    [
        "[", 7, None, "7", "\ud800", "[1, 1]", "NaN", "[" * 10_000,
        '{"id": 5}', FIRST.replace("12.30", "13.30"), FIRST.replace(": 6", ": 7"),
        FIRST.replace("12.30", "true"), FIRST[:-1] + ', "half": "\ud800"}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("act", ["move", "remove"])
def test_an_edited_history_is_checked(path, act, was):
    clicks = Clicks(path)
    clicks.move("c.png", 6, 20, 2) if act == "move" else clicks.remove("c.png", 6)
    saved(clicks)
    history = path.with_name("clicks.history.json")
    content = json.loads(history.read_text())
    for each in content.values():
        for action in each["actions"]:
            action |= {"was": was, "row": -1}
    history.write_text(json.dumps(content))
    clicks = Clicks(path)
    assert clicks.undo("c.png")
    saved(clicks)
    [own] = [each for each in clicks.clicks("c.png") if each.id == 6]
    assert json.loads(own.text)["point"] == pytest.approx([12.3, 4.1])
    assert sorted(read_points(path).points[0].ids.tolist()) == [5, 6]


@pytest.mark.parametrize(
    "where", ['"area": 1e2', '"license": 4', '"keypoints": ["nose"]', '"mine"']
)
def test_deeply_nested_values_are_rejected(path, where):
    for levels, fits in ((90, True), (120, False), (700, False)):
        text = document(ALL).replace(where, f'"deep": {"[" * levels}{"]" * levels}, {where}')
        path.write_text(text)
        if fits:
            clicks = Clicks(path)
            clicks.add("b.png", SIZE, 1, 9, 9)
            assert '"deep": [[[' in saved(clicks)
        else:
            with pytest.raises(UserError, match=r"clicks\.json: .* more than 100 levels"):
                Clicks(path)
            assert path.read_text() == text


def test_a_file_that_changes_while_it_is_read_is_refused(path, monkeypatch):
    def read(path, **given):
        found = read_points(path, **given)
        path.write_text("{")
        return found

    monkeypatch.setattr("p2seg.apps.annotate.store.read_points", read)
    with pytest.raises(UserError, match="was changed during reading"):
        Clicks(path)


def test_each_conflict_gets_its_own_rescue_file(path, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").write_bytes(b"\x89PNG")
    (tmp_path / "clicks.unsaved-2.json").symlink_to("nowhere.json")
    for x, name in ((9, ""), (10, "-3"), (11, "-4")):
        clicks = Clicks(path)
        clicks.add("a.png", SIZE, 1, x, 9)
        path.write_text(path.read_text() + "\n")
        session = Session(Album(tmp_path / "photos"), clicks, None)
        with pytest.raises(UserError, match=rf"are in {tmp_path}/clicks\.unsaved{name}\.json$"):
            asyncio.run(session.close())
    for x, name in ((9, ""), (10, "-3"), (11, "-4")):
        text = (tmp_path / f"clicks.unsaved{name}.json").read_text()
        assert new(7, 7, x, 9) in text
        assert all(each in text for each in (*ALL, A, B, C, CAT, DOG))


@pytest.mark.parametrize(("listed", "found"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_in_another_unicode_form_is_the_same_image(path, listed, found):
    def form(kind, text="é ü 각.png"):
        return unicodedata.normalize(kind, text)

    record = f'{{"id": 7, "file_name": "{form(listed)}", "width": 30, "height": 20, "license": 4}}'
    path.write_text(document(ALL, (C, record, B)))
    clicks = Clicks(path)
    names = ["b.png", form(found)]
    clicks.match(names)
    assert clicks.size(form(found)) == SIZE
    assert clicks.is_done(form(found))
    assert clicks.strangers(names) == ["c.png"]
    clicks.add(form(found), SIZE, 1, 9, 9)
    assert saved(clicks) == document((*ALL, new(7, 7, 9, 9)), (C, record, B))
    clicks.undo(form(found))
    assert saved(clicks) == document(ALL, (C, record, B))
    other = Clicks(path)  # two files that differ in nothing else are two images
    other.match([form("NFC"), form("NFD")])
    assert not other.is_done(form(found))
    assert other.is_done(form(listed))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    max_leaves=4,
)
OBJECTS = st.dictionaries(st.text(max_size=3), JSON)


@settings(max_examples=40)
@given(OBJECTS, OBJECTS, st.sampled_from([None, 1, "\t"]))
def test_an_edited_text_has_the_requested_values(content, values, indent):
    text = json.dumps(content, indent=indent)
    found = replace_values(text, {key: json.dumps(value) for key, value in values.items()})
    assert json.loads(found) == content | values
    assert replace_values(text, {}) == text
    for key in content.keys() - values.keys():
        assert value_of(found, key) == value_of(text, key)
    assert value_of(text, "a key that is not there") is None


def test_the_last_of_equal_keys_counts():
    assert replace_values('{"a": 1, "\u0061": 2.0}', {"a": "3"}) == '{"a": 1, "\u0061": 3}'
