"""Hostile JSON files: rejected in one sentence, or read correctly."""

from __future__ import annotations

import contextlib
import copy
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2seg.data.coco import read_instances, write_instances
from p2seg.data.points import read_points, write_points
from p2seg.errors import UserError
from p2seg.evaluation.readers import read_predictions
from p2seg.semantic.class_map import ClassMap
from p2seg.semantic.manifest import read_manifest

BIG = 2**53 + 1


def document() -> dict[str, Any]:
    """Returns a valid file, both of points and of instances."""
    shared = {"image_id": 1, "point": [2.5, 3], "segmentation": [[1, 1, 6, 1, 6, 4]]}
    return {
        "info": {"a": 1},
        "images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 6}],
        "annotations": [
            {"id": 7, "category_id": 1, **shared},
            {"id": 8, "category_id": 2, **shared},
        ],
        "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}],
    }


GOOD = json.dumps(document())
BYTES: dict[str, bytes] = {
    "nothing": b"",
    "a space": b" ",
    "a zero byte": b"\0",
    "a mark of byte order": b"\xef\xbb\xbf",
    "two marks": b"\xef\xbb\xbf\xef\xbb\xbf" + GOOD.encode(),
    "Latin-1": GOOD.replace("red", "grün").encode("latin-1"),
    "cut short": GOOD[:-9].encode(),
    "two documents": (GOOD + GOOD).encode(),
    "rubbish behind": GOOD.encode() + b"\0\0",
    "a comma too much": GOOD.replace("}]}", "},]}").encode(),
    "single quotes": GOOD.replace('"', "'").encode(),
    "a comment": b"// COCO\n" + GOOD.encode(),
    "a picture": b"\x89PNG\r\n\x1a\n",
    "a pickle": b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00cposix\nsystem\n.",
    "100,000 lists in each other": b"[" * 100_000,
    "100,000 closed lists": b"[" * 100_000 + b"]" * 100_000,
    "100,000 objects": b'{"images":' * 100_000,
    "a list as deep as may be": b"[" * 900 + b"]" * 900,
    "5,000 digits": GOOD.replace("2.5", "9" * 5000).encode(),
    "a NaN": b"NaN",
    "minus infinity": b"-Infinity",
    "a text": b'"images"',
    "a control character in a text": GOOD.replace("red", "r\x01ed").encode(),
    "a list of a million": b"[" + b"0," * 10**6 + b"0]",
    "an object of 100,000 keys": json.dumps({str(k): k for k in range(10**5)}).encode(),
    "a text of ten million": b'"' + b"x" * 10**7 + b'"',
}
"""Files that are no COCO-style documents for any reader."""


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


STRANGE: dict[str, Any] = {
    "null": None,
    "true": True,
    "a float": 1.5,
    "an exponent": 1e999,
    "minus": -1,
    "2^63": 2**63,
    "2^64 + 1": 2**64 + 1,
    "4,000 digits": 10**4000,
    "NaN": float("nan"),
    "digits in a text": "1.5",
    "a sign in a text": "+1",
    "an empty text": "",
    "a list": [1],
    "an object": {"id": 1},
    "600 lists in each other": deep(600),
}
"""Values in place of an integer."""
NUMBERS = ("images.id", "images.width", "images.height", "annotations.id", "annotations.image_id")
NUMBERS += ("annotations.category_id", "categories.id")

NAMES: dict[str, Any] = {
    "up": "../a.png",
    "up and down": "b/../../a.png",
    "up within": "b/../a.png",
    "only up": "..",
    "up with backslashes": "..\\a.png",
    "up and down with backslashes": "b\\..\\..\\a.png",
    "mixed": "b/..\\../a.png",
    "the root": "/etc/passwd",
    "two slashes": "//host/a.png",
    "a drive": "C:\\a.png",
    "a drive with a slash": "c:/a.png",
    "a share": "\\\\host\\a.png",
    "the drive's root": "\\a.png",
    "a device of Windows": "\\\\.\\C:\\a.png",
    "the folder": ".",
    "the folder again": "./.",
    "a zero byte": "a\0.png",
    "half a letter": "\ud800.png",
    "5,000 letters": "a" * 5000,
    "a thousand folders": "a/" * 1000 + "b.png",
    "a number": 5,
    "a list": ["a.png"],
    "null": None,
    "nothing": "",
    "no text but depth": deep(600),
}
"""File names that leave the folder or are invalid."""

EDITS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "two images of one id": lambda d: d["images"].append(dict(d["images"][0], file_name="b.png")),
    "two images of one file": lambda d: d["images"].append(dict(d["images"][0], id=2)),
    "one file by two names": lambda d: d["images"].append(
        dict(d["images"][0], id=2, file_name="./a.png")
    ),
    "two annotations of one id": lambda d: d["annotations"][1].update(id=7),
    "two categories of one id": lambda d: d["categories"][1].update(id=1),
    "an unknown image": lambda d: d["annotations"][0].update(image_id=2),
    "an unknown category": lambda d: d["annotations"][0].update(category_id=3),
    "2^53 is not 2^53 + 1": lambda d: (
        d["images"][0].update(id=BIG),
        [each.update(image_id=2**53) for each in d["annotations"]],
    ),
    "30,000 x 30,000 pixels": lambda d: d["images"][0].update(width=30_000, height=30_000),
    "2^31 x 1 pixels": lambda d: d["images"][0].update(width=2**31, height=1),
    "no width": lambda d: d["images"][0].pop("width"),
    "no images": lambda d: d.pop("images"),
    "images are an object": lambda d: d.update(images={"1": {}}),
    "an image is a text": lambda d: d["images"].append("a.png"),
    "annotations are null": lambda d: d.update(annotations=None),
    "info is a text": lambda d: d.update(info="COCO"),
    "info with NaN": lambda d: d.update(info={"a": float("nan")}),
    "info with infinity": lambda d: d.update(info={"a": [1e999]}),
    "info with half a letter": lambda d: d.update(info={"\ud800": 1}),
    "info of 600 levels": lambda d: d.update(info={"a": deep(600)}),
    "a name of half a letter": lambda d: d["categories"][0].update(name="\udfff"),
    "a name of a million letters": lambda d: d["categories"][0].update(name="x" * 10**6),
    "a name that is a number": lambda d: d["categories"][0].update(name=1),
    "a name that is nothing": lambda d: d["categories"][0].update(name=""),
}
"""Changes that make a document invalid."""

POINTS: dict[str, Any] = {
    "NaN": [float("nan"), 1],
    "infinity": [1e999, 1],
    "outside": [8, 1],
    "below": [1, -0.001],
    "far": [1e308, 1],
    "4,000 digits": [10**4000, 1],
    "three numbers": [1, 1, 1],
    "one": [1],
    "texts": ["1", "1"],
    "true": [True, 1],
    "null": None,
    "an object": {"x": 1, "y": 1},
    "600 levels": deep(600),
}
TABLES = {
    "bytes that are no document": BYTES,
    "values in place of numbers": {f"{key} {name}": 0 for key in NUMBERS for name in STRANGE},
    "file names": NAMES,
    "documents against themselves": EDITS,
    "points": POINTS,
}


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def refused(read: Callable[[Path], object], path: Path) -> str:
    """Returns the message of a reader, which must be short and come in time."""
    began = time.process_time()
    with pytest.raises(UserError) as caught:
        read(path)
    said = str(caught.value)
    assert str(path) in said
    assert len(said) < 3000
    assert time.process_time() - began < 5
    return said


@pytest.mark.parametrize("name", BYTES)
def test_other_bytes_are_rejected(tmp_path, name):
    path = tmp_path / "manifest.json"
    path.write_bytes(BYTES[name])
    for read in (read_points, read_instances, lambda path: read_manifest(path.parent)):
        refused(read, path)
    truth = read_instances(write(tmp_path / "gt.json", document()))
    refused(lambda path: read_predictions(path, truth), path)
    refused(lambda path: ClassMap.read(str(path)), path)


@pytest.mark.parametrize("key", NUMBERS)
def test_values_in_place_of_numbers_are_rejected(tmp_path, key):
    group, field = key.split(".")
    for value in STRANGE.values():
        content = document()
        content[group][0][field] = value
        path = write(tmp_path / "a.json", content)
        for read in (read_points, read_instances):
            refused(read, path)


@pytest.mark.parametrize("name", NAMES)
def test_file_names_that_leave_the_folder_are_rejected(tmp_path, name):
    content = document()
    content["images"][0]["file_name"] = NAMES[name]
    path = write(tmp_path / "a.json", content)
    for read in (read_points, read_instances):
        assert "file_name" in refused(read, path)


@pytest.mark.parametrize("name", EDITS)
def test_contradictory_documents_are_rejected(tmp_path, name):
    content = document()
    EDITS[name](content)
    path = write(tmp_path / "a.json", content)
    for read in (read_points, read_instances):
        refused(read, path)


@pytest.mark.parametrize("name", POINTS)
def test_invalid_points_are_rejected(tmp_path, name):
    content = document()
    content["annotations"][1]["point"] = POINTS[name]
    refused(read_points, write(tmp_path / "a.json", content))


RIGHT: dict[str, Callable[[str], bytes]] = {
    "Windows line ends": lambda text: (
        json.dumps(json.loads(text), indent=1).replace("\n", "\r\n").encode()
    ),
    "a mark of byte order": lambda text: text.encode("utf-8-sig"),
    "escaped letters": lambda text: text.replace("red", "\\u0072ed").encode(),
    "fields that nobody knows": lambda text: text.replace(
        '"width"', '"x": NaN, "y": 1e999, "width"'
    ).encode(),
    "a last key counts": lambda text: text.replace('"width"', '"width": 3, "width"').encode(),
}


@pytest.mark.parametrize("name", RIGHT)
def test_unusual_valid_files_are_read_correctly(tmp_path, name):
    path = tmp_path / "a.json"
    path.write_bytes(RIGHT[name](GOOD))
    points, instances = read_points(path), read_instances(path)
    assert points.images == instances.images
    assert [(each.file_name, each.width) for each in points.images] == [("a.png", 8)]
    assert [each.name for each in points.categories] == ["red", "blue"]
    assert points.points[0].ids.tolist() == [7, 8]


@pytest.mark.parametrize("id", [0, 2**31, 2**32 + 1, 2**53, BIG, 2**63 - 1])
def test_ids_are_preserved(tmp_path, id):
    content = document()
    content["images"][0]["id"] = content["annotations"][0]["id"] = id
    for each in content["annotations"]:
        each["image_id"] = id
    content["categories"][0]["id"] = content["annotations"][0]["category_id"] = max(id, 3)
    path = write(tmp_path / "a.json", content)
    write_points(tmp_path / "points.json", read_points(path))
    write_instances(tmp_path / "masks.json", read_instances(path))
    for name in ("points.json", "masks.json"):
        again = json.loads((tmp_path / name).read_text())
        assert again["images"][0]["id"] == id
        assert [each["id"] for each in again["annotations"]] == [id, 8]
        assert {each["image_id"] for each in again["annotations"]} == {id}
        assert max(each["id"] for each in again["categories"]) == max(id, 3)


def test_many_categories_are_matched_in_time(tmp_path):
    content = document()
    content["categories"] += [{"id": k, "name": f"class {k}"} for k in range(3, 20_000)]
    path = write(tmp_path / "a.json", content)
    began = time.process_time()
    read_predictions(path, read_instances(path))
    assert time.process_time() - began < 10


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_value_anywhere(tmp_path_factory, data):
    """Replaces one value of a valid file by any JSON value."""
    content = copy.deepcopy(document())
    places = []
    left: list[Any] = [content]
    while left:
        each = left.pop()
        if isinstance(each, (dict, list)):
            keys = list(each) if isinstance(each, dict) else range(len(each))
            places += [(each, key) for key in keys]
            left += [each[key] for key in keys]
    holder, key = data.draw(st.sampled_from(places))
    holder[key] = data.draw(VALUES)
    path = write(tmp_path_factory.mktemp("any") / "a.json", content)
    for read, again in ((read_points, write_points), (read_instances, write_instances)):
        try:
            found = read(path)
        except UserError:
            continue
        again(path.with_name("again.json"), found)
        assert read(path.with_name("again.json")).images == found.images


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=40), st.integers(0, len(GOOD)), st.integers(0, 30))
def test_any_bytes_anywhere(tmp_path_factory, part, start, length):
    path = tmp_path_factory.mktemp("any") / "a.json"
    path.write_bytes(GOOD[:start].encode() + part + GOOD[start + length :].encode())
    for read in (read_points, read_instances):
        with contextlib.suppress(UserError):
            read(path)


def test_the_message_also_comes_from_a_deep_call_stack(tmp_path):
    """A deep call stack leaves fewer levels for a deeply nested file."""
    content = document()
    content["images"][0]["file_name"] = deep(600)
    path = write(tmp_path / "a.json", content)

    def from_below(levels: int) -> str:
        return from_below(levels - 1) if levels else refused(read_points, path)

    assert from_below(sys.getrecursionlimit() // 3)
