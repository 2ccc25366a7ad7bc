"""`p2seg.load`: from a checkpoint and an image to instances."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from segmentor_sets import SCENES, make_set

import p2seg
from p2seg.data.images import read_image
from p2seg.errors import UserError


@pytest.fixture
def photo(tmp_path):
    made = make_set(tmp_path / "photos", *SCENES)
    return tmp_path / "photos" / made.images[0].file_name


def test_two_lines(solov2_checkpoint, photo):
    model = p2seg.load(solov2_checkpoint, device="cpu")
    masks = model(photo, score=0.4)
    assert sorted(each.name for each in masks) == ["bleu é", "red"]
    assert [each.score for each in masks] == sorted((e.score for e in masks), reverse=True)
    for each in masks:
        assert isinstance(each, p2seg.Instance)
        assert each.mask.shape == (64, 64)
        assert each.mask.dtype == bool
        ys, xs = np.nonzero(each.mask)
        assert each.box == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        assert model.categories[each.label - 1].name == each.name


def test_a_file_its_name_and_its_pixels_are_one(solov2_checkpoint, photo):
    model = p2seg.load(str(solov2_checkpoint), device="cpu")
    pixels = read_image(photo)
    pixels.flags.writeable = False
    assert model(photo) == model(str(photo)) == model(pixels)
    assert model(photo, score=0.999) == []


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.zeros((4, 4), np.uint8), r"array \[4, 4\] of uint8; give a file"),
        (np.zeros((4, 4, 3)), r"array \[4, 4, 3\] of float64"),
        (np.zeros((0, 4, 3), np.uint8), r"array \[0, 4, 3\]"),
        ("nowhere.png", r"no image at nowhere\.png"),
    ],
)
def test_what_is_no_image_is_one_sentence(solov2_checkpoint, image, sentence):
    with pytest.raises(UserError, match=sentence):
        p2seg.load(solov2_checkpoint, device="cpu")(image)


def test_what_is_no_segmentor_is_one_sentence(solov2_checkpoint, tmp_path):
    with pytest.raises(UserError, match="no checkpoint at"):
        p2seg.load(tmp_path / "none.pt")
    with pytest.raises(UserError, match="tpu is unknown"):
        p2seg.load(solov2_checkpoint, device="tpu")


def test_the_package_itself_imports_nothing_heavy():
    code = "import sys, p2seg; assert 'torch' not in sys.modules; p2seg.load; p2seg.Predictor"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'unload'"):
        p2seg.unload  # noqa: B018
