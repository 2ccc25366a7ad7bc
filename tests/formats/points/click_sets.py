"""Small folders of images and files of clicks as their tools write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from p2seg.data.points import PointSet
from p2seg.formats.points import FORMATS, Images, Reading, Report, Rules, Writing, gather

SIZE = (60, 40)
"""(width, height) of every picture."""


def pictures(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE).save(path)
    return folder


def turned_picture(path: Path) -> Path:
    """40 wide and 60 high as every tool shows it; its pixels lie on their side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", SIZE)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(path, exif=exif)
    return path


def dumped(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def taken(
    name: str, source: Path, images: Path, reading: Reading | None = None, **rules: Any
) -> tuple[PointSet, Report]:
    """What an import gives."""
    found = FORMATS[name].read(source, reading or Reading())
    return gather(found, Images(images), Rules(**{"edges": FORMATS[name].edges, **rules}))


def clicks(points: PointSet) -> dict[str, list[tuple[str, float, float]]]:
    """By image the (class, x, y) of its points, to two decimals."""
    names = [category.name for category in points.categories]
    return {
        image.file_name: [
            (names[label - 1], round(x, 2), round(y, 2))
            for label, (y, x) in zip(each.labels.tolist(), each.yx.tolist(), strict=True)
        ]
        for image, each in zip(points.images, points.points, strict=True)
    }


def written(name: str, points: PointSet, images: Path, out: Path, **more: str) -> Path:
    writer = FORMATS[name].write
    assert writer is not None
    out = out / f"clicks{FORMATS[name].ending}"
    writer(Writing(points, images, out, **more))
    return out


def labelme(image: str, *shapes: dict[str, Any], size: tuple[int, int] = SIZE) -> dict[str, Any]:
    """The content of a LabelMe file, as LabelMe 5 saves it."""
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": [
            {"group_id": None, "description": "", "flags": {}, "mask": None, **each}
            for each in shapes
        ],
        "imagePath": image,
        "imageData": None,
        "imageHeight": size[1],
        "imageWidth": size[0],
    }


def shape(label: str, kind: str, *points: list[float], **more: Any) -> dict[str, Any]:
    return {"label": label, "shape_type": kind, "points": list(points), **more}


def cvat(*images: str, labels: tuple[str, ...] = ("dog", "cat")) -> str:
    """An XML as CVAT 2 exports a task."""
    listed = "".join(
        f"<label><name>{label}</name><color>#fa3253</color><type>any</type>"
        "<attributes></attributes></label>"
        for label in labels
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'
        "  <meta><task><id>12</id><name>berries</name><size>2</size><mode>annotation</mode>"
        f"<labels>{listed}</labels><segments><segment><id>1</id></segment></segments>"
        "</task><dumped>2025-01-01 10:00:00</dumped></meta>\n"
        + "\n".join(images)
        + "</annotations>"
    )


def frame(name: str, *shapes: str, size: tuple[int, int] = SIZE) -> str:
    return (
        f'<image id="0" name="{name}" subset="default" task_id="12" width="{size[0]}" '
        f'height="{size[1]}">{"".join(shapes)}</image>'
    )


def drawn(kind: str, label: str, more: str) -> str:
    return f'<{kind} label="{label}" source="manual" occluded="0" {more} z_order="0"></{kind}>'


def task(image: str, *results: dict[str, Any], id: int = 1) -> dict[str, Any]:
    """A task as Label Studio exports it."""
    return {
        "id": id,
        "annotations": [
            {
                "id": id,
                "completed_by": 1,
                "result": list(results),
                "was_cancelled": False,
                "ground_truth": False,
                "lead_time": 4.2,
            }
        ],
        "file_upload": image.rpartition("/")[2],
        "drafts": [],
        "predictions": [],
        "data": {"image": image},
        "meta": {},
        "inner_id": id,
    }


def region(kind: str, label: str, **value: Any) -> dict[str, Any]:
    return {
        "original_width": SIZE[0],
        "original_height": SIZE[1],
        "image_rotation": 0,
        "value": {**value, kind: [label]},
        "id": f"{label}{len(value)}",
        "from_name": "label",
        "to_name": "image",
        "type": kind,
        "origin": "manual",
    }


def via(*images: tuple[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """A project as VIA 2.0.12 saves it."""
    return {
        "_via_settings": {"project": {"name": "p"}},
        "_via_img_metadata": {
            f"{name}{9000 + k}": {
                "filename": name,
                "size": 9000 + k,
                "regions": regions,
                "file_attributes": {},
            }
            for k, (name, regions) in enumerate(images)
        },
        "_via_attributes": {"region": {"label": {"type": "text"}}, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": [],
    }


def via_region(label: Any, name: str, **shape: Any) -> dict[str, Any]:
    return {"shape_attributes": {"name": name, **shape}, "region_attributes": {"label": label}}


def coco(annotations: list[dict[str, Any]], *files: str) -> dict[str, Any]:
    return {
        "images": [
            {"id": 10 + k, "file_name": name, "width": SIZE[0], "height": SIZE[1]}
            for k, name in enumerate(files)
        ],
        "categories": [
            {"id": 3, "name": "person", "keypoints": ["nose", "hip", "foot"], "skeleton": []},
            {"id": 8, "name": "cup"},
        ],
        "annotations": [
            {"id": 100 + k, "image_id": 10, "iscrowd": 0, "area": 1.0, **each}
            for k, each in enumerate(annotations)
        ],
    }
