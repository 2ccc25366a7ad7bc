"""The segmenter made of ground truth: part, object and group, the same for the same seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from semantic_sets import task

from p2seg.data.coco import Category, ImageRecord, Instance, InstanceSet, write_instances
from p2seg.data.rle import decode, encode
from p2seg.errors import UserError
from p2seg.sam.prompts import Prompts
from p2seg.sam.simulated import Faults, Simulated

SIZE = (80, 120)
CLEAN = Faults(noise=0, missing=0, lost=0, doubt=0)


@pytest.fixture
def scene(tmp_path: Path) -> Any:
    """Two boxes that touch, the left one half red and half blue, and a lone disc far away."""
    yy, xx = np.mgrid[: SIZE[0], : SIZE[1]]
    left = (yy >= 10) & (yy < 50) & (xx >= 10) & (xx < 34)
    right = (yy >= 10) & (yy < 50) & (xx >= 34) & (xx < 58)
    disc = np.hypot(yy - 60, xx - 100) < 12
    image = np.full((*SIZE, 3), 120, np.uint8)
    image[left] = (220, 30, 30)
    image[left & (yy < 25)] = (30, 30, 220)
    image[right] = (30, 200, 30)
    masks = [left, right, disc]
    record = ImageRecord(1, "a.png", *SIZE)
    instances = [Instance(k + 1, 1 + k // 2, encode(mask)) for k, mask in enumerate(masks)]
    categories = [Category(1, "box"), Category(2, "disc")]
    write_instances(tmp_path / "gt.json", InstanceSet([record], categories, [instances]))
    return tmp_path / "gt.json", image, masks


def answers(scene: Any, negatives: str = "none", **options: Any) -> list[list[Any]]:
    gt, image, _ = scene
    yx, labels = np.array([[20, 20], [30, 45], [60, 100]]), np.array([1, 1, 2])
    prompter = Simulated.read(str(gt), **options)
    asked = task(Path("a.png"), SIZE, yx, labels)
    return prompter(image, Prompts.of(yx, labels, negatives), asked)  # type: ignore[arg-type]


def masks(candidates: list[Any]) -> list[Any]:
    return [decode(each.rle) for each in candidates]


def test_without_faults_it_offers_part_object_and_group(scene: Any) -> None:
    left, right, disc = scene[2]
    first, second, third = (masks(each) for each in answers(scene, faults=CLEAN))
    part, whole, group = first
    assert (whole == left).all()
    assert (group == left | right).all()
    assert part[20, 20]
    assert not (part & ~left).any()
    assert 0.05 < part.sum() / left.sum() < 0.8
    assert part[30:].sum() < 0.1 * part.sum()  # the blue half, where the click is
    assert (second[2] == left | right).all()
    assert (third[1] == disc).all()
    leak = third[2]
    assert (leak & disc).sum() == disc.sum()
    assert 1.2 < leak.sum() / disc.sum() < 3


def test_a_group_heeds_negatives_it_is_told(scene: Any) -> None:
    left, right, _ = scene[2]
    obedient = replace(CLEAN, obeyed=1.0)
    [_, _, group], *_ = (masks(each) for each in answers(scene, "all", faults=obedient))
    assert not (group & right).sum() > 0.5 * right.sum()
    assert (group & left).sum() == left.sum()
    stubborn = replace(CLEAN, obeyed=0.0)
    [_, _, group], *_ = (masks(each) for each in answers(scene, "all", faults=stubborn))
    assert (group == left | right).all()


def test_a_lost_object_is_a_larger_part(scene: Any) -> None:
    left = scene[2][0]
    part, instead, _ = masks(answers(scene, faults=replace(CLEAN, lost=1.0))[0])
    assert not (instead & ~left).any()
    assert instead.sum() < 0.85 * left.sum()
    assert part[20, 20]
    assert instead[20, 20]


def test_faults_make_masks_and_scores_worse(scene: Any) -> None:
    objects = scene[2]
    noisy = Faults(noise=4, missing=0.5, lost=0, doubt=0.1)
    rounds = [answers(scene, faults=noisy, seed=seed) for seed in range(12)]
    ious = [
        (decode(own[1].rle) & mask).sum() / (decode(own[1].rle) | mask).sum()
        for offered in rounds
        for own, mask in zip(offered, objects, strict=True)
    ]
    assert 0.6 < np.mean(ious) < 0.95
    scores = [own[1].predicted_iou for offered in rounds for own in offered]
    assert np.std(scores) > 0.03
    assert all(0 <= score <= 1 for score in scores)


def test_answers_depend_on_the_seed_and_the_click_alone(scene: Any) -> None:
    again = answers(scene, seed=3)
    assert answers(scene, seed=3) == again
    assert answers(scene, seed=4) != again
    gt, image, _ = scene
    yx = np.array([[60, 100]])
    alone = replace(task(Path("a.png"), SIZE, yx, [2]), ids=np.array([3]))
    asked = Simulated.read(str(gt), seed=3)(image, Prompts.of(yx, np.array([2]), "none"), alone)
    assert asked == again[2:]


def test_it_says_what_it_is(scene: Any) -> None:
    prompter = Simulated.read(str(scene[0]), seed=3)
    assert prompter.name == "simulated"
    assert prompter.parameters["faults"]["lost"] == 0.1
    assert prompter.parameters["seed"] == 3


def test_points_of_another_file_and_impossible_faults_are_refused(scene: Any) -> None:
    prompter = Simulated.read(str(scene[0]))
    yx = np.array([[1, 1]])
    other = replace(task(Path("a.png"), SIZE, yx, [1]), ids=np.array([9]))
    with pytest.raises(UserError, match=r"point 9 of image a\.png is not in "):
        prompter(scene[1], Prompts.of(yx, np.array([1]), "none"), other)
    for wrong in ({"missing": 1.5}, {"noise": -1.0}, {"lost": -0.1}):
        with pytest.raises(UserError, match=r"semantic\.faults="):
            Faults(**wrong)
