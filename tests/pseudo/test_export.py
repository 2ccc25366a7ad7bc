"""Pseudo masks on disk: exactly one a click, whatever happens on the way."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import tiny_network
from strategies import points_of
from training_sets import training_set

from p2seg.data.coco import decode, read_instances
from p2seg.errors import UserError
from p2seg.method.rounds import MutualDistillation
from p2seg.method.seed import Seeder
from p2seg.pseudo.export import (
    DEFAULT_SCORE,
    MaskRules,
    box_mask,
    export_key,
    label_images,
    masks_of,
    write_pseudo,
)
from p2seg.pseudo.labeler import Labeled
from p2seg.pseudo.network import NetworkLabeler
from p2seg.pseudo.resume_log import Shards
from p2seg.pseudo.seeds import SeedLabeler

RULES = MaskRules(min_pixels=16, default_box=16)


def labeled(instances, count):
    return Labeled(instances, instances, torch.linspace(0.9, 0.6, count))


def test_every_click_has_one_mask_and_its_own_id():
    instances = torch.zeros(40, 40, dtype=torch.long)
    instances[:5, :5], instances[10:13, 10:15], instances[30:34, 30:34] = 1, 2, 4
    points = points_of([(2, 2), (11, 12), (20, 39), (32, 32)], [1, 2, 1, 3])
    made = masks_of(labeled(instances, 4), points, RULES)
    assert [each.id for each in made] == [1, 2, 3, 4]
    assert [each.label for each in made] == [1, 2, 1, 3]
    assert [each.point for each in made] == [(2, 2), (11, 12), (20, 39), (32, 32)]
    assert [each.default_box for each in made] == [False, True, True, False]
    assert [each.score for each in made] == pytest.approx([0.9, 0.5, 0.5, 0.6])
    assert np.array_equal(decode(made[0]), (instances == 1).numpy())
    assert np.array_equal(decode(made[3]), (instances == 4).numpy())
    boxes = [np.argwhere(decode(made[k])) for k in (1, 2)]  # 15 pixels are too few; none at all
    assert [(b.min(0).tolist(), b.max(0).tolist()) for b in boxes] == [
        ([3, 4], [18, 19]),
        ([12, 24], [27, 39]),  # shifted inside
    ]


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.floats(0, 0.999),
    st.floats(0, 0.999),
    st.integers(1, 20),
)
def test_a_default_box_is_a_square_inside_the_image_on_its_click(height, width, v, u, side):
    y, x = v * height, u * width
    mask = box_mask((height, width), y, x, side)
    assert mask[int(y), int(x)]
    at = np.argwhere(mask)
    extent = at.max(0) - at.min(0) + 1
    assert extent.tolist() == [min(side, height), min(side, width)]
    assert mask.sum() == extent.prod()
    if side // 2 <= y < height - side and side // 2 <= x < width - side:
        assert at.min(0).tolist() == [int(y) - side // 2, int(x) - side // 2]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 999), st.integers(0, 12), st.integers(0, 30))
def test_masks_are_as_many_as_clicks_and_large_enough_or_default(seed, count, least):
    random = torch.Generator().manual_seed(seed)
    instances = torch.randint(0, count + 1, (9, 11), generator=random)
    yx = [(float(k % 9), float(k % 11)) for k in range(count)]
    made = masks_of(labeled(instances, count), points_of(yx, [1] * count), MaskRules(least, 4))
    assert len(made) == count
    for k, each in enumerate(made):
        area = int((instances == k + 1).sum())
        assert each.default_box == (area < max(1, least))
        assert decode(each).sum() == (16 if each.default_box else area)


def test_300_clicks_in_one_image():
    instances = torch.arange(300).reshape(15, 20).repeat_interleave(5, 0).repeat_interleave(5, 1)
    instances[:5, :5] = 300
    points = points_of([(2.0, 2.0)] * 300, [1] * 300)
    made = masks_of(labeled(instances, 300), points, RULES)
    assert len(made) == 300
    assert not any(each.default_box for each in made)


@pytest.fixture(params=[False, True], ids=["in turn", "in threads"], autouse=True)
def overlapping(request, monkeypatch):
    """Every export as beside a GPU and without one."""
    monkeypatch.setattr(Labeling, "on_gpu", request.param)


class Exporting:
    """An export of the seeds of a small set, as p2seg gen_pseudo runs it."""

    def __init__(self, root, count=5):
        self.made = training_set(root, count)
        self.points = self.made.points
        self.calls = []

    def labeler(self, image, points, first):
        self.calls.append(points.ids.tolist())
        return SeedLabeler(Seeder())(image, points, first)

    def run(self, out, *, stop=None, rank=0, world=1, on_error="raise", key="key", write=True):
        shards = Shards(out, key, rank)
        steps = label_images(
            self.points, self.made.reader, Labeling(self), RULES, shards, on_error, rank, world
        )
        skipped = []
        for number, sentence in enumerate(steps, 1):
            skipped += [] if sentence is None else [sentence]
            if number == stop:
                return None
        if write:
            write_pseudo(out, self.points, shards, {"source": "seed"})
        return skipped


class Labeling:
    """The labeler that counts its calls."""

    needs_image = True
    on_gpu = False

    def __init__(self, exporting):
        self.exporting = exporting

    def __call__(self, image, points, first):
        assert image.dtype == torch.uint8
        return self.exporting.labeler(image, points, first)


@pytest.fixture
def exporting(tmp_path):
    return Exporting(tmp_path / "set")


def test_the_file_is_ground_truth_of_the_clicks(exporting, tmp_path):
    exporting.run(tmp_path / "a.json")
    made = read_instances(tmp_path / "a.json")
    assert made.images == exporting.points.images
    assert made.categories == exporting.points.categories
    assert made.info == {"source": "seed", "skipped": []}
    for group, points in zip(made.instances, exporting.points.points, strict=True):
        assert [each.id for each in group] == points.ids.tolist()
        assert [each.label for each in group] == points.labels.tolist()
        assert [each.point for each in group] == list(map(tuple, points.yx.tolist()))
        assert [int(decode(each).sum()) for each in group] == [256, 256, 100]
    raw = json.loads((tmp_path / "a.json").read_text())["annotations"][0]
    assert raw["bbox"] == [4, 4, 16, 16]
    assert raw["area"] == 256
    assert raw["iscrowd"] == 0
    assert not (tmp_path / "a.json.parts").exists()


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_half_done_export_goes_on_to_the_same_bytes(exporting, tmp_path, stop):
    exporting.run(tmp_path / "whole.json")
    exporting.calls.clear()
    exporting.run(tmp_path / "parts.json", stop=stop)
    assert not (tmp_path / "parts.json").exists()
    exporting.run(tmp_path / "parts.json")
    assert len(exporting.calls) == 5  # nothing was done twice
    assert (tmp_path / "parts.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert not (tmp_path / "parts.json.parts").exists()


def test_a_torn_line_is_done_again(exporting, tmp_path):
    exporting.run(tmp_path / "whole.json")
    exporting.run(tmp_path / "parts.json", stop=3)
    [shard] = (tmp_path / "parts.json.parts").iterdir()
    content = shard.read_bytes()
    for end in (content[:-30], content + b'\n{"key": "key"', content + b"\n[1]\n\xff\n3"):
        shard.write_bytes(end)
        exporting.run(tmp_path / "parts.json", write=False)
        exporting.run(tmp_path / "parts.json")
        assert (tmp_path / "parts.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
        shard.parent.mkdir()


def test_what_is_finished_is_read_from_the_disk_when_it_is_asked_for(exporting, tmp_path):
    exporting.run(tmp_path / "a.json", write=False)
    done = Shards(tmp_path / "a.json", "key", 0).finished()
    assert sorted(done) == [image.id for image in exporting.points.images]
    assert [each.id for each in done[11]] == [4, 5, 6]
    [shard] = (tmp_path / "a.json.parts").iterdir()
    again = shard.read_bytes().splitlines()
    shard.write_bytes(b"\n".join([*again, again[2].replace(b'"score": 1.0', b'"score": 0.25')]))
    done = Shards(tmp_path / "a.json", "key", 0).finished()
    assert [each.score for each in done[11]] == [0.25] * 3, "the last line of an image counts"
    shard.unlink()
    with pytest.raises(FileNotFoundError):
        done[10]


def test_what_was_done_with_other_settings_is_not_used(exporting, tmp_path):
    exporting.run(tmp_path / "a.json", stop=3, key="other")
    exporting.calls.clear()
    exporting.run(tmp_path / "a.json")
    assert len(exporting.calls) == 5


def test_two_ranks_are_one_rank(exporting, tmp_path):
    exporting.run(tmp_path / "one.json")
    exporting.calls.clear()
    for rank in (1, 0):  # the first rank writes, when all are done
        exporting.run(tmp_path / "two.json", rank=rank, world=2, write=rank == 0)
    assert len(exporting.calls) == 5
    assert (tmp_path / "two.json").read_bytes() == (tmp_path / "one.json").read_bytes()


def test_a_restart_with_other_ranks_uses_what_is_there(exporting, tmp_path):
    exporting.run(tmp_path / "one.json")
    exporting.run(tmp_path / "two.json", rank=1, world=2, write=False)
    exporting.calls.clear()
    exporting.run(tmp_path / "two.json")
    assert len(exporting.calls) == 3
    assert (tmp_path / "two.json").read_bytes() == (tmp_path / "one.json").read_bytes()


def test_an_image_without_clicks_is_kept_and_needs_no_files(exporting, tmp_path):
    (exporting.made.images / "part/2.png").unlink()
    groups = list(exporting.points.points)
    groups[2] = points_of([], [])
    exporting.points = replace(exporting.points, points=groups)
    exporting.run(tmp_path / "a.json")
    made = read_instances(tmp_path / "a.json")
    assert len(made.images) == 5
    assert [len(group) for group in made.instances] == [3, 3, 0, 3, 3]


def test_on_error(exporting, tmp_path):
    (exporting.made.images / "part/2.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"part/2\.png is not an image"):
        exporting.run(tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()
    exporting.calls.clear()
    skipped = exporting.run(tmp_path / "a.json", on_error="skip")
    assert len(exporting.calls) == 2  # those after it; the two before were kept
    assert len(skipped) == 1
    assert "part/2.png" in skipped[0]
    made = read_instances(tmp_path / "a.json")
    assert [image.file_name for image in made.images] == [f"part/{k}.png" for k in (0, 1, 3, 4)]
    assert made.info["skipped"] == skipped
    with pytest.raises(UserError, match=r"data\.on_error=no is unknown; choose raise or skip"):
        exporting.run(tmp_path / "a.json", on_error="no")


def test_what_every_rank_skipped_is_listed_once_and_tried_again(exporting, tmp_path):
    broken = [exporting.made.images / f"part/{k}.png" for k in (1, 2)]
    contents = [path.read_bytes() for path in broken]
    for path in broken:
        path.write_bytes(b"no image")
    out = tmp_path / "a.json"
    exporting.run(out, rank=1, world=2, on_error="skip", write=False)
    broken[1].write_bytes(contents[1])
    exporting.run(out, rank=0, world=2, on_error="skip", write=False)
    exporting.run(out, on_error="skip")
    made = read_instances(out)
    assert len(made.images) == 4
    assert len(made.info["skipped"]) == 1
    assert "part/1.png" in made.info["skipped"][0]


def test_an_empty_points_file_is_an_error(exporting, tmp_path):
    exporting.points = replace(exporting.points, images=[], points=[])
    with pytest.raises(UserError, match="the points file has no image"):
        exporting.run(tmp_path / "a.json")


def test_skipping_every_image_is_an_error(exporting, tmp_path):
    for image in exporting.points.images:
        (exporting.made.images / image.file_name).unlink()
    with pytest.raises(UserError, match=r"all 5 images were skipped; the first: no image at"):
        exporting.run(tmp_path / "a.json", on_error="skip")
    assert not (tmp_path / "a.json").exists()


def overflowing():
    """A labeler whose network has finite weights and gives infinity."""
    network = tiny_network(2).eval()
    with torch.no_grad():
        for parameter in network.class_head.parameters():
            parameter.fill_(3e38)
    return NetworkLabeler(network, MutualDistillation())


def test_outputs_that_are_not_finite_are_an_error_with_the_image_s_name(exporting, tmp_path):
    def labeler(image, points, first):
        ruined = points.ids.tolist() == exporting.points.points[2].ids.tolist()
        chosen = overflowing() if ruined else SeedLabeler(Seeder())
        return chosen(image, points, first)

    exporting.labeler = labeler
    sentence = r"the model's outputs on part/2\.png are not finite"
    with pytest.raises(UserError, match=sentence) as error:
        exporting.run(tmp_path / "a.json")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "a.json").exists()
    skipped = exporting.run(tmp_path / "a.json", on_error="skip")
    assert len(skipped) == 1
    assert "part/2.png" in skipped[0]
    made = read_instances(tmp_path / "a.json")
    assert [image.file_name for image in made.images] == [f"part/{k}.png" for k in (0, 1, 3, 4)]
    assert made.info["skipped"] == skipped


@pytest.mark.parametrize("reason", ["never begun", "a score that is no number"])
def test_an_image_neither_finished_nor_skipped_is_an_error_with_its_name(
    exporting, tmp_path, reason
):
    exporting.run(tmp_path / "a.json", stop=3 if reason == "never begun" else None, write=False)
    shards = Shards(tmp_path / "a.json", "key", 0)
    if reason != "never begun":
        path = shards.folder / "0.jsonl"
        lines = path.read_text().splitlines()
        item = f'"item": {exporting.points.images[3].id},'
        at = max(number for number, line in enumerate(lines) if item in line)
        lines[at] = lines[at].replace('"score": 1.0', '"score": NaN')
        path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"have no masks and were not skipped") as error:
        write_pseudo(tmp_path / "a.json", exporting.points, shards, {})
    assert "part/3.png" in str(error.value)
    assert not (tmp_path / "a.json").exists()
    exporting.run(tmp_path / "a.json")
    assert len(read_instances(tmp_path / "a.json").images) == 5


def test_keys_know_settings_and_paths(tmp_path):
    assert export_key({"a": 1}) == export_key({"a": 1})
    assert export_key({"a": 1}) != export_key({"a": 2})
    assert export_key(tmp_path) == export_key(tmp_path)
    assert DEFAULT_SCORE == 0.5
