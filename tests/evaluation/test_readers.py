"""Ground truth and predictions from files, and the sentence each mistake gets."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from evaluation_sets import bits, instance, instance_set, write_voc

from p2seg.data.coco import write_instances
from p2seg.errors import UserError
from p2seg.evaluation.readers import align, read_ground_truth, read_predictions

GT = instance_set(
    [instance(1, "1100", 1), instance(2, "0011", 2)],
    [instance(3, "1111", 3)],
    info={"split": "tiny"},
)


def result(**changes):
    counts = instance(1, "1100").rle["counts"].decode()
    segmentation = {"size": [2, 2], "counts": counts}
    made = {"image_id": 1, "category_id": 10, "segmentation": segmentation, "score": 0.5} | changes
    return {key: value for key, value in made.items() if value is not None}


def written(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_results_list(tmp_path):
    uncompressed = {"size": [2, 2], "counts": [1, 3]}
    path = written(
        tmp_path / "results.json",
        [
            result(image_id=2, category_id=30, score=1),
            result(score=0.25),
            result(category_id=20, segmentation=uncompressed),
        ],
    )
    pred = read_predictions(path, GT)
    assert pred.images == GT.images
    assert pred.categories == GT.categories
    assert [[(i.id, i.label, i.score) for i in group] for group in pred.instances] == [
        [(-2, 1, 0.25), (-3, 2, 0.5)],
        [(-1, 3, 1.0)],
    ]
    assert pred.instances[0][0].rle == instance(1, "1100").rle
    assert pred.instances[0][1].rle == instance(1, bits("0111")).rle
    assert pred.info == {}


def test_an_empty_results_list(tmp_path):
    assert read_predictions(written(tmp_path / "r.json", " []"), GT).instances == [[], []]


def listed(images, categories):
    """`images.json` as p2seg predict writes it beside its results."""
    return {
        "info": {"seed": 3},
        "images": [vars(image) for image in images],
        "annotations": [],
        "categories": [vars(category) for category in categories],
    }


def test_our_results_say_beside_them_what_their_ids_mean(tmp_path):
    path = written(tmp_path / "predictions.json", [result(category_id=7)])
    categories = [replace(GT.categories[1], id=7), GT.categories[0], GT.categories[2]]
    beside = written(tmp_path / "images.json", listed(GT.images[:1], categories))
    pred = read_predictions(path, GT)
    assert [(i.id, i.label) for group in pred.instances for i in group] == [(-1, 2)]
    assert pred.info == {"seed": 3}
    # ids that a folder's sorted files got, not those of the ground truth
    written(beside, listed([replace(GT.images[1], id=1)], categories))
    with pytest.raises(UserError, match=r"image 1 is 2\.jpg .* in the predictions and 1\.jpg"):
        read_predictions(path, GT)
    # another program's list of the same folder is read by the ids of the ground truth
    other = written(tmp_path / "results.json", [result()])
    assert read_predictions(other, GT).info == {}


def test_a_dataset_file(tmp_path):
    write_instances(tmp_path / "pseudo.json", replace(GT, info={"seed": 1}))
    assert read_predictions(tmp_path / "pseudo.json", GT) == replace(GT, info={"seed": 1})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is not a readable"),
        ("[", "is not a readable results list"),
        ({"results": []}, "it has no 'images'"),
        ([3], "result 1 of 1 is 3; it must be an object"),
        ([result(), result(image_id=9)], "result 2 of 2 has image_id 9"),
        ([result(image_id=None)], "result 1 of 1 has image_id None"),
        ([result(image_id=[1])], r"result 1 of 1 has image_id \[1\]"),
        ([result(category_id=11)], "result 1 of 1 has category_id 11"),
        ([result(score=None)], "result 1 of 1 has score None"),
        ([result(score=float("nan"))], "has score nan; it must be a finite number"),
        ([result(score="1")], "has score '1'"),
        ([result(segmentation=None)], "result 1 of 1, for image 1.jpg, "),
        ([result(segmentation={"size": [4, 1], "counts": "04"})], r"RLE of size \[4, 1\]"),
        ([result(segmentation={"size": [2, 2], "counts": "zzz"})], "RLE counts"),
    ],
)
def test_a_bad_file_gets_a_sentence_that_names_it(tmp_path, content, sentence):
    path = written(tmp_path / "results.json", content)
    with pytest.raises(UserError, match=sentence) as caught:
        read_predictions(path, GT)
    assert str(path) in str(caught.value)


def test_missing_files(tmp_path):
    with pytest.raises(UserError, match="no predictions at"):
        read_predictions(tmp_path / "no.json", GT)
    with pytest.raises(UserError, match="no ground-truth file at"):
        read_ground_truth(tmp_path / "no.json", "val")


def test_a_ground_truth_without_images(tmp_path):
    empty = {"images": [], "annotations": [], "categories": []}
    with pytest.raises(UserError, match="has no image"):
        read_ground_truth(written(tmp_path / "gt.json", empty), "val")


def test_images_and_classes_may_come_in_any_order():
    swapped = replace(
        GT,
        images=GT.images[::-1],
        instances=[[instance(3, "1111", 1)], [instance(1, "1100", 3), instance(2, "0011", 2)]],
        categories=GT.categories[::-1],
        info={"seed": 1},
    )
    assert align(GT, swapped) == replace(GT, info={"seed": 1})


def test_an_image_may_be_missing_and_a_crowd_is_no_prediction():
    pred = replace(GT, images=GT.images[1:], instances=[[instance(4, "1111", crowd=True)]])
    assert align(GT, pred).instances == [[], []]


def other_image(**changes):
    return replace(GT, images=[replace(GT.images[0], **changes), GT.images[1]])


def other_names(*names):
    return replace(
        GT, categories=[replace(c, name=n) for c, n in zip(GT.categories, names, strict=False)]
    )


@pytest.mark.parametrize(
    ("pred", "sentence"),
    [
        (other_image(id=5), "image 5 .*is in the predictions but not in the ground"),
        (other_image(file_name="7.jpg"), "image 1 is 7.jpg of 2x2 in the predictions and 1.jpg"),
        (other_image(height=3), "image 1 is 1.jpg of 2x3 in the predictions and 1.jpg of 2x2"),
        (other_names("cat", "cow", "hen"), "category hen is in the predictions and not in"),
        (other_names("cat", "cow"), "category dog is in the ground truth and not in"),
        (other_names("cat", "cow", "cow"), "two categories of the predictions are named cow"),
    ],
)
def test_what_does_not_belong_together_is_refused(pred, sentence):
    with pytest.raises(UserError, match=sentence):
        align(GT, pred)


def test_the_folder_and_the_ending_of_an_image_may_differ():
    pred = other_image(file_name="JPEGImages/1.png")
    assert align(GT, pred).images == GT.images


def test_a_voc_folder(tmp_path):
    gt = read_ground_truth(write_voc(tmp_path), "val")
    assert [len(group) for group in gt.instances] == [1]
    assert gt.instances[0][0].label == 2
    with pytest.raises(UserError, match=r"no list of images at .*train\.txt"):
        read_ground_truth(tmp_path, "train")
