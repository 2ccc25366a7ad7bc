"""A data set without faults, for tests that add one fault."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from p2seg.apps.validate.inspect import Inputs
from p2seg.data.coco import (
    Category,
    ImageRecord,
    Instance,
    InstanceSet,
    encode,
    write_instances,
)
from p2seg.data.labels import write_labels
from p2seg.data.points import PointSet, points_fingerprint, read_points, write_points
from p2seg.errors import UserError
from p2seg.semantic.manifest import Manifest, write_manifest
from p2seg.structures import Points

HEIGHT, WIDTH = 160, 240
SPOTS = [(y, x) for y in (40.0, 120.0) for x in (60.0, 120.0, 180.0)]


@dataclass(frozen=True)
class Clean:
    """The paths of the set."""

    root: Path

    def __getattr__(self, name: str) -> Path:
        return (
            self.root
            / {
                "images": "images",
                "points": "points.json",
                "semantic": "semantic",
                "gt": "gt.json",
                "pseudo": "pseudo.json",
                "val_images": "val",
                "val_gt": "val.json",
            }[name]
        )

    @property
    def inputs(self) -> Inputs:
        keys = ("images", "points", "semantic", "gt", "pseudo", "val_images", "val_gt")
        return Inputs(**{key: getattr(self, key) for key in keys})

    @property
    def words(self) -> list[str]:
        keys = ("images", "points", "semantic", "gt", "val_images", "val_gt")
        places = [f"data.{key}={getattr(self, key)}" for key in keys]
        return ["data=custom", *places, f"pseudo={self.pseudo}"]

    def image(self, k: int) -> Path:
        return self.images / f"part/{k}.png"

    def edit(self, change, file: str = "points") -> None:
        """Changes a JSON file; the manifest follows a change of the points."""
        path = getattr(self, file)
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))
        if file == "points":
            manifest = self.semantic / "manifest.json"
            content = json.loads(manifest.read_text())
            with suppress(UserError):  # a faulty one has none
                content["points_sha256"] = points_fingerprint(read_points(path))
            content["classes"] = _names(document["categories"])
            manifest.write_text(json.dumps(content))


def _names(categories):
    """Returns the names of the valid entries by id."""
    known = {
        each["id"]: each["name"] for each in categories if isinstance(each, dict) and "name" in each
    }
    return [known[id] for id in sorted(known)]


def picture(seed: int, size=(HEIGHT, WIDTH)) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    return Image.fromarray(values)


def clean_set(root: Path, count: int = 5) -> Clean:
    """Writes images with six points each, maps, masks, pseudo masks, and a validation image."""
    made = Clean(root)
    records, groups, masks = [], [], []
    for k in range(count):
        made.image(k).parent.mkdir(parents=True, exist_ok=True)
        picture(k).save(made.image(k))
        record = ImageRecord(10 + k, f"part/{k}.png", HEIGHT, WIDTH)
        labels = [1, 2, 1, 2, 1, 2]
        ids = [6 * k + number for number in range(1, 7)]
        own, semantic = [], np.zeros((HEIGHT, WIDTH), np.uint8)
        for (y, x), label, id in zip(SPOTS, labels, ids, strict=True):
            mask = np.zeros((HEIGHT, WIDTH), bool)
            mask[int(y) - 8 : int(y) + 9, int(x) - 8 : int(x) + 9] = True
            semantic[mask] = label
            own.append(Instance(id, label, encode(mask), point=(y, x)))
        write_labels(made.semantic / f"part/{k}.png", semantic)
        records.append(record)
        masks.append(own)
        groups.append(Points(torch.tensor(SPOTS), torch.tensor(labels), torch.tensor(ids)))
    categories = [Category(7, "red"), Category(9, "blue")]
    write_points(made.points, PointSet(records, categories, groups))
    for path in (made.gt, made.pseudo):
        write_instances(path, InstanceSet(records, categories, masks))
    made.val_images.mkdir()
    picture(99).save(made.val_images / "v.png")
    held = InstanceSet([ImageRecord(1, "v.png", HEIGHT, WIDTH)], categories, [[]])
    write_instances(made.val_gt, held)
    manifest = Manifest(
        "grabcut", {}, ["red", "blue"], points_fingerprint(read_points(made.points)), {}
    )
    write_manifest(made.semantic, manifest)
    return made
