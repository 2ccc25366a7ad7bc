"""Checks whether images are in both training and validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from p2seg.apps.validate.findings import Findings
from p2seg.apps.validate.images import ImageFile, same_bytes
from p2seg.data.coco import read_instances
from p2seg.data.records import ImageRecord
from p2seg.errors import UserError


def held_images(val_images: Path, val_gt: Path, findings: Findings) -> list[Path]:
    """Returns the image files of validation.

    Args:
        val_images: folder of the validation images.
        val_gt: instances file of validation.
        findings: receives the problem if the file cannot be read.
    """
    try:
        images = read_instances(val_gt, "validation instances file").images
    except UserError as error:
        findings.add("gt.refused", str(error))
        return []
    return [val_images / each.file_name for each in images]


def check_split(
    images: Path,
    records: Sequence[ImageRecord],
    files: Sequence[ImageFile],
    held: Sequence[Path],
    findings: Findings,
) -> None:
    """Compares the images of training and validation by path and by content.

    Args:
        images: folder of the training images.
        records: the training images.
        files: the properties of their files.
        held: the result of `held_images`.
        findings: receives the problems.
    """
    names = {(images / each.file_name).resolve(): each.file_name for each in records}
    others = []
    for path in held:
        name = names.get(path.resolve())
        if name is not None:
            findings.add("split.same_file", name, name)
        elif path.is_file():
            others.append((path, ImageFile(bytes=path.stat().st_size)))
    own = [(images / r.file_name, s) for r, s in zip(records, files, strict=True)]
    for group in same_bytes([*own, *others]):
        train = [place for place in group if place < len(own)]
        if train and len(train) < len(group):
            name = records[train[0]].file_name
            other = others[group[-1] - len(own)][0].name
            findings.add("split.same_bytes", f"{name} = {other} of validation", name)
