"""Finished images of an export that is under way, on the disk and not in memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from p2seg.data import rle as codec
from p2seg.data.coco import Instance
from p2seg.data.instances import BITS
from p2seg.data.schema import is_number
from p2seg.files import append_line

_Place: TypeAlias = tuple[Path, int]
"""A file and where in it a line begins."""


class Shards:
    """Finished images of an export that is under way: a folder of JSON lines, one file a rank.

    Args:
        out: the file that the export will write.
        key: fingerprint of everything that decides the result; lines of another are not used.
        rank: of this process.
    """

    def __init__(self, out: Path, key: str, rank: int) -> None:
        self.folder = out.with_name(out.name + ".parts")
        self.key = key
        self.rank = rank

    def finished(self) -> Finished:
        """Instances of every finished image, by image id; they are read when they are asked for."""
        return Finished({record["image_id"]: place for place, record in self._records("instances")})

    def skipped(self) -> dict[int, str]:
        """Why an image could not be used, by image id; some may be finished by now."""
        return {record["image_id"]: record["skipped"] for _, record in self._records("skipped")}

    def add(self, image_id: int, instances: list[Instance]) -> None:
        """Keeps a finished image."""
        self._write({"image_id": image_id, "instances": [_packed(each) for each in instances]})

    def skip(self, image_id: int, sentence: str) -> None:
        """Keeps why an image cannot be used."""
        self._write({"image_id": image_id, "skipped": sentence})

    def _write(self, record: dict[str, Any]) -> None:
        line = json.dumps({"key": self.key, **record})
        append_line(self.folder / f"{self.rank}.jsonl", line.encode())

    def _records(self, kind: str) -> Iterator[tuple[_Place, dict[str, Any]]]:
        """What the lines of a kind hold, and where they begin."""
        for path in filter(Path.is_file, sorted(self.folder.glob("*.jsonl"))):
            with path.open("rb") as stream:
                start = 0
                for line in stream:
                    place, start = (path, start), start + len(line)
                    try:
                        record = json.loads(line)
                    except (ValueError, RecursionError):
                        continue  # the line that was being written when the process was killed
                    ours = isinstance(record, dict) and record.get("key") == self.key
                    if ours and kind in record and _whole(record):
                        yield place, record

    def remove(self) -> None:
        """Removes the folder, once the export is written."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Finished(Mapping[int, list[Instance]]):
    """The instances of finished images by image id; in memory is only where they lie on the disk.

    Args:
        places: by image id the file and where its line begins.
    """

    def __init__(self, places: dict[int, _Place]) -> None:
        self._places = places

    def __getitem__(self, image_id: int) -> list[Instance]:
        path, start = self._places[image_id]
        with path.open("rb") as stream:
            stream.seek(start)
            return [_unpacked(each) for each in json.loads(stream.readline())["instances"]]

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _packed(instance: Instance) -> dict[str, Any]:
    rle = {"size": list(instance.rle["size"]), "counts": instance.rle["counts"].decode()}
    return {**vars(instance), "rle": rle}


def _whole(record: dict[str, Any]) -> bool:
    """Whether a line is one that `add` or `skip` wrote."""
    if type(record.get("image_id")) is not int:
        return False
    if "skipped" in record:
        return isinstance(record["skipped"], str)
    try:
        for packed in record["instances"]:
            size, instance = packed["rle"]["size"], _unpacked(packed)
            codec.from_segmentation(packed["rle"], *size)
            if not all(map(is_number, (instance.id, instance.label, instance.score))):
                return False
            if instance.review not in BITS:
                return False
    except (LookupError, TypeError, ValueError, AttributeError):
        return False
    return True


def _unpacked(packed: dict[str, Any]) -> Instance:
    rle = {"size": packed["rle"]["size"], "counts": packed["rle"]["counts"].encode()}
    return Instance(**{**packed, "rle": rle, "point": tuple(packed["point"])})
