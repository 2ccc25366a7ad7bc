"""Masks as Label Studio tasks, whose predictions annotators accept and edit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from p2seg.apps.report.pictures import palette
from p2seg.data.coco import ImageRecord
from p2seg.data.rle import decode
from p2seg.formats.masks.base import Entry, Labeled, SetFormat, click_of
from p2seg.formats.masks.cvat import run_lengths
from p2seg.formats.masks.polygons import Ring, parts_of
from p2seg.runtime.files import write_text
from p2seg.runtime.json_streams import write_json_list

MODEL = "p2seg"
"""The model version that Label Studio shows."""
KINDS = {"brush": "BrushLabels", "polygon": "PolygonLabels", "keypoint": "KeyPointLabels"}
"""Tag of each control in the labeling config, by the control's name."""
WORD = 8
"""Bits per value of the brush code."""
SIZES = (3, 4, 8, 16)
"""Bit widths of a run length in the brush code."""
CHANNELS = 4
"""Values per pixel in the brush code: red, green, blue and opacity, all 0 or all 255."""


class LabelStudio(SetFormat):
    """`tasks.json`, and `config.xml` with the matching labeling config.

    A mask is a lossless brush region. With the option `polygons`, a mask of one part without holes
    is a polygon. The image address is the prefix and the quoted path of the image.
    """

    def finish(self, entries_of: Callable[[], Iterable[Entry]]) -> None:
        names = [category.name for category in self.categories]
        write_text(self.folder / "config.xml", config(names))
        write_json_list(self.folder / "tasks.json", map(self._task, entries_of()))

    def _task(self, entry: Entry) -> dict[str, Any]:
        names = [category.name for category in self.categories]
        regions = [
            region
            for number, instance in enumerate(entry.instances, start=1)
            for region in self._regions(number, instance, entry.record, names)
        ]
        address = self.options.prefix + quote(entry.record.file_name, errors="surrogatepass")
        scores = [each.score for each in entry.instances]
        score = round(sum(scores) / len(scores), 4) if scores else 0.0
        prediction = {"model_version": MODEL, "score": score, "result": regions}
        return {"data": {"image": address}, "predictions": [prediction]}

    def _regions(
        self, number: int, instance: Labeled, record: ImageRecord, names: Sequence[str]
    ) -> Iterator[dict[str, Any]]:
        """The regions of an instance: its mask, and its click if clicks are exported."""
        mask, name = decode(instance.rle), names[instance.label - 1]
        parts = parts_of(mask)
        common = {
            "to_name": "image",
            "original_width": record.width,
            "original_height": record.height,
            "image_rotation": 0,
            "score": round(instance.score, 4),
        }
        if self.options.polygons and len(parts) == 1 and not parts[0].holes:
            points = _percent(parts[0].outline, record)
            value = {"points": points, "closed": True, "polygonlabels": [name]}
            yield _region(f"{number}", "polygon", value, common)
        else:
            value = {"format": "rle", "rle": brush_code(mask), "brushlabels": [name]}
            yield _region(f"{number}", "brush", value, common)
        click = click_of(instance, record) if self.options.points else None
        if click is not None:
            x, y = 100 * click[0] / record.width, 100 * click[1] / record.height
            value = {"x": x, "y": y, "width": 0.5, "keypointlabels": [name]}
            yield _region(f"{number}-click", "keypoint", value, common | {"parentID": f"{number}"})


def _region(id: str, kind: str, value: dict[str, Any], common: dict[str, Any]) -> dict[str, Any]:
    return {"id": id, "type": f"{kind}labels", "from_name": kind, "value": value, **common}


def _percent(ring: Ring, record: ImageRecord) -> list[list[float]]:
    return (100 * ring / (record.width, record.height)).tolist()  # type: ignore[no-any-return]


def config(names: Sequence[str]) -> str:
    """The labeling config: every class as brush, polygon and click, in the p2seg colors."""
    lines = ["<View>", '  <Image name="image" value="$image" zoom="true"/>']
    for control, kind in KINDS.items():
        lines.append(f'  <{kind} name="{control}" toName="image">')
        for name, color in zip(names, palette(len(names)), strict=True):
            value = quoteattr(name, {"\n": "&#10;"})
            lines.append(f'    <Label value={value} background="#{bytes(color).hex()}"/>')
        lines.append(f"  </{kind}>")
    return "\n".join([*lines, "</View>"]) + "\n"


def brush_code(mask: NDArray[np.bool_]) -> list[int]:
    """Encodes a mask in Label Studio's brush code: run lengths over the values of an RGBA image.

    The header holds the number of values (32 bits), the bits per value less 1 (5 bits), and four
    bit widths less 1 (4 bits each). Each run is a 1, the index of a bit width (2 bits), the length
    less 1 in that width, and the value, 0 or 255.

    Args:
        mask: `[H, W]` bool.

    Returns:
        Bytes as integers.
    """
    runs = run_lengths(mask.ravel()) * CHANNELS
    head = [(mask.size * CHANNELS, 32), (WORD - 1, 5), *((size - 1, 4) for size in SIZES)]
    bits = [f"{value:0{length}b}" for value, length in head]
    longest = 1 << SIZES[-1]
    for place, run in enumerate(runs.tolist()):
        value = "1" * WORD if place % 2 else "0" * WORD
        while run:
            length = min(run, longest)
            which = next(k for k, size in enumerate(SIZES) if length <= 1 << size)
            bits.append(f"1{which:02b}{length - 1:0{SIZES[which]}b}{value}")
            run -= length
    text = np.frombuffer("".join(bits).encode(), np.uint8) - ord("0")
    return np.packbits(text).tolist()


def brush_size(code: Sequence[int]) -> int:
    """The number of pixels in the header of a brush code."""
    return int.from_bytes(bytes(code[:4]), "big") // CHANNELS


def brush_mask(code: Sequence[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Decodes a brush code, with runs and with literal values, to the mask of opaque pixels.

    Args:
        code: bytes as integers.
        size: (height, width), pixels.

    Returns:
        `[H, W]` bool, True where the opacity is not 0.

    Raises:
        ValueError: the code is truncated, or of another size.
    """
    total = size[0] * size[1] * CHANNELS
    bits = (np.unpackbits(np.array(code, np.uint8)) + ord("0")).tobytes().decode()
    if brush_size(code) * CHANNELS != total:
        raise ValueError(f"is a brush that does not fill an image of {size[1]}x{size[0]}")
    word = int(bits[32:37], 2) + 1
    sizes = [int(bits[at : at + 4], 2) + 1 for at in range(37, 53, 4)]
    at, filled = 53, 0
    values = np.zeros(total, np.bool_)
    while filled < total:
        in_run, which = bits[at : at + 1] == "1", bits[at + 1 : at + 3]
        if len(which) < 2:
            raise ValueError("is a truncated brush")
        at += 3 + sizes[int(which, 2)]
        length = int(bits[at - sizes[int(which, 2)] : at] or "0", 2) + 1
        end = at + word * (1 if in_run else length)
        if in_run:
            values[filled : filled + length] = "1" in bits[at:end]
        else:
            for k in range(length):
                values[filled + k : filled + k + 1] = (
                    "1" in bits[at + k * word : at + (k + 1) * word]
                )
        at, filled = end, filled + length
    return values[CHANNELS - 1 :: CHANNELS].reshape(size)
