"""Maps taken over from another method, and maps painted from ground truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from semantic_sets import CLASSES, draw, task

from p2seg.data.coco import Instance, encode
from p2seg.errors import UserError
from p2seg.semantic.oracle import Oracle, paint
from p2seg.semantic.png import PngMaps
from p2seg.semantic.source import MapTask

MAP = np.array([[0, 1, 2], [255, 2, 0]], np.uint8)


def tasks_of(drawn: object) -> list[MapTask]:
    points = drawn.point_set  # type: ignore[attr-defined]
    pairs = zip(points.images, points.points, strict=True)
    return [MapTask.of(record, own, drawn.images, CLASSES) for record, own in pairs]  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", ["P", "L"])
def test_png_takes_palette_and_gray(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(MAP)
    if mode == "P":
        image.putpalette(list(range(255, -1, -1)) * 3)
    image.save(tmp_path / "a.png")
    given = task(Path("elsewhere/a.jpg"), (2, 3))
    source = PngMaps(str(tmp_path))
    assert (source(given) == MAP).all()
    assert source.inputs(given) == [tmp_path / "a.png"]


def test_png_checks_size_and_labels(tmp_path: Path) -> None:
    Image.fromarray(MAP).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png is 3x2, but its image is 4x2"):
        PngMaps(str(tmp_path))(task(Path("a.jpg"), (2, 4)))
    Image.fromarray(MAP + 1).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"label 3, but there are 2 classes"):
        PngMaps(str(tmp_path))(task(Path("a.jpg"), (2, 3)))


def test_png_without_folder_or_map(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"give it with semantic\.maps=DIR"):
        PngMaps(str(tmp_path / "none"))
    with pytest.raises(UserError, match="no semantic map at"):
        PngMaps(str(tmp_path))(task(Path("a.jpg"), (2, 3)))


def test_paint_lays_the_small_on_the_large_and_leaves_crowds_out() -> None:
    masks = np.zeros((4, 3, 6), bool)
    masks[0, :, :4] = True  # 12 pixels
    masks[1, 1, 1:3] = True  # 2, inside the first, earlier in the file than the third
    masks[2, :2, 1:] = True  # 10
    masks[3] = True
    instances = [
        Instance(k + 1, label, encode(mask), crowd=k == 3)
        for k, (label, mask) in enumerate(zip((1, 2, 3, 4), masks, strict=True))
    ]
    assert paint(instances, (3, 6)).tolist() == [
        [1, 3, 3, 3, 3, 3],
        [1, 2, 2, 3, 3, 3],
        [1, 1, 1, 1, 0, 0],
    ]


def test_oracle_paints_the_truth(tmp_path: Path) -> None:
    drawn = draw(tmp_path)
    oracle = Oracle.read(str(drawn.gt))
    for each, truth in zip(tasks_of(drawn), drawn.truth, strict=True):
        assert (oracle(each) == truth).all()
    assert oracle.parameters["gt_sha256"]


def test_oracle_names_what_does_not_fit(tmp_path: Path) -> None:
    drawn = draw(tmp_path, 1)
    oracle = Oracle.read(str(drawn.gt))
    given = tasks_of(drawn)[0]
    other = replace(given, record=replace(given.record, file_name="x.jpg"))
    with pytest.raises(UserError, match=r"image x\.jpg of the points file is not in .*gt\.json"):
        oracle(other)
    with pytest.raises(UserError, match=r"is 80x60 in .* but 80x61 in the points file"):
        oracle(replace(given, record=replace(given.record, height=61)))
    with pytest.raises(UserError, match="has the classes ball, box but the points file has box"):
        oracle(replace(given, classes=("box", "ball")))
