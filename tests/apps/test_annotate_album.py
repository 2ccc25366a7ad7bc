"""The images of a folder: their list, how they are read, and that no other file is read."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from annotate_sets import folder_of_images, scene
from PIL import Image

from p2seg.apps.annotate.album import KEPT, Album, Part
from p2seg.errors import UserError


def decoded(content):
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


@pytest.fixture
def album(tmp_path):
    album = Album(folder_of_images(tmp_path))
    yield album
    album.close()


def test_every_kind_of_image(album):
    assert len(album) == 7
    shapes = [album.image(k).shape[:2] for k in (0, 1, 2, 4, 5, 6)]
    assert shapes == [(240, 320), (1600, 2400), (300, 200), (120, 160), (120, 160), (120, 160)]
    with pytest.raises(UserError, match="not an image that Pillow can read"):
        album.image(3)
    assert list(album.faults) == [3]
    assert "on_error" not in album.faults[3]
    for number in (-1, 7, 10**6):
        with pytest.raises(IndexError):
            album.image(number)


def test_a_repaired_image_is_read(album):
    with pytest.raises(UserError):
        album.image(3)
    Image.fromarray(scene(40, 30)).save(album.folder / "d_broken.png")
    assert album.image(3).shape == (30, 40, 3)
    assert not album.faults


def test_parts_have_the_pixels_of_the_image(album):
    image = album.image(1)
    content, kind = album.picture(1, Part(100, 50, 64, 32, 64, 32))
    assert kind == "image/png"
    assert np.array_equal(decoded(content), image[50:82, 100:164])
    content, kind = album.picture(1, Part(0, 0, 2400, 1600, 240, 160))
    assert kind == "image/jpeg"
    assert decoded(content).shape == (160, 240, 3)
    for part in (Part(-9, -9, -9, -9, -9, -9), Part(10**9, 10**9, 10**9, 10**9, 10**9, 10**9)):
        assert decoded(album.picture(1, part)[0]).shape == (1, 1, 3)
    assert decoded(album.fitted(1, 600)[0]).shape == (400, 600, 3)
    assert decoded(album.fitted(0, 10**9)[0]).shape == (240, 320, 3)
    assert decoded(album.fitted(0, -3)[0]).shape == (1, 1, 3)


def test_a_large_part_is_reduced(album):
    Image.fromarray(np.zeros((10, 9000, 3), np.uint8)).save(album.folder / "d_broken.png")
    assert decoded(album.picture(3, Part(0, 0, 9000, 10, 9000, 10))[0]).shape[1] == 4096


def test_few_images_stay_in_memory(album):
    for number in (0, 1, 2, 4, 5, 6, 0, 1):
        album.image(number)
    assert len(album._read) <= KEPT
    assert album.image(1) is album.image(1)


def test_an_image_of_another_size_is_rejected(tmp_path):
    folder = folder_of_images(tmp_path)
    stored = Album(folder, {"c_turned.jpg": (200, 300)}.get)
    assert stored.image(2).shape[:2] == (200, 300)  # as it was annotated, on its side
    other = Album(folder, {"a plain.png": (99, 99)}.get)
    other.look(0)
    assert "its annotation says 99x99" in other.faults[0]


def test_links_are_shown_unless_they_have_changed(tmp_path):
    folder, secret = folder_of_images(tmp_path), tmp_path / "secret.png"
    Image.fromarray(scene(50, 40)).save(secret)
    (folder / "out.png").symlink_to(secret)
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "inside.png").symlink_to("a plain.png")
    (folder / "elsewhere").symlink_to(tmp_path)
    album = Album(folder)
    assert "inside.png" in album.names
    assert "out.png" in album.names
    assert album.image(album.names.index("out.png")).shape == scene(50, 40).shape
    assert len(album) == 9, "a link to a folder above is not followed"
    assert album.left_out == ["loop.png is a broken link; remove the link or restore its target"]
    # one that is made while the page is open
    number = album.names.index("a plain.png")
    (folder / "a plain.png").unlink()
    (folder / "a plain.png").symlink_to(secret)
    with pytest.raises(UserError, match="a link whose target"):
        album.image(number)
    album.look(number)
    assert number in album.faults


def test_a_linked_folder_is_read(tmp_path):
    folder_of_images(tmp_path)
    (tmp_path / "link").symlink_to("photos")
    assert len(Album(tmp_path / "link")) == 7


def test_names_that_a_points_file_cannot_store_are_skipped(tmp_path):
    folder = folder_of_images(tmp_path)
    Image.fromarray(scene(40, 30)).save(folder / "a\\..\\b.png")
    album = Album(folder)
    assert len(album) == 7
    assert "rename the file" in album.left_out[0]


@pytest.mark.parametrize("name", ["missing", "empty", "a file.png"])
def test_a_missing_or_empty_folder_is_rejected(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a file.png").write_bytes(b"")
    with pytest.raises(UserError, match="no image"):
        Album(tmp_path / name)


def test_a_thousand_images_are_listed_at_once(tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    (tmp_path / "one.jpg").write_bytes(cv2.imencode(".jpg", scene(64, 48))[1].tobytes())
    for number in range(1000):
        (folder / f"{number:04d}.jpg").hardlink_to(tmp_path / "one.jpg")
    start = time.perf_counter()
    album = Album(folder)
    assert len(album) == 1000
    assert time.perf_counter() - start < 2
    assert not album._read
