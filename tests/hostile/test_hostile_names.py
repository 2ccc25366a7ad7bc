"""Hostile names: in paths of results, on a terminal, in HTML and in YAML."""

from __future__ import annotations

import io
import json
import os
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from p2seg.apps.report.page import ReportRow, write_report
from p2seg.data.coco import (
    Category,
    ImageRecord,
    Instance,
    InstanceSet,
    encode,
    read_instances,
    write_instances,
)
from p2seg.data.image_sources import Frame, Source
from p2seg.data.images import read_image
from p2seg.data.maps import map_path, read_map
from p2seg.data.points import make_points, read_points, write_points
from p2seg.formats.masks import FORMATS, places
from p2seg.formats.masks.yolo import data_yaml
from p2seg.runtime.resume_log import Parts
from p2seg.runtime.terminal import Terminal, printable
from p2seg.segmentors.detection import Detection
from p2seg.segmentors.predict import Outputs, Prediction, keep_predictions, write_predictions
from p2seg.semantic.maps import paths_of, write_map

FILES = {
    "spaces": " a  b .png",
    "a line end": "a\nb.png",
    "a tab": "a\tb.png",
    "quotes": "'a\"b`.png",
    "dollars": "$(touch sprung)${HOME}.png",
    "a semicolon": "a; touch sprung.png",
    "percent": "%s%n%00..%2f.png",
    "stars": "*?[a].png",
    "a dash": "-rf.png",
    "a tilde": "~root.png",
    "backslashes": "a\\b.png",
    "a colon": "a:b.png",
    "emoji": "😀👩‍👩‍👧.png",
    "sixty emoji": "😀" * 60 + ".png",
    "right to left": "אבג\u202egnp.png",
    "composed": "\u00e9.png",
    "decomposed": "e\u0301.png",
    "an escape": "\x1b]0;title\x07\x1b[2J.png",
    "no ending": "picture",
    "two endings": "a.png.json",
    "a long ending": "a." + "b" * 200,
    "dots": "...png",
    "dots within": "a..b.png",
    "a hidden file": ".a.png",
    "a folder of dots": "a.../b.png",
    "HTML": "<img src=x onerror=alert(1)>.png".replace("/", ""),
    "markup": "[red]a[/red].png",
    "a device of Windows": "CON.png",
    "a trailing dot": "a.",
    "many folders": "a/" * 50 + "b.png",
    "two slashes": "a//b.png",
}
"""Valid names that careless programs misinterpret."""
CLASSES = {
    "HTML": "<script>alert(1)</script>",
    "an attribute": '" onmouseover="alert(1)',
    "an entity": "&lt;b&gt;",
    "an escape": "\x1b[31mred\x1b[0m",
    "a C1 control": "\x9b31mred",
    "a bell": "\x07",
    "a new title": "\x1b]0;title\x07",
    "a line end": "red\n1: blue\nval: /etc",
    "a carriage return": "red\rblue",
    "markup": "[bold]red[/]",
    "an unclosed tag": "[/red]",
    "YAML": "red: [blue]\n- x # no",
    "a YAML tag": "!!python/object/apply:os.system ['touch sprung']",
    "quotes": "\"'`",
    "a backslash": "\\",
    "a delete": "a\x7fb",
    "a next line": "a\x85b",
    "a line separator": "a\u2028b\u2029c",
    "a mark of byte order": "\ufeffred",
    "no character": "a\ufffe\uffffb",
    "right to left": "\u202eder",
    "beyond the first plane": "😀",
    "a private letter": "\U0010fffd",
    "spaces": "  ",
    "a thousand letters": "x" * 1000,
    "a formula": "=1+1",
    "a place holder": "{0} %s ${x}",
    "a zero": "a\0b",
}
"""Names of classes."""
TABLES = {"names of files": FILES, "names of classes": CLASSES}
SIZE = (6, 8)


def mask() -> np.ndarray:
    made = np.zeros(SIZE, bool)
    made[1:4, 2:6] = True
    return made


def everything_below(folder: Path) -> list[Path]:
    return [Path(parent, file) for parent, _, files in os.walk(folder) for file in files]


@pytest.mark.parametrize("name", FILES)
def test_files_are_written_below_their_folder_and_found_again(tmp_path, name, monkeypatch):
    root = tmp_path / "root"
    images, out = root / "images", root / "out"
    images.mkdir(parents=True)
    monkeypatch.chdir(root)
    record = ImageRecord(1, FILES[name], *SIZE)
    path = images / record.file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE[::-1], (9, 8, 7)).save(path, "PNG")
    one = Instance(7, 1, encode(mask()))
    masks = InstanceSet([record], [Category(1, "red")], [[one]])
    write_instances(out / "masks.json", masks)
    assert read_instances(out / "masks.json").images == [record]
    write_points(out / "points.json", make_points(masks, "inner", 0))
    assert read_points(out / "points.json").images == [record]
    assert (read_image(images / record.file_name, SIZE) == (9, 8, 7)).all()

    [made] = paths_of(out / "maps", [record])
    write_map(made, mask().astype(np.uint8), "key")
    assert (read_map(map_path(out / "maps", record.file_name), SIZE, 1) == mask()).all()
    frame = Frame(record, read_image(path), Source(path, record.file_name))
    found = Detection(1, 0.9, (2.0, 1.0, 6.0, 4.0), encode(mask()))
    categories, kept = masks.categories, Parts(out / "found" / "parts", "key", 0)
    outputs = Outputs(out / "found", list(FORMATS), None, 0.5, categories, [record.file_name])
    keep_predictions([Prediction(frame, [found])], [(0, "stamp")], outputs, kept)
    write_predictions(out / "found", kept, {0: "stamp"}, categories, {})
    listed = read_instances(out / "found" / "images.json")
    assert listed.images == [record]
    written = everything_below(tmp_path)
    assert all(each == path or out in each.parents for each in written)
    assert len(written) >= 9
    place = places([record.file_name])[record.file_name]
    labelme = json.loads((out / "found" / "labelme" / f"{place}.json").read_text(encoding="utf-8"))
    assert ((out / "found" / "labelme" / place).parent / labelme["imagePath"]).samefile(path)
    assert not list(tmp_path.rglob("sprung"))


def test_composed_and_decomposed_names_are_two_files(tmp_path):
    names = [FILES["composed"], FILES["decomposed"]]
    records = [ImageRecord(k, name, *SIZE) for k, name in enumerate(names, start=1)]
    empty = InstanceSet(records, [Category(1, "red")], [[], []])
    write_instances(tmp_path / "a.json", empty)
    assert [each.file_name for each in read_instances(tmp_path / "a.json").images] == names
    assert len(set(paths_of(tmp_path, records))) == 2


@pytest.mark.parametrize("name", CLASSES)
def test_class_names_are_text_everywhere(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = CLASSES[name]
    text = data_yaml([Category(1, "first"), Category(2, given)])
    assert yaml.safe_load(text)["names"] == {0: "first", 1: given}
    stream = io.StringIO()
    console = Terminal(file=stream, force_terminal=True, color_system=None, width=5000)
    console.print(given, markup=False)
    shown = stream.getvalue()
    assert not set(shown) & {"\x1b", "\x9b", "\x07", "\r", "\x7f", "\x85", "\0", "\u202e"}
    if given.isprintable():
        assert shown.strip("\n").rstrip() == given.rstrip()
    image = np.zeros((*SIZE, 3), np.uint8)
    write_report(
        tmp_path / "report",
        [ReportRow(given, {given: image})],
        {},
        {"name": given, given: given},
        {given: 1.0},
        {given: image},
    )
    reader = _Tags()
    reader.feed((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))
    assert "script" not in reader.tags
    assert not any(key.startswith("on") for key in reader.attributes)
    assert all(out.startswith("report/") and ".." not in out for out in reader.links)


class _Tags(HTMLParser):
    """Returns the tags, attribute names and links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {key for key, _ in attrs}
        self.links |= {value or "" for key, value in attrs if key in ("src", "href")}


def test_harmless_names_are_not_changed():
    for text in ("plain", "zwei Zeilen\nund\tein Tab", "é אבג 😀", ""):
        assert printable(text) == text
    assert printable("\x1b[31m\u202e\ud800") == "\\x1b[31m\\u202e\\ud800"


def test_messages_have_no_terminal_control_characters(tmp_path, run_tool):
    content = {
        "images": [{"id": 1, "file_name": "\x1b[2J\x07.png", "width": 0, "height": 0}],
        "annotations": [],
        "categories": [],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    code, _, error = run_tool(
        "make_points", f"gt={tmp_path / 'a.json'}", f"out={tmp_path / 'b.json'}"
    )
    assert code == 2
    assert "\\x1b[2J" in error
    assert "\x1b" not in error
    assert "\x07" not in error
