"""scripts/compare_seeds.py on an image with a known result."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from PIL import Image

from p2seg.data.coco import (
    Category,
    ImageRecord,
    Instance,
    InstanceSet,
    encode,
    write_instances,
)


@pytest.fixture
def compare(script):
    return partial(script, "compare_seeds")


def test_touching_squares_are_split_at_the_edge_of_the_image(compare, tmp_path):
    image = np.full((40, 60, 3), 30, np.uint8)
    image[10:30, 20:] = 220
    Image.fromarray(image).save(tmp_path / "a.png")
    left, right = np.zeros((2, 40, 60), bool)
    left[10:30, 2:20] = right[10:30, 20:56] = True
    truth = InstanceSet(
        images=[ImageRecord(id=1, file_name="a.png", height=40, width=60)],
        categories=[Category(1, "square")],
        instances=[[Instance(1, 1, encode(left)), Instance(2, 1, encode(right))]],
    )
    write_instances(tmp_path / "gt.json", truth)
    words = "--gt", tmp_path / "gt.json", "--images", tmp_path
    code, table, _ = compare(*words, "--sampler", "box_center", "--seeds", 0, 1)
    assert code == 0
    rows = dict(line.strip("| ").split(" | ", 1) for line in table.splitlines()[2:])
    assert rows["geodesic distance"].split(" | ")[1] == "1.000 ± 0.000"
    names = "control", "watershed"
    score = {name: float(rows[name].split(" | ")[1].split()[0]) for name in names}
    assert score["control"] < score["watershed"] < 1
    more = "--sampler", "box_center", "--seeds", 0, "--erode", 2, "--edges", 8, "--foreground", 3
    worse = compare(*words, *more)[1]
    assert "1.000" not in worse
    rows = dict(line.strip("| ").split(" | ", 1) for line in worse.splitlines()[2:])
    geodesic, refined = (
        float(rows[f"geodesic distance{row}"][:5]) for row in ("", ", refined maps")
    )
    assert refined > geodesic + 0.05


def test_a_missing_file_is_reported(compare, tmp_path):
    code, _, said = compare("--gt", tmp_path / "gt.json", "--images", tmp_path)
    assert code == 2
    assert "gt.json" in said
