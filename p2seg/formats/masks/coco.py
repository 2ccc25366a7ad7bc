"""COCO's instances file, which FiftyOne and most trainers read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import count

from p2seg.data.coco import Instance, InstanceSet, write_instances
from p2seg.data.instances import PackedInstances
from p2seg.data.records import PackedImages
from p2seg.formats.masks.base import Entry, SetFormat, validation_names


class Coco(SetFormat):
    """`instances.json`: COCO ground truth with `score`, and `point` for instances with a click.

    With a validation share, the files are `instances_train.json` and `instances_val.json`.

    Annotations that have ids, such as pseudo masks, keep them. Others are numbered from 1.
    """

    def finish(self, entries_of: Callable[[], Iterable[Entry]]) -> None:
        images = PackedImages([entry.record for entry in entries_of()])
        instances = PackedInstances.packed(_numbered(entries_of()), images.sides)
        info = dict(self.options.info)
        content = InstanceSet(images, list(self.categories), instances, info)
        if not self.options.val:
            write_instances(self.folder / "instances.json", content)
            return
        chosen = validation_names((each.file_name for each in images), self.options.val)
        for name, is_val in (("train", False), ("val", True)):
            own = [k for k, each in enumerate(images) if (each.file_name in chosen) == is_val]
            write_instances(self.folder / f"instances_{name}.json", content.subset(own))


def _numbered(entries: Iterable[Entry]) -> Iterator[list[Instance]]:
    """The instances of each image, each with an id."""
    numbers = count(1)
    for entry in entries:
        yield [
            each
            if isinstance(each, Instance) and each.id >= 0
            else Instance(next(numbers), each.label, each.rle, score=each.score)
            for each in entry.instances
        ]
