"""semantic=auto takes the source that truth would take, without looking at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from semantic_sets import draw, task

from p2seg.data.coco import decode
from p2seg.data.points import make_points
from p2seg.data.sets.synthetic import write_synthetic
from p2seg.data.sets.synthetic_shapes import CLASSES
from p2seg.data.sets.voc import read_voc
from p2seg.errors import UserError
from p2seg.semantic.auto import Auto, mask_scores
from p2seg.semantic.grabcut import GrabCut
from p2seg.semantic.manifest import read_manifest
from p2seg.semantic.source import MapTask
from p2seg.semantic.threshold import Threshold


def cells(folder: Path, seed: int) -> tuple[MapTask, np.ndarray]:
    """Crowded discs of many brightnesses on dark ground, clicked anywhere; and their pixels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :96]
    image, truth, clicks = np.full((96, 96), 25.0), np.zeros((96, 96), bool), []
    for cy in range(10, 96, 19):
        for cx in range(10, 96, 19):
            disc = (y - cy) ** 2 + (x - cx) ** 2 <= rng.integers(5, 10) ** 2
            image[disc], truth = rng.uniform(90, 230), truth | disc
            pixels = np.argwhere(disc)
            clicks.append(pixels[rng.integers(len(pixels))])
    gray = np.clip(image + rng.normal(0, 5, image.shape), 0, 255).astype(np.uint8)
    path = folder / f"{seed}.png"
    Image.fromarray(gray).save(path)
    return task(path, (96, 96), clicks, [1] * len(clicks)), truth


def scenes(folder: Path) -> list[tuple[MapTask, np.ndarray]]:
    """Images of the drawn set, where no threshold separates objects from the ground."""
    write_synthetic(folder / "voc", 0, 16, 1, 128)
    instances = read_voc(folder / "voc", "train", CLASSES)
    points, images = make_points(instances, "inner", 0), folder / "voc" / "JPEGImages"
    names = tuple(category.name for category in points.categories)
    tasks = [
        MapTask.of(record, own, images, names)
        for record, own in zip(points.images, points.points, strict=True)
    ]
    masks = [np.stack([decode(each) for each in own]).any(0) for own in instances.instances]
    return list(zip(tasks, masks, strict=True))


@pytest.mark.parametrize(("kind", "name"), [("cells", "threshold"), ("scenes", "grabcut")])
def test_the_choice_is_the_one_that_truth_makes(tmp_path: Path, kind: str, name: str) -> None:
    made = scenes(tmp_path) if kind == "scenes" else [cells(tmp_path, n) for n in range(4)]
    tasks, truths = zip(*made, strict=True)
    choice = Auto().choose(tasks)
    assert choice.source.name == name
    assert choice.images == min(12, len(tasks))
    agreement = {}
    for source in (Threshold(), GrabCut()):
        pairs = [(source(each) > 0, truth) for each, truth in zip(tasks, truths, strict=True)]
        agreement[source.name] = np.mean([(a & b).sum() / (a | b).sum() for a, b in pairs])
    assert max(agreement, key=agreement.__getitem__) == name


def test_a_compact_mask_on_an_edge_scores_more_than_others() -> None:
    image = np.full((40, 40, 3), 30, np.uint8)
    image[10:30, 10:30] = 200
    right = np.zeros((40, 40), np.uint8)
    right[10:30, 10:30] = 1
    beside, ragged, none = np.roll(right, 5, 1), right.copy(), right * 0
    ragged[::2] = 0
    ragged[10:30, 20] = 1
    clicked = task(Path("image.png"), (40, 40), [(20, 20)], [1])
    scores = [mask_scores(image, each, clicked)[0] for each in (right, beside, ragged, none)]
    assert scores[0] > 2 * max(scores[1:])
    assert scores[3] == 0


def test_images_that_cannot_be_read_are_left_out_of_the_sample(tmp_path: Path) -> None:
    good, _ = cells(tmp_path, 0)
    missing = replace(good, image=tmp_path / "no.png")
    assert Auto().choose([missing, good]).images == 1
    with pytest.raises(UserError, match="semantic=auto can read none of the sampled images"):
        Auto().choose([missing])
    with pytest.raises(UserError, match="images=0: must be an integer >= 1"):
        Auto(images=0)


def test_the_tool_reports_the_choice_and_records_the_source(
    run_tool: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    drawn = draw(tmp_path)
    words = (f"data.images={drawn.images}", f"data.points={drawn.points}", f"out={drawn.out}")
    code, out, _ = run_tool("gen_semantic", "data=custom", *words, "semantic.workers=0")
    assert code == 0
    source = read_manifest(drawn.out).source
    assert f"semantic=auto chose {source} on 4 images" in out
    assert f"4 maps by {source} made" in out
