"""JSON read in parts is what Python's parser reads whole, wherever the parts are cut."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2seg.data import stream
from p2seg.errors import UserError

FIXTURES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
documents = st.dictionaries(st.sampled_from(["a", "b", "other"]), values) | values


def read(path, text):
    """What is read, with handed out lists put back, or the sentence."""
    path.write_text(text, encoding="utf-8", newline="")
    lists: dict[str, list[Any]] = {"a": [], "b": []}
    try:
        content = stream.read_streamed(path, "file", {k: v.extend for k, v in lists.items()})
    except UserError as error:
        return str(error)
    for key, items in lists.items():
        if items:
            assert content[key] == []
            content[key] = items
    return content


def same(a, b):
    """Equal, NaN to NaN, and true is not 1."""
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@FIXTURES
@given(documents, st.integers(1, 9), st.integers(1, 3), st.sampled_from([None, 1]), st.booleans())
def test_it_is_what_python_reads(tmp_path, content, block, items, indent, ascii):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "BLOCK", block)
        patch.setattr(stream, "ITEMS", items)
        text = json.dumps(content, indent=indent, ensure_ascii=ascii)
        if "\\ud" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
            text = json.dumps(content, indent=indent)
        assert same(read(tmp_path / "a.json", text), json.loads(text))


@FIXTURES
@given(documents, st.data(), st.integers(1, 9))
def test_what_is_no_json_is_refused_as_python_refuses_it(tmp_path, content, data, block):
    text = json.dumps(content, indent=1)
    cut = data.draw(st.integers(0, len(text)))
    put = data.draw(st.sampled_from(["", ",", "]", "}", '"', "1e", "-", "nul", "[", " x"]))
    text = text[:cut] + put + text[cut + data.draw(st.integers(0, 3)) :]
    try:
        expected = json.loads(text)
    except ValueError:
        expected = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "BLOCK", block)
        found = read(tmp_path / "a.json", text)
    if expected is None and text.strip() != "null":
        assert isinstance(found, str)
        assert "is not a readable file" in found
        assert found.endswith("it must be JSON")
    elif "two lists" not in str(found):
        assert same(found, expected)


@pytest.mark.parametrize("block", [1, 5, 1 << 20])
def test_a_mistake_is_placed_in_the_whole_file(tmp_path, monkeypatch, block):
    monkeypatch.setattr(stream, "BLOCK", block)
    text = '{"a": [1,\n 2, {"b":\n  tru}],\n "c": 3}'
    with pytest.raises(json.JSONDecodeError) as python:
        json.loads(text)
    assert str(python.value) in read(tmp_path / "a.json", text)
    assert "line 3 column 3" in str(python.value)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ('\ufeff{"a": [1]}', {"a": [1]}),
        ('{"a": [1, 2.5e3, -0.0, 12345678901234567890]}\r\n', None),
        ('{"a": {"b": 1}, "b": null}', None),
        ('{"a": []}', None),
        ('{"other": [1], "other": [2]}', {"other": [2]}),
        ("[1, 2]", None),
        ("12", None),
    ],
)
def test_odd_files_are_read(tmp_path, text, content):
    expected = json.loads(text) if content is None else content
    assert same(read(tmp_path / "a.json", text), expected)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"a": [1], "a": [2]}', "it has two lists 'a'"),
        ('{"a": [1,]}', "Expecting value"),
        ('{"a": [1] "b": 2}', "Expecting ',' delimiter"),
        ('{"a": [1 2]}', "Expecting ',' delimiter"),
        ('{"a" [1]}', "Expecting ':' delimiter"),
        ('{"a": 1,}', "Expecting property name"),
        ('{"a": 1} x', "Extra data"),
        ("", "Expecting value"),
        ('{"a": [' + "[" * 200_000, "recursion"),
        ('{"a": [' + "9" * 5000 + "]}", "4300 digits"),
    ],
)
def test_broken_files_are_refused(tmp_path, text, sentence):
    assert sentence in read(tmp_path / "a.json", text)


def test_a_file_may_be_in_another_encoding_of_unicode_and_no_other(tmp_path):
    path, text = tmp_path / "a.json", '{"a": ["梨"]}'
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-32"):
        path.write_bytes(text.encode(encoding))
        items: list[Any] = []
        stream.read_streamed(path, "points file", {"a": items.extend})
        assert items == ["梨"]
    path.write_bytes(text.encode("gb2312"))
    with pytest.raises(UserError, match=r"a\.json is not a readable points file.*save it as UTF-8"):
        stream.read_streamed(path, "points file", {})
