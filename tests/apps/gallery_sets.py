"""A small gallery with known results."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from p2seg.data.labels import write_labels
from p2seg.data.rle import encode

HOSTILE = "<img src=x onerror=alert(1)> \"'&`${1}.png"
"""A file name and class name that would run a script if they were used as HTML."""


@dataclass(frozen=True)
class Made:
    """The paths of the files."""

    images: Path
    pred: Path
    gt: Path
    semantic: Path

    @property
    def words(self) -> list[str]:
        return [f"pred={self.pred}", f"images={self.images}"]


def gallery_set(root: Path) -> Made:
    """Three images of 60 x 80 pixels, the second's name hostile.

    Image 4: masks 1 and 2 of class `cell` side by side, and 3, a default box of the hostile class.
    Image 5: mask 8, a ring of class `cell` whose click is in its hole. Image 6 has no mask.
    True masks are one pixel larger to the right, so that larger masks have larger IoUs.
    """
    images = root / "images"
    images.mkdir(parents=True)
    names = {4: "a.png", 5: HOSTILE, 6: "c.png"}
    rng = np.random.default_rng(0)
    for name in names.values():
        Image.fromarray(rng.integers(40, 90, (60, 80, 3), dtype=np.uint8)).save(images / name)
    ring = box(8, 40, 40, 24)
    ring[16:24, 48:56] = False
    masks = {
        1: (4, 2, box(10, 10, 20, 15), 0.9, (17, 20), False),
        2: (4, 2, box(10, 25, 20, 15), 0.8, (32, 20), False),
        3: (4, 5, box(40, 50, 8, 8), 0.5, (54, 44), True),
        8: (5, 2, ring, 0.3, (52, 20), False),
    }
    categories = [{"id": 2, "name": "cell"}, {"id": 5, "name": HOSTILE}]
    records = [{"id": k, "file_name": n, "width": 80, "height": 60} for k, n in names.items()]
    pred = [
        {
            **annotation(id, image, category, mask),
            "score": score,
            "point": list(point),
            "default_box": default,
        }
        for id, (image, category, mask, score, point, default) in masks.items()
    ]
    true = [
        annotation(id, image, category, mask | np.roll(mask, 1, 1))
        for id, (image, category, mask, *_) in masks.items()
    ]
    for name, listed in (("masks", pred), ("gt", true)):
        content = {"images": records, "annotations": listed, "categories": categories}
        (root / f"{name}.json").write_text(json.dumps(content))
    for image, name in names.items():
        semantic = np.zeros((60, 80), np.uint8)
        for own, category, mask, *_ in masks.values():
            if own == image:
                semantic[mask] = 1 if category == 2 else 2
        semantic[50:55, 5:70] = 255
        write_labels((root / "semantic" / name).with_suffix(".png"), semantic)
    return Made(images, root / "masks.json", root / "gt.json", root / "semantic")


def box(top: int, left: int, height: int, width: int) -> np.ndarray:
    """Returns a rectangle, `[60, 80]` bool."""
    mask = np.zeros((60, 80), dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


def annotation(id: int, image: int, category: int, mask: np.ndarray) -> dict[str, object]:
    """Returns an annotation in COCO's format."""
    rle = encode(mask)
    return {
        "id": id,
        "image_id": image,
        "category_id": category,
        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
        "iscrowd": 0,
    }
