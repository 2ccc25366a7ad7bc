"""Reading first semantic maps; tests/semantic/test_map_files.py has the writing of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from p2seg.data.labels import write_labels
from p2seg.data.maps import map_path, read_map, restrict_to_classes
from p2seg.errors import UserError


def test_a_map_has_its_images_path_and_ends_in_png():
    assert map_path(Path("maps"), "a/b.c.jpg") == Path("maps/a/b.c.png")
    assert map_path(Path("maps"), "no_ending") == Path("maps/no_ending.png")


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=5)), st.integers(0, 20))
def test_restricting_keeps_background_and_the_classes_with_points(semantic, seed):
    labels = np.random.default_rng(seed).choice(np.arange(1, 255), 3).astype(np.int64)
    made = restrict_to_classes(semantic, labels)
    for before, after in zip(semantic.flat, made.flat, strict=True):
        assert after == (before if before == 0 or before in labels else 255)


@pytest.mark.parametrize("mode", ["L", "1"])
def test_gray_maps_are_read_by_value(tmp_path, mode):
    Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8) * (255 if mode == "1" else 1)).convert(
        mode
    ).save(tmp_path / "a.png")
    assert read_map(tmp_path / "a.png", (2, 2), 1).tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("size", "classes", "sentence"),
    [
        ((2, 3), 3, None),
        ((3, 2), 3, r"a\.png is 3x2, but its image is 2x3"),
        ((2, 3), 2, r"a\.png has label 3, but there are 2 classes; labels must be 0\.\.2"),
    ],
)
def test_size_and_labels_are_checked(tmp_path, size, classes, sentence):
    semantic = np.array([[0, 1, 3], [255, 0, 0]], np.uint8)
    write_labels(tmp_path / "a.png", semantic)
    if sentence is None:
        assert read_map(tmp_path / "a.png", size, classes).tolist() == semantic.tolist()
    else:
        with pytest.raises(UserError, match=sentence):
            read_map(tmp_path / "a.png", size, classes)


def test_what_is_no_map_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no initial semantic map at .*a\.png.*gen_semantic"):
        read_map(tmp_path / "a.png", (1, 1), 1)
    Image.new("RGB", (1, 1)).save(tmp_path / "color.png")
    with pytest.raises(UserError, match=r"color\.png has the color mode RGB"):
        read_map(tmp_path / "color.png", (1, 1), 1)
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"broken\.png is not a readable PNG"):
        read_map(tmp_path / "broken.png", (1, 1), 1)
