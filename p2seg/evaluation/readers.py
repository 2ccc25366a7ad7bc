"""Reads a ground truth, and predictions in its order of images and classes."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import Any

from p2seg.data import rle as codec
from p2seg.data.coco import Category, ImageRecord, Instance, InstanceSet, read_instances
from p2seg.data.coco_variants import whole
from p2seg.data.schema import OTHER_ROOT, is_number, naming, shown
from p2seg.data.sets.voc import read_voc
from p2seg.errors import UserError
from p2seg.runtime.files import read_json

ONE_SPLIT = "give predictions of this ground truth's images and ids (p2seg predict gt=FILE)"


def read_ground_truth(path: Path, split: str) -> InstanceSet:
    """Reads a COCO instances file, or a split of a VOC year's folder.

    Args:
        path: the file, or the folder with the subfolder `SegmentationObject`.
        split: the split of a folder (`val`), unused for a file.

    Raises:
        UserError: the ground truth is unreadable, or has no image.
    """
    if path.is_dir():
        return read_voc(path, split)
    gt = read_instances(path, "ground-truth file", _below).rasterized()
    if not gt.images:
        raise UserError(f"{path} has no image; give a ground-truth file with images")
    return gt


def _below(name: str) -> str:
    """A relative path. A path of another machine loses its root."""
    parts = re.split(r"[\\/]", name)
    if not OTHER_ROOT.match(name) and not name.startswith("/") and ".." not in parts:
        return name
    return "/".join(part for part in parts if part not in ("", ".", "..") and part[-1] != ":")


def read_predictions(path: Path, gt: InstanceSet) -> InstanceSet:
    """Reads predictions for a ground truth: a COCO results list, or a COCO instances file.

    A results list contains `{image_id, category_id, segmentation, score}` with the ids of the
    ground truth. For the `predictions.json` of p2seg, `images.json` next to it defines the ids and
    has the provenance.

    Args:
        path: the file.
        gt: the ground truth.

    Returns:
        The predictions with the images and classes of `gt` (see `align`). A results list has no
        annotation ids, so its instances are numbered -1, -2, ...

    Raises:
        UserError: the file is unreadable, or is for other images or classes.
    """
    if not path.is_file():
        raise UserError(f"no predictions at {path}: give the path of an existing JSON file")
    if not _is_list(path):
        pred = read_instances(path, "predictions file")
        with naming(path):
            return align(gt, pred)
    results = read_json(path, "results list")
    images = path.with_name("images.json")
    is_ours = path.name == "predictions.json" and images.is_file()
    listed = read_instances(images, "list of images") if is_ours else replace(gt, info={})
    with naming(path):
        return align(gt, replace(listed, instances=_results(results, listed)))


def align(gt: InstanceSet, pred: InstanceSet) -> InstanceSet:
    """The predictions in the order of a ground truth's images and classes.

    Images are matched by id, classes by name. An image without an entry has no predictions.
    Crowds among the predictions are skipped.

    Args:
        gt: ground truth.
        pred: predictions, in any order of images and classes.

    Raises:
        UserError: `pred` has other classes, an image that is not in `gt`, or an image with another
            size or name under the same id.
    """
    label_of = _labels(gt.categories, pred.categories)
    images = {image.id: image for image in gt.images}
    instances: dict[int, list[Instance]] = {}
    for image, guesses in zip(pred.images, pred.instances, strict=True):
        if image.id not in images:
            raise UserError(
                f"image {image.id} ({image.file_name}) is in the predictions but not in the ground "
                f"truth; {ONE_SPLIT}"
            )
        _check_same(images[image.id], image)
        instances[image.id] = [
            replace(guess, label=label_of[guess.label]) for guess in guesses if not guess.crowd
        ]
    ordered = [instances.get(image.id, []) for image in gt.images]
    return replace(gt, instances=ordered, info=pred.info)


def _labels(truth: list[Category], predicted: list[Category]) -> dict[int, int]:
    """For each class of `predicted`, the class of the same name in `truth`."""
    names = _names(truth, "ground truth")
    predicted_names = _names(predicted, "predictions")
    for there, here, extra in (
        ("predictions", "ground truth", sorted(set(predicted_names) - set(names))),
        ("ground truth", "predictions", sorted(set(names) - set(predicted_names))),
    ):
        if extra:
            raise UserError(
                f"category {extra[0]} is in the {there} and not in the {here}; classes are matched "
                "by name, so give both files the same categories"
            )
    label_of = {name: label for label, name in enumerate(names, start=1)}
    return {label: label_of[name] for label, name in enumerate(predicted_names, start=1)}


def _names(categories: list[Category], where: str) -> list[str]:
    names = [category.name for category in categories]
    for name, count in Counter(names).items():
        if count > 1:
            raise UserError(f"two categories of the {where} are named {name}; names must differ")
    return names


def _check_same(truth: ImageRecord, predicted: ImageRecord) -> None:
    """Raises a `UserError` if an id stands for different images, as the scores would be wrong."""
    stems = [PureWindowsPath(image.file_name).stem for image in (truth, predicted)]
    sizes = [(image.width, image.height) for image in (truth, predicted)]
    if stems[0] != stems[1] or sizes[0] != sizes[1]:
        texts = [
            f"{image.file_name} of {image.width}x{image.height}" for image in (predicted, truth)
        ]
        raise UserError(
            f"image {truth.id} is {texts[0]} in the predictions and {texts[1]} in the ground "
            f"truth; {ONE_SPLIT}"
        )


def _results(results: list[Any], listed: InstanceSet) -> list[list[Instance]]:
    """The instances of a results list per image. `listed` defines the ids."""
    place_of = {image.id: place for place, image in enumerate(listed.images)}
    label_of = {category.id: label for label, category in enumerate(listed.categories, start=1)}
    instances: list[list[Instance]] = [[] for _ in listed.images]
    for number, item in enumerate(results, start=1):
        where = f"result {number} of {len(results)}"
        if not isinstance(item, dict):
            raise UserError(
                f"{where} is {shown(item)}; it must be an object with image_id, category_id, "
                "segmentation and score"
            )
        place = _known(item, "image_id", place_of, where)
        label = _known(item, "category_id", label_of, where)
        score: Any = item.get("score")
        if not is_number(score):
            raise UserError(f"{where} has score {shown(score)}; it must be a finite number")
        image = listed.images[place]
        try:
            rle = codec.from_segmentation(item.get("segmentation"), image.height, image.width)
        except ValueError as error:
            raise UserError(f"{where}, for image {image.file_name}, {error}") from error
        instances[place].append(Instance(id=-number, label=label, rle=rle, score=float(score)))
    return instances


def _known(item: dict[str, Any], key: str, known: dict[int, int], where: str) -> int:
    """The value in `known` for the id under `key`."""
    value = whole(item.get(key))
    if type(value) is not int or value not in known:
        raise UserError(
            f"{where} has {key} {shown(value)}, which is not in the ground truth; give results for "
            "its images and categories"
        )
    return known[value]


def is_results_list(path: Path) -> bool:
    """Whether a file of masks is a COCO results list, and not an instances file.

    Raises:
        UserError: the file does not exist.
    """
    if not path.is_file():
        raise UserError(f"no masks at {path}; give pred=FILE.json of gen_pseudo or predict")
    return _is_list(path)


def _is_list(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
