"""Fingerprints of files by content: every change is seen, and unchanged files are not read."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from p2seg.runtime.content_fingerprint import cache_folder, content_of
from p2seg.runtime.files import sha256
from p2seg.runtime.temporary import temporary_name

LONG_AGO = 1_500_000_000


def drawn(folder):
    """Three files that were last changed long ago, as far as they can say so themselves."""
    (folder / "below").mkdir(parents=True)
    for k, name in enumerate(("a.png", "b.png", "below/c ünï.png")):
        (folder / name).write_bytes(bytes([k]) * 1000)
        os.utime(folder / name, (LONG_AGO, LONG_AGO))
    return folder


@pytest.fixture
def photos(tmp_path):
    return drawn(tmp_path / "photos")


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    """Files that no test changes."""
    folder = drawn(tmp_path_factory.mktemp("settled") / "photos")
    settle()
    return folder


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def listed(folder):
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def of(folder, cache=None):
    return content_of(listed(folder), folder, cache)


def settle():
    """Waits until files are old enough for the cache."""
    time.sleep(2.1)


def replaced(path, content):
    """Other content of the same size and the same time of the content."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_names_and_contents_decide_and_nothing_else(photos, tmp_path):
    first = of(photos)
    assert content_of(reversed(listed(photos)), photos, None) == first
    assert content_of([*listed(photos), *listed(photos)], photos, None) == first
    os.utime(photos / "a.png")
    photos = photos.rename(tmp_path / "elsewhere")
    assert of(photos) == first
    (photos / "b.png").rename(photos / "d.png")
    assert of(photos) != first
    (photos / "d.png").rename(photos / "b.png")
    (photos / "b.png").write_bytes(b"x" * 1000)
    assert of(photos) != first


def test_what_is_no_file_counts_too(photos):
    gone = [*listed(photos), photos / "gone.png"]
    first = content_of(gone, photos, None)
    assert first != of(photos)
    assert content_of([*listed(photos), photos / "lost.png"], photos, None) != first
    (photos / "gone.png").mkdir()
    assert content_of(gone, photos, None) == first
    (photos / "gone.png").rmdir()
    (photos / "gone.png").touch()
    assert content_of(gone, photos, None) != first
    if hasattr(os, "mkfifo"):
        os.mkfifo(photos / "pipe")
        content_of([photos / "pipe"], photos, None)  # it does not wait for a writer
    assert content_of([], photos, None) == content_of([], photos / "below", None)


def test_a_file_that_was_just_written_is_never_trusted(photos, cache):
    """Its next change may come within the same tick of the file system's clock."""
    first = of(photos, cache)
    for content in (b"x", b"y", b"z"):
        replaced(photos / "a.png", content * 1000)
        assert of(photos, cache) == of(photos) != first
    assert not list(cache.glob("*"))


def test_unchanged_files_are_not_read_again_and_replaced_ones_are(photos, cache):
    settle()
    first = of(photos, cache)
    [kept] = cache.iterdir()
    told = kept.read_text()
    kept.write_text(told.replace(sha256(photos / "a.png"), "0" * 64))
    assert of(photos, cache) != first  # what the cache said was taken
    kept.write_text(told)
    assert of(photos, cache) == first
    # a photograph that is replaced in place, its time set back, as `cp -p` and `rsync -t` do it
    replaced(photos / "a.png", b"x" * 1000)
    assert of(photos, cache) == of(photos) != first
    replaced(photos / "a.png", b"\0" * 1000)
    assert of(photos, cache) == first
    other = photos / "other.png"
    other.write_bytes(b"w" * 1000)
    os.utime(other, (LONG_AGO, LONG_AGO))
    other.replace(photos / "b.png")
    assert of(photos, cache) == of(photos) != first


def test_files_of_another_call_stay_in_the_cache(settled, cache):
    content_of([settled / "a.png"], settled, cache)
    content_of([settled / "b.png"], settled, cache)
    [kept] = cache.iterdir()
    assert all(sha256(settled / name) in kept.read_text() for name in ("a.png", "b.png"))


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\xff\0",
        b"[]",
        b'{"a.png": 7, "b.png": ["x", 1, 2, 3, 4], "c": [[], 1, 2, 3, 4]}',
        b'{"a.png": ["' + b"0" * 64 + b'", 1000, 1.5, 2, 3]}',
        b'{"a.png": {"sha256": 1}}' * 2,
    ],
)
def test_a_damaged_cache_is_as_none(settled, cache, damaged):
    first = of(settled, cache)
    [kept] = cache.iterdir()
    kept.write_bytes(damaged)
    assert of(settled, cache) == first == of(settled)
    assert sha256(settled / "a.png") in kept.read_text()


def test_what_a_killed_process_has_left_in_the_cache_is_removed(settled, cache):
    place = temporary_name(cache / "content.json")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = place.with_name(place.name.replace(f"~{os.getpid()}~", f"~{ended.pid}~"))
    cache.mkdir(parents=True, exist_ok=True)
    for each in (left, place):
        each.write_text("{")
    of(settled, cache)
    assert not left.exists()
    assert place.exists()  # of a process that is writing it
    place.unlink()


def test_a_place_that_cannot_be_written_is_as_none(settled, tmp_path):
    (tmp_path / "file").touch()
    assert of(settled, tmp_path / "file" / "cache") == of(settled)


def test_many_at_once(settled, cache):
    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(lambda _: of(settled, cache), range(40)))
    assert found == {of(settled)}
    assert len(list(cache.iterdir())) == 1


def test_the_user_chooses_the_place(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "p2seg"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which its specification forbids
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == Path(tmp_path / "home" / ".cache" / "p2seg")
