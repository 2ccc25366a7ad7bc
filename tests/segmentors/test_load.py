"""`p2seg.load`: from a checkpoint and an image to instances."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from segmentor_sets import SCENES, make_set

import p2seg
from p2seg.data.images import read_image
from p2seg.engine.checkpoint import load_checkpoint, save_checkpoint
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
    with pytest.raises(UserError, match="device=tpu is unknown"):
        p2seg.load(solov2_checkpoint, device="tpu")


def changed(path, change):
    """A checkpoint with something changed in it, beside the first."""
    content = load_checkpoint(path, "segmentor")
    change(content)
    save_checkpoint(path.with_name("other.pt"), content)
    return path.with_name("other.pt")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: options_of(c).update(_target_="p2seg.segmentors.gone.build_it"), "gone"),
        (
            lambda c: options_of(c).update(_target_="p2seg.segmentors.solov2.model.build_it"),
            "build_it",
        ),
        (lambda c: options_of(c).update(depth=3), "depth"),
        (lambda c: options_of(c).update(head_depth=3), "Missing key"),
        (lambda c: options_of(c).update(kernel_channels=48), "size mismatch"),
        (lambda c: c["model"].popitem(), "Missing key"),
        (lambda c: c.pop("categories"), "lacks 'categories'"),
        (lambda c: c.pop("average"), "lacks 'average'"),
        (lambda c: options_of(c).pop("_target_"), "lacks '_target_'"),
    ],
)
def test_a_checkpoint_of_another_version_is_one_sentence(solov2_checkpoint, change, reason):
    path = changed(solov2_checkpoint, change)
    with pytest.raises(UserError, match="this version of p2seg cannot build or fill") as caught:
        p2seg.load(path, device="cpu")
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_with_another_content_is_one_sentence(solov2_checkpoint):
    path = changed(solov2_checkpoint, lambda c: c.update(config=None))
    with pytest.raises(UserError, match="is a checkpoint of p2seg that was changed since"):
        p2seg.load(path, device="cpu")


def options_of(content):
    return content["config"]["segmentor"]["model"]


def test_what_load_and_a_score_can_be(solov2_checkpoint, photo):
    with pytest.raises(UserError, match="path=None: must be"):
        p2seg.load(None)
    with pytest.raises(UserError, match=r"device=cuda:99 is not available"):
        p2seg.load(solov2_checkpoint, device="cuda:99")
    model = p2seg.load(solov2_checkpoint, device=torch.device("cpu"))
    assert model.device == torch.device("cpu")
    for score in ("a", None, 1.5, True, float("nan")):
        with pytest.raises(UserError, match=": must be a number from 0 to 1"):
            model(photo, score=score)


def test_weights_alone_are_called_what_they_are(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match=r"a \.safetensors file, which holds weights alone"):
        p2seg.load(tmp_path / "a.safetensors")
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"not a checkpoint of p2seg but.*such as weights alone"):
        p2seg.load(tmp_path / "a.pt")


def test_the_package_itself_imports_nothing_heavy():
    code = "import sys, p2seg; assert 'torch' not in sys.modules and 'load' in p2seg.__all__"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'unload'"):
        p2seg.unload  # noqa: B018
