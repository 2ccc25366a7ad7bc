"""VOC's and SBD's folders as instance sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import voc_sets
from PIL import Image

from p2seg.data.coco import Category, ImageRecord, decode
from p2seg.data.labels import write_labels
from p2seg.data.sets.voc import CLASSES, find_sbd, find_voc, read_list, read_trainaug, read_voc
from p2seg.errors import UserError


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """VOC 2012 in miniature."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    voc_sets.write_voc(root)
    return root


def test_a_split_is_read(voc: Path) -> None:
    read = read_voc(voc, "train")
    assert read.images == [
        ImageRecord(1, "2007_000001.jpg", 10, 14),
        ImageRecord(2, "2007_000002.jpg", 10, 14),
    ]
    assert read.categories[14] == Category(15, "person")
    assert len(read.categories) == 20
    assert [[(i.id, i.label) for i in group] for group in read.instances] == [
        [(1, 15), (2, 15)],
        [(3, 20), (4, 1)],
    ]
    objects, _ = voc_sets.two_objects(15, 15)
    for instance, index in zip(read.instances[0], (1, 3), strict=True):
        np.testing.assert_array_equal(decode(instance), objects == index)
        assert not instance.crowd
    assert (read.info["dataset"], read.info["split"]) == ("VOC2012", "train")


def test_the_class_is_the_smallest_inside_without_void(voc: Path) -> None:
    objects, semantic = voc_sets.two_objects(15, 9)
    semantic[2, 1:4] = 255
    semantic[3, 1] = 4
    semantic[2, 8] = 0
    voc_sets.write_image(voc, "2007_000003", objects, semantic)
    assert [i.label for i in read_voc(voc, "val").instances[0]] == [4, 9]


def test_other_classes_and_an_image_without_objects(tmp_path: Path) -> None:
    voc_sets.write_image(tmp_path, "a b", *voc_sets.two_objects(2, 1))
    voc_sets.write_image(tmp_path, "none", *np.zeros((2, 3, 4), np.uint8))
    voc_sets.write_split(tmp_path, "all", ["a b", "none"])
    read = read_voc(tmp_path, "all", ["fruit", "leaf"])
    assert [category.name for category in read.categories] == ["fruit", "leaf"]
    assert [[i.label for i in group] for group in read.instances] == [[2, 1], []]
    assert read.images[1] == ImageRecord(2, "none.jpg", 3, 4)


def test_the_folder_is_found(voc: Path, tmp_path: Path) -> None:
    assert find_voc(tmp_path) == find_voc(voc.parent) == find_voc(voc) == voc
    assert find_voc(tmp_path, 2012) == voc
    with pytest.raises(UserError, match="no VOC2007/ImageSets/Segmentation in"):
        find_voc(tmp_path, 2007)
    voc_sets.write_voc(voc.parent / "VOC2007")
    with pytest.raises(UserError, match="contains VOC2007, VOC2012"):
        find_voc(tmp_path)
    with pytest.raises(UserError, match="no VOC20xx/ImageSets/Segmentation in"):
        find_voc(tmp_path / "none")


def test_progress_is_told(voc: Path) -> None:
    seen: list[str] = []

    def progress(names: list[str]) -> list[str]:
        seen.extend(names)
        return names

    read_voc(voc, "train", CLASSES, progress)
    assert seen == ["2007_000001", "2007_000002"]


def test_trainaug_prefers_vocs_masks_and_leaves_val_out(voc: Path, tmp_path: Path) -> None:
    sbd = tmp_path / "benchmark_RELEASE" / "dataset"
    voc_sets.write_sbd(sbd, voc)
    read = read_trainaug(voc, tmp_path)
    assert [image.file_name for image in read.images] == [
        "2007_000001.jpg", "2007_000002.jpg", "2008_000004.jpg", "2008_000005.jpg",
    ]  # fmt: skip
    assert [[i.label for i in g] for g in read.instances] == [[15, 15], [20, 1], [2, 19], [2, 19]]
    assert [i.id for group in read.instances for i in group] == list(range(1, 9))
    assert decode(read.instances[2][1])[6:].all()
    assert decode(read.instances[2][1]).sum() == 4 * 14
    assert find_sbd(sbd) == find_sbd(sbd.parent) == sbd
    with pytest.raises(UserError, match="no folder inst in"):
        find_sbd(voc)


def test_broken_masks_of_sbd_are_refused(voc: Path, tmp_path: Path) -> None:
    voc_sets.write_sbd(tmp_path, voc)
    voc_sets.write_mat(tmp_path, "2008_000004", np.full((10, 14), 3), [1, 2])
    with pytest.raises(UserError, match=r"2008_000004.mat has objects without a class of 1..20"):
        read_trainaug(voc, tmp_path)
    voc_sets.write_mat(tmp_path, "2008_000004", np.ones((10, 14)), [21])
    with pytest.raises(UserError, match=r"objects without a class of 1..20"):
        read_trainaug(voc, tmp_path)
    good = (tmp_path / "inst" / "2008_000005.mat").read_bytes()
    for junk in (b"", b"junk" * 99, good[:200], good[:-1], good[:180] + b"junk" + good[184:]):
        (tmp_path / "inst" / "2008_000004.mat").write_bytes(junk)
        with pytest.raises(UserError, match=r"2008_000004.mat is not a readable .mat file of SBD"):
            read_trainaug(voc, tmp_path)
    (tmp_path / "inst" / "2008_000004.mat").unlink()
    with pytest.raises(UserError, match="no masks at"):
        read_trainaug(voc, tmp_path)


def test_broken_folders_are_refused(voc: Path) -> None:
    with pytest.raises(UserError, match=r"no list of images at .*test.txt; choose from train, val"):
        read_voc(voc, "test")
    objects, semantic = voc_sets.two_objects(8, 12)
    write_labels(voc / "SegmentationClass" / "2007_000003.png", semantic[:, :9])
    with pytest.raises(UserError, match=r"differ in size: SegmentationObject 14x10, .* 9x10"):
        read_voc(voc, "val")
    write_labels(voc / "SegmentationClass" / "2007_000003.png", semantic * (objects == 1))
    with pytest.raises(UserError, match=r"object 3 of .*2007_000003.png has class none"):
        read_voc(voc, "val")
    write_labels(voc / "SegmentationClass" / "2007_000003.png", np.where(objects == 1, 8, 255))
    with pytest.raises(UserError, match=r"object 3 of .*2007_000003.png has class none"):
        read_voc(voc, "val")
    write_labels(voc / "SegmentationClass" / "2007_000003.png", semantic + 9)
    with pytest.raises(UserError, match=r"has class 21 in SegmentationClass; classes are 1..20"):
        read_voc(voc, "val")
    Image.new("RGB", (14, 10)).save(voc / "SegmentationClass" / "2007_000003.png")
    with pytest.raises(UserError, match="color mode RGB"):
        read_voc(voc, "val")
    (voc / "JPEGImages" / "2007_000001.jpg").unlink()
    with pytest.raises(UserError, match=r"no image 2007_000001.jpg in"):
        read_voc(voc, "train")


def test_broken_lists_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    for content, sentence in [
        (b"\n \n", "lists no images"),
        (b"a\nb\na\n", "lists a twice"),
        (b"../a\n", "lists ../a, which leaves the image folder"),
        (b"/a\n", "lists /a, which leaves the image folder"),
        (b"\xff\xfe\x00", "is not a readable list of image ids"),
    ]:
        path.write_bytes(content)
        with pytest.raises(UserError, match=sentence):
            read_list(path)
    path.write_bytes(b"\xef\xbb\xbf a \r\n\r\nb")
    assert read_list(path) == ["a", "b"]


@pytest.mark.realdata
def test_real_voc_has_every_instance_of_its_masks(realdata: Path) -> None:
    root = realdata / "VOCdevkit" / "VOC2007"
    read = read_voc(root, "trainval")
    assert len(read.images) == 44
    count = 0
    for image, group in zip(read.images, read.instances, strict=True):
        name = Path(image.file_name).stem
        with Image.open(root / "SegmentationObject" / f"{name}.png") as png:
            objects = np.asarray(png)
        with Image.open(root / "SegmentationClass" / f"{name}.png") as png:
            semantic = np.asarray(png)
        with Image.open(root / "JPEGImages" / image.file_name) as picture:
            assert picture.size == (image.width, image.height)
        assert len(group) == len(set(objects.reshape(-1).tolist()) - {0, 255})
        for instance in group:
            classes = set(semantic[decode(instance)].tolist()) - {255}
            assert instance.label == min(classes)
        count += len(group)
    assert count == 115
    assert {i.label for group in read.instances for i in group} == set(range(1, 21))
