"""The check of all files, and what a restart skips."""

from __future__ import annotations

import json
import os

import pytest
from training_sets import training_set

from p2seg.data import dataset, preflight
from p2seg.data.coco import InstanceSet
from p2seg.errors import UserError
from p2seg.segmentors import data as segmentor_data


@pytest.fixture
def made(tmp_path):
    return training_set(tmp_path / "set", 4)


@pytest.fixture
def read(monkeypatch):
    """The names of the images that are decoded."""
    names = []
    for module in (dataset, segmentor_data):

        def reading(path, size=None, real=module.read_image):
            names.append(path.name)
            return real(path, size)

        monkeypatch.setattr(module, "read_image", reading)
    return names


def look(made, known, on_error="raise"):
    left, skipped = dataset.readable_subset(made.points, made.reader, on_error, known)
    return [image.file_name for image in left.images], skipped


def test_a_restart_decodes_only_what_has_changed(made, tmp_path, read):
    known = tmp_path / "run/readable.json"
    first = look(made, known)
    assert sorted(read) == [f"{k}.png" for k in range(4)]
    read.clear()
    assert look(made, known) == first
    assert read == []
    path = made.images / "part/2.png"
    os.utime(path, ns=(1, 1))
    look(made, known)
    assert read == ["2.png"]
    read.clear()
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match=r"part/2\.png"):
        look(made, known)
    kept, skipped = look(made, known, "skip")
    assert (len(kept), len(skipped)) == (3, 1)
    read.clear()
    assert look(made, known, "skip")[1] == skipped, "what is wrong is told at every start"
    assert read == ["2.png"]


def test_a_changed_map_is_read_again(made, tmp_path, read):
    known = tmp_path / "readable.json"
    look(made, known)
    (made.semantic / "part/1.png").write_bytes(b"no map")
    with pytest.raises(UserError, match=r"part/1\.png"):
        look(made, known)
    (made.semantic / "part/1.png").unlink()
    with pytest.raises(UserError, match="no initial semantic map"):
        look(made, known)


def test_other_sizes_and_classes_are_looked_at_anew(made, tmp_path, read):
    known = tmp_path / "readable.json"
    look(made, known)
    read.clear()
    fewer = dataset.Reader(made.images, made.semantic, 1)
    with pytest.raises(UserError, match="has label 2, but there are 1 classes"):
        dataset.readable_subset(made.points, fewer, "raise", known)
    assert read


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"readable": [1, {}]}', b"\xff"])
def test_what_is_no_memory_of_a_look_is_not_believed(made, tmp_path, read, content):
    known = tmp_path / "readable.json"
    known.write_bytes(content)
    look(made, known)
    assert len(read) == 4
    assert len(json.loads(known.read_text())["readable"]) == 4


def test_what_was_found_before_the_end_is_kept(made, tmp_path, read, monkeypatch):
    known = tmp_path / "readable.json"
    (made.images / "part/3.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"part/3\.png"):
        look(made, known)
    assert len(json.loads(known.read_text())["readable"]) == 3
    known.unlink()
    monkeypatch.setattr(preflight, "SAVE_SECONDS", -1.0)
    monkeypatch.setattr(preflight, "AT_ONCE", 1)
    pairs = zip(made.points.images, made.points.points, strict=True)
    checks = (made.reader.check(*each) for each in pairs)
    under_way = preflight.failures(checks, known, stop=True)
    next(under_way), next(under_way), next(under_way)
    assert len(json.loads(known.read_text())["readable"]) == 2  # a killed run has these


def test_a_folder_that_takes_no_file_stops_nothing(made, tmp_path, read):
    (tmp_path / "run").write_text("a file")
    assert len(look(made, tmp_path / "run/readable.json")[0]) == 4


def test_a_segmentors_images_are_remembered_too(made, tmp_path, read):
    images = made.points.images[:2]
    given = InstanceSet(images, made.points.categories, [[], []])
    known = tmp_path / "run/readable.json"
    for expected in (2, 0):
        read.clear()
        left, skipped = segmentor_data.usable(given, made.images, "raise", known)
        assert (len(left.images), skipped, len(read)) == (2, [], expected)
    (made.images / "part/1.png").unlink()
    with pytest.raises(UserError, match=r"no image at .*1\.png"):
        segmentor_data.usable(given, made.images, "raise", known)
