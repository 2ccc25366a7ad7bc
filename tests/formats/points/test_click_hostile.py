"""Files of clicks that are broken or malicious: one sentence each."""

from __future__ import annotations

import copy
import json
import tracemalloc

import pytest
from click_sets import (
    coco,
    cvat,
    drawn,
    dumped,
    frame,
    labelme,
    pictures,
    region,
    shape,
    taken,
    task,
    via,
    via_region,
)

from p2seg.errors import UserError
from p2seg.formats.points import FORMATS, base, recognized

GOOD = {
    "labelme": json.dumps(labelme("a.jpg", shape("dog", "point", [3.5, 4.5]))),
    "cvat": cvat(frame("a.jpg", drawn("points", "dog", 'points="3.50,4.50"'))),
    "datumaro": json.dumps(
        {
            "dm_format_version": "1.0",
            "categories": {"label": {"labels": [{"name": "dog"}]}},
            "items": [
                {
                    "id": "a",
                    "annotations": [{"type": "points", "label_id": 0, "points": [3.5, 4.5]}],
                }
            ],
        }
    ),
    "labelstudio": json.dumps([task("a.jpg", region("keypointlabels", "dog", x=5.0, y=5.0))]),
    "coco": json.dumps(coco([{"category_id": 3, "keypoints": [3, 4, 2]}], "a.jpg")),
    "via": json.dumps(via(("a.jpg", [via_region("dog", "point", cx=3, cy=4)]))),
    "bestie": "3 4 1 0.5\n",
    "csv": "file,x,y,label\na.jpg,3,4,dog\n",
}
ENDINGS = {"cvat": "xml", "bestie": "txt", "csv": "csv"}


def path_of(name, tmp_path, content):
    path = tmp_path / f"a.{ENDINGS.get(name, 'json')}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def sentence(name, path, tmp_path):
    with pytest.raises(UserError) as told:
        taken(name, path, pictures(tmp_path / "photos", "a.jpg"))
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 700
    return str(told.value)


@pytest.mark.parametrize("name", FORMATS)
def test_the_good_file_is_taken(name, tmp_path):
    path = path_of(name, tmp_path, GOOD[name])
    assert recognized(path) == name
    points, _ = taken(name, path, pictures(tmp_path / "photos", "a.jpg"))
    assert sum(map(len, points.points)) == 1


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00bad",
        b"\x80\x81 \xc3\x28",
        b"\0" * 100,
        b"[]",
        b"{}",
        b"null",
        b'"text"',
        b"[" * 100_000,
        b"<annotations><image",
        b"<other/>",
        b"1,2,3\n",
    ],
)
def test_what_is_no_such_file(name, content, tmp_path):
    sentence(name, path_of(name, tmp_path, content), tmp_path)


@pytest.mark.parametrize("name", ["labelme", "cvat", "datumaro", "labelstudio", "coco", "via"])
def test_a_file_that_is_cut_short(name, tmp_path):
    for part in (0.1, 0.5, 0.9):
        content = GOOD[name][: int(len(GOOD[name]) * part)]
        assert "a." in sentence(name, path_of(name, tmp_path, content), tmp_path)


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_is_not_there_or_too_large(name, tmp_path, monkeypatch):
    assert "no file or folder" in sentence(name, tmp_path / "gone", tmp_path)
    (tmp_path / "empty").mkdir()
    assert "files end in" in sentence(name, tmp_path / "empty", tmp_path)
    monkeypatch.setattr(base, "MAX_BYTES", 5)
    assert "split it" in sentence(name, path_of(name, tmp_path, GOOD[name]), tmp_path)


VALUES = (None, True, -1, 1e400, 10**30, "x" * 10_000, "\ud800", [], {}, [[]], {"a": [1]}, "")


def everywhere(value):
    """Places in a JSON value, from outside to inside."""
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, child in items:
        yield (key,)
        yield from ((key, *path) for path in everywhere(child))


def mistake(name, file, images):
    """What is said of a file, nothing where it is taken."""
    try:
        taken(name, file, images)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["labelme", "datumaro", "labelstudio", "coco", "via"])
def test_any_value_of_another_kind_is_told_in_a_sentence_or_harmless(name, tmp_path):
    good = json.loads(GOOD[name])
    images = pictures(tmp_path / "photos", "a.jpg")
    told = 0
    for path in everywhere(good):
        for value in VALUES:
            broken = copy.deepcopy(good)
            at = broken
            for key in path[:-1]:
                at = at[key]
            at[path[-1]] = value
            file = tmp_path / "a.json"
            file.write_text(json.dumps(broken))
            sentence = mistake(name, file, images)
            told += bool(sentence)
            assert "\n" not in sentence, (path, value)
            assert len(sentence) < 700, (path, value)
    assert told > 20


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('points="3.50,4.50"', 'points="3.50"', "must be x,y"),
        ('points="3.50,4.50"', 'points="nan,4"', "must be a number"),
        ('points="3.50,4.50"', "", "must be x,y"),
        ('label="dog"', "", "shape 1 has no class"),
        ('width="60"', 'width="6e"', "whole numbers"),
        ('name="a.jpg"', "", "has no name"),
        ("<image", '<track id="1"></track><image', "tracks of a video"),
        (
            "<points",
            '<mask label="dog" rle="9" left="0" top="0" width="2" height="2"/><points',
            "does not fill",
        ),
        ("<points", '<box label="dog" xtl="1"/><points', "must be a number"),
        ('<?xml version="1.0" encoding="utf-8"?>', '<!DOCTYPE a [<!ENTITY b "c">]>', "Entities"),
        ('encoding="utf-8"', 'encoding="no-such"', "not readable"),
    ],
)
def test_cvats_xml(old, new, said, tmp_path):
    assert old in GOOD["cvat"]
    path = path_of("cvat", tmp_path, GOOD["cvat"].replace(old, new))
    assert said in sentence("cvat", path, tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("csv", "file,x,label\na.jpg,3,dog\n", "no column for y"),
        ("csv", "file,x,y,label\na.jpg,3,4\n", "3 fields, but the header 4"),
        ("csv", "file,x,y,label\na.jpg,inf,4,dog\n", "x 'inf'"),
        ("csv", "file,x,y,label\na.jpg,3,4,\n", "give it the name of a class"),
        ("csv", "file,x,y,label\n,3,4,dog\n", "names no file"),
        ("csv", 'file,x,y,label\na.jpg,3,4,"' + "d" * (1 << 21) + '"\n', "not readable as CSV"),
        ("bestie", "3 4\n", "must be x y class confidence"),
        ("bestie", "3 4 1.5 1\n", "whole number"),
        ("bestie", "3 nan 1 1\n", "whole number"),
        ("bestie", "3 4 1e300 1\n", "classes"),
    ],
)
def test_tables(name, content, said, tmp_path):
    if "1e300" in content:
        taken(name, path_of(name, tmp_path, content), pictures(tmp_path / "photos", "a.jpg"))
        return  # a class of that name
    assert said in sentence(name, path_of(name, tmp_path, content), tmp_path)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda r: r.update(image_rotation=90), "rotated by 90 degrees"),
        (lambda r: r.pop("original_width"), "whole numbers"),
        (lambda r: r["value"].update(keypointlabels=["a", "b"]), "give it one"),
        (lambda r: r["value"].update(x=101.0), "lies outside"),
    ],
)
def test_label_studios_regions(edit, said, tmp_path):
    tasks = json.loads(GOOD["labelstudio"])
    edit(tasks[0]["annotations"][0]["result"][0])
    assert said in sentence("labelstudio", dumped(tmp_path / "a.json", tasks), tmp_path)


@pytest.mark.parametrize("data", [{}, {"text": "hello"}, {"left": "a.jpg", "right": "b.jpg"}])
def test_a_task_of_no_image_or_several(data, tmp_path):
    tasks = json.loads(GOOD["labelstudio"])
    tasks[0]["data"] = data
    assert "image" in sentence("labelstudio", dumped(tmp_path / "a.json", tasks), tmp_path)


def test_a_labelme_mask_may_not_be_a_bomb(tmp_path):
    import base64
    import struct

    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 1 << 20, 1 << 20)
    for png in (head, b"", b"no png"):
        mask = shape("dog", "mask", [0, 0], [9, 9], mask=base64.b64encode(png).decode())
        path = dumped(tmp_path / "a.json", labelme("a.jpg", mask))
        assert "without a readable PNG" in sentence("labelme", path, tmp_path)


def test_a_folder_of_two_formats_is_nobodys(tmp_path):
    path_of("labelme", tmp_path, GOOD["labelme"])
    path_of("cvat", tmp_path, GOOD["cvat"])
    with pytest.raises(UserError, match=r"several formats: cvat \(a.xml\), labelme \(a.json\)"):
        recognized(tmp_path)
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(UserError, match=r"several formats|is unknown: it holds an empty object"):
        recognized(tmp_path)


def test_a_mask_larger_than_its_image_is_refused_before_it_is_decoded(tmp_path):
    side = 10_000
    window = f'rle="5, {side**2 - 5}" left="0" top="0" width="{side}" height="{side}"'
    path = path_of("cvat", tmp_path, cvat(frame("a.jpg", drawn("mask", "dog", window))))
    tracemalloc.start()
    try:
        said = sentence("cvat", path, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < side**2 / 10
    finally:
        tracemalloc.stop()
    assert "shape 1 is a mask of 10000x10000 on an image of 60x40" in said


def test_predictions_of_ours_are_no_annotations(tmp_path):
    tasks = [{"data": {"image": "a.jpg"}, "predictions": [{"result": []}]}]
    said = sentence("labelstudio", dumped(tmp_path / "tasks.json", tasks), tmp_path)
    assert "has predictions only and no annotations" in said


def test_a_comma_among_commas_is_no_decimal_point(tmp_path):
    lines = 'file,x,y,label\na.jpg,"1,234",4,dog\n'
    assert "has x '1,234'" in sentence("csv", path_of("csv", tmp_path, lines), tmp_path)
