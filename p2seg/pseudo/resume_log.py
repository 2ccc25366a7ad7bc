"""Finished images of an export that is under way, on the disk and not in memory."""

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
    """Finished images of an export by their ids; see `p2seg.runtime.resume_log`.

    Args:
        out: the file that the export will write.
        key: fingerprint of everything that decides the result; lines of another are not used.
        rank: of this process.
        stamps: fingerprints of what each image is made of, by image id; what was finished with
            another one is made again. None: nothing is compared.
    """

    def __init__(
        self, out: Path, key: str, rank: int, stamps: Mapping[int, str] | None = None
    ) -> None:
        self._parts = Parts(out, key, rank)
        self._stamps = stamps

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self._parts.folder

    def finished(self) -> Finished:
        """Instances of every finished image, by image id; they are read when they are asked for."""
        return Finished(self._parts.kept(self._stamps, is_whole=_is_whole))

    def skipped(self) -> dict[int, str]:
        """Why an image could not be used, by image id; some may be finished by now."""
        return self._parts.kept(self._stamps).skipped

    def add(self, image_id: int, instances: list[Instance]) -> None:
        """Keeps a finished image."""
        self._parts.add(
            image_id, self._stamp(image_id), {"instances": [_packed(each) for each in instances]}
        )

    def skip(self, image_id: int, sentence: str) -> None:
        """Keeps why an image cannot be used."""
        self._parts.skip(image_id, self._stamp(image_id), sentence)

    def remove(self) -> None:
        """Removes the folder, once the export is written."""
        self._parts.remove()

    def _stamp(self, image_id: int) -> str:
        return "" if self._stamps is None else self._stamps[image_id]


class Finished(Mapping[int, list[Instance]]):
    """The instances of finished images by image id; in memory is only where they lie on the disk.

    Args:
        kept: of the images.
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


def _is_whole(made: dict[str, Any]) -> bool:
    """Whether what a line holds is what `add` wrote."""
    try:
        for packed in made["instances"]:
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
