"""JSON read in parts is what Python's parser reads whole."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2seg.data.json_lists import ITEMS, read_lists
from p2seg.data.points import read_points
from p2seg.errors import UserError

FIXTURES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
NUMBER = r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,25})?(e-?[0-9]{1,3})?"
documents = st.dictionaries(st.sampled_from(["a", "b", "other"]), values) | values


def read(path, text, items=ITEMS):
    """What is read, with the lists put back, or the error."""
    path.write_text(text, encoding="utf-8", newline="")
    try:
        content, lists = read_lists(path, "file", ("a", "b"), items)
        for key, parts in lists.items():
            assert content[key] == []
            for part in parts:
                assert 0 < len(part) <= items
                content[key] += part
    except UserError as error:
        return str(error)
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
@given(documents, st.integers(1, 3), st.sampled_from([None, 1]), st.booleans())
def test_it_is_what_python_reads(tmp_path, content, items, indent, ascii):
    text = json.dumps(content, indent=indent, ensure_ascii=ascii)
    if "\\ud" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        text = json.dumps(content, indent=indent)
    assert same(read(tmp_path / "a.json", text, items), json.loads(text))


@FIXTURES
@given(documents, st.data())
def test_what_is_no_json_is_refused_as_python_refuses_it(tmp_path, content, data):
    text = json.dumps(content, indent=1)
    cut = data.draw(st.integers(0, len(text)))
    put = data.draw(st.sampled_from(["", ",", "]", "}", '"', "1e", "-", "nul", "[", " x", "1e999"]))
    text = text[:cut] + put + text[cut + data.draw(st.integers(0, 3)) :]
    found = read(tmp_path / "a.json", text)
    try:
        assert same(found, json.loads(text))
    except ValueError as error:
        reason = str(error).splitlines()[0]
        path = tmp_path / "a.json"
        assert found == f"{path} is not a readable file: {reason}; it must be JSON"


@FIXTURES
@given(st.lists(st.from_regex(NUMBER, fullmatch=True)))
def test_numbers_are_pythons_to_the_last_bit(tmp_path, numbers):
    text = f'{{"a": [{", ".join(numbers)}]}}'
    assert same(read(tmp_path / "a.json", text), json.loads(text))


@pytest.mark.parametrize("key", ["a", "other"])
def test_a_mistake_is_placed_in_the_whole_file(tmp_path, key):
    for wrong in ("tru", "[1,]", '"\x01"', "9" * 5000):
        text = f'{{"{key}": [1,\n 2, {{"b":\n  {wrong}}}],\n "c": 3}}'
        with pytest.raises(ValueError, match=r"line 3 column|4300 digits") as python:
            json.loads(text)
        assert str(python.value) in read(tmp_path / "a.json", text)


def test_the_error_of_an_item_names_the_file_once(tmp_path):
    path, long = tmp_path / "a.json", "9" * 5000
    for key in ("images", "annotations"):
        lists = {
            "images": "[]",
            "annotations": "[]",
            "categories": "[]",
            key: f'[{{"id": {long}}}]',
        }
        path.write_text("{" + ", ".join(f'"{name}": {text}' for name, text in lists.items()) + "}")
        with pytest.raises(UserError, match="4300 digits") as caught:
            read_points(path)
        assert str(caught.value).startswith(f"{path} is not a readable points file: ")


def test_an_item_that_only_python_reads_is_read_in_its_place(tmp_path):
    text = json.dumps({"a": [1, 1e400, "\ud800", 2]}).replace("Infinity", "1e400")
    assert read(tmp_path / "a.json", text, 2) == {"a": [1, math.inf, "\ud800", 2]}
    assert same(read(tmp_path / "a.json", '{"a": [1, NaN, Infinity]}', 2)["a"][1], math.nan)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_memory_of_decoded_items_is_given_back(tmp_path):
    """Also where the lists come in another order, and with text behind them."""
    items = [{"id": k, "values": [k + 0.25] * 40} for k in range(20_000)]
    text = json.dumps({"b": items, "a": items[::-1], "other": "x" * 9000})
    assert read(tmp_path / "a.json", text) == json.loads(text)
    script = (
        "import sys; from pathlib import Path; from p2seg.data.json_lists import read_lists\n"
        "used = lambda: int(Path('/proc/self/statm').read_text().split()[1]) << 12\n"
        "before = most = used(); kept = bytearray(); file = Path(sys.argv[1])\n"
        "for parts in read_lists(file, 'file', ('a', 'b'), 1000)[1].values():\n"
        "    for part in parts:\n"
        "        kept += b'x' * (800 * len(part)); most = max(most, used())\n"
        "print(most - before)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "a.json")]
    most = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    kept = 800 * 2 * len(items)
    assert kept < most < kept + 0.7 * len(text)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ('\ufeff{"a": [1]}', {"a": [1]}),
        ('{"a": [1, 2.5e3, -0.0, 12345678901234567890]}\r\n', None),
        ('{"a": {"b": 1}, "b": null}', None),
        ('{"a": []}', None),
        ('{"other": [1], "other": [2]}', {"other": [2]}),
        ('{"a": [1], "a": [2]}', {"a": [2]}),
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
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"):
        path.write_bytes(text.encode(encoding))
        assert [*read_lists(path, "points file", ("a",))[1]["a"]] == [["梨"]]
    path.write_bytes(text.encode("gb2312"))
    with pytest.raises(UserError, match=r"a\.json is not a readable points file.*save it as UTF-8"):
        list(read_lists(path, "points file", ("a",))[1]["a"])
