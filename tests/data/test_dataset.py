"""The training reader: images, clicks and first maps, and nothing else of the disk."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from strategies import points_of
from training_sets import training_set

from p2seg.data.dataset import PointDataset, readable_subset
from p2seg.data.journal import journal_path
from p2seg.data.labels import write_labels
from p2seg.data.network_input import NetworkInput
from p2seg.data.points import PointSet, read_points
from p2seg.data.transforms import Augment
from p2seg.errors import UserError
from p2seg.method.seed import Seeder
from p2seg.structures import Batch, Points

AUGMENT = Augment(NetworkInput(40), crop=32)
WHOLE = Augment(NetworkInput(40), crop=48, scale=(1, 1), flip=False, photometric=False)


def dataset_of(made, augment=AUGMENT, seeder=None, seed=0):
    return PointDataset(made.points, made.reader, seeder or Seeder(), augment, seed)


def equal(a, b):
    return a.name == b.name and all(
        map(
            torch.equal,
            (a.image, a.points.yx, a.labels.semantic, a.labels.instances),
            (b.image, b.points.yx, b.labels.semantic, b.labels.instances),
        )
    )


def test_a_sample_is_a_function_of_seed_epoch_and_index(tmp_path):
    made = training_set(tmp_path)
    dataset = dataset_of(made)
    sample = dataset[(3, 1)]
    dataset[(0, 0)]
    assert equal(sample, dataset[(3, 1)])
    assert equal(sample, dataset_of(made)[(3, 1)])
    assert not equal(sample, dataset[(4, 1)])
    assert not equal(sample, dataset_of(made, seed=1)[(3, 1)])


def test_the_whole_sample(tmp_path):
    """Every object has its click's label, split where Eq. 1 splits it."""
    sample = dataset_of(training_set(tmp_path), WHOLE)[(0, 1)]
    assert sample.name == "part/1.png"
    assert sample.points.ids.tolist() == [4, 5, 6]
    assert sample.points.labels.tolist() == [2, 2, 2]
    instances = sample.labels.instances
    assert (instances[4:20, 4:20] == 1).all()
    assert (instances[4:20, 20:36] == 2).all()
    assert (instances[26:36, 10:20] == 3).all()
    assert (instances > 0).sum() == 16 * 32 + 100
    assert (sample.labels.semantic[instances > 0] == 2).all()
    assert (sample.image[:, 10, 10] == torch.tensor([60, 60, 250])).all()
    batch = Batch.of([sample, sample])
    assert batch.images.shape == (2, 3, 48, 48)
    assert batch.labels.instances.shape == (2, 48, 48)


def test_seeds_are_made_on_the_whole_image(tmp_path):
    """A crop without one of two clicks must not give its object to the other."""
    made = training_set(tmp_path)
    seen = []

    def seeder(semantic, points, images):
        seen.append((tuple(semantic.shape[1:]), points[0].yx.tolist()))
        return Seeder()(semantic, points)

    dataset = dataset_of(made, Augment(NetworkInput(40), crop=16, scale=(1, 1)), seeder)
    for epoch in range(12):
        sample = dataset[(epoch, 0)]
        x = sample.points.pixels[:2, 1]
        columns = torch.arange(16)
        for k in range(2):  # the left and the right of two touching squares
            mine = (sample.labels.instances == k + 1).any(0)
            nearer = (columns - x[k]).abs() <= (columns - x[1 - k]).abs()
            assert not (mine & ~nearer).any()
    assert seen == [((40, 48), made.points.points[0].yx.tolist())] * 12


def test_images_without_clicks_are_left_out(tmp_path):
    made = training_set(tmp_path, 3)
    none = points_of([], [])
    points = replace(made.points, points=[made.points.points[0], none, made.points.points[2]])
    dataset = PointDataset(points, made.reader, Seeder(), AUGMENT, 0)
    assert len(dataset) == 2
    assert [dataset[(0, k)].name for k in range(2)] == ["part/0.png", "part/2.png"]
    for images in ([], made.points.images):
        nothing = replace(points, images=images, points=[none] * len(images))
        with pytest.raises(UserError, match=f"none of the {len(images)} images"):
            PointDataset(nothing, made.reader, Seeder(), AUGMENT, 0)


def test_classes_without_clicks_are_ignored_and_not_background(tmp_path):
    made = training_set(tmp_path, 1)
    semantic = np.zeros((40, 48), np.uint8)
    semantic[:10], semantic[10:20], semantic[20:30] = 1, 2, 255
    write_labels(made.semantic / "part/0.png", semantic)
    made = replace(made, points=replace(made.points, points=[points_of([(5, 5)], [1])]))
    read = made.reader.map(made.points.images[0], made.points.points[0])
    assert [read[row, 0].item() for row in (0, 10, 20, 30)] == [1, 255, 255, 0]


def test_nothing_but_image_map_and_clicks_is_opened(tmp_path):
    """The ground truth lies right beside the images, in VOC's folders, and stays closed."""
    made = training_set(tmp_path, 2)
    for folder in ("SegmentationObject", "SegmentationClass"):
        for k in range(2):
            write_labels(tmp_path / folder / f"part/{k}.png", np.ones((40, 48), np.uint8))
    document = json.loads(made.file.read_text())
    for annotation in document["annotations"]:  # masks in the file of clicks are not read either
        annotation["segmentation"] = "a mask"
    made.file.write_text(json.dumps(document))
    opened = []
    watching = [True]

    def watch(event, arguments):
        if event == "open" and watching and str(arguments[0]).startswith(str(tmp_path)):
            opened.append(str(arguments[0]))

    sys.addaudithook(watch)
    points = read_points(made.file)
    sample = PointDataset(points, made.reader, Seeder(), AUGMENT, 0)[(0, 1)]
    watching.clear()
    expected = [made.file, made.images / "part/1.png", made.semantic / "part/1.png"]
    journal = str(journal_path(made.file))  # is looked for, and is not there
    assert set(opened) - {journal} == set(map(str, expected))
    held = {PointSet: points, Points: points.points[0], type(sample): sample}
    for kind, each in held.items():
        assert isinstance(each, kind)
        assert not [name for name in vars(each) if "mask" in name or "segm" in name]


def spoiled(folder):
    """Four images: the second is missing, the third's map has another size."""
    made = training_set(folder)
    (made.images / "part/1.png").unlink()
    write_labels(made.semantic / "part/2.png", np.zeros((40, 49), np.uint8))
    return made


def test_on_error_raise_stops_at_the_first(tmp_path):
    made = spoiled(tmp_path)
    with pytest.raises(UserError, match=r"no image at .*part/1\.png"):
        readable_subset(made.points, made.reader, "raise")


def test_on_error_skip_lists_every_image_it_leaves_out(tmp_path):
    made = spoiled(tmp_path)
    left, skipped = readable_subset(made.points, made.reader, "skip")
    assert [image.file_name for image in left.images] == ["part/0.png", "part/3.png"]
    assert [points.ids.tolist() for points in left.points] == [[1, 2, 3], [10, 11, 12]]
    assert left.categories == made.points.categories
    assert len(skipped) == 2
    assert "part/1.png" in skipped[0]
    assert "part/2.png is 49x40" in skipped[1]


def test_nothing_left_is_an_error(tmp_path):
    made = training_set(tmp_path, 2)
    for k in range(2):
        (made.images / f"part/{k}.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"all 2 images were skipped; the first: .*part/0\.png"):
        readable_subset(made.points, made.reader, "skip")


def test_an_unknown_on_error_is_refused(tmp_path):
    made = training_set(tmp_path, 1)
    with pytest.raises(UserError, match=r"data\.on_error=ignore .* raise or skip"):
        readable_subset(made.points, made.reader, "ignore")


def test_images_without_clicks_need_no_file(tmp_path):
    made = training_set(tmp_path, 2)
    (made.images / "part/1.png").unlink()
    points = replace(made.points, points=[made.points.points[0], points_of([], [])])
    left, skipped = readable_subset(points, made.reader, "raise")
    assert (len(left.images), skipped) == (2, [])


def test_the_annotated_size_must_be_the_images(tmp_path):
    made = training_set(tmp_path, 1)
    Image.new("RGB", (48, 41)).save(made.images / "part/0.png")
    with pytest.raises(UserError, match=r"part/0\.png is 48x41 but its annotation says 48x40"):
        made.reader.image(made.points.images[0])
