"""A contact sheet of masks, counts per image and class, and the masks to check first."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from p2seg.apps.gallery.measures import Tight, measures_of, medians, suspicion
from p2seg.apps.report.pictures import brighten, draw_instances, fit
from p2seg.data.coco import InstanceSet, decode
from p2seg.data.images import read_image
from p2seg.runtime.files import write_bytes, write_text

SHEET_IMAGES, SIDE = 24, 320
"""Largest number of photographs on a contact sheet, and the length of their long side in pixels."""
CAPTION = 18
"""Height in pixels of the name below a photograph."""
UNSURE = 0.5
"""Masks of at least this suspicion should be checked first."""


def write_lists(masks: InstanceSet, photos: Path, out: Path) -> int:
    """Writes `contact_sheet.png`, `counts.csv` and `check_first.csv`.

    Args:
        masks: masks of the photographs.
        photos: folder of the photographs.
        out: folder for the three files.

    Returns:
        The number of masks to check first.
    """
    kept = [[each for each in own if not each.crowd] for own in masks.instances]
    masks = replace(masks, instances=kept)  # without rejected masks
    _write_counts(masks, out / "counts.csv")
    _write_sheet(masks, photos, out / "contact_sheet.png")
    rows = _suspicious(masks)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["suspicion", "image", "class", "mask", "x", "y", "reasons"])
    writer.writerows(rows)
    write_text(out / "check_first.csv", text.getvalue())
    return sum(float(row[0]) >= UNSURE for row in rows)


def _write_counts(masks: InstanceSet, path: Path) -> None:
    names = [each.name for each in masks.categories]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *names, "all"])
    total: Counter[int] = Counter()
    for record, own in zip(masks.images, masks.instances, strict=True):
        count = Counter(each.label for each in own)
        total += count
        writer.writerow([record.file_name, *(count[k + 1] for k in range(len(names))), len(own)])
    writer.writerow(["all", *(total[k + 1] for k in range(len(names))), total.total()])
    write_text(path, text.getvalue())


def _suspicious(masks: InstanceSet) -> list[list[str]]:
    """The rows of `check_first.csv`, sorted by suspicion, highest first."""
    sizes = medians(masks)
    rows = []
    for record, group in zip(masks.images, masks.instances, strict=True):
        own = list(group)
        measures = measures_of(own, [Tight.of(each) for each in own])
        for each, found in zip(own, measures, strict=True):
            total, reasons = suspicion(found, each.score, each.default_box, sizes.get(each.label))
            y, x = each.point or (math.nan, math.nan)
            text = "; ".join(sorted(reasons, key=lambda name: -reasons[name]))
            name = masks.categories[each.label - 1].name
            rows.append((total, [record.file_name, name, str(each.id), f"{x:g}", f"{y:g}", text]))
    rows.sort(key=lambda row: -row[0])
    return [[f"{total:.3f}", *rest] for total, rest in rows]


def _with_name(cell: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    picture = Image.fromarray(cell)
    ImageDraw.Draw(picture).text((2, SIDE + 2), name[-50:], fill=(60, 60, 60))
    return np.asarray(picture)


def _write_sheet(masks: InstanceSet, photos: Path, path: Path) -> None:
    """Writes a sheet of photographs with masks, spread evenly over the set."""
    filled = [k for k, own in enumerate(masks.instances) if len(own)]
    step = max(1, math.ceil(len(filled) / SHEET_IMAGES))
    cells = []
    for k in filled[::step]:
        record = masks.images[k]
        image = read_image(photos / record.file_name, (record.height, record.width))
        drawn = draw_instances(
            fit(brighten(image), SIDE), [decode(each) for each in masks.instances[k]]
        )
        cell = np.full((SIDE + CAPTION, SIDE, 3), 255, np.uint8)
        cell[: drawn.shape[0], : drawn.shape[1]] = drawn
        cells.append(_with_name(cell, record.file_name))
    if not cells:
        return
    columns = min(len(cells), math.ceil(math.sqrt(len(cells) * 1.5)))
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    rows = [np.hstack(cells[k : k + columns]) for k in range(0, len(cells), columns)]
    _, data = cv2.imencode(".png", cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))
    write_bytes(path, data.tobytes())
