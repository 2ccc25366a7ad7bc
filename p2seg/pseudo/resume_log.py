"""Log of the finished images of an unfinished export, on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from p2seg.data import rle as codec
from p2seg.data.coco import Instance
from p2seg.data.instances import BITS
from p2seg.data.schema import is_number
from p2seg.runtime.resume_log import Kept, Parts


class Shards:
    """Finished images of an export by image ID; see `p2seg.runtime.resume_log`.

    Args:
        out: the file that the export will write.
        key: fingerprint of everything that affects the result; lines with another key are ignored.
        rank: rank of this process.
        stamps: fingerprint of the inputs of each image, by image ID; an image logged with another
            fingerprint is labeled again. None: no comparison.
    """

    def __init__(
        self, out: Path, key: str, rank: int, stamps: Mapping[int, str] | None = None
    ) -> None:
        self._parts = Parts(out, key, rank)
        self._stamps = stamps

    @property
    def folder(self) -> Path:
        """The folder of the log."""
        return self._parts.folder

    def finished(self) -> Finished:
        """Instances of each finished image by image ID, read from disk on access."""
        return Finished(self._parts.kept(self._stamps, is_whole=_is_whole))

    def skipped(self) -> dict[int, str]:
        """Why an image was skipped, by image ID; a later run may have finished it."""
        return self._parts.kept(self._stamps).skipped

    def add(self, image_id: int, instances: list[Instance]) -> None:
        """Logs a finished image."""
        self._parts.add(
            image_id, self._stamp(image_id), {"instances": [_packed(each) for each in instances]}
        )

    def skip(self, image_id: int, sentence: str) -> None:
        """Logs why an image was skipped."""
        self._parts.skip(image_id, self._stamp(image_id), sentence)

    def remove(self) -> None:
        """Removes the folder; called after the export is written."""
        self._parts.remove()

    def _stamp(self, image_id: int) -> str:
        return "" if self._stamps is None else self._stamps[image_id]


class Finished(Mapping[int, list[Instance]]):
    """The instances of finished images by image ID; only their positions on disk are in memory.

    Args:
        kept: positions of the images in the log.
    """

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def __getitem__(self, image_id: int) -> list[Instance]:
        return [_unpacked(each) for each in self._kept.content(image_id)["instances"]]

    def __iter__(self) -> Iterator[int]:
        return iter(self._kept.finished)

    def __len__(self) -> int:
        return len(self._kept.finished)


def _packed(instance: Instance) -> dict[str, Any]:
    rle = {"size": list(instance.rle["size"]), "counts": instance.rle["counts"].decode()}
    return {**vars(instance), "rle": rle}


def _is_whole(result: dict[str, Any]) -> bool:
    """Whether the result of a line was written by `add`."""
    try:
        for packed in result["instances"]:
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
