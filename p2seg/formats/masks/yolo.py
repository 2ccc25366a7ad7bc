"""Masks as a YOLO segmentation data set: `data.yaml`, `images/` and `labels/`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from p2seg.data.coco import Category, ImageRecord
from p2seg.data.rle import decode
from p2seg.formats.masks.base import (
    Entry,
    Format,
    Labeled,
    Source,
    validation_names,
    write_picture,
)
from p2seg.formats.masks.polygons import joined, parts_of
from p2seg.runtime.files import write_text
from p2seg.runtime.links import write_link

_IMAGES = re.compile("images_*", re.IGNORECASE)


class Yolo(Format):
    """`labels/PLACE.txt`, a link to the image in `images/`, and one `data.yaml`.

    YOLO finds labels by replacing the last `/images/` of the image path with `/labels/`. A
    subfolder called `images` therefore gets a `_`. An image without instances has an empty label
    file, which YOLO reads as background. Scores are not written.
    """

    whole = True

    def _begin(self) -> None:
        split = self.options.val > 0
        sets = ("train.txt", "val.txt") if split else ("images", "images")
        write_text(self.folder / "data.yaml", data_yaml(self.categories, *sets))

    def finish(self, entries_of: Callable[[], Iterable[Entry]]) -> None:  # noqa: ARG002
        """With a validation share, writes the lists of images that `data.yaml` names."""
        if not self.options.val:
            return
        images = self.folder / "images"
        files = sorted(each for each in images.rglob("*") if not each.is_dir())
        names = [each.relative_to(self.folder).as_posix() for each in files]
        chosen = validation_names(names, self.options.val)
        for name, is_val in (("train", False), ("val", True)):
            own = [f"./{each}\n" for each in names if (each in chosen) == is_val]
            write_text(self.folder / f"{name}.txt", "".join(own))

    def _write(
        self, place: str, record: ImageRecord, source: Source, instances: Sequence[Labeled]
    ) -> None:
        place, images = yolo_place(place), self.folder / "images"
        if isinstance(source, Path):
            write_link(images / f"{place}{source.suffix}", source)
        else:
            write_picture(images / f"{place}.png", source)
        lines = [yolo_line(instance, record) for instance in instances]
        write_text(self.folder / "labels" / f"{place}.txt", "".join(f"{line}\n" for line in lines))


def yolo_place(place: str) -> str:
    """The place without folders called `images`: train/images/a becomes train/images_/a.

    Folders called `images_` get one more `_`, so that places stay unique.
    """
    *folders, name = place.split("/")
    return "/".join([*(f"{each}_" if _IMAGES.fullmatch(each) else each for each in folders), name])


def data_yaml(categories: Sequence[Category], train: str = "images", val: str = "images") -> str:
    """The content of `data.yaml`: relative paths of the images, and the classes from 0.

    Args:
        categories: class index k of YOLO is `categories[k]`.
        train: folder or list of the training images.
        val: folder or list of the validation images.
    """
    names = (f"  {index}: {_quoted(each.name)}" for index, each in enumerate(categories))
    return "\n".join([f"train: {train}", f"val: {val}", "names:", *names]) + "\n"


def _quoted(name: str) -> str:
    """A name in YAML's double quotes: as in JSON, with unprintable characters escaped."""
    text = json.dumps(name, ensure_ascii=False)
    return "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in text)


def yolo_line(instance: Labeled, record: ImageRecord) -> str:
    """An instance as a YOLO line: class index from 0, then x y of one polygon in 0..1.

    A YOLO line holds one polygon without holes. Holes are filled and parts are joined.
    """
    polygon = joined([part.outline for part in parts_of(decode(instance.rle))])
    scaled = (polygon / (record.width, record.height)).ravel()
    return " ".join([str(instance.label - 1), *(f"{value:.6f}" for value in scaled)])
