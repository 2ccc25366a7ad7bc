"""Which images a path means, and how they are read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from video_sets import write_video

from p2seg.data.image_sources import Source, check_sources, count_frames, read_frames, sources_at
from p2seg.errors import UserError


def photo(path, size=(4, 5)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size[::-1]).save(path)
    return path


@pytest.fixture
def album(tmp_path):
    """Images, hidden ones, a video and a text."""
    for name in ("a.jpg", "b/1.png", "b/2.jpg", "b/c/3.JPG", ".h.jpg", ".d/4.jpg", "[x]/5.jpg"):
        photo(tmp_path / name.lower()).rename(tmp_path / name)
    write_video(tmp_path / "v.avi")
    (tmp_path / "b/note.txt").write_text("no image")
    return tmp_path


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (".", [".d/4.jpg", "[x]/5.jpg", "a.jpg", "b/1.png", "b/2.jpg", "b/c/3.JPG"]),
        ("b", ["1.png", "2.jpg", "c/3.JPG"]),
        ("a.jpg", ["a.jpg"]),
        ("b/c/3.JPG", ["3.JPG"]),
        ("v.avi", ["v.avi"]),
        ("*", ["a.jpg", "v.avi"]),
        ("b/*.jpg", ["2.jpg"]),
        ("b/*", ["1.png", "2.jpg"]),
        ("*/*.jpg", ["[x]/5.jpg", "b/2.jpg"]),
        ("**/*.[jJ]*", ["[x]/5.jpg", "a.jpg", "b/2.jpg", "b/c/3.JPG"]),
        ("b/**", ["1.png", "2.jpg", "c/3.JPG"]),
        ("[x]", ["5.jpg"]),
        ("[x]/*.jpg", ["5.jpg"]),
        ("[x]/5.jpg", ["5.jpg"]),
        ("?.jpg", ["a.jpg"]),
    ],
)
def test_what_a_path_means(album, given, names, monkeypatch):
    sources = sources_at(album / given)
    assert [source.name for source in sources] == names
    assert all(source.path.is_file() for source in sources)
    monkeypatch.chdir(album)
    assert [source.name for source in sources_at(Path(given))] == names


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("nowhere", "no image folder, image or video at .*nowhere; give"),
        ("none.jpg", "no image folder, image or video at .*none.jpg"),
        ("b/note.txt", "note.txt is neither an image nor a video by its name; images end in"),
        ("b/*.bmp", r"nothing matches .*b/\*\.bmp; images end in"),
        ("b/*.txt", r"1 files of other kinds match .*b/\*\.txt; images end in"),
        ("b/*/../../a.jpg", r"the pattern .* leaves the folder .*b;"),
    ],
)
def test_what_means_nothing_is_one_sentence(album, given, sentence):
    with pytest.raises(UserError, match=sentence):
        sources_at(album / given)


def test_a_name_that_is_no_text_is_one_sentence(tmp_path):
    try:
        photo(tmp_path / "a.jpg").rename(tmp_path / os.fsdecode(b"\xff.jpg"))
    except OSError:
        pytest.skip("the file system has no such names")
    with pytest.raises(UserError, match=r"'\\udcff.jpg' in .* is not UTF-8"):
        sources_at(tmp_path)


def test_images_and_frames_are_counted_on(album):
    sources = sources_at(album / "*")
    frames = list(read_frames(sources, 3, "raise"))
    assert count_frames(sources, 3) == len(frames) == 4
    assert [(f.record.id, f.record.file_name) for f in frames] == [
        (1, "a.jpg"),
        (2, "v.avi/000000.png"),
        (3, "v.avi/000003.png"),
        (4, "v.avi/000006.png"),
    ]
    assert [f.image.shape for f in frames] == [(4, 5, 3), *[(48, 64, 3)] * 3]
    assert [f.rate for f in frames] == [None, *[pytest.approx(10 / 3)] * 3]
    assert (frames[1].record.height, frames[1].record.width) == (48, 64)


def test_ids_and_sizes_of_a_file_are_kept(album):
    [frame] = read_frames([Source(album / "a.jpg", "a.jpg", 77, (4, 5))], 1, "raise")
    assert frame.record.id == 77
    with pytest.raises(UserError, match="5x4 but its annotation says 4x4"):
        check_sources([Source(album / "a.jpg", "a.jpg", 77, (4, 4))])


def test_what_cannot_be_read_is_raised_or_skipped(album):
    (album / "b/2.jpg").write_bytes(b"no image")
    write_video(album / "b/w.avi").write_bytes(b"no video")
    sources = sources_at(album / "b/*")
    with pytest.raises(UserError, match=r"b/2\.jpg is not an image"):
        check_sources(sources)
    with pytest.raises(UserError, match=r"b/w\.avi is not a video"):
        check_sources(sources[2:])
    with pytest.raises(UserError, match=r"b/2\.jpg"):
        list(read_frames(sources, 1, "raise"))
    first, second, third = read_frames(sources, 1, "skip")
    assert first.record.file_name == "1.png"
    assert "2.jpg" in second
    assert "w.avi" in third
    assert count_frames(sources, 1) == 3


def test_an_image_that_is_cut_short_is_found_when_it_is_read(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "a.jpg"
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    check_sources(sources_at(path))
    with pytest.raises(UserError, match="damaged or truncated"):
        list(read_frames(sources_at(path), 1, "raise"))


def test_a_video_that_ends_early_is_told_of(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.avi", count=7)
    frames = [(0, np.zeros((2, 2, 3), np.uint8))]
    monkeypatch.setattr("p2seg.data.video.Video.frames", lambda *_: iter(frames))
    frame, sentence = read_frames(sources_at(path), 1, "raise")
    assert frame.record.file_name == "a.avi/000000.png"
    assert "a.avi ends after frame 0" in sentence
