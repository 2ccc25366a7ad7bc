"""Writes the gallery's files per image and reuses files that are up to date.

The k-th image has `images/<k // 1000>/<k>.js` (masks and stages), `<k>.jpg` (the picture),
`<k>-small.jpg` (the thumbnail) and `<k>-0.jpg`, ... (sheets with one crop per mask). The script is
written last. Its first line is the fingerprint of everything that the four depend on.
"""

from __future__ import annotations

import json
import os
import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from p2seg.apps.gallery.inputs import Material
from p2seg.apps.gallery.measures import Tight, measures_of
from p2seg.apps.gallery.pictures import (
    codes_at,
    crop_of,
    jpeg,
    outline,
    sheets,
    shown,
    thumbnail,
)
from p2seg.apps.report.pictures import Picture
from p2seg.data.coco import ImageRecord, Instance
from p2seg.data.images import read_image
from p2seg.data.maps import map_path
from p2seg.errors import UserError, check_choice, when_skipped
from p2seg.runtime.content_fingerprint import stamp_of
from p2seg.runtime.files import fingerprint, write_bytes, write_text

FORM = 1
"""Version of the file contents; files of another version are written again."""
THREADS = 8
"""Most threads. Reading, resizing and encoding pictures releases Python's global lock."""


def script(call: str, content: Any) -> str:
    """Returns a script that passes data to the page as text; `JSON.parse` is faster than a literal.

    The script is pure ASCII, so no file name or class name can be run as code.
    """
    return f"P2SEG.{call}({json.dumps(json.dumps(content, separators=(',', ':')))});\n"


def content_of(text: str) -> Any:
    """Returns the data that a line of `script` passes."""
    return json.loads(json.loads(text[text.index("(") + 1 : text.rindex(")")]))


@dataclass
class Maker:
    """Writes the files of each image.

    Attributes:
        out: folder of the gallery.
        material: the masks, images and other inputs.
        settings: fingerprints of the settings and the checkpoint, on which the stages depend.
        skipped: one message per image that could not be used.
    """

    out: Path
    material: Material
    settings: str = ""
    skipped: list[str] = field(default_factory=list)

    def make(self, on_error: str) -> Iterator[None]:
        """Writes the missing files; yields after each image.

        Args:
            on_error: `raise`, or `skip` for images that cannot be used.

        Raises:
            UserError: `on_error` is invalid, or it is `raise` and an image cannot be used.
        """
        check_choice("data.on_error", on_error, ("raise", "skip"))
        stages = self.material.stages
        has_network = stages is not None and stages.labeler is not None  # it uses all cores
        workers = 2 if has_network else min(THREADS, max(2, os.cpu_count() or 1))
        count = len(self.material.pred.images)
        waiting: deque[Future[None]] = deque()
        todo = iter(range(count))
        with ThreadPoolExecutor(workers) as pool:
            try:
                for _ in range(count):
                    for place in todo:
                        waiting.append(pool.submit(self._one, place))
                        if len(waiting) > 2 * workers:
                            break
                    try:
                        waiting.popleft().result()
                    except UserError as error:
                        if on_error == "raise":
                            raise
                        self.skipped.append(when_skipped(error))
                    yield
            finally:
                for each in waiting:
                    each.cancel()

    def path(self, place: int) -> Path:
        """Returns the path of an image's script."""
        return self.out / "images" / f"{place // 1000:03d}" / f"{place:06d}.js"

    def card(self, place: int) -> dict[str, Any] | None:
        """Returns an image's data for the start of the page; None if the image was skipped."""
        path, key = self.path(place), self._key(place)
        head, _, rest = path.read_text().partition("\n") if path.is_file() else ("", "", "")
        if head != f"// {key}":
            return None
        card: dict[str, Any] = content_of(rest)["card"]
        return card

    def _one(self, place: int) -> None:
        key, path = self._key(place), self.path(place)
        if _begins(path, f"// {key}\n"):
            return
        record = self.material.pred.images[place]
        instances = list(self.material.pred.instances[place])
        image = read_image(self.material.images / record.file_name, (record.height, record.width))
        tights = [Tight.of(each) for each in instances]
        card, pictures = self._card(place, record, instances, tights, image)
        large = shown(image)
        for name, picture in {"": large, "-small": thumbnail(large), **pictures}.items():
            write_bytes(path.with_name(f"{path.stem}{name}.jpg"), jpeg(picture))
        size = large.shape[:2]
        content = {
            "size": [record.height, record.width],
            "final": [each.rle["counts"].decode("ascii") for each in instances],
            "stages": [*self._stages(place, image, size), *self._truth(place)],
            "card": card,
        }
        write_text(path, f"// {key}\n{script('image', content)}")

    def _card(
        self,
        place: int,
        record: ImageRecord,
        instances: list[Instance],
        tights: list[Tight],
        image: Picture,
    ) -> tuple[dict[str, Any], dict[str, Picture]]:
        """Returns an image's card with its masks, and the crop sheets by file name suffix."""
        size = record.height, record.width
        crops = [crop_of(t, each.point, size) for t, each in zip(tights, instances, strict=True)]
        ious: list[float | None] = [None] * len(instances)
        if self.material.truth is not None:
            ious, _ = self.material.truth.compared(place, instances)
        masks = [
            {
                "id": str(each.id),  # JavaScript numbers hold only 53 of the 64 bits
                "label": each.label,
                "score": round(each.score, 4),
                "area": measures.area,
                "default": int(each.default_box),
                "review": each.review,
                "point": None if each.point is None else [each.point[1], each.point[0]],
                "crop": [crop[1], crop[0], crop[2]],
                "path": outline(tight, crop),
                "touches": measures.touches,
                "contact": round(measures.contact, 4),
                "parts": round(measures.parts, 4),
                "holes": round(measures.holes, 4),
                "click": None if measures.click is None else round(measures.click, 4),
                "iou": None if iou is None else round(iou, 4),
            }
            for each, tight, crop, measures, iou in zip(
                instances, tights, crops, measures_of(instances, tights), ious, strict=True
            )
        ]
        large = shown(image)
        card = {
            "id": str(record.id),
            "name": record.file_name,
            "width": record.width,
            "height": record.height,
            "shown": [large.shape[1], large.shape[0]],
            "masks": masks,
        }
        return card, {f"-{k}": sheet for k, sheet in enumerate(sheets(image, crops))}

    def _stages(self, place: int, image: Picture, size: tuple[int, ...]) -> list[dict[str, Any]]:
        stages = self.material.stages
        if stages is None:
            return []
        record = self.material.pred.images[place]
        position = {each.id: k for k, each in enumerate(self.material.pred.instances[place])}
        pixels = torch.from_numpy(image).permute(2, 0, 1).contiguous()
        result = []
        for stage in stages.of(record, pixels):
            labels = stage.labels.numpy()
            if stage.ids is None:
                values = torch.unique(stage.labels).tolist()
                of = values = [int(value) for value in values if value]
            else:
                values = list(range(1, len(stage.ids) + 1))
                of = [position.get(id, -1) for id in stage.ids]
            codes = codes_at(labels, values, (size[0], size[1]))
            kind = "classes" if stage.ids is None else "masks"
            result.append(
                {"name": stage.name, "kind": kind, "size": list(size), "of": of, "codes": codes}
            )
        return result

    def _truth(self, place: int) -> list[dict[str, Any]]:
        """Returns the true masks as one more stage, each linked to the mask it is compared with."""
        truth = self.material.truth
        truths = None if truth is None else truth.instances[place]
        if truth is None or truths is None:
            return []
        _, of = truth.compared(place, self.material.pred.instances[place])
        codes = [each.rle["counts"].decode("ascii") for each in truths]
        record = self.material.pred.images[place]
        full = [record.height, record.width]
        return [{"name": "truth", "kind": "masks", "size": full, "of": of, "codes": codes}]

    def _key(self, place: int) -> str:
        """Returns the fingerprint of everything that an image's files depend on."""
        pred, material = self.material.pred, self.material
        record = pred.images[place]
        truths = None if material.truth is None else material.truth.instances[place]
        stages = None
        if material.stages is not None:
            own = material.stages.points_of(record)
            semantic = map_path(material.stages.reader.semantic, record.file_name)
            clicks = [own.ids.tolist(), own.labels.tolist(), own.yx.tolist()]
            stages = [material.stages.names, clicks, stamp_of(semantic), self.settings]
        return fingerprint(
            [
                FORM,
                vars(record),
                [_texts(each) for each in pred.instances[place]],
                None if truths is None else [_texts(each) for each in truths],
                material.truth is not None and material.truth.by_id,
                stamp_of(material.images / record.file_name),
                stages,
            ]
        )


def tidy(maker: Maker) -> None:
    """Removes files of an earlier gallery that this gallery does not have."""
    folder, count = maker.out / "images", len(maker.material.pred.images)
    sheets_of = [len(own) for own in maker.material.pred.instances]
    for path in folder.glob("[0-9]*/*"):
        match = re.fullmatch(r"(\d{6,})(\.js|\.jpg|-small\.jpg|-(\d+)\.jpg)", path.name)
        if match is None:
            continue
        place, sheet = int(match[1]), match[3]
        beyond = place < count and sheet is not None and int(sheet) * 16 >= sheets_of[place]
        if place >= count or beyond:
            path.unlink()


def _texts(instance: Instance) -> list[Any]:
    own = vars(instance)
    return [str(own[key]) for key in sorted(own)]


def _begins(path: Path, head: str) -> bool:
    try:
        with path.open(encoding="ascii") as stream:
            return stream.read(len(head)) == head
    except (OSError, ValueError):
        return False
