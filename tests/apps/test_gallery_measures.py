"""The gallery's measures of masks, compared with slow loops."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from gallery_sets import box

from p2seg.apps.gallery.build import content_of, script
from p2seg.apps.gallery.inputs import Truth, truth_of
from p2seg.apps.gallery.measures import (
    REASONS,
    Measures,
    Tight,
    contacts_of,
    measures_of,
    medians,
    suspicion,
)
from p2seg.apps.gallery.pictures import CELL, codes_at, crop_of, outline, sheets
from p2seg.data.coco import Category, ImageRecord, Instance, InstanceSet
from p2seg.data.rle import decode, encode
from p2seg.errors import UserError

SIDES = [(0, 1), (1, 0), (0, -1), (-1, 0)]
AROUND = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


def instance(mask, id=1, label=1, point=None):
    return Instance(id=id, label=label, rle=encode(mask), point=point)


def blobs(seed, count=5, shape=(24, 31)):
    """Returns random masks, some with holes or parts, some at the image's edges."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        mask = np.zeros(shape, dtype=bool)
        for _ in range(2):
            y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
            mask[y : y + rng.integers(1, 9), x : x + rng.integers(1, 9)] = True
        found.append(mask & (rng.random(shape) > 0.05))
    return found


def at(mask, y, x):
    return 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and bool(mask[y, x])


def flood(mask, steps):
    """Returns the sizes of a mask's parts, pixel by pixel."""
    left, sizes = set(zip(*np.nonzero(mask), strict=True)), []
    while left:
        todo, size = [left.pop()], 0
        while todo:
            y, x = todo.pop()
            size += 1
            for dy, dx in steps:
                if (y + dy, x + dx) in left:
                    left.remove((y + dy, x + dx))
                    todo.append((y + dy, x + dx))
        sizes.append(size)
    return sizes


@pytest.mark.parametrize("seed", range(6))
def test_contacts_parts_and_holes_equal_slow_loops(seed):
    masks = [*blobs(seed), np.zeros((24, 31), dtype=bool)]
    labels = np.random.default_rng(seed).integers(1, 3, len(masks)).tolist()
    instances = [
        instance(m, k, label) for k, (m, label) in enumerate(zip(masks, labels, strict=True))
    ]
    found = measures_of(instances, [Tight.of(each) for each in instances])
    for i, (mask, own) in enumerate(zip(masks, found, strict=True)):
        others = [j for j in range(len(masks)) if j != i and labels[j] == labels[i]]
        pixels = list(zip(*np.nonzero(mask), strict=True))
        near = {
            j: [
                (y, x)
                for y, x in pixels
                if any(at(masks[j], y + dy, x + dx) for dy, dx in [*AROUND, (0, 0)])
            ]
            for j in others
        }
        border = [
            (y, x) for y, x in pixels if not all(at(mask, y + dy, x + dx) for dy, dx in SIDES)
        ]
        touched = {place for places in near.values() for place in places}
        assert own.area == len(pixels)
        assert own.touches == [j for j in others if near[j]]
        assert own.contact == pytest.approx(len(touched & set(border)) / max(1, len(border)))
        parts = flood(mask, AROUND)
        assert own.parts == pytest.approx(1 - max(parts) / sum(parts) if parts else 0)
        padded = np.pad(~mask, 1, constant_values=True)
        sizes = flood(padded, SIDES)
        holes = sum(sizes) - max(sizes)
        assert own.holes == pytest.approx(holes / (holes + len(pixels)) if pixels else 0)


def test_masks_of_other_classes_do_not_touch():
    tights = [Tight.of(instance(box(5, 5, 10, 10))), Tight.of(instance(box(5, 15, 10, 10)))]
    assert contacts_of(tights, [1, 1])[0] == [[1], [0]]
    assert contacts_of(tights, [1, 2]) == ([[], []], [0, 0])


@pytest.mark.parametrize(
    ("point", "depth"),
    [
        ((14.0, 14.0), 1),
        ((10.0, 14.0), 0),
        ((9.0, 14.0), -1),
        ((40.0, 70.0), -1),
        ((12.0, 14.0), 0.5),
    ],
)
def test_depth_of_a_click(point, depth):
    clicked = instance(box(10, 10, 9, 9), point=point)
    [found] = measures_of([clicked], [Tight.of(clicked)])
    assert found.click == pytest.approx(depth)


def test_suspicion_combines_its_reasons():
    plain = Measures(area=100, parts=0, holes=0, click=1.0, touches=[], contact=0)
    assert suspicion(plain, 1.0, False, 100) == (0, {})
    found, reasons = suspicion(plain, 0.5, True, 100)
    assert reasons == {"default box": 0.9, "low score": pytest.approx(0.3)}
    assert found == pytest.approx(1 - 0.1 * 0.7)
    strengths = {
        "odd size": (Measures(1600, 0, 0, 1.0, [], 0), 0.6),
        "in parts": (Measures(100, 0.5, 0, 1.0, [], 0), 0.5),
        "holes": (Measures(100, 0, 0.05, 1.0, [], 0), 0.06),
        "click outside": (Measures(100, 0, 0, -1.0, [], 0), 0.8),
        "click at the border": (Measures(100, 0, 0, 0.2, [], 0), 0.15),
        "touches its class": (Measures(100, 0, 0, None, [1], 0.25), 0.15),
    }
    for name, (measures, value) in strengths.items():
        found, reasons = suspicion(measures, 1.0, False, 100)
        assert reasons == {name: pytest.approx(value)}
        assert found == pytest.approx(value)
    assert strengths.keys() | {"default box", "low score"} == REASONS.keys()
    assert suspicion(strengths["odd size"][0], 1.0, False, None) == (0, {})


def test_medians_need_enough_masks_that_are_not_default_boxes():
    areas = [(1, 1), (1, 2), (1, 3), (1, 4), (1, 50), (2, 1), (2, 2)]
    group = [instance(np.arange(60)[None] < area, label=label) for label, area in areas]
    group += [replace(instance(np.ones((1, 60), bool)), default_box=True)] * 3
    masks = InstanceSet([ImageRecord(1, "a.png", 1, 60)], [], [group], {})
    assert medians(masks) == {1: 3}


@pytest.mark.parametrize("by_id", [True, False])
def test_ious_are_with_the_same_id_or_the_largest_overlap(by_id):
    masks = [
        instance(box(0, 0, 10, 10), 1),
        instance(box(0, 10, 10, 10), 2),
        instance(box(0, 0, 10, 10), 3, 2),
    ]
    truths = [
        instance(box(0, 8, 10, 10), 1),
        instance(box(0, 0, 10, 9), 2),
        instance(box(50, 50, 5, 5), 9),
    ]
    ious, owners = Truth([truths], by_id).compared(0, masks)

    def slow(a, b):
        first, second = decode(a.rle), decode(b.rle)
        return (first & second).sum() / (first | second).sum()

    expected = [
        max(
            (
                slow(mask, t)
                for t in truths
                if t.label == mask.label and (t.id == mask.id or not by_id)
            ),
            default=0,
        )
        for mask in masks
    ]
    assert ious == pytest.approx(expected)
    assert owners == ([0, 1, -1] if by_id else [1, 0, -1])
    assert Truth([None], by_id).compared(0, masks) == ([None] * 3, [])


@pytest.mark.parametrize("seed", range(3))
def test_an_outline_drawn_again_is_the_mask(seed):
    """In a crop of cell size, the outline is within a pixel of the border."""
    import cv2

    for mask in blobs(seed, 3, (CELL, CELL)):
        mask = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9))) > 0
        tight = Tight.of(instance(mask))
        drawn = np.zeros((CELL, CELL), np.uint8)
        for ring in rings(outline(tight, (0, 0, CELL))):
            cv2.fillPoly(drawn, [np.array(ring, np.int32)], 1)
        sure = cv2.erode(mask.astype(np.uint8), np.ones((3, 3))) > 0
        wide = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3))) > 0
        assert not (sure & (drawn == 0)).any()
        filled = flood(~wide, SIDES)
        assert ((drawn > 0) & ~wide).sum() <= sum(filled) - max(filled)  # holes, filled here


def rings(path):
    for first, rest in re.findall(r"M(\d+ \d+)(?:l([-\d ]+)|h1)z", path):
        points = [np.array(list(map(int, first.split())))]
        numbers = list(map(int, re.findall(r"-?\d+", rest)))
        for k in range(0, len(numbers), 2):
            points.append(points[-1] + numbers[k : k + 2])
        yield points
    assert re.fullmatch(r"(M\d+ \d+(l[-\d ]+|h1)z)*", path)


@pytest.mark.parametrize("point", [None, (3.0, 70.5), (59.4, 0.0)])
def test_a_crop_contains_its_mask_and_its_click(point):
    for mask in (box(0, 0, 3, 3), box(50, 75, 10, 5), box(0, 0, 60, 80), box(20, 20, 30, 2)):
        top, left, side = crop_of(Tight.of(instance(mask)), point, (60, 80))
        ys, xs = np.nonzero(mask)
        assert top <= ys.min() <= ys.max() < top + side
        assert left <= xs.min() <= xs.max() < left + side
        if point is not None:
            assert top <= point[0] < top + side
            assert left <= point[1] < left + side
        if side <= 60:
            assert 0 <= top <= 60 - side
            assert 0 <= left <= 80 - side


def test_sheets_are_four_wide_and_contain_all_crops():
    image = np.full((60, 80, 3), 200, np.uint8)
    shapes = {1: (1, 1), 3: (1, 3), 5: (2, 4), 16: (4, 4)}
    for count, (down, across) in shapes.items():
        [sheet] = sheets(image, [(0, 0, 50)] * count)
        assert sheet.shape == (down * CELL, across * CELL, 3)
    assert [s.shape[1] // CELL for s in sheets(image, [(0, 0, 50)] * 18)] == [4, 2]
    assert sheets(image, []) == []
    [beyond] = sheets(image, [(-10, 0, 80)])  # higher than the image: the rest is blank
    assert beyond[2, CELL // 2].tolist() == [20, 22, 24]
    assert beyond[CELL // 2, CELL // 2].tolist() == [200] * 3


def test_codes_of_a_map_at_the_pictures_size():
    labels = np.zeros((8, 6), np.int64)
    labels[2:6, 2:6] = 3
    empty, code = codes_at(labels, [7, 3], (4, 3))
    small = decode({"size": [4, 3], "counts": code.encode()})
    assert empty == ""
    assert small.tolist() == [
        [labels[2 * y + 1, 2 * x + 1] == 3 for x in range(3)] for y in range(4)
    ]


def test_a_script_passes_text():
    content = {"name": "</script><b>\u2028'\"\\ü"}
    text = script("part", content)
    assert text.isascii()
    assert content_of(text) == content


def test_ground_truth_with_other_ids_is_matched_by_file_name_and_overlap():
    """Another tool uses the same ids for other images and objects."""
    categories = [Category(1, "cell")]

    def pair(ids, points=(None, None)):
        masks = [box(5, 5, 10, 10), box(30, 30, 10, 10)]
        return [instance(m, id, 1, p) for m, id, p in zip(masks, ids, points, strict=True)]

    clicks = ((10.0, 10.0), (35.0, 35.0))
    size = decode(pair((1, 2))[0].rle).shape
    ours = [ImageRecord(1, "a.jpg", *size), ImageRecord(2, "b.jpg", *size)]
    theirs = [ImageRecord(1, "b.jpg", *size), ImageRecord(2, "a.jpg", *size)]
    pred = InstanceSet(ours, categories, [pair((1, 2), clicks), []])
    swapped = InstanceSet(theirs, categories, [[], pair((2, 1))])
    truth = truth_of(swapped, pred, clicked=True)
    assert not truth.by_id
    assert truth.compared(0, pred.instances[0])[0] == [1, 1]
    own = InstanceSet(ours, categories, [pair((1, 2)), []])
    assert truth_of(own, pred, clicked=True).by_id
    renamed = [ImageRecord(k, f"{k}.jpg", *size) for k in (1, 2)]
    by_number = truth_of(InstanceSet(renamed, categories, own.instances), pred, clicked=True)
    assert by_number.compared(0, pred.instances[0])[0] == [1, 1]
    other = [ImageRecord(1, "1.jpg", 7, 9), ImageRecord(2, "2.jpg", *size)]
    with pytest.raises(UserError, match=r"1\.jpg of 9x7 in gt"):
        truth_of(InstanceSet(other, categories, own.instances), pred, clicked=True)
