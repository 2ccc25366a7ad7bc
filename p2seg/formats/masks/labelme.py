"""Masks as LabelMe files: one JSON per image, which LabelMe opens with its image."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from p2seg.data.coco import ImageRecord
from p2seg.data.rle import decode
from p2seg.formats.masks.base import Format, Labeled, Source, click_of, write_picture
from p2seg.formats.masks.polygons import Part, parts_of
from p2seg.runtime.files import write_json, write_text

VERSION = "5.5.0"
"""LabelMe compares the first digit with its own version. Version 5 has descriptions and masks."""


class LabelMe(Format):
    """`PLACE.json`, which links the image by path, and `labels.txt`, the classes in order."""

    def _begin(self) -> None:
        names = [category.name for category in self.categories]
        write_text(self.folder / "labels.txt", "\n".join([*names, ""]))

    def _write(
        self, place: str, record: ImageRecord, source: Source, instances: Sequence[Labeled]
    ) -> None:
        file = self.folder / f"{place}.json"
        if isinstance(source, Path):
            # LabelMe resolves the path from the JSON's real folder, even behind symbolic links.
            image = os.path.relpath(source.absolute(), file.parent.resolve())
        else:
            image = f"{file.stem}.png"
            write_picture(file.with_name(image), source)
        names = [category.name for category in self.categories]
        document = labelme(
            record, Path(image).as_posix(), instances, names, points=self.options.points
        )
        write_json(file, document, indent=2)


def labelme(
    record: ImageRecord,
    image_path: str,
    instances: Sequence[Labeled],
    names: Sequence[str],
    *,
    points: bool = False,
) -> dict[str, Any]:
    """The content of an image's JSON.

    Each part of a mask is a polygon. LabelMe's polygons have no holes, so a part with holes is a
    shape of type `mask`. The parts and the click (type `point`) of one instance share a `group_id`.
    LabelMe shows the score in `description` and preserves it in `score`.

    Args:
        record: the image's record.
        image_path: path of the image from the JSON's folder.
        instances: in the order of the shapes.
        names: class k is `names[k - 1]`.
        points: also write the clicks.
    """
    shapes: list[dict[str, Any]] = []
    for number, instance in enumerate(instances, start=1):
        mask = decode(instance.rle)
        parts = parts_of(mask)
        score = round(instance.score, 4)
        click = click_of(instance, record) if points else None
        common: dict[str, Any] = {
            "group_id": number if len(parts) > 1 or click else None,
            "description": f"score {score}",
            "flags": {},
            "score": score,
        }
        geometries = [_geometry(part) for part in parts]
        if click is not None:
            geometries.append({"points": [[*click]], "shape_type": "point", "mask": None})
        label = names[instance.label - 1]
        shapes += [{"label": label, **geometry, **common} for geometry in geometries]
    return {
        "version": VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": record.height,
        "imageWidth": record.width,
    }


def _geometry(part: Part) -> dict[str, Any]:
    """A part as a polygon or, with holes, as a mask with the corner pixels of its bounding box."""
    if not part.holes:
        points = part.outline.astype(float).tolist()
        return {"points": points, "shape_type": "polygon", "mask": None}
    first, last = part.outline.min(0), part.outline.max(0) - 1
    inside = filled(part, (int(last[1]) + 1, int(last[0]) + 1))[first[1] :, first[0] :]
    png = cv2.imencode(".png", inside.astype(np.uint8))[1].tobytes()
    points = [first.astype(float).tolist(), last.astype(float).tolist()]
    return {"points": points, "shape_type": "mask", "mask": base64.b64encode(png).decode()}


def filled(part: Part, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask `[height, width]` of a part, rasterized by even-odd filling."""
    turns = np.zeros((size[0] + 1, size[1] + 1), np.int64)
    for ring in (part.outline, *part.holes):
        ends = np.roll(ring, -1, axis=0)
        for (x, y), (_, end) in zip(ring, ends, strict=True):
            low, high = sorted((int(y), int(end)))
            turns[low:high, int(x)] += 1  # each vertical side toggles the rows that it spans
    return np.asarray(turns.cumsum(1) % 2 == 1)[: size[0], : size[1]]
