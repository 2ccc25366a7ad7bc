"""Points files and where the samplers click."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from p2seg.data.coco import (
    Category,
    ImageRecord,
    Instance,
    InstanceSet,
    encode,
    read_instances,
    write_instances,
)
from p2seg.data.points import (
    SAMPLERS,
    PointSet,
    make_points,
    points_fingerprint,
    read_points,
    write_points,
)
from p2seg.errors import UserError
from p2seg.runtime.files import sha256

RunTool = Callable[..., tuple[int, str, str]]


def document() -> dict[str, Any]:
    """Three images, the second without points."""
    return {
        "info": {"sampler": "hand"},
        "images": [
            {"id": 4, "file_name": "000123.jpg", "width": 640, "height": 480},
            {"id": 5, "file_name": "empty.jpg", "width": 10, "height": 10},
            {"id": 1, "file_name": "sub/c.png", "width": 1, "height": 1},
        ],
        "annotations": [
            {"id": 8, "image_id": 1, "category_id": 7, "point": [0, 0]},
            {"id": 5, "image_id": 4, "category_id": 9, "point": [639.75, 12]},
            {"id": 2, "image_id": 4, "category_id": 7, "point": [3.5, 479]},
        ],
        "categories": [{"id": 9, "name": "cat"}, {"id": 7, "name": "dog"}],
    }


def write(folder: Path, content: Any) -> Path:
    path = folder / "points.json"
    path.write_text(json.dumps(content))
    return path


def test_a_file_is_read(tmp_path: Path) -> None:
    read = read_points(write(tmp_path, document()))
    assert [image.id for image in read.images] == [4, 5, 1]
    assert [category.name for category in read.categories] == ["dog", "cat"]
    first, second, third = read.points
    assert first.yx.tolist() == [[12, 639.75], [479, 3.5]]
    assert first.labels.tolist() == [2, 1]
    assert first.ids.tolist() == [5, 2]
    assert second.yx.shape == (0, 2)
    assert third.yx.tolist() == [[0, 0]]
    assert (first.yx.dtype, first.labels.dtype, second.ids.dtype) == (
        torch.float32,
        torch.int64,
        torch.int64,
    )


def same(a: PointSet, b: PointSet) -> bool:
    return (
        (a.images, a.categories, a.info) == (b.images, b.categories, b.info)
        and len(a.points) == len(b.points)
        and all(
            torch.equal(getattr(p, name), getattr(q, name))
            for p, q in zip(a.points, b.points, strict=True)
            for name in ("yx", "labels", "ids")
        )
    )


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    read = read_points(write(tmp_path, document()))
    write_points(tmp_path / "again.json", read)
    assert same(read_points(tmp_path / "again.json"), read)
    again = json.loads((tmp_path / "again.json").read_text())
    assert again["annotations"][0] == {
        "id": 5, "image_id": 4, "category_id": 9, "point": [639.75, 12.0],
    }  # fmt: skip


def fingerprint_of(folder: Path, content: dict[str, Any]) -> str:
    return points_fingerprint(read_points(write(folder, content)))


def test_the_fingerprint_is_of_what_the_file_means(tmp_path: Path) -> None:
    first = fingerprint_of(tmp_path, document())
    content = {key: document()[key] for key in sorted(document(), reverse=True)}
    content["info"] = {"sampler": "hand", "annotate": {"undo": [1, 2]}}
    content["categories"].reverse()
    content["annotations"].append(content["annotations"].pop(0))  # of another image
    content["annotations"][0] = dict(reversed(content["annotations"][0].items()))
    content["annotations"][0]["note"] = "unread"
    content["annotations"][2]["point"] = [0.0, -0.0]
    path = tmp_path / "points.json"
    path.write_text(json.dumps(content, indent=4))
    assert points_fingerprint(read_points(path)) == first
    write_points(path, read_points(path))
    assert points_fingerprint(read_points(path)) == first
    read = read_points(path)
    listed = PointSet([*read.images], read.categories, [*read.points])
    assert points_fingerprint(listed) == first


@pytest.mark.parametrize("part", [[0, 1], [2, 0], [1]])
def test_the_fingerprint_of_some_images_is_that_of_their_file(
    tmp_path: Path, part: list[int]
) -> None:
    some = read_points(write(tmp_path, document())).subset(part)
    write_points(tmp_path / "some.json", some)
    assert points_fingerprint(read_points(tmp_path / "some.json")) == points_fingerprint(some)


@pytest.mark.parametrize(
    ("key", "place", "change"),
    [
        ("categories", 0, {"name": "lion"}),
        ("images", 0, {"file_name": "000124.jpg"}),
        ("images", 0, {"width": 641}),
        ("images", 0, {"height": 481}),
        ("images", 1, {"id": 6}),
        ("annotations", 0, {"id": 9}),
        ("annotations", 0, {"category_id": 9}),
        ("annotations", 1, {"point": [639.75, 12.25]}),
        ("annotations", 1, {"image_id": 5, "point": [1, 1]}),
    ],
)
def test_the_fingerprint_changes_with_each_part(
    tmp_path: Path, key: str, place: int, change: dict[str, Any]
) -> None:
    content = document()
    content[key][place] |= change
    assert fingerprint_of(tmp_path, content) != fingerprint_of(tmp_path, document())


@pytest.mark.parametrize("key", ["images", "annotations"])
def test_the_fingerprint_sees_the_order_that_decides(tmp_path: Path, key: str) -> None:
    content = document()
    content[key].reverse()  # images are drawn by place; of two points on a pixel the first wins
    assert fingerprint_of(tmp_path, content) != fingerprint_of(tmp_path, document())
    content = document()
    content["images"].pop(1)  # one without points, which results list
    assert fingerprint_of(tmp_path, content) != fingerprint_of(tmp_path, document())


def test_a_point_at_the_last_edge_stays_inside_in_float32(tmp_path: Path) -> None:
    content = document()
    content["annotations"][1]["point"] = [639.9999999999, 479.9999999999]
    points = read_points(write(tmp_path, content)).points[0]
    assert points.inside(480, 640).all()


BROKEN: list[tuple[Any, str]] = [
    ([700, 12], r"point \(700, 12\) of annotation 5 lies outside image 000123.jpg of 640x480; "),
    ([640, 12], r"point \(640, 12\) of annotation 5 lies outside"),
    ([12, 480], r"point \(12, 480\) of annotation 5 lies outside"),
    ([-0.01, 12], "lies outside"),
    ([5, float("nan")], r"the point of annotation 5 is \[5, nan\]; it must be two numbers"),
    ([float("inf"), 5], "it must be two numbers"),
    ([True, 5], "it must be two numbers"),
    (["1", 5], "it must be two numbers"),
    ([10**400, 5], "it must be two numbers"),
    ([1], "it must be two numbers"),
    ({"x": 1, "y": 2}, "it must be two numbers"),
    (None, "it must be two numbers"),
]


@pytest.mark.parametrize(("point", "sentence"), BROKEN)
def test_a_broken_point_is_refused(tmp_path: Path, point: Any, sentence: str) -> None:
    content = document()
    content["annotations"][1]["point"] = point
    with pytest.raises(UserError, match=sentence) as caught:
        read_points(write(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_missing_points_and_unknown_categories_are_refused(tmp_path: Path) -> None:
    content = document()
    del content["annotations"][0]["point"]
    with pytest.raises(UserError, match="annotation 8 has no point"):
        read_points(write(tmp_path, content))
    content = document()
    content["annotations"][0]["category_id"] = 3
    with pytest.raises(UserError, match="annotation 8 has category_id 3"):
        read_points(write(tmp_path, content))


def test_more_classes_than_a_map_holds_are_refused(tmp_path: Path) -> None:
    content = document()
    content["categories"] += [{"id": 100 + k, "name": f"c{k}"} for k in range(253)]
    with pytest.raises(UserError, match=r"255 categories.* at most 254"):
        read_points(write(tmp_path, content))
    content["categories"].pop()
    assert len(read_points(write(tmp_path, content)).categories) == 254


def test_many_points_on_an_image(tmp_path: Path) -> None:
    content = document()
    content["annotations"] = [
        {"id": k, "image_id": 4, "category_id": 7 + 2 * (k % 2), "point": [2 * k, k]}
        for k in range(300)
    ]
    read = read_points(write(tmp_path, content))
    assert len(read.points[0]) == 300
    assert read.points[0].yx[299].tolist() == [299, 598]


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(values, max_size=3) | values, values | st.just(4), values | st.just(7))
def test_junk_is_refused_or_valid(
    tmp_path: Path, point: object, image_id: object, category_id: object
) -> None:
    content = document()
    content["annotations"][1] |= {
        "point": point, "image_id": image_id, "category_id": category_id,
    }  # fmt: skip
    try:
        read = read_points(write(tmp_path, content))
    except UserError:
        return
    for image, points in zip(read.images, read.points, strict=True):
        assert points.inside(image.height, image.width).all()


def set_of(*masks: np.ndarray, first_id: int = 1) -> InstanceSet:
    """One image with these masks, all of one class."""
    height, width = masks[0].shape
    instances = [Instance(first_id + k, 1, encode(mask)) for k, mask in enumerate(masks)]
    return InstanceSet(
        [ImageRecord(1, "a.jpg", height, width)], [Category(1, "thing")], [instances]
    )


def clicks(instances: InstanceSet, sampler: str, seed: int = 0) -> list[list[float]]:
    return make_points(instances, sampler, seed).points[0].yx.tolist()


def test_known_points() -> None:
    mask = np.zeros((20, 30), bool)
    mask[3:8, 10:21] = True  # 5 rows, 11 columns
    assert clicks(set_of(mask), "inner") == [[5, 12]]  # the first pixel of the middle row
    assert clicks(set_of(mask), "box_center") == [[5, 15]]
    mask[3:8, 21:30] = True
    mask[0:3, 29] = True
    assert clicks(set_of(mask), "box_center") == [[3.5, 19.5]]
    y, x = np.nonzero(mask)
    assert clicks(set_of(mask), "centroid") == [pytest.approx([y.mean(), x.mean()])]


def test_the_image_edge_counts_for_inner() -> None:
    assert clicks(set_of(np.ones((7, 9), bool)), "inner") == [[3, 3]]


def test_box_center_and_centroid_may_lie_in_a_hole() -> None:
    mask = np.ones((9, 9), bool)
    mask[2:7, 2:7] = False
    assert clicks(set_of(mask), "box_center") == [[4, 4]]
    assert clicks(set_of(mask), "centroid") == [[4, 4]]
    for sampler in ("inner", "random"):
        y, x = clicks(set_of(mask), sampler)[0]
        assert mask[int(y), int(x)]


def distances(mask: np.ndarray) -> np.ndarray:
    """Slow: cv2's 3 x 3 distances (a step costs .955, a diagonal one 1.3693), by relaxation."""
    distance = np.pad(np.where(mask, np.inf, 0.0), 1)
    height, width = distance.shape
    steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
    changed = True
    while changed:
        changed = False
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                for dy, dx in steps:
                    cost = 1.3693 if dy and dx else 0.955
                    if distance[y + dy, x + dx] + cost < distance[y, x] - 1e-9:
                        distance[y, x] = distance[y + dy, x + dx] + cost
                        changed = True
    return distance[1:-1, 1:-1]


@settings(max_examples=30, deadline=None)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_inner_is_the_farthest_pixel_from_the_edge(mask: np.ndarray) -> None:
    found = clicks(set_of(mask), "inner")
    if not mask.any():
        assert found == []
        return
    distance = distances(mask)
    # the first maximum; sums of steps in another order may differ in the last digits
    y, x = np.argwhere(distance > distance.max() - 1e-3)[0]
    assert found == [[y, x]]


@settings(max_examples=50, deadline=None)
@given(
    arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)), st.sampled_from([*SAMPLERS])
)
def test_points_lie_on_the_image(mask: np.ndarray, sampler: str) -> None:
    points = make_points(set_of(mask), sampler, 0).points[0]
    assert len(points) == int(mask.any())
    assert points.inside(*mask.shape).all()
    if sampler in ("inner", "random"):
        assert all(mask[int(y), int(x)] for y, x in points.yx.tolist())


def test_random_depends_on_seed_and_id_alone() -> None:
    rng = np.random.default_rng(0)
    masks = [rng.random((30, 40)) < 0.5 for _ in range(6)]
    whole = set_of(*masks)
    first = clicks(whole, "random", seed=3)
    assert clicks(whole, "random", seed=3) == first
    assert clicks(whole, "random", seed=4) != first
    turned = replace(whole, instances=[whole.instances[0][::-1]])
    assert clicks(turned, "random", seed=3) == first[::-1]
    assert clicks(set_of(masks[2], first_id=3), "random", seed=3) == [first[2]]
    assert clicks(set_of(masks[2], first_id=4), "random", seed=3) != [first[2]]


def test_random_reaches_every_pixel() -> None:
    mask = np.zeros((5, 6), bool)
    mask[[0, 2, 4], [1, 3, 5]] = True
    found = [clicks(set_of(mask), "random", seed)[0] for seed in range(60)]
    assert sorted(map(tuple, {tuple(yx) for yx in found})) == [(0, 1), (2, 3), (4, 5)]
    assert min(found.count(list(yx)) for yx in ([0, 1], [2, 3], [4, 5])) > 8


def test_crowds_and_empty_masks_get_no_point() -> None:
    mask = np.ones((6, 6), bool)
    whole = set_of(mask, mask, np.zeros_like(mask), mask)
    group = whole.instances[0]
    group[1] = replace(group[1], crowd=True)
    assert make_points(whole, "inner", 0).points[0].ids.tolist() == [1, 4]


def test_jitter_moves_clicks_within_its_share_of_the_box() -> None:
    mask = np.zeros((60, 80), bool)
    mask[20:40, 30:70] = True  # 20 high, 40 wide
    still = np.array(clicks(set_of(mask), "box_center")[0])
    moved = [
        make_points(set_of(mask), "box_center", seed, 0.25).points[0].yx[0].numpy() - still
        for seed in range(60)
    ]
    reach = np.abs(moved).max(0)
    assert (reach <= [5, 10]).all()
    assert (reach > [4, 8]).all()
    assert np.abs(np.mean(moved, 0)).max() < 2
    again = make_points(set_of(mask), "box_center", 7, 0.25)
    assert (again.points[0].yx[0].numpy() - still == moved[7]).all()
    assert again.info["jitter"] == 0.25


def test_jitter_stays_on_the_image() -> None:
    mask = np.zeros((10, 12), bool)
    mask[:2, 10:] = True
    for seed in range(40):
        y, x = make_points(set_of(mask), "random", seed, 1.0).points[0].yx[0].tolist()
        assert 0 <= y <= 9
        assert 0 <= x <= 11
    for jitter in (-0.1, 1.5, float("nan"), "much"):
        with pytest.raises(UserError, match="jitter="):
            make_points(set_of(mask), "random", 0, jitter)


def test_unknown_samplers_and_seeds_are_refused() -> None:
    whole = set_of(np.ones((3, 3), bool))
    with pytest.raises(UserError, match="no sampler 'middle'; choose from inner, box_center"):
        make_points(whole, "middle", 0)
    with pytest.raises(UserError, match="seed=-1"):
        make_points(whole, "random", -1)


def test_the_tool(tmp_path: Path, run_tool: RunTool) -> None:
    gt, out = tmp_path / "a, (b)=c.json", tmp_path / "new" / "points ä.json"
    write_instances(gt, set_of(np.ones((5, 7), bool), np.eye(5, 7, dtype=bool)))
    code, _, said = run_tool("make_points", f"gt={gt}", f"out={out}", "sampler=centroid", "seed=2")
    assert code == 0, said
    assert "2 points on 1 images" in said
    read = read_points(out)
    assert read.points[0].yx.tolist() == [[2, 3], [2, 2]]
    assert read.info == {
        "sampler": "centroid",
        "seed": 2,
        "jitter": 0,
        "source": str(gt),
        "source_sha256": sha256(gt),
    }


def test_the_tool_tells_mistakes(tmp_path: Path, run_tool: RunTool) -> None:
    gt = tmp_path / "gt.json"
    write_instances(gt, set_of(np.ones((5, 7), bool)))
    for words, sentence in [
        ((f"gt={gt}",), "out is not set"),
        ((f"gt={gt}", f"out={tmp_path / 'o'}", "sampler=middle"), "no sampler 'middle'"),
        ((f"gt={gt}", f"out={tmp_path / 'o'}", "seed=x"), "seed=x: must be"),
        ((f"gt={tmp_path / 'none.json'}", f"out={tmp_path / 'o'}"), "no instances file at"),
    ]:
        code, _, said = run_tool("make_points", *words)
        assert (code, said.count("\n")) == (2, 1)
        assert sentence in said
    assert not (tmp_path / "o").exists()


@pytest.mark.realdata
def test_real_coco_gets_one_point_an_instance(realdata: Path) -> None:
    gt = realdata / "coco" / "annotations" / "instances_val2017.json"
    points = make_points(read_instances(gt), "inner", 0)
    assert sum(map(len, points.points)) == 868
