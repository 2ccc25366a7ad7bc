"""Label maps: palette PNGs in and out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from p2seg.data.labels import read_labels, voc_palette, write_labels
from p2seg.errors import UserError


def test_labels_come_back_in_vocs_colors(tmp_path: Path) -> None:
    labels = np.arange(256).reshape(8, 32)
    path = tmp_path / "new" / "a.png"
    write_labels(path, labels)
    np.testing.assert_array_equal(read_labels(path), labels)
    with Image.open(path) as image:
        assert image.mode == "P"
        colors = np.asarray(image.convert("RGB"))
    assert colors[0, 15].tolist() == [192, 128, 128]  # VOC's person
    assert colors[7, 31].tolist() == [224, 224, 192]  # VOC's void


@pytest.mark.realdata
def test_the_palette_is_that_of_the_real_files(realdata: Path) -> None:
    path = realdata / "VOCdevkit" / "VOC2007" / "SegmentationObject" / "000032.png"
    with Image.open(path) as image:
        palette = np.array(image.getpalette()).reshape(-1, 3)
    np.testing.assert_array_equal(voc_palette()[: len(palette)], palette)


def test_gray_values_are_labels(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 7], [255, 1]], np.uint8)).save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png").tolist() == [[0, 7], [255, 1]]


def test_what_holds_no_labels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with pytest.raises(UserError, match="no mask at"):
        read_labels(path, "mask")
    path.write_bytes(b"no png")
    with pytest.raises(UserError, match="not a readable PNG"):
        read_labels(path)
    Image.new("RGB", (3, 3)).save(path)
    with pytest.raises(UserError, match="color mode RGB; it must be a PNG whose palette"):
        read_labels(path)
    write_labels(path, np.ones((50, 50)))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match="not a readable PNG"):
        read_labels(path)
